//! Folds that run as machine code, along memory and across it, against the reference: lengths around every boundary, every element
//! type, both orders, hostile values.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroUsize;

use lockstep_ir::{
    DType, Order, Program,
    build::{NodeBuilder, ProgramBuilder, at, k, o},
    eval,
    expr::{Expr, acc, f, i, k as position, kf as factor, load, max, max_nan, rhs, select, u},
};
use lockstep_kernels::{
    Isa, Options, Plan,
    testing::{self, Rng, inputs},
};

fn check(p: &Program, seed: u64) {
    let (state, data) = inputs(&mut Rng::new(seed), p);
    let expected = eval::step(p, &state, &data).unwrap().state;
    for isa in testing::paths() {
        for threads in [1, 2] {
            let threads = NonZeroUsize::new(threads);
            let options = Options { isa: Some(isa), threads, split_small: true, interpret: false };
            let after = Plan::with(p, options).unwrap().step(&state, &data).unwrap();
            assert!(after == expected, "{isa:?}, {threads:?} threads, seed {seed}, shapes {:?}", p.data);
        }
    }
}

struct Case {
    dtype: DType,
    outputs: u32,
    length: u32,
    order: Order,
    /// Fold along the rows of the operand, or across them.
    along: bool,
}

fn fold(case: &Case, init: Expr, body: Expr, combine: Expr) -> Program {
    let Case { dtype, outputs, length, order, along } = *case;
    let mut p = ProgramBuilder::new();
    let out = if dtype == DType::I8 { DType::I32 } else { DType::F32 };
    let s = p.state(out, &[outputs]);
    let shape = if along { [outputs, length] } else { [length, outputs] };
    let x = p.data(dtype, &shape);
    let scale = p.data(DType::F32, &[outputs]);
    let at = if along { x.at([o(0), k(0)]) } else { x.at([k(0), o(0)]) };
    let mut node = NodeBuilder::new(out, &[outputs]).operand(at);
    if dtype != DType::I8 {
        node = node.operand(scale.at([o(0)]));
    }
    let y = p.node(node.fold(&[length], order, init, body).combine(combine).finish(acc())).unwrap();
    p.set(&s, &y);
    p.build().unwrap()
}

fn check_lengths(lengths: &[u32], outputs: &[u32]) {
    for (n, &length) in lengths.iter().enumerate() {
        for &outputs in outputs {
            for order in [Order::Chain, Order::Lanes] {
                for along in [true, false] {
                    // Across many rows, only short folds can be judged.
                    if !along && length > 8 {
                        continue;
                    }
                    let case = |dtype| Case { dtype, outputs, length, order, along };
                    let seed = n as u64;
                    let scaled = acc() + load(0) * load(1);
                    check(&fold(&case(DType::F32), f(0.5), scaled.clone(), acc() + rhs()), seed);
                    check(&fold(&case(DType::Bf16), f(-1.0), scaled, acc() + rhs()), seed);
                    let scaled = max(&acc(), &(load(0) - load(1)));
                    check(&fold(&case(DType::F32), f(f32::NEG_INFINITY), scaled, max_nan(&acc(), &rhs())), seed);
                    check(&fold(&case(DType::I8), i(3), acc() + load(0) * i(7), acc() + rhs()), seed);
                }
            }
        }
    }
}

#[test]
fn lengths_around_a_leaf_block() {
    check_lengths(&[1, 2, 7, 15, 16, 17, 31, 64, 127, 128, 129, 255, 256, 257, 272, 300, 511, 512, 513], &[1, 9, 37]);
}

#[test]
fn lengths_of_three_levels() {
    check_lengths(&[65_535, 65_536, 65_553, 70_000], &[2]);
}

/// More rows, or more leaf blocks, than one call of a routine takes.
#[test]
fn rows_in_several_calls() {
    for (rows, columns) in [(17u32, 4_096u32), (300, 2_305), (600, 513), (700, 250), (40, 50_257)] {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[rows]);
        let x = p.data(DType::F32, &[rows, columns]);
        let node = NodeBuilder::new(DType::F32, &[rows]).operand(x.at([o(0), k(0)]));
        let node = node.fold(&[columns], Order::Lanes, f(0.5), acc() + load(0)).combine(acc() - rhs());
        let y = p.node(node.finish(acc())).unwrap();
        p.set(&s, &y);
        check(&p.build().unwrap(), u64::from(columns));
    }
}

