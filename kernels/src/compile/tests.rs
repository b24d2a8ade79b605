//! AVX-512 code, simulated, against the reference: the machine that runs these tests need not have it. (Leaf blocks along rows are AVX2
//! code, and run.)
#![allow(clippy::unwrap_used, reason = "tests")]

use lockstep_ir::{
    DType, Order, Program,
    build::{NodeBuilder, ProgramBuilder, at, k, o},
    eval,
    expr::{Expr, acc, coord, f, k as position, load, rhs, select},
    func::tanh,
};

use super::runs_compiled;
use crate::{
    Isa, Options, Plan,
    testing::{Rng, Size, inputs, program},
};

fn check(p: &Program, seed: u64) {
    let (state, data) = inputs(&mut Rng::new(seed), p);
    let expected = eval::step(p, &state, &data).unwrap();
    let options = Options { isa: Some(Isa::Portable), simulate: true, ..Options::default() };
    let plan = Plan::with(p, options).unwrap();
    let mut node = 0;
    let traced = plan.trace(&state, &data, |i, out| {
        assert!(*out == expected.trace[i], "seed {seed}, node {i}\n{p}");
        node = i + 1;
        std::ops::ControlFlow::<()>::Continue(())
    });
    assert!(traced.is_ok() && node == p.nodes.len());
    assert!(plan.step(&state, &data).unwrap() == expected.state, "seed {seed}\n{p}");
}

#[test]
fn random_programs_in_simulated_avx512() {
    for seed in 0..250 {
        check(&program(&mut Rng::new(seed), Size::default()), seed);
    }
    for seed in 10_000..10_200 {
        check(&program(&mut Rng::new(seed), Size { nodes: 8, elements: 40, work: 2_000, fold: 300 }), seed);
    }
}

/// More values alive at once than there are registers.
#[test]
fn values_are_put_away_and_come_back() {
    for n in [1, 7, 16, 33, 100] {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[n]);
        let values: Vec<Expr> = (0..40u8).map(|i| (load(0) * f(0.01 * f32::from(i))).sqrt()).collect();
        let sum = values.iter().fold(f(0.0), |sum, v| sum + v.clone());
        let all = values.iter().rev().fold(sum, |product, v| product * v.clone() + v.clone());
        let y = p.node(NodeBuilder::new(DType::F32, &[n]).operand(s.at([o(0)])).finish(all)).unwrap();
        p.set(&s, &y);
        let p = p.build().unwrap();
        check(&p, u64::from(n));
        let (state, _) = inputs(&mut Rng::new(u64::from(n)), &p);
        let expected = eval::step(&p, &state, &[]).unwrap().state;
        assert!(Plan::new(&p).unwrap().step(&state, &[]).unwrap() == expected);
    }
}

/// More comparisons alive at once than there are mask registers: some become vectors, some are wanted as both.
#[test]
fn masks_are_put_away_and_come_back() {
    for n in [1, 7, 16, 33, 100] {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[n]);
        let below: Vec<Expr> = (0..12u8).map(|i| load(0).lt(&f(0.5 * f32::from(i) - 3.0))).collect();
        let up = below.iter().fold(f(0.25), |sum, c| select(c, &(sum.clone() + f(1.5)), &sum));
        let down = below.iter().rev().fold(up, |sum, c| select(c, &(sum.clone() * f(0.75)), &(sum + load(0))));
        let odd = below.iter().step_by(2).fold(down, |sum, c| sum + c.to_f32());
        let all = below.iter().rev().step_by(3).fold(odd, |sum, c| select(c, &(sum.clone() * f(-1.0)), &sum));
        let y = p.node(NodeBuilder::new(DType::F32, &[n]).operand(s.at([o(0)])).finish(all)).unwrap();
        p.set(&s, &y);
        let p = p.build().unwrap();
        for seed in 0..20 {
            check(&p, seed);
            let (state, _) = inputs(&mut Rng::new(seed), &p);
            let expected = eval::step(&p, &state, &[]).unwrap().state;
            assert!(Plan::new(&p).unwrap().step(&state, &[]).unwrap() == expected);
        }
    }
}

#[test]
fn folds_in_simulated_avx512() {
    let found = position().eq(&load(1).to_u32());
    let bodies = [acc() + load(0) * load(1), select(&found, &load(0), &acc())];
    for ((rows, columns), body) in [(1, 16), (3, 17), (9, 300), (5, 600), (33, 64)]
        .iter()
        .flat_map(|shape| bodies.iter().map(move |b| (*shape, b)))
    {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[rows]);
        let x = p.data(DType::F32, &[rows, columns]);
        let y =
            p.node(NodeBuilder::new(DType::F32, &[rows, columns]).operand(x.at([o(0), o(1)])).finish(tanh(&load(0))));
        let y = y.unwrap();
        let node = NodeBuilder::new(DType::F32, &[rows]).operand(y.at([o(0), k(0)])).operand(s.at([o(0)]));
        let node = node.fold(&[columns], Order::Lanes, f(0.5), body.clone()).combine(acc() + rhs());
        let y = p.node(node.finish(acc())).unwrap();
        p.set(&s, &y);
        let p = p.build().unwrap();
        assert!(runs_compiled(&p.nodes[1]));
        check(&p, u64::from(columns));
    }
}

/// Folds on copies of what they read: values one after the other along a `chain`, windows with edges that are padded or left out, outputs'
/// coordinates.
#[test]
fn copied_folds_in_simulated_avx512() {
    for (outputs, length) in [(16u32, 1u32), (17, 9), (40, 257), (130, 300)] {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[outputs]);
        let x = p.data(DType::F32, &[outputs, length]);
        let image = p.data(DType::Bf16, &[outputs, 3]);
        let body = select(&coord(0).lt(&position()), &acc(), &(acc() + load(0)));
        let node = NodeBuilder::new(DType::F32, &[outputs]).operand(x.at([o(0), k(0)]));
        let along = p.node(node.fold(&[length], Order::Chain, f(0.5), body).combine(acc() + rhs()).finish(acc()));
        let padded = image.at([o(0) + k(0) + at(-1), k(1) + at(-1)]);
        let window = |access, init| {
            let node = NodeBuilder::new(DType::F32, &[outputs]).operand(access);
            node.fold(&[3, 3], Order::Lanes, f(init), acc() + load(0)).combine(acc() - rhs()).finish(acc())
        };
        p.node(window(padded.clone().fill(0x4000_0000), 0.25)).unwrap();
        p.node(window(padded.skip(), 0.5)).unwrap();
        // Lines of neighbouring outputs, from a list.
        let lines = p.data(DType::F32, &[4, outputs]);
        let lines = lines.at([o(0) + k(0) + at(-1), o(1)]);
        for lines in [lines.clone().fill(0xff80_0000), lines.skip()] {
            let node = NodeBuilder::new(DType::F32, &[5, outputs]).operand(lines);
            let node = node.fold(&[3], Order::Chain, f(-0.0), load(0).fma(&f(-2.0), &acc()));
            p.node(node.finish(acc())).unwrap();
        }
        p.set(&s, &along.unwrap());
        let p = p.build().unwrap();
        assert!(p.nodes.iter().all(runs_compiled));
        check(&p, u64::from(length));
    }
}
