//! Scalar programs of a node.

use super::*;

#[test]
fn rule_nan() {
    first_node(&[("from f32 0x00000000", "from f32 0x7fc00001")], &Rule::Nan("init"));
    first_node(
        &[("operand 2 s0 f32[2] at (o0)", "operand 2 s0 f32[2] at (o0) fill f32 0xffc00000")],
        &Rule::Nan("fill"),
    );
    second_node(&[("f32 0x3f800000", "f32 0x7f800001")], &Rule::Nan("a constant"));
    // The canonical one is allowed, and as an integer so is every bit pattern.
    for (from, to) in
        [("f32 0x3f800000", "f32 0x7fc00000"), ("s1 i32[2] at (o0)", "s1 i32[2] at (o0) fill i32 2143289345")]
    {
        assert!(validate(&parsed(&RIGHT.replacen(from, to, 1))).is_ok(), "{to}");
    }
}

#[test]
fn rule_missing() {
    let body = "body { v0 = load 1 v1 = acc v2 = fadd v0 v1 }";
    let combine = "combine { v0 = acc v1 = rhs v2 = fadd v0 v1 }";
    first_node(&[(body, "body {}")], &Rule::Missing("body"));
    first_node(&[(combine, "")], &Rule::Missing("combine"));
    first_node(&[("lanes", "chain"), (combine, "")], &Rule::Missing("combine"));
    first_node(&[("600] lanes", "16] lanes"), (combine, "")], &Rule::Missing("combine"));
    second_node(
        &[("finish { v0 = load 0 v1 = f32 0x3f800000 v2 = flt v0 v1 }", "finish {}")],
        &Rule::Missing("finish"),
    );
}

#[test]
fn rule_needless() {
    first_node(&[("fold [600] lanes", "fold [256] chain")], &Rule::Needless);
}

#[test]
fn rule_too_long() {
    let mut p = parsed(RIGHT);
    p.nodes[1].finish.resize(513, Instr::Const(Ty::U32, 0));
    assert_eq!(validate(&p), Err(Invalid::Node { node: 1, rule: Rule::TooLong("finish") }));
    p.nodes[1].finish.truncate(512);
    assert!(validate(&p).is_ok());
}

#[test]
fn rule_argument() {
    let rule = |program, at, argument| Rule::Argument { program, at, argument };
    second_node(&[("flt v0 v1", "flt v0 v2")], &rule("finish", 2, 2));
    second_node(&[("flt v0 v1", "flt v65535 v1")], &rule("finish", 2, 65_535));
    first_node(&[("v0 = load 1", "v0 = fneg v0")], &rule("body", 0, 0));
    first_node(&[("v1 = rhs v2 = fadd v0 v1", "v1 = rhs v2 = fadd v0 v3")], &rule("combine", 2, 3));
}

#[test]
fn rule_field() {
    let mut p = parsed(RIGHT);
    for (op, [a, b, c]) in [(Op::Acc, [1, 0, 0]), (Op::Load, [2, 1, 0]), (Op::FNeg, [0, 0, 1]), (Op::Const, [0, 0, 0])]
    {
        p.nodes[0].finish[0] = Instr::op(op, a, b, c);
        let rule = Rule::Field { program: "finish", at: 0, op: op.text() };
        // An argument that is no earlier value is told first.
        let want = if op == Op::FNeg { Rule::Argument { program: "finish", at: 0, argument: 0 } } else { rule };
        assert_eq!(validate(&p), Err(Invalid::Node { node: 0, rule: want }));
    }
    p = parsed(RIGHT);
    p.nodes[0].finish[2] = Instr::op(Op::FNeg, 0, 1, 0);
    let rule = Rule::Field { program: "finish", at: 2, op: "fneg" };
    assert_eq!(validate(&p), Err(Invalid::Node { node: 0, rule }));
}

#[test]
fn rule_type() {
    let rule = |op, expected, got| Rule::Type { program: "finish", at: 2, op, expected, got };
    for (code, op, expected, got) in [
        ("flt v0 v1", "flt", Ty::F32, Ty::U32),
        ("add v0 v0", "add", Ty::U32, Ty::F32),
        ("shl v1 v0", "shl", Ty::U32, Ty::F32),
        ("shr_s v1 v1", "shr_s", Ty::I32, Ty::U32),
        ("mulhi_s v1 v1", "mulhi_s", Ty::I32, Ty::U32),
        ("select v0 v1 v1", "select", Ty::U32, Ty::F32),
        ("select v1 v0 v1", "select", Ty::F32, Ty::U32),
        ("f_to_i v1", "f_to_i", Ty::F32, Ty::U32),
        ("i_to_f v1", "i_to_f", Ty::I32, Ty::U32),
        ("as_u v1", "as_u", Ty::I32, Ty::U32),
        ("bits_to_f v0", "bits_to_f", Ty::U32, Ty::F32),
    ] {
        second_node(&[("f32 0x3f800000", "u32 1"), ("flt v0 v1", code)], &rule(op, expected, got));
    }
}

#[test]
fn rule_input() {
    let rule = |program, at, op| Rule::Input { program, at, op };
    // A map has no accumulator, no fold position, no right-hand side, and only its own operands and coordinates.
    for (code, op) in
        [("acc", "acc"), ("rhs", "rhs"), ("k", "k"), ("kf 0", "kf"), ("coord 0", "coord"), ("load 1", "load")]
    {
        second_node(&[("v0 = load 0", &format!("v0 = {code}"))], &rule("finish", 0, op));
    }
    for (code, op) in [("k", "k"), ("kf 0", "kf"), ("rhs", "rhs"), ("coord 1", "coord")] {
        first_node(&[("v1 = load 2", &format!("v1 = {code}"))], &rule("finish", 1, op));
    }
    for (code, op) in [("k", "k"), ("kf 0", "kf"), ("coord 0", "coord"), ("load 1", "load")] {
        first_node(&[("v1 = rhs", &format!("v1 = {code}"))], &rule("combine", 1, op));
    }
    for (code, op) in [("rhs", "rhs"), ("kf 1", "kf"), ("coord 1", "coord"), ("load 3", "load")] {
        first_node(&[("v0 = load 1 v1 = acc", &format!("v0 = {code} v1 = acc"))], &rule("body", 0, op));
    }
}

#[test]
fn rule_result() {
    let rule = |program, expected, got| Rule::Result { program, expected, got };
    second_node(&[("flt v0 v1", "fadd v0 v1")], &rule("finish", Ty::U32, Ty::F32));
    first_node(&[("v2 = fadd v0 v1", "v2 = flt v0 v1")], &rule("body", Ty::F32, Ty::U32));
    first_node(&[("v1 = rhs v2 = fadd v0 v1", "v1 = rhs v2 = feq v0 v1")], &rule("combine", Ty::F32, Ty::U32));
}
