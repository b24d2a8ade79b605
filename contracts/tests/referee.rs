//! `Referee.sol` against the reference evaluator: random programs, every kind of unit, exactly the chunks that were read.

mod common;
#[path = "common/witness.rs"]
mod witness;

use std::thread;

use common::Deployed;
use lockstep_contracts::Referee;
use lockstep_ir::{
    eval::{Element, Unit},
    program::{level_count, top_level},
    sample::{Rng, tensors, valid_program},
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

fn compare(seeds: impl Iterator<Item = u64>) -> (u64, u64) {
    let mut referee = Deployed::new(&Referee::DEPLOYED_BYTECODE);
    let (mut judged, mut most) = (0, 0);
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let program = valid_program(&mut rng, 3, if seed % 16 == 0 { 200_000 } else { 5_000 });
        let (state, data) = tensors(&mut rng, &program);
        let step = Step::new(program, state, data);
        for index in 0..step.program.nodes.len() {
            let elements = step.trace[index].len();
            for element in [0, elements - 1, rng.below(elements), rng.below(elements)] {
                for unit in units(&step, index, element, &mut rng) {
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
    }
    (judged, most)
}

#[test]
fn random_units_agree_with_the_reference() {
    let results = thread::scope(|scope| {
        let parts = [0, 1].map(|part| scope.spawn(move || compare((0..PROGRAMS).filter(move |seed| seed % 2 == part))));
        parts.map(|part| part.join().unwrap())
    });
    let judged: u64 = results.iter().map(|r| r.0).sum();
    println!("{judged} units judged, the dearest for {} gas with calldata", results.iter().map(|r| r.1).max().unwrap());
    assert!(judged > 4 * PROGRAMS);
}
