//! Folds that run as machine code on copies of what they read: values that lie one after the other along a `chain` fold, windows of
//! several dimensions, padding, places that are skipped, coordinates; random, and bit for bit against the reference.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroUsize;

use lockstep_ir::{
    DType, Order, Program,
    build::{BuildError, Index, NodeBuilder, ProgramBuilder, TensorRef, at, k, o},
    eval,
    expr::{Expr, acc, coord, f, k as position, load, max_nan, rhs, select, u},
    validate::{Invalid, Rule},
};
use lockstep_kernels::{
    Options, Plan,
    testing::{self, Rng, inputs, mild_inputs},
};

/// Where an operand is read: in every dimension an output's coordinate, a fold position's or both, perhaps out of bounds.
fn operand(rng: &mut Rng, p: &mut ProgramBuilder, domain: &[u32], fold: &[u32]) -> (TensorRef, Vec<Index>) {
    // Mostly in the order of the dimensions, sometimes with outputs one after the other in the innermost.
    let transposed = rng.one_in(3);
    let (mut shape, mut index) = (Vec::new(), Vec::new());
    for d in 0..domain.len().max(fold.len()) {
        let d = if transposed { domain.len().max(fold.len()) - 1 - d } else { d };
        let (mut extent, mut x) = (1i64, at(0));
        if let Some(&n) = domain.get(d).filter(|_| !rng.one_in(5)) {
            let by = rng.pick(&[1, 1, 1, 2, -1]);
            x = x + o(d) * by;
            x = if by < 0 { x + at(i64::from(n) - 1) } else { x };
            extent += (i64::from(n) - 1) * by.abs();
        }
        if let Some(&n) = fold.get(d).filter(|_| !rng.one_in(5)) {
            let by = rng.pick(&[1, 1, 1, 2]);
            x = x + k(d) * by;
            extent += (i64::from(n) - 1) * by;
        }
        let (before, after) = (rng.pick(&[0, 0, 0, 1, 2]), rng.pick(&[0, 0, 0, 1]));
        index.push(x + at(-before));
        shape.push((extent - before - after).max(1) as u32);
    }
    (p.data(rng.pick(&[DType::F32, DType::F32, DType::Bf16, DType::I8]), &shape), index)
}

/// `None` if it cannot be judged.
fn program(rng: &mut Rng) -> Option<Program> {
    let mut domain: Vec<u32> = (0..rng.below(3)).map(|_| rng.pick(&[1, 2, 3, 5])).collect();
    domain.push(rng.pick(&[7, 15, 16, 17, 24, 40, 65, 129, 300]));
    let fold: &[&[u32]] =
        &[&[1], &[2], &[9], &[31], &[255], &[256], &[257], &[600], &[3, 3], &[2, 2, 2], &[5, 7], &[3, 100], &[70, 9]];
    let fold = rng.pick(fold);
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &domain);
    let mut node = NodeBuilder::new(DType::F32, &domain);
    let mut values: Vec<Expr> = Vec::new();
    for i in 0..1 + rng.below(2) {
        let (tensor, index) = operand(rng, &mut p, &domain, fold);
        let bytes = tensor.decl.dtype == DType::I8;
        let access = tensor.at(index);
        let access = if bytes { access } else { access.fill(rng.pick(&[0, 0x8000_0000, 0xff80_0000])) };
        node = node.operand(if rng.one_in(3) { access.skip() } else { access });
        values.push(if bytes { load(i as _).to_f32() } else { load(i as _) });
    }
    let last = values.pop()?;
    let value = match values.pop() {
        Some(first) => first * last,
        None => last,
    };
    let body = match rng.below(5) {
        0 => max_nan(&acc(), &value),
        1 => value.fma(&f(0.5), &acc()),
        2 => select(&coord((domain.len() - 1) as u16).lt(&position()), &acc(), &(acc() + value)),
        3 => select(&coord(0).and(&u(1)).eq(&u(0)), &(&acc() - &value), &(acc() * value.clone())),
        _ => acc() + value,
    };
    let order = rng.pick(&[Order::Chain, Order::Chain, Order::Lanes]);
    let node = node.fold(fold, order, f(rng.pick(&[0.0, -0.0, 1.0])), body).combine(acc() + rhs());
    let y = match p.node(node.finish(acc() * f(0.5))) {
        Ok(y) => y,
        Err(e) => panic!("{e}"),
    };
    p.set(&s, &y);
    match p.build() {
        Ok(program) => Some(program),
        Err(BuildError::Invalid(Invalid::Node { rule: Rule::Chunks { .. } | Rule::Gas { .. }, .. })) => None,
        Err(e) => panic!("{e}"),
    }
}

