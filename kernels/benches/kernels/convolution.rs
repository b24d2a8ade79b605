//! A convolution beside the same product with its taps copied out first: im2col, then the crate `gemm`.

use std::{num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, interleaved};
use lockstep_ir::{
    DType, Order, Tensor,
    build::{NodeBuilder, ProgramBuilder, at, k, o},
    expr::{acc, f, load, rhs},
};
use lockstep_kernels::{Options, Plan};

use crate::SUITE;

/// GFLOP/s of 3 × 3 convolutions with padding, channels last: image side, channels in and out, images.
pub(crate) fn run(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_500 });
    for (side, channels, images, skip) in [(56u32, 64u32, 1u32, false), (14, 256, 4, false), (56, 64, 1, true)] {
        let mut p = ProgramBuilder::new();
        let shape = [images, side, side, channels];
        let s = p.state(DType::F32, &shape);
        let image = p.data(DType::F32, &shape);
        let filters = p.data(DType::F32, &[channels, 3, 3, channels]);
        let along = |d: usize| o(d) + k(d - 1) + at(-1);
        let taps = image.at([o(0), along(1), along(2), k(2)]);
        let node = NodeBuilder::new(DType::F32, &shape)
            .operand(if skip { taps.skip() } else { taps })
            .operand(filters.at([o(3), k(0), k(1), k(2)]))
            .fold(&[3, 3, channels], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
            .combine(acc() + rhs())
            .finish(acc());
        let out = p.node(node).unwrap();
        p.set(&s, &out);
        let options = Options { threads: NonZeroUsize::new(1), ..Options::default() };
        let plan = Plan::with(&p.build().unwrap(), options).unwrap();
        let (n, c) = (side as usize, channels as usize);
        let (pixels, depth) = (images as usize * n * n, 9 * c);
        let values: Vec<f32> = (0..pixels * c).map(|i| (i % 97) as f32 * 0.01).collect();
        let weights: Vec<f32> = (0..c * depth).map(|i| (i % 89) as f32 * 0.01).collect();
        let data = [
            Tensor::from_f32(&shape, &values).unwrap(),
            Tensor::from_f32(&[channels, 3, 3, channels], &weights).unwrap(),
        ];
        let state = [Tensor::from_f32(&shape, &vec![0.0; pixels * c]).unwrap()];
        let mut ours = || _ = std::hint::black_box(plan.step(&state, &data).unwrap());
        let mut by_hand = || {
            let mut taps = vec![0f32; pixels * depth];
            for (pixel, row) in taps.chunks_exact_mut(depth).enumerate() {
                let (image, y, x) = (pixel / (n * n), pixel / n % n, pixel % n);
                for (tap, to) in row.chunks_exact_mut(c).enumerate() {
                    let (y, x) = ((y + tap / 3).wrapping_sub(1), (x + tap % 3).wrapping_sub(1));
                    if y < n && x < n {
                        to.copy_from_slice(&values[((image * n + y) * n + x) * c..][..c]);
                    }
                }
            }
            let mut out = vec![0f32; pixels * c];
            let (to, a, b) = (out.as_mut_ptr(), taps.as_ptr(), weights.as_ptr());
            let (depth_step, none) = (depth as isize, gemm::Parallelism::None);
            #[allow(unsafe_code, reason = "the peer takes pointers")]
            // SAFETY: the strides address the whole of each slice and no more.
            unsafe {
                let (m, step) = (pixels, c as isize);
                gemm::gemm(
                    m, c, depth, to, 1, step, false, a, 1, depth_step, b, depth_step, 1, 0.0, 1.0, false, false, false,
                    none,
                );
            }
            std::hint::black_box(out);
        };
        let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut by_hand], budget);
        let rate = |seconds: f64| 2.0 * (pixels * c * depth) as f64 / seconds / 1e9;
        let case = format!(
            "convolution 3 × 3 of {images} × {side} × {side} × {channels}, {}, 1 thread",
            if skip { "edges left out" } else { "padded" }
        );
        let ours = Record::new(SUITE, case, "GFLOP/s", rate(samples.best(0)));
        sink(ours.against("im2col and gemm", rate(samples.best(1)), samples.ratio(0, 1)));
    }
}
