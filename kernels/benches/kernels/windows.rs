//! Folds that lie badly beside loops by hand: sums in sequence along rows, windows of an image, rows up to the diagonal.

use std::{hint::black_box, num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, interleaved};
use lockstep_ir::{
    DType, Order, Program, Tensor,
    build::{NodeBuilder, ProgramBuilder, TensorRef, at, k, o},
    expr::{Expr, acc, coord, f, k as position, load, max_nan, rhs, select},
};
use lockstep_kernels::{Options, Plan};

use crate::SUITE;

pub(crate) fn run(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_000 });
    for shape in [[512, 768], [8192, 768]] {
        let values = values(shape[0] * shape[1]);
        let row = |row: &[f32]| row.iter().fold(0.0f32, |a, &x| a + x);
        let mut by_hand = || _ = black_box(values.chunks(shape[1] as usize).map(row).collect::<Vec<_>>());
        let case = format!("sums in sequence along {} × {}, 1 thread", shape[0], shape[1]);
        compare(case, &sequences(shape), (&shape, &values), &mut by_hand, budget, sink);
    }
    for (what, skip) in [("maxima", false), ("maxima", true), ("sums", true)] {
        let (side, channels) = (56usize, 64usize);
        let shape = [1, 56, 56, 64];
        let values = values(56 * 56 * 64);
        let (init, body) = match what {
            "maxima" => (f32::NEG_INFINITY, max_nan(&acc(), &load(0))),
            _ => (0.0, acc() + load(0)),
        };
        let mut by_hand = || {
            _ = match what {
                "maxima" => black_box(pooled(&values, side, channels, init, |a, x| if x > a { x } else { a })),
                _ => black_box(pooled(&values, side, channels, init, |a, x| a + x)),
            }
        };
        let edges = if skip { "edges left out" } else { "padded" };
        let case = format!("{what} of 3 × 3 of 56 × 56 × 64, {edges}, 1 thread");
        compare(case, &windows(&shape, skip, init, body), (&shape, &values), &mut by_hand, budget, sink);
    }
    let shape = [1024, 1024];
    let values = values(1024 * 1024);
    let mut by_hand = || _ = black_box(values.chunks(1024).enumerate().map(up_to).collect::<Vec<_>>());
    let case = "row sums of 1024 × 1024 up to the diagonal, 1 thread".to_owned();
    compare(case, &triangle(shape), (&shape, &values), &mut by_hand, budget, sink);
}

fn values(n: u32) -> Vec<f32> {
    (0..n).map(|i| (i % 97) as f32 * 0.01).collect()
}

fn compare(
    case: String,
    program: &Program,
    (shape, values): (&[u32], &[f32]),
    by_hand: &mut dyn FnMut(),
    budget: Duration,
    sink: &mut dyn FnMut(Record),
) {
    let options = Options { threads: NonZeroUsize::new(1), ..Options::default() };
    let plan = Plan::with(program, options).unwrap();
    let data = [Tensor::from_f32(shape, values).unwrap()];
    let decl = &program.state[0].decl;
    let zeros = vec![0.0; decl.elements().unwrap() as usize];
    let state = [Tensor::from_f32(&decl.shape, &zeros).unwrap()];
    let mut ours = || _ = black_box(plan.step(&state, &data).unwrap());
    let samples = interleaved(Clock::Thread, &mut [&mut ours, by_hand], budget);
    let rate = |seconds: f64| values.len() as f64 * 4.0 / seconds / 1e9;
    let record = Record::new(SUITE, case, "GB/s", rate(samples.best(0)));
    sink(record.against("loop by hand", rate(samples.best(1)), samples.ratio(0, 1)));
}

fn built(mut p: ProgramBuilder, s: &TensorRef, node: lockstep_ir::build::Draft) -> Program {
    let y = p.node(node).unwrap();
    p.set(s, &y);
    p.build().unwrap()
}

fn sequences(shape: [u32; 2]) -> Program {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &shape[..1]);
    let x = p.data(DType::F32, &shape);
    let node = NodeBuilder::new(DType::F32, &shape[..1]).operand(x.at([o(0), k(0)]));
    let node = node.fold(&shape[1..], Order::Chain, f(0.0), acc() + load(0)).combine(acc() + rhs());
    built(p, &s, node.finish(acc()))
}

fn windows(shape: &[u32], skip: bool, init: f32, body: Expr) -> Program {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, shape);
    let x = p.data(DType::F32, shape);
    let taps = x.at([o(0), o(1) + k(0) + at(-1), o(2) + k(1) + at(-1), o(3)]);
    let taps = if skip { taps.skip() } else { taps.fill(init.to_bits()) };
    let node = NodeBuilder::new(DType::F32, shape).operand(taps);
    let node = node.fold(&[3, 3], Order::Chain, f(init), body);
    built(p, &s, node.finish(acc()))
}

fn triangle(shape: [u32; 2]) -> Program {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &shape[..1]);
    let x = p.data(DType::F32, &shape);
    let body = select(&coord(0).lt(&position()), &acc(), &(acc() + load(0)));
    let node = NodeBuilder::new(DType::F32, &shape[..1]).operand(x.at([o(0), k(0)]));
    let node = node.fold(&shape[1..], Order::Lanes, f(0.0), body).combine(acc() + rhs());
    built(p, &s, node.finish(acc()))
}

/// A row's sum up to the diagonal, in sixteen lanes.
fn up_to((row, values): (usize, &[f32])) -> f32 {
    let mut lanes = [0.0f32; 16];
    for values in values[..=row].chunks(16) {
        lanes.iter_mut().zip(values).for_each(|(lane, x)| *lane += x);
    }
    lanes.iter().sum()
}

fn pooled(values: &[f32], side: usize, channels: usize, init: f32, body: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let mut out = vec![init; values.len()];
    for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (pixel / side, pixel % side);
        for ty in y.saturating_sub(1)..(y + 2).min(side) {
            for tx in x.saturating_sub(1)..(x + 2).min(side) {
                let from = &values[(ty * side + tx) * channels..][..channels];
                out.iter_mut().zip(from).for_each(|(o, &v)| *o = body(*o, v));
            }
        }
    }
    out
}
