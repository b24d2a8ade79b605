//! Matrix products in every layout, bit for bit against the reference evaluator.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    num::NonZeroUsize,
    ops::{ControlFlow, Range},
};

use lockstep_ir::{
    DType, Order, Program, Tensor,
    build::{BuildError, Draft, Index, NodeBuilder, ProgramBuilder, TensorRef, at, k, o},
    eval,
    expr::{Expr, acc, coord, f, i, load, max, rhs},
    validate::{Invalid, Rule},
};
use lockstep_kernels::{
    Isa, Options, Plan,
    testing::{self, Rng, inputs, mild_inputs},
};

/// A batched product with its factors laid out in any order of dimensions.
struct Case {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
}

/// A tensor over the named dimensions in random order, some of them reversed, and its coordinates.
fn factor(rng: &mut Rng, p: &mut ProgramBuilder, bytes: bool, dims: &[(u32, Index)]) -> (TensorRef, Vec<Index>) {
    let mut order: Vec<usize> = (0..dims.len()).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i + 1));
    }
    let shape: Vec<u32> = order.iter().map(|&i| dims[i].0).collect();
    let mut index = |i: &usize| {
        let (extent, x) = &dims[*i];
        if rng.one_in(6) { x.clone() * -1 + at(i64::from(*extent) - 1) } else { x.clone() }
    };
    let coordinates = order.iter().map(&mut index).collect();
    let dtype = if bytes { DType::I8 } else { rng.pick(&[DType::F32, DType::F32, DType::Bf16]) };
    (p.data(dtype, &shape), coordinates)
}

fn finish(rng: &mut Rng) -> (DType, Expr) {
    match rng.below(5) {
        0 => (DType::Bf16, acc()),
        1 => (DType::I8, acc().to_i32()),
        2 => (DType::F32, max(&(acc() + load(2)), &f(0.0))),
        3 => (DType::U32, acc().to_bits() + coord(1)),
        _ => (DType::F32, acc()),
    }
}

/// For products of bytes.
fn whole_finish(rng: &mut Rng) -> (DType, Expr) {
    match rng.below(4) {
        0 => (DType::I8, acc().shr(&lockstep_ir::expr::u(3))),
        1 => (DType::F32, acc().to_f32() * f(0.125)),
        2 => (DType::Bf16, acc().to_f32()),
        _ => (DType::I32, acc()),
    }
}

/// `None` if it cannot be judged: a factor whose fold is not contiguous in its tensor can touch too many chunks.
fn program(rng: &mut Rng, c: &Case) -> Option<Program> {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &[1]);
    let bytes = rng.one_in(3);
    let dim = |n: u32, x: Index| (n, x);
    let batched = |rng: &mut Rng, mut dims: Vec<(u32, Index)>| {
        if !rng.one_in(4) {
            dims.push(dim(c.batch, o(0)));
        }
        dims
    };
    let dims = batched(rng, vec![dim(c.m, o(1)), dim(c.k, k(0))]);
    let (a, a_at) = factor(rng, &mut p, bytes, &dims);
    let dims = batched(rng, vec![dim(c.k, k(0)), dim(c.n, o(2))]);
    let (b, b_at) = factor(rng, &mut p, bytes, &dims);
    let bias = p.data(DType::F32, &[c.n]);
    let (dtype, finish) = if bytes { whole_finish(rng) } else { finish(rng) };
    let uses_bias = !bytes
        && dtype == DType::F32
        && finish.compile(&lockstep_ir::expr::Types { loads: &[], acc: Some(lockstep_ir::Ty::F32) }).is_err();
    let (x, y) = if rng.one_in(2) { (0, 1) } else { (1, 0) };
    let init = if rng.one_in(3) { -0.0 } else { 0.25 };
    let product = load(x) * load(y);
    let sum = if rng.one_in(2) { acc() + product } else { product + acc() };
    let lanes = rng.one_in(2);
    let (order, init, body) = match bytes {
        true if lanes => (Order::Lanes, i(0), sum),
        // Sums that wrap, and those that may be cut anywhere.
        true => (Order::Chain, i(rng.pick(&[i32::MAX - 5, 0])), sum),
        false => (Order::Chain, f(init), load(x).fma(&load(y), &acc())),
    };
    let mut node = NodeBuilder::new(dtype, &[c.batch, c.m, c.n]).operand(a.at(a_at)).operand(b.at(b_at));
    if uses_bias {
        node = node.operand(bias.at([o(2)]));
    }
    let combine = if rng.one_in(2) { acc() + rhs() } else { rhs() + acc() };
    let draft: Draft = node.fold(&[c.k], order, init, body).combine(combine).finish(finish);
    p.node(draft).unwrap();
    p.keep(&s);
    match p.build() {
        Ok(program) => Some(program),
        Err(BuildError::Invalid(Invalid::Node { rule: Rule::Chunks { .. } | Rule::Gas { .. }, .. })) => None,
        Err(e) => panic!("{e}"),
    }
}

