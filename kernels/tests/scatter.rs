//! Gradients of gathered tables, bit for bit against the reference evaluator.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{num::NonZeroUsize, ops::ControlFlow};

use lockstep_ir::{
    DType, Order, Program, Tensor, TensorDecl,
    build::{NodeBuilder, ProgramBuilder, k, o},
    eval,
    expr::{acc, coord, f, load, rhs, select, u},
};
use lockstep_kernels::{
    Options, Plan,
    testing::{self, Rng, inputs},
};

struct Case {
    rows: u32,
    columns: u32,
    positions: u32,
    index: DType,
    init: f32,
    out: DType,
    /// Whether the values lie in the order of the fold already.
    deep: bool,
}

fn program(c: &Case) -> Program {
    let mut p = ProgramBuilder::new();
    let s = p.state(c.out, &[c.rows, c.columns]);
    let index = p.data(c.index, &[c.positions]);
    let values = if c.deep {
        p.data(DType::F32, &[c.columns, c.positions])
    } else {
        let values = p.data(DType::F32, &[c.positions, c.columns]);
        let copy = NodeBuilder::new(DType::F32, &[c.columns, c.positions]).operand(values.at([o(1), o(0)]));
        p.node(copy.finish(load(0))).unwrap()
    };
    let unsigned = if c.index == DType::U32 { load(0) } else { load(0).to_u32() };
    // Two ways to write the test, and the sum.
    let (test, sum) = if c.rows.is_multiple_of(2) {
        (unsigned.eq(&coord(0)), acc() + load(1))
    } else {
        (coord(0).eq(&unsigned), load(1) + acc())
    };
    let node = NodeBuilder::new(c.out, &[c.rows, c.columns])
        .operand(index.at([k(0)]))
        .operand(values.at([o(1), k(0)]))
        .fold(&[c.positions], Order::Chain, f(c.init), select(&test, &sum, &acc()))
        .combine(rhs() + acc());
    let finish = if c.columns.is_multiple_of(2) { acc() } else { acc() * coord(1).and(&u(3)).to_f32() };
    let gradient = p.node(node.finish(finish)).unwrap();
    p.set(&s, &gradient);
    p.build().unwrap()
}

fn compare(seed: u64, c: &Case) {
    let p = program(c);
    let mut rng = Rng::new(seed);
    let (state, mut data) = inputs(&mut rng, &p);
    let index = (0..c.positions).flat_map(|_| {
        // Some rows often, some never, and indices that are no row.
        let row = if rng.one_in(3) { 1 } else { rng.below(c.rows as usize + 2) as i32 - 1 };
        row.to_le_bytes()[..c.index.size()].to_vec()
    });
    let decl = TensorDecl { dtype: c.index, shape: vec![c.positions] };
    data[0] = Tensor::from_bytes(decl, index.collect()).unwrap();
    let expected = eval::step(&p, &state, &data).unwrap();
    for isa in testing::paths() {
        for threads in [1, 2] {
            let options =
                Options { isa: Some(isa), threads: NonZeroUsize::new(threads), split_small: true, interpret: false };
            let plan = Plan::with(&p, options).unwrap();
            assert_eq!(plan.kernels().last(), Some("scatter"), "seed {seed}");
            assert_eq!(plan.left_out(), p.nodes.len() - 1, "seed {seed}: the step reads the values where they are");
            assert!(plan.step(&state, &data).unwrap() == expected.state, "seed {seed}, {isa:?}, {threads} threads");
            let mut outputs = expected.trace.iter();
            let traced = plan.trace(&state, &data, |node, out| {
                assert!(outputs.next() == Some(&*out), "seed {seed}, {isa:?}, {threads} threads, node {node}");
                ControlFlow::<()>::Continue(())
            });
            assert!(traced.is_ok());
        }
    }
}

#[test]
fn every_form() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        compare(
            seed,
            &Case {
                rows: rng.pick(&[2, 3, 7, 40]),
                columns: rng.pick(&[1, 2, 5, 17]),
                positions: rng.pick(&[2, 9, 40, 255, 256, 257, 600]),
                index: rng.pick(&[DType::U32, DType::I32, DType::I8]),
                init: rng.pick(&[0.0, -0.0, 1.5, f32::INFINITY]),
                out: rng.pick(&[DType::F32, DType::F32, DType::Bf16]),
                deep: rng.one_in(3),
            },
        );
    }
}

#[test]
fn wide_rows() {
    let c = Case { rows: 5, columns: 300, positions: 520, index: DType::U32, init: -0.0, out: DType::F32, deep: false };
    compare(7, &c);
}

/// Leaf blocks without hits before, between and after those that have some.
#[test]
fn few_hits_in_many_blocks() {
    for (seed, init) in (100..).zip([0.0, -0.0, 0.25]) {
        let (rows, positions) = (200, 2_000);
        let c = Case { rows, columns: 3, positions, index: DType::I32, init, out: DType::F32, deep: false };
        compare(seed, &c);
    }
}
