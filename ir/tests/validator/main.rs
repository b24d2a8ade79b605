//! Every rule of the validator, each triggered by the smallest change to a program that is right.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod code;
mod cost;
mod nodes;

use lockstep_ir::{
    Program, Source, Ty,
    scalar::{Instr, Op},
    validate,
    validate::{Invalid, Rule},
};

/// A matrix times a vector with a gathered row, in blocks, and a map.
const RIGHT: &str = include_str!("../../examples/vectors/right.txt");

fn parsed(text: &str) -> Program {
    text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// What the validator says after these replacements, each of which must match.
fn changed(changes: &[(&str, &str)]) -> Invalid {
    let text = changes.iter().fold(RIGHT.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    validate(&parsed(&text)).unwrap_err()
}

#[track_caller]
fn first_node(changes: &[(&str, &str)], expected: &Rule) {
    assert_eq!(changed(changes), Invalid::Node { node: 0, rule: expected.clone() });
}

#[track_caller]
fn second_node(changes: &[(&str, &str)], expected: &Rule) {
    assert_eq!(changed(changes), Invalid::Node { node: 1, rule: expected.clone() });
}

#[test]
fn the_program_itself_is_right() {
    let costs = validate(&parsed(RIGHT)).unwrap();
    assert_eq!(costs.iter().map(|c| c.chunks).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn invalid_too_many() {
    let right = parsed(RIGHT);
    for what in ["nodes", "state tensors", "data tensors"] {
        let mut p = right.clone();
        match what {
            "nodes" => p.nodes.resize(65_537, right.nodes[1].clone()),
            "state tensors" => p.state.resize(65_537, right.state[1].clone()),
            _ => p.data.resize(65_537, right.data[0].clone()),
        }
        assert_eq!(validate(&p), Err(Invalid::TooMany { what, got: 65_537 }));
        p.nodes.truncate(65_536);
        p.state.truncate(65_536);
        p.data.truncate(65_536);
        assert!(validate(&p).is_ok(), "65,536 {what} are allowed");
    }
}

#[test]
fn invalid_empty() {
    let mut p = parsed(RIGHT);
    p.nodes.clear();
    assert_eq!(validate(&p), Err(Invalid::Empty("nodes")));
    let mut p = parsed(RIGHT);
    p.state.clear();
    assert_eq!(validate(&p), Err(Invalid::Empty("state tensors")));
}

#[test]
fn invalid_shape() {
    for shape in ["[2,0]", "[4294967295,4294967295]", "[1048576,1048577]", "[1,1,1,1,1,1,1]"] {
        let declared = format!("data d0 f32{shape}");
        let want = Invalid::Shape { at: Source::Data(0), shape: shape.into() };
        assert_eq!(changed(&[("data d0 f32[2,600]", &declared)]), want);
    }
    let want = Invalid::Shape { at: Source::State(1), shape: "[0]".into() };
    assert_eq!(changed(&[("state s1 i32[2]", "state s1 i32[0]")]), want);
}

#[test]
fn invalid_next() {
    for next in ["n1", "n2", "s1", "s2", "d0", "d1", "n4294967295"] {
        let text = RIGHT.replacen("next n0", &format!("next {next}"), 1);
        assert!(matches!(validate(&parsed(&text)), Err(Invalid::Next { state: 0, .. })), "{next}");
    }
}