/// Compares what has to be a product.
fn compare(seed: u64, p: &Program) {
    let whole = p.nodes[0].fold_length() > 1 && p.nodes[0].domain.iter().skip(1).all(|&n| n > 1);
    for isa in testing::paths().filter(|&isa| whole && isa != Isa::Portable) {
        let plan = Plan::with(p, Options { isa: Some(isa), ..Options::default() }).unwrap();
        assert_eq!(plan.kernels().collect::<Vec<_>>(), ["gemm"], "seed {seed}");
    }
    same_bits(seed, p);
}

/// Compares products of random sizes; more than `least` of them can be judged.
fn compare_all(seeds: Range<u64>, least: usize, case: impl Fn(&mut Rng) -> Case) {
    let mut compared = 0;
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let c = case(&mut rng);
        if let Some(p) = program(&mut rng, &c) {
            compare(seed, &p);
            compared += 1;
        }
    }
    assert!(compared > least, "only {compared} programs could be judged");
}

fn same_bits(seed: u64, p: &Program) {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let (state, data) = if seed.is_multiple_of(2) { inputs(&mut rng, p) } else { mild_inputs(&mut rng, p) };
    let expected: &Tensor = &eval::step(p, &state, &data).unwrap().trace[0];
    for isa in testing::paths() {
        for threads in [1, 2, 3] {
            let options =
                Options { isa: Some(isa), threads: NonZeroUsize::new(threads), split_small: true, interpret: false };
            let plan = Plan::with(p, options).unwrap();
            let broken = plan.trace(&state, &data, |_, t| ControlFlow::Break(t.clone())).unwrap();
            let ControlFlow::Break(output) = broken else { panic!("seed {seed}: no node was visited") };
            assert!(output == *expected, "seed {seed}, {isa:?}, {threads} threads\n{:#?}", p.nodes[0]);
        }
    }
}

#[test]
fn every_layout() {
    compare_all(0..400, 150, |rng| {
        let size = |rng: &mut Rng| rng.pick(&[1, 2, 5, 6, 7, 12, 13, 16, 17, 31, 33]);
        Case { batch: rng.pick(&[1, 1, 2, 3]), m: size(rng), n: size(rng), k: rng.pick(&[1, 2, 3, 8, 17, 40]) }
    });
}

#[test]
fn deep_products() {
    compare_all(1000..1060, 10, |rng| Case {
        batch: 1,
        m: rng.pick(&[3, 7, 130]),
        n: rng.pick(&[2, 18, 64]),
        k: rng.pick(&[255, 256, 257, 512, 700, 1030, 2100]),
    });
}

/// A matrix times a vector, whose rows lie along the fold: what generating a token is made of.
#[test]
fn a_matrix_times_a_vector() {
    let shapes = [(16, 1), (17, 40), (64, 256), (65, 257), (130, 600), (300, 300)];
    let types = [DType::F32, DType::Bf16];
    for (seed, ((n, depth), dtype)) in (0..).zip(shapes.into_iter().flat_map(|s| types.map(|t| (s, t)))) {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[1, n]);
        let matrix = p.data(dtype, &[n, depth]);
        let vector = p.data(DType::F32, &[depth]);
        let node = NodeBuilder::new(DType::F32, &[1, n]).operand(matrix.at([o(1), k(0)])).operand(vector.at([k(0)]));
        let node = node.fold(&[depth], Order::Chain, f(0.5), load(0).fma(&load(1), &acc())).combine(acc() + rhs());
        let y = p.node(node.finish(max(&acc(), &f(0.0)))).unwrap();
        p.set(&s, &y);
        let p = p.build().unwrap();
        same_bits(seed, &p);
        let kernels = Plan::new(&p).unwrap().kernels().collect::<Vec<_>>();
        let product = depth > 1 && Isa::detect() != Ok(Isa::Portable);
        assert_eq!(kernels, [if product { "gemm" } else { "blocks" }], "{n} × {depth}");
    }
}

