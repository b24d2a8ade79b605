//! Whole steps, the units of their folds, and what must be refused.

use std::fmt::Write as _;

use lockstep_ir::{
    DType, Program, Tensor, TensorDecl, eval,
    program::{BLOCK, level_count},
    sample::{Rng, tensors, valid_program},
    tensor::narrow,
    types::element_count,
    validate,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn write(out: &mut String) {
    let mut rng = Rng::new(4);
    for (name, text) in WRITTEN {
        let program = parsed(name, text);
        let state = program.state.iter().map(|s| modest(&mut rng, &s.decl)).collect();
        let data = program.data.iter().map(|decl| modest(&mut rng, decl)).collect();
        step(out, name, &program, state, data, true);
    }
    for i in 0..12 {
        let program = valid_program(&mut rng, 2, 60);
        let (state, data) = tensors(&mut rng, &program);
        step(out, &format!("random-{i}"), &program, state, data, false);
    }
    for (name, changes) in REFUSED {
        let text = changes.iter().fold(RIGHT.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{name}: {from}");
            text.replacen(from, to, 1)
        });
        let program = parsed(name, &text);
        assert!(validate(&program).is_err(), "{name}");
        _ = writeln!(out, "refused {name}");
        text_of(out, &program);
        out.push_str("end\n");
    }
    undecodable(out);
}

fn parsed(name: &str, text: &str) -> Program {
    text.parse().unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Values whose sums and products stay finite and tell one order from another; integers that are often indices in bounds.
fn modest(rng: &mut Rng, decl: &TensorDecl) -> Tensor {
    let value = |rng: &mut Rng| match decl.dtype {
        DType::F32 | DType::Bf16 => ((rng.below(1 << 24) as f32 - 8_388_608.0) / 2_097_152.0).to_bits(),
        DType::I8 | DType::I32 => (rng.below(14) as u32).wrapping_sub(3),
        DType::U32 if rng.once_in(6) => u32::MAX - rng.below(9) as u32,
        DType::U32 => rng.below(14) as u32,
    };
    let count = element_count(&decl.shape).unwrap();
    let stored =
        (0..count).flat_map(|_| narrow(decl.dtype, value(rng)).to_le_bytes().into_iter().take(decl.dtype.size()));
    Tensor::from_bytes(decl.clone(), stored.collect()).unwrap()
}

fn text_of(out: &mut String, program: &Program) {
    for line in program.to_string().lines() {
        _ = writeln!(out, "{}", format!("| {line}").trim_end());
    }
}

fn step(out: &mut String, name: &str, program: &Program, state: Vec<Tensor>, data: Vec<Tensor>, in_full: bool) {
    validate(program).unwrap_or_else(|e| panic!("{name}: {e}"));
    let step = eval::step(program, &state, &data).unwrap();
    _ = writeln!(out, "program {name}");
    text_of(out, program);
    if in_full {
        _ = writeln!(out, "encoding {}", hex(&program.encode()));
    }
    _ = writeln!(out, "encoded {}", hex(alloy_primitives::keccak256(program.encode()).as_slice()));
    for (i, node) in program.nodes.iter().enumerate() {
        _ = writeln!(out, "node {i} {}", hex(node.hash().as_slice()));
    }
    for (what, all) in [("state", &state), ("data", &data), ("output", &step.trace), ("next", &step.state)] {
        for (i, tensor) in all.iter().enumerate() {
            _ = writeln!(out, "{what} {i} {}", hex(tensor.bytes()));
        }
    }
    levels(out, program, &state, &data, &step.trace);
    out.push_str("end\n");
}

/// What the units of long folds give, under the first and the last element of a node.
fn levels(out: &mut String, program: &Program, state: &[Tensor], data: &[Tensor], trace: &[Tensor]) {
    for (i, node) in program.nodes.iter().enumerate() {
        let Some(fold) = node.fold.as_ref().filter(|_| node.fold_length() > BLOCK) else { continue };
        let operands: Vec<&Tensor> =
            node.operands.iter().map(|op| eval::resolve(op.source, state, data, trace)).collect();
        for element in [0, element_count(&node.out.shape).unwrap() - 1] {
            for level in (1..).take_while(|&level| level_count(node.fold_length(), level) > 1) {
                let mut operands = operands.as_slice();
                let values = eval::Element::new(node, &mut operands, element).level(fold, level);
                let values: String = values.iter().map(|v| format!(" {v:08x}")).collect();
                _ = writeln!(out, "level {i} {element} {level}{values}");
            }
        }
    }
}

/// Encodings of a program that no program has.
fn undecodable(out: &mut String) {
    let right = parsed("right", RIGHT).encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = right.clone();
        bytes[at] = byte;
        bytes
    };
    let longer = [right.as_slice(), &[0; 32]].concat();
    let cases: [(&str, Vec<u8>); 5] = [
        ("a-word-too-many", longer),
        ("a-word-too-few", right[..right.len() - 32].to_vec()),
        ("another-offset", with(31, 0x40)),
        ("another-version", with(63, 2)),
        ("nothing", vec![]),
    ];
    for (name, bytes) in cases {
        assert!(Program::decode(&bytes).is_err(), "{name}");
        _ = writeln!(out, "{}", format!("undecodable {name} {}", hex(&bytes)).trim_end());
    }
}

