//! Elementwise programs against the same loops fused by hand: in cache and out of it, one output and three.

use std::{num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, interleaved};
use lockstep_ir::{
    DType, Program, Tensor,
    build::{NodeBuilder, ProgramBuilder, TensorRef, o},
    expr::{Expr, f, load},
};
use lockstep_kernels::{Isa, Options, Plan};

use crate::SUITE;

/// The n-th coefficient of the polynomials.
const fn coefficient(i: usize) -> f32 {
    0.01 * (i as f32 + 1.0)
}

/// `0.5·x·(1 + p(x²))` with a polynomial of this many terms: the shape of a `GELU`, four instructions more than terms.
fn gelu(terms: usize) -> Expr {
    let x = load(0);
    let x2 = &x * &x;
    let p = (0..terms).fold(f(0.001), |p, i| p.fma(&x2, &f(coefficient(i))));
    f(0.5) * x * (f(1.0) + p)
}

/// The same loop as a compiler fuses it, its terms known to it.
#[inline(always)]
fn gelu_loop<const TERMS: usize>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        let x2 = x * x;
        let mut p = 0.001f32;
        let mut i = 0;
        while i < TERMS {
            p = p.mul_add(x2, coefficient(i));
            i += 1;
        }
        *y = 0.5 * x * (1.0 + p);
    }
}

/// Learning rate, decay of the moments, weight decay, and what keeps the divisor from 0.
const RATE: f32 = 0.01;
const DECAY: [f32; 2] = [0.9, 0.999];
const WEIGHT_DECAY: f32 = 0.1;
const EPSILON: f32 = 1e-8;

#[inline(always)]
fn adamw_loop([w, m, v, g]: [&[f32]; 4], [w1, m1, v1]: [&mut [f32]; 3]) {
    let n = w.len();
    let (m, v, g) = (&m[..n], &v[..n], &g[..n]);
    let (w1, m1, v1) = (&mut w1[..n], &mut m1[..n], &mut v1[..n]);
    for i in 0..n {
        let m = DECAY[0].mul_add(m[i], (1.0 - DECAY[0]) * g[i]);
        let v = DECAY[1].mul_add(v[i], (1.0 - DECAY[1]) * g[i] * g[i]);
        let update = m / (v.sqrt() + EPSILON);
        w1[i] = w[i] - RATE * (update + WEIGHT_DECAY * w[i]);
        (m1[i], v1[i]) = (m, v);
    }
}

macro_rules! by_hand {
    ($($name:ident $body:ident ($($arg:ident: $ty:ty),*);)*) => {
        $(
            /// Runs the loop with the instructions that the kernels use.
            #[allow(unsafe_code, reason = "calls what needs instructions that were found to be there")]
            fn $name($($arg: $ty),*) {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma")]
                    fn avx2($($arg: $ty),*) { $body($($arg),*) }
                    #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
                    fn avx512($($arg: $ty),*) { $body($($arg),*) }
                    match Isa::detect() {
                        // SAFETY: detected.
                        Ok(Isa::Avx512) => return unsafe { avx512($($arg),*) },
                        // SAFETY: detected.
                        Ok(Isa::Avx2) => return unsafe { avx2($($arg),*) },
                        _ => {}
                    }
                }
                $body($($arg),*)
            }
        )*
    };
}

#[inline(always)]
fn short_loop(x: &[f32], y: &mut [f32]) {
    gelu_loop::<16>(x, y);
}

#[inline(always)]
fn long_loop(x: &[f32], y: &mut [f32]) {
    gelu_loop::<56>(x, y);
}

by_hand! {
    short_by_hand short_loop(x: &[f32], y: &mut [f32]);
    long_by_hand long_loop(x: &[f32], y: &mut [f32]);
    adamw_by_hand adamw_loop(inputs: [&[f32]; 4], outputs: [&mut [f32]; 3]);
}

fn instructions(p: &Program) -> usize {
    p.nodes.iter().flat_map(|n| &n.finish).filter(|i| i.args().count() > 0).count()
}

fn one_thread(p: &Program) -> Plan {
    Plan::with(p, Options { threads: NonZeroUsize::new(1), ..Options::default() }).unwrap()
}

