//! What judging costs, and what validating costs.

use lockstep_ir::judge::MAX_UNIT_GAS;

use super::*;

#[test]
fn rule_gas() {
    let gas = |changes: &[(&str, &str)]| match changed(changes) {
        Invalid::Node { node: 0, rule: Rule::Gas { unit, got } } => (unit, got),
        other => panic!("{other}"),
    };
    let dear = "v0 = load 1 v1 = acc v2 = fma v0 v0 v1 v3 = fma v0 v2 v1 v4 = fma v0 v3 v1";
    let (unit, got) = gas(&[("v0 = load 1 v1 = acc v2 = fadd v0 v1", dear)]);
    assert!(unit == "a leaf block" && got > MAX_UNIT_GAS, "{unit}: {got}");
    let dear = "v0 = acc v1 = rhs v2 = fma v0 v1 v1 v3 = fma v0 v2 v2 v4 = fma v0 v3 v3";
    let long = [
        ("v0 = acc v1 = rhs v2 = fadd v0 v1", dear),
        ("d0 f32[2,600]\n", "d0 f32[2,65536]\n"),
        ("d0 f32[2,600] at", "d0 f32[2,65536] at"),
        ("fold [600]", "fold [65536]"),
    ];
    let (unit, got) = gas(&long);
    assert!(unit == "the top" && got > MAX_UNIT_GAS, "{unit}: {got}");
    // Of 600 values there are 3 to combine.
    let text = long[..1].iter().fold(RIGHT.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
    assert!(validate(&parsed(&text)).is_ok());
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
    // Nodes and instructions at their limit at once, and as many operands as that leaves gas for.
    let mut p = image_fold(3, 263);
    let mut node = p.nodes[0].clone();
    let operand = node.operands[2].clone();
    node.operands.resize(8, operand);
    node.finish.truncate(1);
    for i in 2..8 {
        node.finish.push(Instr::op(Op::Load, i, 0, 0));
    }
    node.finish.resize(512, Instr::op(Op::FNeg, 0, 0, 0));
    p.nodes = vec![node; 65_536];
    let start = std::time::Instant::now();
    assert_eq!(validate(&p).map(|costs| costs.len()), Ok(65_536));
    println!("65,536 nodes: {:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 60, "the validator's time is bounded");
}
