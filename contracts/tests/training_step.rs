//! `Referee.sol` against the reference evaluator on a real step: every unit of every node of the digits job.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

mod common;
#[path = "common/witness.rs"]
mod witness;

use std::thread;

use common::Deployed;
use lockstep_contracts::Referee;
use lockstep_ir::eval::{self, Unit};
use lockstep_kernels::Plan;
use lockstep_train::{JobFile, TrainingJob};
use witness::Step;

/// Steps trained before the one that is judged, so that momenta and loss are not all zero.
const TRAINED: usize = 20;

fn step() -> Step {
    let job = TrainingJob::new(&JobFile::default()).unwrap();
    let plan = Plan::new(&job.program).unwrap();
    let state = (0..TRAINED).fold(job.state, |state, _| plan.step(&state, &job.data).unwrap());
    let reference = eval::step(&job.program, &state, &job.data).unwrap();
    assert_eq!(plan.step(&state, &job.data).unwrap(), reference.state, "kernels and reference");
    Step::new(job.program, state, job.data)
}

/// Judges every `of`-th element, starting with `part`; gives how many.
fn judge(step: &Step, part: u64, of: u64) -> u64 {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    let mut judged = 0;
    for (index, node) in step.program.nodes.iter().enumerate() {
        assert!(node.fold_length() <= 256, "node {index}: one unit gives the whole element");
        for element in (part..step.trace[index].len()).step_by(of as usize) {
            let (expected, call) = step.unit(index, element, &Unit::Element);
            let (got, _) = referee.call(&call);
            let got = got.unwrap_or_else(|revert| panic!("node {index}, element {element}: reverted with {revert}"));
            assert_eq!(got, expected, "node {index}, element {element}: {got:08x}, not {expected:08x}");
            assert_eq!(expected, step.trace[index].stored(element), "node {index}, element {element}: unit and node");
            judged += 1;
        }
    }
    judged
}

#[test]
fn every_unit_of_a_training_step_agrees_with_the_reference() {
    let step = step();
    let judged: u64 = thread::scope(|scope| {
        let parts = [0, 1].map(|part| {
            let step = &step;
            scope.spawn(move || judge(step, part, 2))
        });
        parts.map(|part| part.join().unwrap()).iter().sum()
    });
    let elements: u64 = step.trace.iter().map(lockstep_ir::Tensor::len).sum();
    assert_eq!(judged, elements);
    println!("{judged} units judged");
}