/// Windows that move over an image with channels last, each with a weight for every tap and channel, perhaps: short ones in two dimensions,
/// or long ones in one, of which whole leaf blocks can lie beyond the image.
fn windows(rng: &mut Rng) -> Option<Program> {
    let long = rng.one_in(3);
    let (h, w) = if long { (1, rng.pick(&[3, 40, 300])) } else { (rng.pick(&[2, 3, 9]), rng.pick(&[3, 8, 20])) };
    let (kh, kw) = if long { (1, rng.pick(&[255, 257, 300])) } else { (rng.pick(&[1, 2, 3]), rng.pick(&[2, 3])) };
    let c = if long { 16 } else { rng.pick(&[7, 16, 17, 24, 40, 130]) };
    let (stride, dilation) = (rng.pick(&[1, 1, 2]), rng.pick(&[1, 1, 2]));
    let (before, images) = (rng.pick(&[0, 1, 1, 2]) * if long { 100 } else { 1 }, rng.pick(&[1, 2]));
    let out = |n: u32| ((n - 1) / stride + 1 + 2 * u32::from(long)).min(12);
    let shape = [images, out(h), out(w), c];
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &shape);
    let dtype = if long { DType::Bf16 } else { rng.pick(&[DType::F32, DType::F32, DType::Bf16, DType::I8]) };
    let image = p.data(dtype, &[images, h, w, c]);
    let along = |d: usize| o(d) * i64::from(stride) + k(d - 1) * dilation + at(-before);
    let taps = image.at([o(0), if h == 1 { at(0) } else { along(1) }, along(2), o(3)]);
    let value = if dtype == DType::I8 { load(0).to_f32() } else { load(0) };
    let taps = if dtype == DType::F32 { taps.fill(rng.pick(&[0, 0x8000_0000, 0xff80_0000])) } else { taps };
    let mut node = NodeBuilder::new(DType::F32, &shape).operand(if rng.one_in(3) { taps } else { taps.skip() });
    let weighted = !long && rng.one_in(3);
    if weighted {
        let weights = p.data(DType::F32, &[kh, kw, c]);
        node = node.operand(weights.at([k(0), k(1), o(3)]));
    }
    let body = match rng.below(5) {
        _ if weighted => value.fma(&load(1), &acc()),
        0 => max_nan(&acc(), &value),
        1 => value.fma(&f(0.5), &acc()),
        2 => select(&coord(2).and(&u(1)).eq(&u(0)), &(&acc() - &value), &(acc() * value.clone())),
        3 => select(&coord(3).lt(&position()), &acc(), &(acc() + value)),
        _ => acc() + value,
    };
    let order = rng.pick(&[Order::Chain, Order::Chain, Order::Lanes]);
    let node = node.fold(&[kh, kw], order, f(rng.pick(&[0.0, -0.0, 1.0])), body).combine(acc() + rhs());
    let y = p.node(node.finish(acc() * f(0.5))).unwrap();
    p.set(&s, &y);
    match p.build() {
        Ok(program) => Some(program),
        Err(BuildError::Invalid(Invalid::Node { rule: Rule::Chunks { .. } | Rule::Gas { .. }, .. })) => None,
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn random_windows() {
    compare(windows, 500, 250);
}

#[test]
fn random_folds() {
    compare(program, 700, 350);
}

fn compare(make: fn(&mut Rng) -> Option<Program>, seeds: u64, least: usize) {
    let mut compared = 0;
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let Some(p) = make(&mut rng) else { continue };
        let (state, data) = if rng.one_in(2) { inputs(&mut rng, &p) } else { mild_inputs(&mut rng, &p) };
        let expected = eval::step(&p, &state, &data).unwrap().state;
        for isa in testing::paths() {
            for threads in [1, 2] {
                let threads = NonZeroUsize::new(threads);
                let options = Options { isa: Some(isa), threads, split_small: true, interpret: false };
                let after = Plan::with(&p, options).unwrap().step(&state, &data).unwrap();
                assert!(after == expected, "{isa:?}, {threads:?} threads, seed {seed}\n{p}");
            }
        }
        compared += 1;
    }
    assert!(compared > least, "only {compared} programs could be judged");
}
