//! Shapes, operands and addresses of a node.

use super::*;

#[test]
fn rule_shape() {
    let rule = |what, shape: &str| Rule::Shape { what, shape: shape.into() };
    second_node(&[("n1 u32[]", "n1 u32[3,0]")], &rule("output", "[3,0]"));
    second_node(&[("n1 u32[]", "n1 u32[1,1,1,1,1,1,1]"), ("at (1)", "raw []")], &rule("output", "[1,1,1,1,1,1,1]"));
    second_node(&[("n1 u32[] {", "n1 u32[] { domain [0]")], &rule("domain", "[0]"));
    second_node(&[("n0 f32[2] at (1)", "n0 f32[2] as [2,0] at (1,0)")], &rule("view", "[2,0]"));
    first_node(&[("fold [600]", "fold [0]")], &rule("fold", "[0]"));
    first_node(&[("fold [600]", "fold [65536,65536]")], &rule("fold", "[65536,65536]"));
    first_node(
        &[
            ("fold [600]", "fold [1,1,1,1,1,1,600]"),
            ("at (gather(0), k0)", "raw []"),
            ("at (o0)", "raw []"),
            ("at (o0)", "raw []"),
        ],
        &rule("fold", "[1,1,1,1,1,1,600]"),
    );
    let mut p = parsed(RIGHT);
    if let Some(fold) = &mut p.nodes[0].fold {
        fold.factors.clear();
    }
    assert_eq!(validate(&p), Err(Invalid::Node { node: 0, rule: rule("fold", "[]") }));
    p.nodes[0].out.shape = vec![1; 1 << 20];
    let message = validate(&p).unwrap_err().to_string();
    assert!(message.contains("1048576 dimensions") && message.len() < 200, "{message}");
}

#[test]
fn rule_elements() {
    let rule = |what, got: &str, expected: &str| Rule::Elements { what, got: got.into(), expected: expected.into() };
    first_node(&[("n0 f32[2] {", "n0 f32[2] { domain [3]")], &rule("domain", "[3]", "[2]"));
    second_node(&[("n0 f32[2] at (1)", "n0 f32[2] as [2,2] at (1,0)")], &rule("view", "[2,2]", "[2]"));
}

#[test]
fn rule_too_many_operands() {
    let mut p = parsed(RIGHT);
    let operand = p.nodes[1].operands[0].clone();
    p.nodes[1].operands.resize(17, operand);
    assert_eq!(validate(&p), Err(Invalid::Node { node: 1, rule: Rule::TooManyOperands(17) }));
}

#[test]
fn rule_no_source() {
    // Itself, a later node, one that is not there, a state tensor that is not there: no cycle can be written.
    for (text, from) in
        [("n1", Source::Node(1)), ("n2", Source::Node(2)), ("n9", Source::Node(9)), ("s2", Source::State(2))]
    {
        let to = format!("operand 0 {text} f32[2] at (1)");
        second_node(&[("operand 0 n0 f32[2] at (1)", &to)], &Rule::NoSource { operand: 0, from });
    }
    let to = ("operand 2 s0", "operand 2 n0");
    first_node(&[to], &Rule::NoSource { operand: 2, from: Source::Node(0) });
}

#[test]
fn rule_declaration() {
    let rule =
        |got: &str| Rule::Declaration { operand: 0, from: Source::Node(0), got: got.into(), expected: "f32[2]".into() };
    second_node(&[("n0 f32[2] at (1)", "n0 f32[3] at (1)")], &rule("f32[3]"));
    second_node(&[("n0 f32[2] at (1)", "n0 u32[2] at (1)")], &rule("u32[2]"));
    second_node(&[("n0 f32[2] at (1)", "n0 f32[2,1] at (1,0)")], &rule("f32[2,1]"));
}

