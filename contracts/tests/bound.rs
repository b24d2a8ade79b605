//! The validator's bound on a unit's gas (`lockstep_ir::judge`) against what the referee spends: on random programs, and on blocks of
//! numbers chosen to be dear. A bound that is not above every measurement fails the build.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

mod common;
#[path = "common/witness.rs"]
mod witness;

use std::thread;

use common::Deployed;
use lockstep_contracts::Referee;
use lockstep_ir::{
    DType, Order, Tensor,
    build::{Draft, NodeBuilder, ProgramBuilder, k, o},
    eval::Unit,
    expr::{Expr, acc, f, load, rhs},
    judge::{DISPUTE_GAS, MAX_UNIT_GAS},
    program::level_count,
    sample::{Rng, tensors, valid_program},
    validate,
};
use witness::Step;

const PROGRAMS: u64 = 300;

/// Numbers that take the referee's long ways.
const DEAR: [u32; 12] = [
    0x0000_0001,
    0x8000_0003,
    0x007f_ffff,
    0x8040_0000,
    0x0080_0001,
    0x3f80_0001,
    0xbf80_0000,
    0x1f7f_ffff,
    0x7f7f_ffff,
    0x5f00_0001,
    0x0000_0000,
    0x7f80_0000,
];

/// A sequence of terms that a search over sequences found dearest for sums: every term is added to an accumulator for which it has
/// to be moved far and rounded, and none stays in the unpacked frame.
const DEAREST: [u32; 4] = [0x7f00_0003, 0x8025_898d, 0x8000_0003, 0xff00_0001];

/// Overwrites a tensor of floats with dear numbers; others keep theirs.
fn make_dear(tensor: &mut Tensor, rng: &mut Rng) {
    if tensor.decl().dtype == DType::F32 {
        let few = 1 + rng.below(DEAR.len() as u64);
        for index in 0..tensor.len() {
            tensor.set_stored(index, DEAR[rng.below(few) as usize]);
        }
    }
}

/// Units of a node; values of `combine` are dear too.
fn units(step: &Step, index: usize, rng: &mut Rng) -> Vec<Unit> {
    let length = step.program.nodes[index].fold_length();
    if length <= 256 {
        return vec![Unit::Element];
    }
    let blocks = level_count(length, 1);
    let values = (0..blocks.min(256)).map(|_| DEAR[rng.below(12) as usize]).collect();
    vec![Unit::Leaf(rng.below(blocks)), Unit::Leaf(blocks - 1), Unit::Top(values)]
}

/// Dearest measured share of the bound, in thousandths, and how many units were measured.
fn compare(seeds: impl Iterator<Item = u64>) -> (u64, u64) {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    let (mut most, mut judged) = (0, 0);
    for seed in seeds {
        let mut rng = Rng::new(50_000 + seed);
        let program = valid_program(&mut rng, 3, if seed % 16 == 0 { 100_000 } else { 4_000 });
        let costs = validate(&program).unwrap();
        let (mut state, mut data) = tensors(&mut rng, &program);
        if seed % 3 != 0 {
            state.iter_mut().chain(&mut data).for_each(|tensor| make_dear(tensor, &mut rng));
        }
        let step = Step::new(program, state, data);
        for (index, cost) in costs.iter().enumerate() {
            let element = rng.below(step.trace[index].len());
            for unit in units(&step, index, &mut rng) {
                let gas = measured(&mut referee, &step, index, element, &unit);
                let bound = cost.gas - DISPUTE_GAS;
                assert!(
                    gas <= bound,
                    "seed {seed}, node {index}, element {element}, {unit:?}: {gas} gas, bound {bound}\n{}",
                    step.program.nodes[index]
                );
                most = most.max(gas * 1_000 / bound);
                judged += 1;
            }
        }
    }
    (most, judged)
}

fn measured(referee: &mut Deployed, step: &Step, index: usize, element: u64, unit: &Unit) -> u64 {
    let (expected, call) = step.unit(index, element, unit);
    let (result, gas) = referee.call(&call);
    let got = result.unwrap_or_else(|revert| panic!("node {index}, element {element}, {unit:?}: {revert}"));
    assert_eq!(got, expected, "node {index}, element {element}, {unit:?}");
    gas
}

#[test]
fn no_random_unit_costs_more_than_its_bound() {
    let results = thread::scope(|scope| {
        let parts = [0, 1].map(|part| scope.spawn(move || compare((0..PROGRAMS).filter(move |seed| seed % 2 == part))));
        parts.map(|part| part.join().unwrap())
    });
    let judged: u64 = results.iter().map(|r| r.1).sum();
    println!("{judged} units, the dearest at {} thousandths of its bound", results.iter().map(|r| r.0).max().unwrap());
    assert!(judged > 2 * PROGRAMS);
}

/// A block of one body over rows of `x` and `w`.
fn block(body: Expr, both: bool, order: Order, length: u32) -> Draft {
    let mut builder = ProgramBuilder::new();
    let [x, w] = [builder.state(DType::F32, &[4, length]), builder.data(DType::F32, &[4, length])];
    let node = NodeBuilder::new(DType::F32, &[4]).operand(x.at([o(0), k(0)]));
    let node = if both { node.operand(w.at([o(0), k(0)])) } else { node };
    node.fold(&[length], order, f(1.5), body).combine(acc() + rhs()).finish(acc())
}

/// Every pair of dear numbers in every order, with accumulators of every size: the terms of products and sums have a way of their
/// own, whose worst term is not that of any instruction.
#[test]
fn the_dearest_blocks_stay_within_their_bound() {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    let bodies: [(&str, Expr, bool); 4] = [
        ("acc + a b", load(0).fma(&load(1), &acc()), true),
        ("acc + a", acc() + load(0), false),
        ("acc a + b", acc().fma(&load(0), &load(1)), true),
        ("acc / a", acc() / load(0), false),
    ];
    for (name, body, both) in bodies {
        for order in [Order::Chain, Order::Lanes] {
            let mut most = (0, 0);
            for pattern in 0..64 {
                let mut builder = ProgramBuilder::new();
                let x = builder.state(DType::F32, &[4, 512]);
                builder.data(DType::F32, &[4, 512]);
                builder.keep(&x);
                builder.node(block(body.clone(), both, order, 512)).unwrap();
                let program = builder.build().unwrap();
                let bound = validate(&program).unwrap()[0].gas - DISPUTE_GAS;
                let (mut state, mut data) = tensors(&mut Rng::new(1), &program);
                let mut rng = Rng::new(pattern);
                let chosen: Vec<u32> = (0..1 + pattern % 4).map(|_| DEAR[rng.below(12) as usize]).collect();
                for (which, tensor) in state.iter_mut().chain(&mut data).enumerate() {
                    for index in 0..tensor.len() {
                        let random = chosen[rng.below(chosen.len() as u64) as usize];
                        let dearest = if which == 0 { DEAREST[index as usize % 4] } else { 0x3f80_0000 };
                        tensor.set_stored(index, if pattern == 0 { dearest } else { random });
                    }
                }
                let step = Step::new(program, state, data);
                let gas = measured(&mut referee, &step, 0, 2, &Unit::Leaf(1));
                most = most.max((gas, bound));
                assert!(gas <= bound, "{name}, {order:?}, {chosen:08x?}: {gas} gas, bound {bound}");
            }
            println!("{name:>15} {order:?}: {} of {}", most.0, most.1);
            assert!(most.1 + DISPUTE_GAS <= MAX_UNIT_GAS);
        }
    }
}
