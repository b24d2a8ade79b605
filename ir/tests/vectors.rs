//! The checked-in vectors are what this build computes, and can be read back by someone who has only the file.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "../examples/vectors/main.rs"]
mod generate;

use lockstep_ir::{eval, sample::steps, validate};

const FILE: &str = include_str!("../vectors/v1.txt");

#[test]
fn the_file_is_what_this_build_computes() {
    let now = generate::text();
    for (i, (now, then)) in now.lines().zip(FILE.lines()).enumerate() {
        assert_eq!(now, then, "line {}: a changed bit is a new version of the protocol", i + 1);
    }
    assert_eq!(now.len(), FILE.len());
    assert_eq!(FILE.lines().next(), Some(generate::MAGIC));
}

#[test]
fn the_programs_run_from_the_file_alone() {
    let all = steps(FILE);
    for step in &all {
        validate(&step.program).unwrap();
        let ran = eval::step(&step.program, &step.state, &step.data).unwrap();
        assert_eq!(ran.trace, step.trace, "{}", step.name);
        assert_eq!(ran.state, step.next, "{}", step.name);
    }
    assert_eq!(all.len(), 21);
}
