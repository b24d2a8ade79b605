//! Shapes and types that do not fit are refused where they meet, with what was expected and what was found.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use lockstep_ir::DType;
use lockstep_train::{
    graph::{Graph, GraphError},
    lower::{LowerError, lower},
    ops::{
        AddBias, Fill, GatherRows, Increment, LogSumExpGrad, MeanGrad, PickGrad, Pointwise, ReluGrad, Sample, SumRows,
    },
};

fn message<T: std::fmt::Debug>(result: Result<T, GraphError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn every_operation_checks_its_arguments() {
    let mut g = Graph::new();
    let m = g.state("m", DType::F32, &[4, 3]).unwrap();
    let v = g.state("v", DType::F32, &[3]).unwrap();
    let i = g.data("i", DType::U32, &[3]).unwrap();
    let one = g.data("one", DType::F32, &[]).unwrap();

    assert_eq!(message(g.matmul(m, m)), "matmul: argument 1 should be f32[3,n], got f32[4,3]");
    assert_eq!(message(g.matmul_transposed(m, v)), "matmul: argument 1 should be f32[m,n], got f32[3]");
    assert_eq!(message(g.matmul(i, m)), "matmul: argument 0 should be f32[m,n], got u32[3]");
    assert_eq!(message(g.add_bias(m, i)), "add_bias: argument 1 should be f32[3], got u32[3]");
    assert_eq!(message(g.apply(AddBias, &[m])), "add_bias takes 2 arguments, got 1");
    assert_eq!(message(g.apply(SumRows, &[v])), "sum_rows: argument 0 should be f32[m,n], got f32[3]");
    assert_eq!(message(g.relu(i)), "relu: argument 0 should be f32, got u32[3]");
    assert_eq!(message(g.apply(ReluGrad, &[m, v])), "relu_grad: argument 1 should be f32[4,3], got f32[3]");
    assert_eq!(message(g.add(m, v)), "add: argument 1 should be f32[4,3], got f32[3]");
    assert_eq!(message(g.apply(Pointwise::Neg, &[i])), "neg: argument 0 should be f32, got u32[3]");
    assert_eq!(message(g.apply(Pointwise::Sub, &[v])), "sub takes 2 arguments, got 1");
    assert_eq!(message(g.scale_add(0.5, v, m)), "scale_add: argument 1 should be f32[3], got f32[4,3]");
    assert_eq!(message(g.mean(m)), "mean: argument 0 should be f32[n] with n at most 2^24, got f32[4,3]");
    assert_eq!(message(g.apply(MeanGrad { n: 3 }, &[v])), "mean_grad: argument 0 should be f32[], got f32[3]");
    assert_eq!(message(g.pick(m, i)), "pick: argument 1 should be u32[4], got u32[3]");
    assert_eq!(
        message(g.apply(PickGrad { columns: 2 }, &[v, v])),
        "pick_grad: argument 0 should be u32[3], got f32[3]"
    );
    assert_eq!(message(g.softmax_cross_entropy(v, i)), "log_sum_exp: argument 0 should be f32[m,n], got f32[3]");
    assert_eq!(
        message(g.apply(LogSumExpGrad, &[m, v, v])),
        "log_sum_exp_grad: argument 1 should be f32[4], got f32[3]"
    );
    assert_eq!(message(g.gather_rows(m, v)), "gather_rows: argument 1 should be u32[3], got f32[3]");
    assert_eq!(message(g.apply(GatherRows, &[one, i])), "gather_rows: argument 0 should be [n,…], got f32[]");
    assert_eq!(message(g.apply(Increment, &[one])), "increment: argument 0 should be u32[], got f32[]");
    assert_eq!(
        message(g.apply(Sample { count: 4, below: 9 }, &[i, i])),
        "sample: argument 0 should be u32[], got u32[3]"
    );
    let empty = Fill { value: 0.0, shape: vec![0] };
    assert_eq!(
        message(g.apply(empty, &[])),
        "`fill` has shape [0]: at most 6 dimensions, none of them 0, at most 2^40 elements"
    );
}

#[test]
fn tensors_are_checked_when_declared_and_set() {
    let mut g = Graph::new();
    let w = g.state("w", DType::F32, &[2]).unwrap();
    let x = g.data("x", DType::F32, &[3]).unwrap();
    assert_eq!(g.data("w", DType::F32, &[2]).unwrap_err(), GraphError::Duplicate("w".into()));
    assert!(message(g.state("r", DType::F32, &[1; 7])).starts_with("`r` has shape [1,1,1,1,1,1,1]"));
    assert_eq!(message(g.set(w, x)), "`w` is f32[2] and cannot become f32[3]");
    assert_eq!(message(g.set(x, x)), "variable 1 is not a state tensor, so it has no next value");
    let mut other = Graph::new();
    assert_eq!(other.relu(x).unwrap_err(), GraphError::NoSuchVar { index: 1, count: 0 });
}

#[test]
fn a_state_tensor_needs_a_next_value() {
    let mut g = Graph::new();
    let w = g.state("w", DType::F32, &[2]).unwrap();
    let v = g.state("v", DType::F32, &[2]).unwrap();
    let sum = g.add(w, v).unwrap();
    g.set(w, sum).unwrap();
    assert_eq!(lower(&g).unwrap_err(), LowerError::NoNext("v".into()));
    g.set(v, v).unwrap();
    let unused = g.sub(w, v).unwrap();
    assert_eq!(lower(&g).unwrap().node_names, ["add"], "variable {unused:?} is not needed");
}

#[test]
fn a_program_without_nodes_is_refused() {
    let mut g = Graph::new();
    let w = g.state("w", DType::F32, &[2]).unwrap();
    g.set(w, w).unwrap();
    assert_eq!(lower(&g).unwrap_err().to_string(), "the program is refused: the program has no nodes");
}
