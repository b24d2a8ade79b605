//! Steps that read through copies, against the reference evaluator, which makes them.
#![allow(clippy::unwrap_used, reason = "tests")]

use lockstep_ir::{
    DType, Order, Program,
    build::{Index, NodeBuilder, ProgramBuilder, TensorRef, at, k, o},
    eval,
    expr::{acc, f, load},
};
use lockstep_kernels::{
    Isa, Options, Plan,
    testing::{self, Rng, inputs},
};

fn shuffled(rng: &mut Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.below(i + 1));
    }
    order
}

/// A copy of a new data tensor with these dimensions, which lie there in another order, some reversed, one perhaps cut to a part.
fn copy(rng: &mut Rng, p: &mut ProgramBuilder, dims: &[u32]) -> TensorRef {
    let order = shuffled(rng, dims.len());
    let margin = rng.pick(&[0, 0, 3]);
    let shape: Vec<u32> = order.iter().map(|&i| dims[i] + margin).collect();
    let index = |&i: &usize| match margin {
        0 if i == 0 => o(i) * -1 + at(i64::from(dims[i]) - 1),
        m => o(i) + at(i64::from(m) / 2),
    };
    let coordinates: Vec<Index> = order.iter().map(index).collect();
    let from = p.data(rng.pick(&[DType::F32, DType::Bf16]), &shape);
    p.node(NodeBuilder::new(DType::F32, dims).operand(from.at(coordinates)).finish(load(0))).unwrap()
}

/// A product of two copies (of three dimensions, seen as matrices), and a map of one of them under yet another view.
fn program(rng: &mut Rng) -> Program {
    let mut p = ProgramBuilder::new();
    let size = |rng: &mut Rng| rng.pick(&[1u32, 2, 3, 5, 8]);
    let (m0, m1, n, k0, k1) = (size(rng), size(rng), size(rng), size(rng), size(rng));
    let (m, depth) = (m0 * m1, k0 * k1);
    let product = p.state(DType::F32, &[m, n]);
    let mapped = p.state(DType::F32, &[k1, m]);
    let a = copy(rng, &mut p, &[m0, m1, depth]);
    let b = copy(rng, &mut p, &[n, k0, k1]);
    let split = rng.one_in(2);
    let factors = if split { vec![k0, k1] } else { vec![depth] };
    let inner = || if split { k(0) * i64::from(k1) + k(1) } else { k(0) };
    let node = NodeBuilder::new(DType::F32, &[m, n])
        .operand(a.view(&[m, depth]).at([o(0), inner()]))
        .operand(b.view(&[n, depth]).at([o(1), inner()]))
        .fold(&factors, Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
        .finish(acc() * f(0.5));
    let y = p.node(node).unwrap();
    let z = NodeBuilder::new(DType::F32, &[k1, m])
        .operand(a.view(&[m, k0, k1]).at([o(1), at(0), o(0)]))
        .finish(load(0) + f(1.0));
    let z = p.node(z).unwrap();
    p.set(&product, &y);
    p.set(&mapped, &z);
    p.build().unwrap()
}

#[test]
fn copies_are_left_out_and_nothing_changes() {
    let mut left_out = 0;
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let p = program(&mut rng);
        let (state, data) = inputs(&mut rng, &p);
        let expected = eval::step(&p, &state, &data).unwrap();
        for isa in testing::paths() {
            let plan = Plan::with(&p, Options { isa: Some(isa), ..Options::default() }).unwrap();
            assert_eq!(plan.step(&state, &data).unwrap(), expected.state, "seed {seed}, {isa:?}");
            left_out += plan.left_out();
        }
    }
    // Were no copy left out, this would test nothing. The portable path has no products, so only maps read through there.
    if Isa::Avx2.is_available() {
        assert!(left_out > 200, "{left_out}");
    }
}

#[test]
fn a_copy_that_rounds_is_made() {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &[3]);
    let rounded = p.node(NodeBuilder::new(DType::Bf16, &[3]).operand(s.at([o(0)])).finish(load(0))).unwrap();
    let back = p.node(NodeBuilder::new(DType::F32, &[3]).operand(rounded.at([o(0)])).finish(load(0))).unwrap();
    p.set(&s, &back);
    let plan = Plan::new(&p.build().unwrap()).unwrap();
    let state = [lockstep_ir::Tensor::from_f32(&[3], &[1.0, 1.001, -3.3]).unwrap()];
    let after = plan.step(&state, &[]).unwrap();
    assert_eq!(after[0].to_f32(), Some(vec![1.0, 1.0, -3.296_875]));
    assert_eq!(plan.left_out(), 0);
}
