//! Every rule of the validator, each triggered by the smallest change to a program that is right.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use lockstep_ir::{
    Program, Source, Ty,
    scalar::{Instr, Op},
    validate,
    validate::{Invalid, Rule},
};

/// A matrix times a vector with a gathered row, in blocks, and a map.
const RIGHT: &str = "lockstep program 1
state s0 f32[2] next n0
state s1 i32[2] next s1
data d0 f32[2,600]
node n0 f32[2] {
  fold [600] lanes from f32 0x00000000
  operand 0 s1 i32[2] at (o0)
  operand 1 d0 f32[2,600] at (gather(0), k0)
  operand 2 s0 f32[2] at (o0)
  body { v0 = load 1 v1 = acc v2 = fadd v0 v1 }
  combine { v0 = acc v1 = rhs v2 = fadd v0 v1 }
  finish { v0 = acc v1 = load 2 v2 = fadd v0 v1 }
}
node n1 u32[] {
  operand 0 n0 f32[2] at (1)
  finish { v0 = load 0 v1 = f32 0x3f800000 v2 = flt v0 v1 }
}
";

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

#[test]
fn rule_gas() {
    let dear = "v0 = load 1 v1 = acc v2 = fma v0 v0 v1 v3 = fma v0 v2 v1 v4 = fadd v2 v3";
    first_node(&[("v0 = load 1 v1 = acc v2 = fadd v0 v1", dear)], &Rule::Gas { program: "body", got: 3_550 });
    let dear = "v0 = acc v1 = rhs v2 = fma v0 v1 v1 v3 = fma v0 v2 v2 v4 = fma v0 v3 v3";
    first_node(&[("v0 = acc v1 = rhs v2 = fadd v0 v1", dear)], &Rule::Gas { program: "combine", got: 3_600 });
}

#[test]
fn rule_chunks() {
    // A column of 600 rows: every value lies in another chunk, up to the block's 256.
    let transposed = [
        ("d0 f32[2,600]\n", "d0 f32[600,600]\n"),
        ("d0 f32[2,600] at (gather(0), k0)", "d0 f32[600,600] at (k0, gather(0))"),
    ];
    first_node(&transposed, &Rule::Chunks { got: 257 });
}

/// A fold over an image `rows` high with `width` values in a row of which the last 7 are left out.
fn image_fold(rows: u32, width: u32) -> Program {
    let fold = format!("fold [{rows},{}]", width - 7);
    let data = format!("d0 f32[2,{rows},{width}]");
    let at = format!("{data} at (gather(0), k0, k1)");
    let changes =
        [("d0 f32[2,600]\n", format!("{data}\n")), ("fold [600]", fold), ("d0 f32[2,600] at (gather(0), k0)", at)];
    let text = changes.iter().fold(RIGHT.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
    parsed(&text)
}

#[test]
fn rule_patterns() {
    // 10,007 is prime, so every block begins at another place of a row; of [100,10007] there are 3,909 blocks, of [158,10007] 6,177.
    let costs = validate(&image_fold(100, 10_014)).unwrap();
    assert_eq!(costs[0].patterns, 3_909);
    let rule = Rule::Patterns("[158,10007]".into());
    assert_eq!(validate(&image_fold(158, 10_014)), Err(Invalid::Node { node: 0, rule }));
    // Rows that are whole make one axis.
    let mut p = image_fold(158, 10_014);
    if let Some(fold) = &mut p.nodes[0].fold {
        fold.factors = vec![158, 10_014];
    }
    assert_eq!(validate(&p).unwrap()[0].patterns, 1);
}

#[test]
fn invalid_patterns() {
    let mut p = image_fold(104, 10_014);
    let worst = p.nodes[0].clone();
    p.nodes = vec![worst; 65_536];
    // 4,066 different blocks each: the 65th node goes over 262,144.
    let start = std::time::Instant::now();
    assert_eq!(validate(&p), Err(Invalid::Patterns { node: 64 }));
    println!("262,144 blocks: {:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 60, "the validator's time is bounded");
}

#[test]
fn the_largest_program_is_checked_in_seconds() {
    // Everything at its limit at once: nodes, operands, instructions.
    let mut p = image_fold(3, 263);
    let mut node = p.nodes[0].clone();
    let operand = node.operands[2].clone();
    node.operands.resize(16, operand);
    node.finish.truncate(1);
    for i in 2..16 {
        node.finish.push(Instr::op(Op::Load, i, 0, 0));
    }
    node.finish.resize(512, Instr::op(Op::Fma, 0, 1, 2));
    p.nodes = vec![node; 65_536];
    let start = std::time::Instant::now();
    assert_eq!(validate(&p).map(|costs| costs.len()), Ok(65_536));
    println!("65,536 nodes: {:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 60, "the validator's time is bounded");
}