/// Several blocks of rows for each thread, and panels of columns that are packed while the one before is used by many tiles.
#[test]
fn tall_products() {
    compare_all(3000..3040, 10, |rng| Case {
        batch: 1,
        m: rng.pick(&[511, 513, 700, 1030]),
        n: rng.pick(&[33, 64, 70, 97]),
        k: rng.pick(&[2, 17, 40, 257]),
    });
}

/// Columns that tiles turn while they are computed, where they lie along the fold: of lines that are whole, and not.
#[test]
fn turned_columns() {
    compare_all(4000..4160, 30, |rng| Case {
        batch: 1,
        m: rng.pick(&[48, 100]),
        n: rng.pick(&[64, 70]),
        k: rng.pick(&[64, 256, 272, 320]),
    });
}

/// Threads share the columns.
#[test]
fn products_of_few_rows() {
    compare_all(2000..2100, 30, |rng| Case {
        batch: rng.pick(&[1, 1, 2]),
        m: rng.pick(&[1, 2, 6, 7, 12, 13]),
        n: rng.pick(&[64, 65, 100, 128, 130, 300]),
        k: rng.pick(&[2, 8, 255, 257, 300]),
    });
}

/// A vector times a matrix that lies in any order of its dimensions, from a copy that a step leaves out.
fn thin(rng: &mut Rng) -> Program {
    let columns = [[1, 16], [1, 33], [1, 70], [1, 2100], [5, 20], [20, 5], [3, 41]];
    let (batch, [n0, n1]) = (rng.pick(&[1, 1, 3]), rng.pick(&columns));
    let depth = rng.pick(if n1 > 2000 { &[2, 9] } else { &[2, 7, 8, 9, 255, 256, 257, 300, 520] });
    let dims = [batch, n0, n1, depth];
    let mut order = [0, 1, 2, 3];
    for i in (1..4).rev() {
        order.swap(i, rng.below(i + 1));
    }
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &dims[..3]);
    let original = p.data(rng.pick(&[DType::F32, DType::F32, DType::F32, DType::Bf16]), &order.map(|d| dims[d]));
    let vector = p.data(rng.pick(&[DType::F32, DType::Bf16]), &[batch, depth]);
    let backwards = rng.one_in(4);
    let index = |&d: &usize| match d {
        2 if backwards => o(2) * -1 + at(i64::from(n1) - 1),
        d => o(d),
    };
    let from: Vec<Index> = order.iter().map(index).collect();
    let copy = NodeBuilder::new(DType::F32, &dims).operand(original.at(from)).finish(load(0));
    let copy = p.node(copy).unwrap();
    let node = NodeBuilder::new(DType::F32, &dims[..3])
        .operand(vector.at([o(0), k(0)]))
        .operand(copy.at([o(0), o(1), o(2), k(0)]))
        .fold(&[depth], Order::Chain, f(rng.pick(&[0.5, -0.0])), load(1).fma(&load(0), &acc()))
        .combine(acc() + rhs());
    let y = p.node(node.finish(rng.pick(&[true, false]).then(acc).unwrap_or_else(|| max(&acc(), &f(0.0))))).unwrap();
    p.set(&s, &y);
    p.build().unwrap()
}

#[test]
fn thin_products() {
    let mut left_out = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let p = thin(&mut rng);
        let (state, data) = if rng.one_in(4) { inputs(&mut rng, &p) } else { mild_inputs(&mut rng, &p) };
        let expected = eval::step(&p, &state, &data).unwrap().state;
        for isa in testing::paths() {
            for threads in [1, 2, 3] {
                let threads = NonZeroUsize::new(threads);
                let options = Options { isa: Some(isa), threads, split_small: true, interpret: seed % 5 == 0 };
                let plan = Plan::with(&p, options).unwrap();
                assert!(
                    plan.step(&state, &data).unwrap() == expected,
                    "seed {seed}, {isa:?}, {threads:?} threads\n{p}"
                );
                left_out += usize::from(isa != Isa::Portable) * plan.left_out();
            }
        }
    }
    assert!(left_out > 400 || testing::paths().all(|isa| isa == Isa::Portable), "{left_out} copies were left out");
}
