//! `Referee.sol` against the reference evaluator: random programs, every kind of unit, exactly the chunks that were read.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

#[path = "common/alarm.rs"]
mod alarm;
mod common;
#[path = "common/witness.rs"]
mod witness;

use std::thread;

use alarm::{Alarm, Watch};
use common::Deployed;
use lockstep_contracts::Referee;
use lockstep_ir::{
    DType, Order,
    build::{Draft, NodeBuilder, ProgramBuilder, at, k, o},
    eval::{Element, Unit},
    expr::{acc, f, load, rhs},
    program::{level_count, top_level},
    sample::{Rng, steps, tensors, valid_program},
};
use witness::Step;

const PROGRAMS: u64 = 400;

/// All units of one element that the referee may be asked for; of many blocks, some.
fn units(step: &Step, index: usize, element: u64, rng: &mut Rng) -> Vec<Unit> {
    let node = &step.program.nodes[index];
    let length = node.fold_length();
    let Some(fold) = node.fold.as_ref().filter(|_| length > 256) else { return vec![Unit::Element] };
    let operands: Vec<_> = node
        .operands
        .iter()
        .map(|operand| lockstep_ir::eval::resolve(operand.source, &step.state, &step.data, &step.trace))
        .collect();
    let mut reader = operands.as_slice();
    let mut at = Element::new(node, &mut reader, element);
    let blocks = level_count(length, 1);
    let mut units = vec![Unit::Leaf(0), Unit::Leaf(blocks - 1), Unit::Leaf(rng.below(blocks))];
    units.push(Unit::Top(at.level(fold, top_level(length))));
    if length > 65_536 {
        let level = at.level(fold, 1);
        units.push(Unit::Combine(level[..256].to_vec()));
        units.push(Unit::Combine(level[level.len() / 256 * 256..].iter().chain(&level[..1]).copied().collect()));
    }
    units
}

/// Judges some elements of every node, every kind of unit; gives how many units, and the gas of the dearest.
fn judge_all(referee: &mut Deployed, step: &Step, rng: &mut Rng, seed: u64) -> (u64, u64) {
    let (mut judged, mut most) = (0, 0);
    for index in 0..step.program.nodes.len() {
        let elements = step.trace[index].len();
        for element in [0, elements - 1, rng.below(elements), rng.below(elements)] {
            for unit in units(step, index, element, rng) {
                let (expected, call) = step.unit(index, element, &unit);
                let (result, gas) = referee.call(&call);
                let got = result.unwrap_or_else(|revert| {
                    panic!("seed {seed}, node {index}, element {element}, {unit:?}: reverted with {revert}")
                });
                assert_eq!(
                    got, expected,
                    "seed {seed}, node {index}, element {element}, {unit:?}: {got:08x}, not {expected:08x}\n{:#?}",
                    step.program.nodes[index]
                );
                judged += 1;
                most = most.max(gas);
            }
        }
    }
    (judged, most)
}

fn compare(seeds: impl Iterator<Item = u64>, watch: &Watch<'_>) -> (u64, u64) {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    let (mut judged, mut most) = (0, 0);
    for seed in seeds.take_while(|_| !watch.rings()) {
        let mut rng = Rng::new(seed);
        let program = valid_program(&mut rng, 3, if seed % 16 == 0 { 200_000 } else { 5_000 });
        let (state, data) = tensors(&mut rng, &program);
        let step = Step::new(program, state, data);
        let (count, gas) = judge_all(&mut referee, &step, &mut rng, seed);
        judged += count;
        most = most.max(gas);
    }
    (judged, most)
}

#[test]
fn random_units_agree_with_the_reference() {
    let alarm = Alarm::default();
    let results = thread::scope(|scope| {
        let parts = [0, 1].map(|part| {
            let watch = alarm.watch();
            scope.spawn(move || compare((0..PROGRAMS).filter(move |seed| seed % 2 == part), &watch))
        });
        parts.map(|part| part.join().unwrap())
    });
    let judged: u64 = results.iter().map(|r| r.0).sum();
    println!("{judged} units judged, the dearest for {} gas with calldata", results.iter().map(|r| r.1).max().unwrap());
    assert!(judged > 4 * PROGRAMS);
}

/// The steps of the vectors, made so that every order of lanes, blocks and operands shows.
#[test]
fn the_vectors_agree_with_the_reference() {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    for vector in steps(include_str!("../../ir/vectors/v1.txt")) {
        let step = Step::new(vector.program, vector.state, vector.data);
        judge_all(&mut referee, &step, &mut Rng::new(1), 0);
    }
}

