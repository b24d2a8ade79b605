//! The builder's errors: each names the node, the operator, what was expected and what was given.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

use lockstep_ir::{
    DType, Order, Source, Ty,
    build::{BuildError, Draft, NodeBuilder, ProgramBuilder, TensorRef, at, gather, k, o},
    expr::{Expr, ExprError, acc, f, load, rhs, select, u},
    validate::{Invalid, Rule},
};

/// A program with state `x: f32[4]`, data `i: u32[4]` and one node.
fn with(node: impl Fn(NodeBuilder, &TensorRef, &TensorRef) -> Draft) -> Result<lockstep_ir::Program, BuildError> {
    let mut p = ProgramBuilder::new();
    let x = p.state(DType::F32, &[4]);
    let i = p.data(DType::U32, &[4]);
    let y = p.node(node(NodeBuilder::new(DType::F32, &[4]), &x, &i))?;
    p.set(&x, &y);
    p.build()
}

fn map(finish: Expr) -> Result<lockstep_ir::Program, BuildError> {
    with(|n, x, _| n.operand(x.at([o(0)])).finish(finish.clone()))
}

fn error<T>(result: Result<T, BuildError>) -> String {
    match result {
        Ok(_) => panic!("was built"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn expressions_are_checked() {
    assert!(map(load(0)).is_ok());
    for (finish, message) in [
        (load(0) + u(1), "finish of node 0: `add` expected f32 as argument 1, got u32"),
        (load(0).xor(&f(1.0)), "finish of node 0: `xor` does not exist for f32"),
        (select(&f(1.0), &load(0), &load(0)), "finish of node 0: `select` does not exist for f32"),
        (select(&u(1), &load(0), &u(0)), "finish of node 0: `select` expected f32 as argument 2, got u32"),
        (u(1).shl(&load(0)), "finish of node 0: `shl` expected u32 as argument 1, got f32"),
        (load(1), "finish of node 0: `load(1)`: the node has 1 operands"),
        (acc(), "finish of node 0: `acc` cannot be used in this scalar program"),
        (rhs(), "finish of node 0: `rhs` cannot be used in this scalar program"),
    ] {
        assert_eq!(error(map(finish)), message);
    }
    let long = (0..600).fold(load(0), |e, i| e + f(i as f32));
    let source = ExprError::TooLong(1_201);
    assert_eq!(map(long), Err(BuildError::Expr { node: 0, part: "finish", source }));
    // A wrong result is the validator's to find.
    let rule = Rule::Result { program: "finish", expected: Ty::F32, got: Ty::U32 };
    assert_eq!(map(load(0).to_bits()), Err(BuildError::Invalid(Invalid::Node { node: 0, rule })));
}

#[test]
fn equal_parts_are_computed_once() {
    let square = |e: &Expr| e * e;
    let built = map(square(&(load(0) + f(1.0))) + square(&(load(0) + f(1.0)))).unwrap();
    assert_eq!(built.nodes[0].finish.len(), 5, "load, 1, sum, square, sum");
    let built = map(load(0)).unwrap();
    assert_eq!(built.nodes[0].finish.len(), 1);
}

#[test]
fn addresses_are_checked() {
    let read = |index: &[lockstep_ir::build::Index]| {
        with(|n, x, i| n.operand(i.at([o(0)])).operand(x.at(index)).finish(load(1) + load(0).to_f32()))
    };
    assert!(read(&[gather(0) * 2 + o(0) * -1 + 3]).is_ok());
    for (index, message) in [
        (vec![], "operand 1 of node 0: expected 1 coordinates for view [4], got 0"),
        (vec![o(0), o(0)], "operand 1 of node 0: expected 1 coordinates for view [4], got 2"),
        (vec![o(1)], "operand 1 of node 0 uses o(1), but the node has 1 of them"),
        (vec![k(0)], "operand 1 of node 0 uses k(0), but the node has 0 of them"),
        (vec![gather(0) + gather(0)], "coordinate 0 of operand 1 of node 0 gathers 2 times; once is allowed"),
        (vec![at(i64::MAX) + 1], "coordinate 0 of operand 1 of node 0 has a number that leaves 64 bits"),
        (vec![o(0) * i64::MIN * -1], "coordinate 0 of operand 1 of node 0 has a number that leaves 64 bits"),
        (vec![o(0) * i64::MAX + o(0)], "coordinate 0 of operand 1 of node 0 has a number that leaves 64 bits"),
    ] {
        assert_eq!(error(read(&index)), message);
    }
}

#[test]
fn folds_are_checked() {
    let fold = |order, factors: &[u32], init: Expr, combine: Option<Expr>| {
        with(|n, x, _| {
            let n = n.operand(x.at([k(0)])).fold(factors, order, init.clone(), acc() + load(0));
            combine.iter().cloned().fold(n, NodeBuilder::combine).finish(acc())
        })
    };
    let sum = || Some(acc() + rhs());
    assert!(fold(Order::Chain, &[4], f(0.0), None).is_ok());
    assert!(fold(Order::Lanes, &[4], f(0.0), sum()).is_ok());
    let dropped = fold(Order::Chain, &[4], f(0.0), sum()).unwrap();
    assert!(dropped.nodes[0].fold.as_ref().unwrap().combine.is_empty(), "a short chain never combines");
    let missing = "node 0: `combine` is missing";
    assert_eq!(error(fold(Order::Lanes, &[4], f(0.0), None)), missing);
    assert_eq!(error(fold(Order::Chain, &[257], f(0.0), None)), missing);
    assert_eq!(error(fold(Order::Chain, &[4], load(0), None)), "the initial value of node 0 is not a constant");
    assert_eq!(
        error(fold(Order::Chain, &[4], u(0), None)),
        "body of node 0: `add` expected u32 as argument 1, got f32"
    );
    let combined = with(|n, x, _| n.operand(x.at([o(0)])).combine(acc() + rhs()).finish(load(0)));
    assert_eq!(error(combined), "node 0 combines, but does not fold");
}

#[test]
fn what_a_combine_is_does_not_depend_on_when_it_was_given() {
    let build = |first: bool| {
        with(|n, x, _| {
            let n = n.operand(x.at([k(0)]));
            let fold = |n: NodeBuilder| n.fold(&[4], Order::Lanes, f(0.0), acc() + load(0));
            let n = if first { fold(n.combine(acc() + rhs())) } else { fold(n).combine(acc() + rhs()) };
            n.finish(acc())
        })
        .unwrap()
    };
    assert_eq!(build(true), build(false));
}

#[test]
fn state_needs_a_next_value() {
    let mut p = ProgramBuilder::new();
    let x = p.state(DType::F32, &[]);
    let d = p.data(DType::F32, &[]);
    let y = p.node(NodeBuilder::new(DType::F32, &[]).operand(x.at([])).finish(load(0))).unwrap();
    let mut other = ProgramBuilder::new();
    other.state(DType::F32, &[]);
    other.state(DType::F32, &[]);
    assert_eq!(other.build(), Err(BuildError::NoNext(0)));
    p.set(&d, &y);
    p.keep(&x);
    assert_eq!(p.build(), Err(BuildError::NotState(Source::Data(0))));
}