/// What the refused programs are but for one thing.
const RIGHT: &str = include_str!("right.txt");

/// One broken rule each, as replacements in [`RIGHT`].
const REFUSED: [(&str, &[(&str, &str)]); 19] = [
    ("next-of-another-shape", &[("next n0", "next n1")]),
    ("an-output-without-elements", &[("n1 u32[]", "n1 u32[3,0]")]),
    ("a-fold-of-length-zero", &[("fold [600]", "fold [0]")]),
    ("a-fold-too-long", &[("fold [600]", "fold [65536,65536]")]),
    ("a-domain-of-another-size", &[("n0 f32[2] {", "n0 f32[2] { domain [3]")]),
    ("a-node-that-reads-itself", &[("operand 0 n0 f32[2] at (1)", "operand 0 n1 f32[2] at (1)")]),
    ("an-operand-of-another-type", &[("n0 f32[2] at (1)", "n0 u32[2] at (1)")]),
    ("a-gather-through-floats", &[("gather(0)", "gather(2)")]),
    ("a-gather-through-what-skips", &[("s1 i32[2] at (o0)", "s1 i32[2] at (o0) skip")]),
    ("a-coordinate-beyond-64-bits", &[("at (gather(0), k0)", "at (gather(0), k0*15397949978054718)")]),
    ("an-operand-that-nothing-reads", &[("v0 = acc v1 = load 2 v2 = fadd v0 v1", "v0 = acc")]),
    ("a-finish-that-moves-with-k", &[("operand 2 s0 f32[2] at (o0)", "operand 2 s0 f32[2] at (k0)")]),
    ("another-nan", &[("from f32 0x00000000", "from f32 0x7fc00001")]),
    ("no-combine", &[("combine { v0 = acc v1 = rhs v2 = fadd v0 v1 }", "")]),
    ("a-needless-combine", &[("fold [600] lanes", "fold [256] chain")]),
    ("an-argument-that-comes-later", &[("flt v0 v1", "flt v0 v2")]),
    ("an-instruction-on-other-types", &[("flt v0 v1", "add v0 v1")]),
    (
        "too-many-chunks",
        &[
            ("d0 f32[2,600]\n", "d0 f32[600,600]\n"),
            ("d0 f32[2,600] at (gather(0), k0)", "d0 f32[600,600] at (k0, gather(0))"),
        ],
    ),
    (
        "too-much-gas",
        &[(
            "v0 = load 1 v1 = acc v2 = fadd v0 v1",
            "v0 = load 1 v1 = acc v2 = fma v0 v0 v1 v3 = fma v0 v2 v1 v4 = fma v0 v3 v1",
        )],
    ),
];

