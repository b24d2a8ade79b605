//! The checked-in vectors are what this build computes, and can be read back by someone who has only the file.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "../examples/vectors.rs"]
mod generate;

use lockstep_ir::{Program, Tensor, TensorDecl, eval, validate};

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

fn tensor(decl: &TensorDecl, hex: &str) -> Tensor {
    let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    Tensor::from_bytes(decl.clone(), bytes).unwrap()
}

#[test]
fn the_programs_run_from_the_file_alone() {
    let mut run = 0;
    for block in FILE.split("\nprogram ").skip(1) {
        let lines: Vec<&str> = block.lines().collect();
        let text: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix('|')).collect();
        let program: Program = text.join("\n").parse().unwrap();
        validate(&program).unwrap();
        let all = |what: &str, decls: Vec<&TensorDecl>| -> Vec<Tensor> {
            let named = lines.iter().filter_map(|l| l.strip_prefix(what)?.trim().split_once(' '));
            named.zip(decls).map(|((_, hex), decl)| tensor(decl, hex)).collect()
        };
        let state: Vec<&TensorDecl> = program.state.iter().map(|s| &s.decl).collect();
        let before = all("state", state.clone());
        let step = eval::step(&program, &before, &all("data", program.data.iter().collect())).unwrap();
        assert_eq!(step.trace, all("output", program.nodes.iter().map(|n| &n.out).collect()), "{}", lines[0]);
        assert_eq!(step.state, all("next", state), "{}", lines[0]);
        run += 1;
    }
    assert_eq!(run, 18);
}
