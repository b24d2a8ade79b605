//! Convolutions and their gradients beside the same product with its taps copied out first: im2col, then the crate `gemm`.

use std::{hint::black_box, num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, interleaved};
use lockstep_ir::{
    DType, Order, Program, Tensor,
    build::{Access, NodeBuilder, ProgramBuilder, TensorRef, at, k, o},
    expr::{acc, f, load, rhs},
};
use lockstep_kernels::{Options, Plan};

use crate::SUITE;

/// A 3 × 3 convolution of square images with edges, channels last, as many out as in.
#[derive(Clone, Copy)]
struct Shape {
    images: u32,
    side: u32,
    channels: u32,
    /// Taps beyond an edge are left out, not zero.
    skip: bool,
}

/// What is computed. The gradient of the image is a convolution too, of the outputs' gradient with other filters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Outputs,
    OfImage,
    OfFilters,
}

impl Shape {
    fn image(self) -> [u32; 4] {
        [self.images, self.side, self.side, self.channels]
    }

    fn filters(self) -> [u32; 4] {
        [self.channels, 3, 3, self.channels]
    }

    fn edges(self, access: Access) -> Access {
        if self.skip { access.skip() } else { access }
    }

    /// Reads an image and filters, or an image and the outputs' gradient.
    fn program(self, what: What) -> Program {
        let mut p = ProgramBuilder::new();
        let (s, second) = match what {
            What::OfFilters => (self.filters(), self.image()),
            _ => (self.image(), self.filters()),
        };
        let s = p.state(DType::F32, &s);
        let (image, second) = (p.data(DType::F32, &self.image()), p.data(DType::F32, &second));
        let (fold, [first, second]) = match what {
            What::Outputs => {
                let along = |d: usize| o(d) + k(d - 1) + at(-1);
                let taps = image.at([o(0), along(1), along(2), k(2)]);
                ([3, 3, self.channels], [taps, second.at([o(3), k(0), k(1), k(2)])])
            }
            What::OfImage => {
                let along = |d: usize| o(d) + k(d - 1) * -1 + at(1);
                let filters = copy(&mut p, &second, [3, 1, 2, 0]);
                let taps = image.at([o(0), along(1), along(2), k(2)]);
                ([3, 3, self.channels], [taps, filters.at([o(3), k(0), k(1), k(2)])])
            }
            What::OfFilters => {
                let [image, gradient] = [&image, &second].map(|x| copy(&mut p, x, [3, 0, 1, 2]));
                let along = |d: usize| o(d) + k(d) + at(-1);
                let taps = image.at([o(3), k(0), along(1), along(2)]);
                ([self.images, self.side, self.side], [taps, gradient.at([o(0), k(0), k(1), k(2)])])
            }
        };
        let node = NodeBuilder::new(DType::F32, &s.decl.shape)
            .operand(self.edges(first))
            .operand(second)
            .fold(&fold, Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
            .combine(acc() + rhs())
            .finish(acc());
        let out = p.node(node).unwrap();
        p.set(&s, &out);
        p.build().unwrap()
    }

    /// The taps of every output, side by side.
    fn taps(self, image: &[f32]) -> Vec<f32> {
        let (n, c) = (self.side as usize, self.channels as usize);
        let mut taps = vec![0f32; image.len() * 9];
        for (pixel, row) in taps.chunks_exact_mut(9 * c).enumerate() {
            let (image_at, y, x) = (pixel / (n * n), pixel / n % n, pixel % n);
            for (tap, to) in row.chunks_exact_mut(c).enumerate() {
                let (y, x) = ((y + tap / 3).wrapping_sub(1), (x + tap % 3).wrapping_sub(1));
                if y < n && x < n {
                    to.copy_from_slice(&image[((image_at * n + y) * n + x) * c..][..c]);
                }
            }
        }
        taps
    }
}

/// A tensor with its dimensions in this order, as a judgeable program has it.
fn copy(p: &mut ProgramBuilder, x: &TensorRef, order: [usize; 4]) -> TensorRef {
    let shape = order.map(|d| x.decl.shape[d]);
    let from = [0, 1, 2, 3].map(|d| o(order.iter().position(|&at| at == d).unwrap()));
    p.node(NodeBuilder::new(DType::F32, &shape).operand(x.at(from)).finish(load(0))).unwrap()
}

/// GFLOP/s of convolutions with edges that are padded or left out, and of their gradients.
pub(crate) fn run(quick: bool, sink: &mut dyn FnMut(Record)) {
    let shape = |images, side, channels, skip| Shape { images, side, channels, skip };
    let cases = [
        (What::Outputs, shape(1, 56, 64, false)),
        (What::Outputs, shape(4, 14, 256, false)),
        (What::Outputs, shape(1, 56, 64, true)),
        (What::Outputs, shape(4, 14, 256, true)),
        (What::OfImage, shape(1, 56, 64, false)),
        (What::OfImage, shape(1, 56, 64, true)),
        (What::OfFilters, shape(1, 56, 64, false)),
        (What::OfFilters, shape(1, 56, 64, true)),
    ];
    for (what, shape) in cases {
        measure(what, shape, quick, sink);
    }
}

fn measure(what: What, shape: Shape, quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_500 });
    let program = shape.program(what);
    let plan = Plan::with(&program, Options { threads: NonZeroUsize::new(1), ..Options::default() }).unwrap();
    let decl = |shape: &[u32], by: u32| {
        let n = shape.iter().product::<u32>();
        Tensor::from_f32(shape, &(0..n).map(|i| (i % by) as f32 * 0.01).collect::<Vec<_>>()).unwrap()
    };
    let data = [decl(&program.data[0].shape, 97), decl(&program.data[1].shape, 89)];
    let [image, second] = [0, 1].map(|i| data[i].to_f32().unwrap());
    let state = [Tensor::zeros(program.state[0].decl.clone()).unwrap()];
    let (pixels, c) = (image.len() / shape.channels as usize, shape.channels as usize);
    let depth = 9 * c;
    let mut ours = || _ = black_box(plan.step(&state, &data).unwrap());
    // Products of outputs × channels, or of channels × taps: rows, columns, depth, and where the factors lie.
    let mut by_hand = || {
        let taps = shape.taps(&image);
        let (m, n, k) = if what == What::OfFilters { (c, depth, pixels) } else { (pixels, c, depth) };
        let mut out = vec![0f32; m * n];
        let (to, taps, second) = (out.as_mut_ptr(), taps.as_ptr(), second.as_ptr());
        let none = gemm::Parallelism::None;
        let (a, b) = match what {
            What::OfFilters => ((second, c, 1), (taps, 1, depth)),
            _ => ((taps, 1, depth), (second, depth, 1)),
        };
        let ((a, a_column, a_row), (b, b_column, b_row)) = (a, b);
        let [ac, ar, bc, br, step] = [a_column, a_row, b_column, b_row, n].map(|x| x as isize);
        #[allow(unsafe_code, reason = "the peer takes pointers")]
        // SAFETY: the strides address the whole of each slice and no more.
        unsafe {
            gemm::gemm(m, n, k, to, 1, step, false, a, ac, ar, b, bc, br, 0.0, 1.0, false, false, false, none);
        }
        black_box(out);
    };
    let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut by_hand], budget);
    let rate = |seconds: f64| 2.0 * (pixels * c * depth) as f64 / seconds / 1e9;
    let Shape { images, side, channels, skip } = shape;
    let what = match what {
        What::Outputs => "convolution 3 × 3",
        What::OfImage => "gradient of the image, convolution 3 × 3",
        What::OfFilters => "gradient of the filters, convolution 3 × 3",
    };
    let edges = if skip { "edges left out" } else { "padded" };
    let case = format!("{what} of {images} × {side} × {side} × {channels}, {edges}, 1 thread");
    let ours = Record::new(SUITE, case, "GFLOP/s", rate(samples.best(0)));
    sink(ours.against("im2col and gemm", rate(samples.best(1)), samples.ratio(0, 1)));
}