/// Programs that show one thing each.
const WRITTEN: [(&str, &str); 9] = [
    (
        "matrix-product-chain",
        "lockstep program 1 state s0 f32[2,3] next s0 data d0 f32[3,2]
         node n0 f32[2,2] { fold [3] chain from f32 0x0 operand 0 s0 f32[2,3] at (o0, k0) operand 1 d0 f32[3,2] at (k0, o1)
           body { v0 = load 0 v1 = load 1 v2 = acc v3 = fma v0 v1 v2 } finish { v0 = acc } }",
    ),
    (
        "row-sums-in-lanes-over-two-levels",
        "lockstep program 1 state s0 bf16[2,300] next s0
         node n0 f32[2] { fold [300] lanes from f32 0x0 operand 0 s0 bf16[2,300] at (o0, k0)
           body { v0 = acc v1 = load 0 v2 = fadd v0 v1 } combine { v0 = acc v1 = rhs v2 = fadd v0 v1 } finish { v0 = acc } }",
    ),
    (
        "three-levels",
        "lockstep program 1 state s0 u32[] next n0
         node n0 u32[] { fold [65,1009] chain from u32 7 operand 0 s0 u32[] at ()
           body { v0 = acc v1 = u32 31 v2 = mul v0 v1 v3 = k v4 = add v2 v3 v5 = kf 1 v6 = xor v4 v5 }
           combine { v0 = acc v1 = u32 17 v2 = mul v0 v1 v3 = rhs v4 = add v2 v3 }
           finish { v0 = acc v1 = load 0 v2 = xor v0 v1 } }",
    ),
    (
        "padded-window-that-skips",
        "lockstep program 1 state s0 f32[4,4] next n0 data d0 f32[3,3]
         node n0 f32[4,4] { fold [3,3] chain from f32 0x80000000
           operand 0 s0 f32[4,4] at (o0+k0-1, o1+k1-1) skip operand 1 d0 f32[3,3] at (k0, k1)
           body { v0 = load 0 v1 = load 1 v2 = acc v3 = fma v0 v1 v2 } finish { v0 = acc } }",
    ),
    (
        "gathered-rows",
        "lockstep program 1 state s0 i8[6] next s0 data d0 bf16[4,3]
         node n0 bf16[6,3] { operand 0 s0 i8[6] at (o0) operand 1 d0 bf16[4,3] at (gather(0)+1, 2-o1) fill f32 0xff800000
           finish { v0 = load 1 v1 = coord 0 v2 = u_to_f v1 v3 = fmul v0 v2 } }",
    ),
    (
        "storage-and-state",
        "lockstep program 1 state s0 i8[5] next n0 state s1 f32[5] next n1 state s2 u32[5] next d0 data d0 u32[5]
         node n0 i8[5] { operand 0 s0 i8[5] at (4-o0) operand 1 d0 u32[5] at (o0)
           finish { v0 = load 0 v1 = load 1 v2 = as_i v1 v3 = mul v0 v2 } }
         node n1 f32[5] { domain [5,1] operand 0 n0 i8[5] at (o0+o1) operand 1 s1 f32[5] at (o0)
           finish { v0 = load 0 v1 = i_to_f v0 v2 = load 1 v3 = fdiv v1 v2 } }",
    ),
    (
        // The order of lanes and of what they combine shows: nothing commutes, and the last block is short.
        "lanes-that-do-not-commute",
        "lockstep program 1 state s0 f32[3,777] next s0 state s1 i8[40] next s1
         node n0 f32[3] { fold [7,111] lanes from f32 0x3f000000 operand 0 s0 f32[3,777] at (o0, k0*111+k1)
           body { v0 = acc v1 = load 0 v2 = f32 0x3f7fc000 v3 = fma v0 v2 v1 }
           combine { v0 = acc v1 = rhs v2 = f32 0x3f400000 v3 = fma v1 v2 v0 } finish { v0 = acc } }
         node n1 i8[2,3] { domain [6] fold [9] lanes from i32 1 operand 0 s1 i8[40] at (o0*3+k0*2) fill i32 -7
           body { v0 = acc v1 = load 0 v2 = i32 3 v3 = mul v0 v2 v4 = add v3 v1 }
           combine { v0 = acc v1 = rhs v2 = sub v0 v1 } finish { v0 = acc v1 = coord 0 v2 = as_i v1 v3 = xor v0 v2 } }",
    ),
    (
        // Strides, indices that move with k, one of them unsigned and far out of bounds, and two operands that skip.
        "gathers-in-a-fold",
        "lockstep program 1 state s0 f32[60] next s0 state s1 i8[40] next s1 state s2 u32[24] next s2 data d0 bf16[40,20]
         node n0 f32[4] { fold [20] chain from f32 0x3f000000
           operand 0 s1 i8[40] at (k0+o0-2)
           operand 1 d0 bf16[40,20] as [800] at (gather(0)*3+k0+7) skip
           operand 2 s0 f32[60] at (k0*2-o0) skip
           body { v0 = acc v1 = load 1 v2 = load 2 v3 = fma v1 v2 v0 } finish { v0 = acc } }
         node n1 f32[4,6] { operand 0 s2 u32[24] at (o0*6+o1) operand 1 s0 f32[60] at (gather(0)*5-o1+3) fill f32 0x40490fdb
           finish { v0 = load 1 v1 = frint v0 v2 = fsub v0 v1 } }",
    ),
    (
        "chain-over-four-blocks",
        "lockstep program 1 state s0 f32[2,1000] next s0
         node n0 f32[2] { fold [1000] chain from f32 0x80000000 operand 0 s0 f32[2,1000] at (o0, 999-k0)
           body { v0 = acc v1 = load 0 v2 = f32 0x3f7fc000 v3 = fma v0 v2 v1 }
           combine { v0 = acc v1 = rhs v2 = f32 0x3f400000 v3 = fma v0 v2 v1 } finish { v0 = acc } }",
    ),
];
