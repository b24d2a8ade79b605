//! The text form: exact round trip, and errors that say where and what.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

use lockstep_ir::{
    Node, Program,
    parse::{MAX_TEXT_BYTES, ParseError},
    sample::{Rng, any_program, valid_program},
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_program_reads_back(seed: u64) {
        let program = any_program(&mut Rng::new(seed));
        let text = program.to_string();
        prop_assert_eq!(&text.parse::<Program>().unwrap(), &program, "{}", text);
        for node in &program.nodes {
            prop_assert_eq!(&node.to_string().parse::<Node>().unwrap(), node);
        }
    }

    #[test]
    fn spaces_and_comments_mean_nothing(seed: u64) {
        let program = any_program(&mut Rng::new(seed));
        let bare: Vec<String> = (program.to_string().lines())
            .map(|l| l.split(';').next().unwrap().split_whitespace().collect::<Vec<_>>().join("\t"))
            .collect();
        prop_assert_eq!(bare.join(" ; \u{fc} comment\r\n").parse::<Program>().unwrap(), program);
    }

    #[test]
    fn a_changed_text_is_read_or_refused_with_a_place(seed: u64) {
        let mut rng = Rng::new(seed);
        let mut text = any_program(&mut rng).to_string().into_bytes();
        for _ in 0..=rng.below(3) {
            let at = rng.below(text.len() as u64 - 1) as usize;
            match rng.below(3) {
                0 => text[at] = rng.pick(b"0189abknosvx;-+*,()[]{}=\n "),
                1 => _ = text.remove(at),
                _ => text.truncate(at + 8),
            }
        }
        match String::from_utf8(text).unwrap().parse::<Program>() {
            Ok(program) => prop_assert_eq!(program.to_string().parse::<Program>().unwrap(), program),
            Err(ParseError::Unexpected { line, column, .. } | ParseError::Range { line, column, .. }) => {
                prop_assert!(line > 0 && column > 0);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn valid_programs_read_back() {
    let mut rng = Rng::new(7);
    for _ in 0..50 {
        let program = valid_program(&mut rng, 4, 1_000);
        assert_eq!(program.to_string().parse::<Program>().unwrap(), program);
    }
}

/// A node with one operand written like this, whose other half is `rest`.
fn with_operand(operand: &str) -> Result<Node, ParseError> {
    format!("node i32[4,2] {{ fold [3,3] chain from i32 -1\n operand 0 {operand} body {{}} finish {{}} }}").parse()
}

#[test]
fn coordinates_are_sums() {
    let node = with_operand("s1 bf16[9,9] at (o0*2+k1-3, -gather(1)*4 - o1 + k0*0) skip fill f32 0x80000000").unwrap();
    let op = &node.operands[0];
    assert_eq!(op.access, [-3, 2, 0, 0, 1, 0, 0, -1, 0, 0]);
    let [gather] = op.gathers[..] else { panic!("one gather") };
    assert_eq!((gather.dim, gather.operand, gather.stride), (1, 1, -4));
    let text = "operand 0 s1 bf16[9,9] at (o0*2+k1-3, -gather(1)*4-o1) skip fill f32 0x80000000 ; -0.0\n";
    assert!(node.to_string().contains(text), "{node}");

    let node = with_operand("s0 i32[1] at (o0*-1)");
    assert!(node.is_err(), "a sign stands before a term");
    let node = with_operand("s0 i32[1,1] at (-9223372036854775808, -k0*9223372036854775808)").unwrap();
    assert_eq!(node.operands[0].access[0], i64::MIN);
    assert_eq!(node.operands[0].access[8], i64::MIN);
}

#[test]
fn constants_are_exact() {
    for (text, bits) in [("f32 0x7f800001", 0x7f80_0001u32), ("i32 -2147483648", 1 << 31), ("u32 4294967295", u32::MAX)]
    {
        let node: Node = format!("node f32[] {{ finish {{ v0 = {text} }} }}").parse().unwrap();
        assert!(matches!(node.finish[..], [lockstep_ir::scalar::Instr::Const(_, b)] if b == bits), "{node}");
    }
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let error = |text: &str| text.parse::<Node>().unwrap_err().to_string();
    let operand = |text: &str| with_operand(text).unwrap_err().to_string();
    let cases = [
        (error(""), "line 1, column 1: expected `node`, found the end of the text"),
        (error("node f64[]"), "line 1, column 6: expected an element type, found `f64`"),
        (error("node f32[1;2]\n3]"), "line 2, column 1: expected `,` or `]`, found `3`"),
        (error("node f32[4294967296]"), "line 1, column 10: 4294967296 does not fit 32 bits"),
        (error("node f32[99999999999999999999]"), "line 1, column 10: 99999999999999999999 does not fit 64 bits"),
        (error("node f32[2x]"), "line 1, column 10: expected a word or a number, found `2x`"),
        (error("node f32[] {} "), "line 1, column 13: expected `finish`, found `}`"),
        (error("node f32[] { finish { v1"), "line 1, column 23: expected `v0`, found `v1`"),
        (error("node f32[] { finish { v0 = const"), "line 1, column 28: expected an operation, found `const`"),
        (
            error("node f32[] { finish { v0 = fneg 1"),
            "line 1, column 33: expected a value: `v` and its number, found `1`",
        ),
        (error("node f32[] { finish { v0 = fneg v65536"), "line 1, column 33: v65536 does not fit 16 bits"),
        (error("node f32[] { finish { v0 = f32 1.0"), "line 1, column 32: expected bits: `0x…`, found `1`"),
        (error("node f32[] { finish { v0 = f32 0x100000000"), "line 1, column 32: 0x100000000 does not fit 32 bits"),
        (error("node f32[] { finish { v0 = i32 2147483648"), "line 1, column 32: 2147483648 does not fit 32 bits"),
        (error("node f32[] { fold []"), "line 1, column 19: expected at least one fold factor, found `[`"),
        (error("node f32[] { fold [1] tree"), "line 1, column 23: expected `chain` or `lanes`, found `tree`"),
        (error("node f32[] { finish { } } é"), "line 1, column 27: expected the end of the text, found `é`"),
        (operand("n f32[]"), "line 2, column 12: expected a tensor: `s`, `d` or `n` and its number, found `n`"),
        (operand("s0 f32[] to"), "line 2, column 21: expected `at` or `raw`, found `to`"),
        (operand("s0 f32[] at (o1)"), "line 2, column 21: expected 0 coordinates, found `at`"),
        (operand("s0 f32[1] at (o2)"), "line 2, column 26: expected `o` with a number below 2, found `o2`"),
        (operand("s0 f32[1] at (o1-o1)"), "line 2, column 29: expected a term that was not given yet, found `o1`"),
        (
            operand("s0 f32[1] at (x1)"),
            "line 2, column 26: expected a term: `o`, `k`, `gather` or a number, found `x1`",
        ),
        (operand("s0 f32[1] at (9223372036854775808)"), "line 2, column 26: 9223372036854775808 does not fit 64 bits"),
        (operand("s0 f32[1] at (gather(256))"), "line 2, column 33: 256 does not fit 8 bits"),
        (
            operand("s0 f32[1] at (0) fill i32 1"),
            "line 2, column 34: expected a fill of type f32, as the operand loads, found `i32`",
        ),
        (
            operand("s0 f32[1,1,1,1,1,1,1] at (0)"),
            "line 2, column 34: expected `raw`, for a rank is over 6, found `at`",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
    let error = "lockstep program 2".parse::<Program>().unwrap_err().to_string();
    assert_eq!(error, "line 1, column 18: expected version 1, which this build speaks, found `2`");
}

#[test]
fn limits_hold() {
    let long = " ".repeat(MAX_TEXT_BYTES + 1);
    assert_eq!(long.parse::<Program>(), Err(ParseError::TooLong(MAX_TEXT_BYTES + 1)));
    let code: String = (0..513).map(|i| format!("v{i} = acc ")).collect();
    let error = format!("node f32[] {{ finish {{ {code} }} }}").parse::<Node>().unwrap_err().to_string();
    assert!(error.ends_with("expected `}` after 512 instructions, found `v512`"), "{error}");
    let found = format!("node {}", "x".repeat(1_000)).parse::<Node>().unwrap_err().to_string();
    assert!(found.len() < 120, "{found}");
}
