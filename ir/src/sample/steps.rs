//! Reading whole steps back from the file of vectors.

use alloc::vec::Vec;

use crate::{
    program::{Program, TensorDecl},
    tensor::Tensor,
};

/// A `program … end` of `ir/vectors/v1.txt`.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// What the vector is called.
    pub name: &'a str,
    /// Its lines after the name.
    pub lines: Vec<&'a str>,
    /// The program.
    pub program: Program,
    /// The state before the step.
    pub state: Vec<Tensor>,
    /// The data of the step.
    pub data: Vec<Tensor>,
    /// The output of every node.
    pub trace: Vec<Tensor>,
    /// The state after the step.
    pub next: Vec<Tensor>,
}

/// All steps of the file.
///
/// # Panics
/// The file is malformed.
#[must_use]
pub fn steps(file: &str) -> Vec<Step<'_>> {
    file.split("\nprogram ").skip(1).map(step).collect()
}

fn step(block: &str) -> Step<'_> {
    let mut lines = block.lines().take_while(|line| *line != "end");
    let name = lines.next().unwrap_or_default();
    let lines: Vec<&str> = lines.collect();
    let text: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix('|')).collect();
    let program: Program = text.join("\n").parse().unwrap_or_else(|e| panic!("{name}: {e}"));
    let state: Vec<&TensorDecl> = program.state.iter().map(|s| &s.decl).collect();
    let all = |what: &str, decls: &[&TensorDecl]| -> Vec<Tensor> {
        let named = lines.iter().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' ')?.split_once(' '));
        let read: Vec<Tensor> = named.zip(decls).map(|((_, hex), decl)| tensor(decl, hex)).collect();
        assert_eq!(read.len(), decls.len(), "{name}: {what}");
        read
    };
    let data = all("data", &program.data.iter().collect::<Vec<_>>());
    let trace = all("output", &program.nodes.iter().map(|node| &node.out).collect::<Vec<_>>());
    Step { name, state: all("state", &state), data, trace, next: all("next", &state), lines, program }
}

fn tensor(decl: &TensorDecl, hex: &str) -> Tensor {
    let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    let tensor = bytes.and_then(|bytes| Tensor::from_bytes(decl.clone(), bytes).ok());
    tensor.unwrap_or_else(|| panic!("no tensor of {decl:?}: {hex}"))
}
