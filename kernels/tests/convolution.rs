//! Convolutions over images with channels last, bit for bit against the reference evaluator.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{num::NonZeroUsize, ops::ControlFlow};

use lockstep_ir::{
    DType, Order, Program,
    build::{BuildError, NodeBuilder, ProgramBuilder, at, k, o},
    eval,
    expr::{acc, f, load, rhs},
    validate::{Invalid, Rule},
};
use lockstep_kernels::{
    Isa, Options, Plan,
    testing::{self, Rng, inputs},
};

/// `[image, row, column, channel]`, filters `[channel out, row, column, channel in]`; `None` if it cannot be judged.
fn program(rng: &mut Rng) -> Option<Program> {
    let size = |rng: &mut Rng| rng.pick(&[2, 3, 5, 8]);
    let (images, h, w, inner) = (rng.pick(&[1, 2, 3]), size(rng), size(rng), rng.pick(&[1, 2, 3, 16, 90]));
    let (outer, kh, kw) = (rng.pick(&[2, 5, 17, 33]), rng.pick(&[1, 2, 3]), rng.pick(&[2, 3]));
    let (stride, dilation, pad) = (rng.pick(&[1, 1, 2]), rng.pick(&[1, 1, 2]), rng.pick(&[0, 1, 1, 2]));
    let extent = |n: u32, taps: u32| {
        (n + 2 * pad).checked_sub(dilation * (taps - 1) + 1).map(|room| room / stride + 1).filter(|&n| n > 1)
    };
    let (oh, ow) = (extent(h, kh)?, extent(w, kw)?);
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &[1]);
    let dtype = rng.pick(&[DType::F32, DType::F32, DType::Bf16]);
    let image = p.data(dtype, &[images, h, w, inner]);
    let filters = p.data(DType::F32, &[outer, kh, kw, inner]);
    let along = |d: usize| o(d) * i64::from(stride) + k(d - 1) * i64::from(dilation) + at(-i64::from(pad));
    let fill = rng.pick(&[0, 0, 0x8000_0000, 0x3fc0_0000, 0x7f80_0000]);
    let taps = image.at([o(0), along(1), along(2), k(2)]).fill(fill);
    let node = NodeBuilder::new(rng.pick(&[DType::F32, DType::Bf16]), &[images, oh, ow, outer])
        .operand(taps)
        .operand(filters.at([o(3), k(0), k(1), k(2)]))
        .fold(&[kh, kw, inner], Order::Chain, f(rng.pick(&[0.0, -0.0, 1.0])), load(0).fma(&load(1), &acc()))
        .combine(acc() + rhs())
        .finish(acc());
    p.node(node).unwrap();
    p.keep(&s);
    match p.build() {
        Ok(program) => Some(program),
        Err(BuildError::Invalid(Invalid::Node { rule: Rule::Chunks { .. } | Rule::Gas { .. }, .. })) => None,
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn padded_strided_and_dilated() {
    let mut compared = 0;
    for seed in 0..250 {
        let mut rng = Rng::new(seed);
        let Some(p) = program(&mut rng) else { continue };
        let (state, data) = inputs(&mut rng, &p);
        let expected = &eval::step(&p, &state, &data).unwrap().trace[0];
        for isa in testing::paths() {
            for threads in [1, 2] {
                let threads = NonZeroUsize::new(threads);
                let options = Options { isa: Some(isa), threads, split_small: true, interpret: false };
                let plan = Plan::with(&p, options).unwrap();
                if isa != Isa::Portable {
                    assert_eq!(plan.kernels().collect::<Vec<_>>(), ["gemm"], "seed {seed}");
                }
                let broken = plan.trace(&state, &data, |_, t| ControlFlow::Break(t.clone())).unwrap();
                let ControlFlow::Break(output) = broken else { panic!("seed {seed}: no node was visited") };
                assert!(output == *expected, "seed {seed}, {isa:?}, {threads:?} threads\n{:#?}", p.nodes[0]);
            }
        }
        compared += 1;
    }
    assert!(compared > 80, "only {compared} programs could be judged");
}
