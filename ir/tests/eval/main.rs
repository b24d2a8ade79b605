//! Every rule of docs/protocol.md, section 2, by name: what a node means.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod elements;
mod folds;
mod gathers;
mod skips;
mod units;

use std::collections::BTreeSet;

use lockstep_ir::{
    DType, Node, Program, Tensor, TensorDecl,
    eval::{self, Recorder, Unit},
    program::{BLOCK, level_count, top_level},
    sample::{Rng, tensors, valid_program},
    validate,
};

const SUM: &str = "body { v0 = acc v1 = load 0 v2 = fadd v0 v1 } combine { v0 = acc v1 = rhs v2 = fadd v0 v1 }";

/// The node, which must be valid where its operands `d0`, `d1` are these tensors.
fn node(text: &str, data: &[&Tensor]) -> Node {
    let decl = |t: &Tensor| format!("{}{}", t.decl().dtype, lockstep_ir::types::shape_text(&t.decl().shape));
    let data: String = data.iter().enumerate().map(|(i, t)| format!("data d{i} {} ", decl(t))).collect();
    let text = format!("lockstep program 1 state s0 u32[] next s0 {data} node n0 {text}");
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    validate(&program).unwrap_or_else(|e| panic!("{e}\n{text}"));
    program.nodes[0].clone()
}

/// The stored bits of every element of the node's output. Operand `i` reads `data[i]`.
fn bits(text: &str, data: &[&Tensor]) -> Vec<u32> {
    let out = eval::node(&node(text, data), data).unwrap();
    (0..out.len()).map(|i| out.stored(i)).collect()
}

fn floats(text: &str, data: &[&Tensor]) -> Vec<f32> {
    bits(text, data).into_iter().map(f32::from_bits).collect()
}

fn f32s(shape: &[u32], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape, values).unwrap()
}

fn u32s(shape: &[u32], values: &[u32]) -> Tensor {
    Tensor::from_u32(shape, values).unwrap()
}

fn i32s(shape: &[u32], values: &[i32]) -> Tensor {
    Tensor::from_i32(shape, values).unwrap()
}

/// Numbers whose sum depends on the order.
fn uneven(n: usize) -> Vec<f32> {
    let mut rng = Rng::new(n as u64);
    (0..n).map(|_| (rng.below(1 << 20) as f32 - 500_000.0) * 2f32.powi(rng.below(40) as i32 - 20)).collect()
}

#[test]
fn a_step_reads_the_state_before_it() {
    let text = "lockstep program 1
        state s0 u32[] next n1 state s1 u32[] next s0 state s2 u32[] next d0 state s3 u32[] next s3
        data d0 u32[]
        node n0 u32[] { operand 0 s0 u32[] at () finish { v0 = load 0 v1 = u32 1 v2 = add v0 v1 } }
        node n1 u32[] { operand 0 n0 u32[] at () operand 1 s0 u32[] at () finish { v0 = load 0 v1 = load 1 v2 = mul v0 v1 } }";
    let program: Program = text.parse().unwrap();
    validate(&program).unwrap();
    let scalar = |v| u32s(&[], &[v]);
    let after = eval::step(&program, &[5, 6, 7, 8].map(scalar), &[scalar(9)]).unwrap();
    assert_eq!(after.state, [30, 5, 9, 8].map(scalar));
    assert_eq!(after.trace, [6, 30].map(scalar));
}