/// Dot products have a way of their own in the referee: strides of every sign and size, chunk borders, hard numbers.
#[test]
fn dot_products_agree_with_the_reference() {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    for seed in 0..60 {
        let mut rng = Rng::new(1_000 + seed);
        let length = [1, 2, 16, 100, 255, 256, 257, 300, 512][rng.below(9) as usize];
        // long and strided on both sides leaves gas for few chunks
        let columns = 1 + rng.below(if length > 100 { 2 } else { 4 }) as u32;
        let mut builder = ProgramBuilder::new();
        let x = builder.state(DType::F32, &[3, length]);
        let w = builder.data(DType::F32, &[length, columns]);
        builder.keep(&x);
        let last = i64::from(length) - 1;
        let (left, right) = match seed % 7 {
            0 => (x.at([o(0), k(0)]), w.at([k(0), o(1)])),
            1 => (x.at([o(0), at(last) + k(0) * -1]), w.at([k(0), o(1)])),
            2 => (w.at([at(last) + k(0) * -1, o(1)]), x.at([o(0), k(0)])),
            3 => (x.at([o(0), at(last)]), w.at([k(0), o(1)])),
            4 => (w.at([k(0), o(1)]), w.at([at(last) + k(0) * -1, o(1)])),
            // the last term is skipped
            5 => (x.at([o(0), k(0) + at(1)]).skip(), w.at([k(0), o(1)])),
            // a coordinate that leaves the tensor: the general way
            _ => (x.at([o(0), k(0) + at(1)]).fill(0x3f80_0000), w.at([k(0), o(1)])),
        };
        let node = NodeBuilder::new(DType::F32, &[3, columns])
            .operand(left)
            .operand(right)
            .fold(&[length], Order::Chain, f(-0.0), load(0).fma(&load(1), &acc()))
            .combine(acc() + rhs())
            .finish(acc());
        builder.node(node).unwrap();
        let program = builder.build().unwrap();
        let (mut state, mut data) = tensors(&mut rng, &program);
        if seed % 2 == 0 {
            // numbers near one, for sums that neither overflow nor turn into NaN at once
            for tensor in state.iter_mut().chain(&mut data) {
                for index in 0..tensor.len() {
                    tensor.set_stored(index, (rng.bits() as u32 & 0x807f_ffff) | ((120 + rng.below(10) as u32) << 23));
                }
            }
        }
        if seed % 7 == 5 {
            // what is skipped would be felt
            let last = data[0].len() - u64::from(columns)..data[0].len();
            last.for_each(|index| data[0].set_stored(index, f32::INFINITY.to_bits()));
        }
        judge_all(&mut referee, &Step::new(program, state, data), &mut rng, seed);
    }
}

/// A step of one node over the given state.
fn one_node(node: Draft, mut builder: ProgramBuilder, state: &[u32]) -> Step {
    builder.node(node).unwrap();
    let program = builder.build().unwrap();
    let (mut tensors, _) = tensors(&mut Rng::new(1), &program);
    state.iter().enumerate().for_each(|(index, &bits)| tensors[0].set_stored(index as u64, bits));
    Step::new(program, tensors, vec![])
}

/// What the referee makes of element 0.
fn judged(step: &Step) -> u32 {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    let (expected, call) = step.unit(0, 0, &Unit::Element);
    let got = referee.call(&call).0.unwrap();
    assert_eq!(got, expected);
    got
}

/// A tap outside the tensor that is skipped leaves a sum of nothing at −0; one that is filled with 0 adds +0 or −0 by the weight's sign.
#[test]
fn minus_zero_at_a_masked_tap() {
    for (skip, weight, expected) in [
        (true, 1.0f32, 0x8000_0000),
        (true, -1.0, 0x8000_0000),
        (false, 1.0, 0x0000_0000),
        (false, -1.0, 0x8000_0000),
        (true, f32::INFINITY, 0x8000_0000),
        (false, f32::INFINITY, 0x7fc0_0000),
    ] {
        let mut builder = ProgramBuilder::new();
        let x = builder.state(DType::F32, &[4]);
        builder.keep(&x);
        // All three taps lie past the end.
        let taps = x.at([k(0) + at(4)]);
        let node = NodeBuilder::new(DType::F32, &[1])
            .operand(if skip { taps.skip() } else { taps.fill(0) })
            .operand(x.at([k(0)]))
            .fold(&[3], Order::Chain, f(-0.0), load(0).fma(&load(1), &acc()))
            .combine(acc() + rhs())
            .finish(acc());
        let step = one_node(node, builder, &[weight.to_bits(); 4]);
        assert_eq!(judged(&step), expected, "skip {skip}, weight {weight}");
    }
}

/// Bits that only pass through are the canonical NaN's too, whatever NaN a party hides in its state.
#[test]
fn a_nan_payload_in_the_input() {
    for payload in [0x7fc0_0001, 0xff80_0001, 0xffff_ffff, 0x7f80_0001] {
        let mut builder = ProgramBuilder::new();
        let x = builder.state(DType::F32, &[2]);
        builder.keep(&x);
        let node = NodeBuilder::new(DType::F32, &[1]).operand(x.at([at(1)])).finish(load(0));
        assert_eq!(judged(&one_node(node, builder, &[0, payload])), 0x7fc0_0000, "{payload:08x}");
    }
}