fn values(n: u32, scale: f32) -> Vec<f32> {
    (0..n).map(|i| scale * (i as f32 + 1.0) / n as f32).collect()
}

/// Nanoseconds per element.
pub(crate) fn run(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_000 });
    for (terms, hand) in [(16, short_by_hand as fn(&[f32], &mut [f32])), (56, long_by_hand)] {
        for n in [16_384, 16_777_216] {
            map(n, terms, hand, budget, sink);
        }
    }
    for n in [16_384, 4_194_304] {
        adamw(n, budget, sink);
    }
}

fn map(n: u32, terms: usize, hand: fn(&[f32], &mut [f32]), budget: Duration, sink: &mut dyn FnMut(Record)) {
    let mut p = ProgramBuilder::new();
    let x = p.state(DType::F32, &[n]);
    let y = p.node(NodeBuilder::new(DType::F32, &[n]).operand(x.at([o(0)])).finish(gelu(terms))).unwrap();
    p.set(&x, &y);
    let program = p.build().unwrap();
    let (plan, values) = (one_thread(&program), values(n, 1.0));
    let state = [Tensor::from_f32(&[n], &values).unwrap()];
    let mut ours = || _ = std::hint::black_box(plan.step(&state, &[]).unwrap());
    // Like a step, the loop makes a new tensor.
    let mut theirs = || {
        let mut y = vec![0.0; n as usize];
        hand(&values, &mut y);
        std::hint::black_box(y);
    };
    let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut theirs], budget);
    let case = format!("map of {} instructions, {n} elements", instructions(&program));
    record(case, n, &samples, sink);
}

fn adamw(n: u32, budget: Duration, sink: &mut dyn FnMut(Record)) {
    let mut p = ProgramBuilder::new();
    let [w, m, v] = [0; 3].map(|_| p.state(DType::F32, &[n]));
    let g = p.data(DType::F32, &[n]);
    let node = |a: [&TensorRef; 2], e: Expr| {
        NodeBuilder::new(DType::F32, &[n]).operand(a[0].at([o(0)])).operand(a[1].at([o(0)])).finish(e)
    };
    let m1 = p.node(node([&m, &g], f(DECAY[0]).fma(&load(0), &(f(1.0 - DECAY[0]) * load(1))))).unwrap();
    let v1 = f(DECAY[1]).fma(&load(0), &(f(1.0 - DECAY[1]) * load(1) * load(1)));
    let v1 = p.node(node([&v, &g], v1)).unwrap();
    let update = p.node(node([&m1, &v1], load(0) / (load(1).sqrt() + f(EPSILON)))).unwrap();
    let w1 = load(0) - f(RATE) * (load(1) + f(WEIGHT_DECAY) * load(0));
    let w1 = p.node(node([&w, &update], w1)).unwrap();
    p.set(&w, &w1);
    p.set(&m, &m1);
    p.set(&v, &v1);
    let program = p.build().unwrap();
    let plan = one_thread(&program);
    let inputs = [1.0, 0.01, 0.0001, 0.02].map(|scale| values(n, scale));
    let tensors: Vec<Tensor> = inputs.iter().map(|x| Tensor::from_f32(&[n], x).unwrap()).collect();
    let mut ours = || _ = std::hint::black_box(plan.step(&tensors[..3], &tensors[3..]).unwrap());
    let mut theirs = || {
        let mut out = [0; 3].map(|_| vec![0.0; n as usize]);
        let [a, b, c] = &mut out;
        adamw_by_hand([&inputs[0], &inputs[1], &inputs[2], &inputs[3]], [a, b, c]);
        std::hint::black_box(out);
    };
    let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut theirs], budget);
    record(format!("AdamW of {} instructions, {n} parameters", instructions(&program)), n, &samples, sink);
}

fn record(case: String, n: u32, samples: &lockstep_bench::Samples, sink: &mut dyn FnMut(Record)) {
    let ns = |s: f64| s * 1e9 / f64::from(n);
    let ours = Record::new(SUITE, case, "ns/element", ns(samples.best(0)));
    sink(ours.against("loop fused by hand", ns(samples.best(1)), samples.ratio(0, 1)));
}
