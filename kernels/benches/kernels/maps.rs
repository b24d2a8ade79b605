//! Elementwise programs against loops fused by hand, and row sums against a plain read of the same bytes.

use std::{num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, interleaved};
use lockstep_ir::{
    DType, Order, Program, Tensor,
    build::{NodeBuilder, ProgramBuilder, k, o},
    expr::{Expr, acc, f, load, rhs},
};
use lockstep_kernels::{Options, Plan};

use crate::SUITE;

/// `0.5·x·(1 + p(x))` with a polynomial of this many terms: two instructions each.
fn polynomial(terms: usize) -> Expr {
    let x = load(0);
    let x2 = &x * &x;
    let mut p = f(0.001);
    for i in 0..terms {
        p = p.fma(&x2, &f(0.01 * (i as f32 + 1.0)));
    }
    f(0.5) * x * (f(1.0) + p)
}

fn map(n: u32, finish: Expr) -> Program {
    let mut p = ProgramBuilder::new();
    let x = p.state(DType::F32, &[n]);
    let y = p.node(NodeBuilder::new(DType::F32, &[n]).operand(x.at([o(0)])).finish(finish)).unwrap();
    p.set(&x, &y);
    p.build().unwrap()
}

/// The same loop as a compiler fuses it.
#[inline(always)]
fn fused(x: &[f32], y: &mut [f32], terms: usize, coefficients: &[f32; 64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        let x2 = x * x;
        let mut p = 0.001f32;
        for &c in &coefficients[..terms] {
            p = p.mul_add(x2, c);
        }
        *y = 0.5 * x * (1.0 + p);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fused_8(x: &[f32], y: &mut [f32], c: &[f32; 64]) {
    fused(x, y, 8, c);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fused_28(x: &[f32], y: &mut [f32], c: &[f32; 64]) {
    fused(x, y, 28, c);
}

/// Runs the loop with the instructions that the kernels use.
#[allow(unsafe_code, reason = "calls what needs instructions that were found to be there")]
fn by_hand(x: &[f32], y: &mut [f32], terms: usize, c: &[f32; 64]) {
    #[cfg(target_arch = "x86_64")]
    if lockstep_kernels::Isa::Avx2.is_available() {
        // SAFETY: just checked.
        unsafe { if terms == 8 { fused_8(x, y, c) } else { fused_28(x, y, c) } };
        return;
    }
    fused(x, y, terms, c);
}

/// Nanoseconds per element of elementwise programs, in cache and out of it.
pub(crate) fn run_maps(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_000 });
    for terms in [8, 28] {
        for n in [16_384u32, 16_777_216] {
            let program = map(n, polynomial(terms));
            let plan = Plan::with(&program, Options { threads: NonZeroUsize::new(1), ..Options::default() }).unwrap();
            let values: Vec<f32> = (0..n).map(|i| i as f32 / n as f32).collect();
            let state = [Tensor::from_f32(&[n], &values).unwrap()];
            let mut c = [0.0; 64];
            c.iter_mut().enumerate().for_each(|(i, c)| *c = 0.01 * (i as f32 + 1.0));
            let mut ours = || {
                std::hint::black_box(plan.step(&state, &[]).unwrap());
            };
            // Like a step, the loop makes a new tensor.
            let mut hand = || {
                let mut y = vec![0.0; n as usize];
                by_hand(&values, &mut y, terms, &c);
                std::hint::black_box(y);
            };
            let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut hand], budget);
            let ns = |s: f64| s * 1e9 / f64::from(n);
            let count = program.nodes[0].finish.iter().filter(|i| i.args().count() > 0).count();
            sink(
                Record::new(
                    SUITE,
                    format!("map of {count} instructions, {n} elements"),
                    "ns/element",
                    ns(samples.best(0)),
                )
                .against("loop fused by hand", ns(samples.best(1)), samples.ratio(0, 1)),
            );
        }
    }
}

/// GB/s of row sums in lanes order.
pub(crate) fn run_rows(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_000 });
    for (rows, columns) in [(512u32, 768u32), (16_384, 768), (64, 50_257)] {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[rows]);
        let x = p.data(DType::F32, &[rows, columns]);
        let node = NodeBuilder::new(DType::F32, &[rows])
            .operand(x.at([o(0), k(0)]))
            .fold(&[columns], Order::Lanes, f(0.0), acc() + load(0))
            .combine(acc() + rhs())
            .finish(acc());
        let sum = p.node(node).unwrap();
        p.set(&s, &sum);
        let plan =
            Plan::with(&p.build().unwrap(), Options { threads: NonZeroUsize::new(1), ..Options::default() }).unwrap();
        let values = vec![0.5f32; (rows * columns) as usize];
        let data = [Tensor::from_f32(&[rows, columns], &values).unwrap()];
        let state = [Tensor::from_f32(&[rows], &vec![0.0; rows as usize]).unwrap()];
        let mut ours = || {
            std::hint::black_box(plan.step(&state, &data).unwrap());
        };
        let words: Vec<u64> =
            values.chunks_exact(2).map(|c| u64::from(c[0].to_bits()) << 32 | u64::from(c[1].to_bits())).collect();
        let mut read = || {
            std::hint::black_box(words.iter().fold(0, |a, &w| a ^ w));
        };
        let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut read], budget);
        let rate = |s: f64| f64::from(rows) * f64::from(columns) * 4.0 / s / 1e9;
        sink(Record::new(SUITE, format!("row sums of {rows} × {columns}"), "GB/s", rate(samples.best(0))).against(
            "plain read",
            rate(samples.best(1)),
            samples.ratio(0, 1),
        ));
    }
}