/// From one operand, whose addresses all have registers, to more than there are registers for.
#[test]
fn rows_of_many_operands() {
    for operands in 1..=10u16 {
        // Longer folds of many operands could not be judged.
        let columns: &[u32] = if operands < 4 { &[17, 256, 300, 512] } else { &[16, 17, 48, 60] };
        for &columns in columns {
            let mut p = ProgramBuilder::new();
            let s = p.state(DType::U32, &[21]);
            let (mut node, mut body) = (NodeBuilder::new(DType::U32, &[21]), acc());
            for i in 0..operands {
                // Rows lie further apart than they are long: each operand's otherwise, or none of them in two chunks.
                let x = p.data(DType::U32, &[21, if operands < 4 { columns + u32::from(i) } else { 64 << (i % 2) }]);
                let at = if i % 3 == 2 { x.at([o(0), at(1)]) } else { x.at([o(0), k(0)]) };
                node = node.operand(at);
                body = body + load(i);
            }
            let node = node.fold(&[columns], Order::Lanes, u(3), body).combine(acc() - rhs()).finish(acc());
            let y = p.node(node).unwrap();
            p.set(&s, &y);
            check(&p.build().unwrap(), u64::from(operands));
        }
    }
}

/// A value at a position that an operand names, and positions themselves: along rows, across them, with an operand that would be skipped.
#[test]
fn positions_are_read_along_rows_and_across_them() {
    for (n, length) in (0..).zip([1u32, 2, 7, 8, 16, 17, 40, 255, 256, 257, 300, 600, 70_000]) {
        for (along, order) in [(true, Order::Lanes), (true, Order::Chain), (false, Order::Lanes), (false, Order::Chain)]
        {
            if !along && length > 8 {
                continue;
            }
            let outputs = if length > 1000 { 2 } else { 19 };
            let place = load(1).and(&u(15));
            let found = [position().eq(&place), factor(0).lt(&place), (factor(1) + position()).ne(&place)];
            let bodies = found.map(|found| select(&found, &load(0), &acc()));
            for body in bodies {
                let mut p = ProgramBuilder::new();
                let s = p.state(DType::F32, &[outputs]);
                let x = p.data(DType::F32, &if along { [outputs, length] } else { [length, outputs] });
                let label = p.data(DType::U32, &[outputs]);
                let at = if along { x.at([o(0), k(0)]) } else { x.at([k(0), o(0)]) };
                let node = NodeBuilder::new(DType::F32, &[outputs]).operand(at.skip()).operand(label.at([o(0)]));
                let node = node.fold(&[length, 1], order, f(0.5), body).combine(acc() + rhs()).finish(acc());
                let y = p.node(node).unwrap();
                p.set(&s, &y);
                check(&p.build().unwrap(), n);
            }
        }
    }
}

/// Sums over rows through the copy that makes them judgeable, which a step reads past.
#[test]
fn sums_of_columns() {
    for (rows, columns) in [(1, 16), (3, 17), (16, 24), (33, 40), (257, 16), (600, 33), (1000, 100)] {
        for order in [Order::Chain, Order::Lanes] {
            let mut p = ProgramBuilder::new();
            let s = p.state(DType::F32, &[columns]);
            let x = p.data(DType::F32, &[rows, columns]);
            let t = p.node(NodeBuilder::new(DType::F32, &[columns, rows]).operand(x.at([o(1), o(0)])).finish(load(0)));
            let t = t.unwrap();
            let node = NodeBuilder::new(DType::F32, &[columns]).operand(t.at([o(0), k(0)]));
            let node = node.fold(&[rows], order, f(0.25), load(0).fma(&load(0), &acc())).combine(acc() - rhs());
            let y = p.node(node.finish(acc())).unwrap();
            p.set(&s, &y);
            let p = p.build().unwrap();
            assert_eq!(Plan::new(&p).unwrap().left_out(), usize::from(Isa::detect().unwrap() != Isa::Portable));
            check(&p, u64::from(rows));
        }
    }
}