#[test]
fn rule_access() {
    let rule = |got| Rule::Access { operand: 0, got, expected: 1 };
    second_node(&[("at (1)", "raw []")], &rule(0));
    second_node(&[("at (1)", "raw [1,0]")], &rule(2));
    let many = format!("raw [{}0]", "0,".repeat(100_000));
    second_node(&[("at (1)", &many)], &rule(100_001));
}

#[test]
fn rule_gather() {
    let rule = Rule::Gather { operand: 1 };
    // Not there, itself, a float operand.
    for by in ["gather(3)", "gather(255)", "gather(1)", "gather(2)"] {
        first_node(&[("gather(0)", by)], &rule);
    }
    // An index that itself gathers or skips: found where it is used.
    first_node(
        &[("operand 2 s0 f32[2] at (o0)", "operand 2 s1 i32[2] at (gather(0))"), ("gather(0), k0", "gather(2), k0")],
        &rule,
    );
    first_node(&[("s1 i32[2] at (o0)", "s1 i32[2] at (o0) skip")], &rule);
    // Twice in one dimension, descending, past the view.
    for gathers in ["gather(0,0,1) gather(0,0,1)", "gather(1,0,1) gather(0,0,1)", "gather(2,0,1)", "gather(255,0,1)"] {
        let raw = format!("raw [0,0,0, 0,0,1] {gathers}");
        first_node(&[("at (gather(0), k0)", &raw)], &rule);
    }
}

#[test]
fn rule_coordinate_range() {
    let rule = |operand, dim| Rule::CoordinateRange { operand, dim };
    // The last magnitude that fits is 2^63 − 1.
    for (row, fits) in [
        ("9223372036854775807", true),
        ("-9223372036854775807", true),
        ("-9223372036854775808", false),
        ("o0*9223372036854775807", true),
        ("o0*9223372036854775807+1", false),
        ("-o0*9223372036854775808", false),
        ("k0*15397949978054717", true),
        ("k0*15397949978054718", false),
        ("-k0*15397949978054718", false),
    ] {
        let text = RIGHT.replacen("at (gather(0), k0)", &format!("at (gather(0), {row})"), 1);
        let want = Invalid::Node { node: 0, rule: rule(1, 1) };
        match validate(&parsed(&text)) {
            Err(error) => assert!(!fits && error == want, "{row}: {error}"),
            Ok(_) => assert!(fits, "{row}"),
        }
    }
    // A gathered value counts as 2^32 − 1.
    first_node(&[("gather(0), k0", "gather(0)*2147483649, k0")], &rule(1, 0));
    first_node(&[("gather(0), k0", "-gather(0)*9223372036854775808, k0")], &rule(1, 0));
    let text = RIGHT.replacen("gather(0), k0", "gather(0)*2147483648, k0", 1);
    assert!(validate(&parsed(&text)).is_ok());
}

#[test]
fn rule_unused() {
    first_node(&[("v0 = acc v1 = load 2 v2 = fadd v0 v1", "v0 = acc")], &Rule::Unused(2));
    // What is only gathered through by an unused operand is unused too.
    first_node(&[("v0 = load 1 v1 = acc v2 = fadd v0 v1", "v0 = acc")], &Rule::Unused(0));
}

#[test]
fn rule_finish_load() {
    first_node(&[("operand 2 s0 f32[2] at (o0)", "operand 2 s0 f32[2] at (k0)")], &Rule::FinishLoad(2));
    first_node(&[("operand 2 s0 f32[2] at (o0)", "operand 2 s0 f32[2] at (o0) skip")], &Rule::FinishLoad(2));
    // Through a gather whose index moves with k.
    first_node(
        &[
            ("s1 i32[2] at (o0)", "s1 i32[2] at (k0)"),
            ("operand 2 s0 f32[2] at (o0)", "operand 2 s0 f32[2] at (gather(0))"),
        ],
        &Rule::FinishLoad(2),
    );
    second_node(&[("n0 f32[2] at (1)", "n0 f32[2] at (1) skip")], &Rule::FinishLoad(0));
}
