//! Prints the roots of the steps in `ir/vectors/v1.txt`: `cargo run --release -p lockstep-commit --example roots > commit/vectors/steps-v1.txt`.
//!
//! Lines: magic and version first; then for every step its name and the roots of the program, its nodes, the state before the step,
//! the data, the trace, the state after the step, and of a claim with these two states as its checkpoints.

use lockstep_commit::{
    ProgramTree,
    roots::{claim_root, root_of_tensors},
};
use lockstep_ir::sample::steps;

#[allow(dead_code, reason = "the test takes the text alone")]
fn main() {
    print!("{}", text());
}

/// The whole file.
#[must_use]
pub(crate) fn text() -> String {
    let mut out = String::from("lockstep step roots 1\n");
    for step in steps(include_str!("../../ir/vectors/v1.txt")) {
        let program = ProgramTree::new(&step.program);
        let [state, data, trace, next] = [&step.state, &step.data, &step.trace, &step.next].map(root_of_tensors);
        let claim = claim_root(&[state, next]);
        out += &format!("step {} program {} nodes {}", step.name, program.root(), program.nodes().root());
        out += &format!(" state {state} data {data} trace {trace} next {next} claim {claim}\n");
    }
    out
}
