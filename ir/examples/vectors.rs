//! Prints the test vectors of the protocol: `cargo run --release -p lockstep-ir --example vectors > ir/vectors/v1.txt`.
//!
//! A second implementation can be checked against that file alone. Lines: magic and version first; `#` starts a comment.
//!
//! ```text
//! number fadd 3f800000 40000000 = 40400000     an instruction on bits (docs/protocol.md, section 1)
//! widen bf16 ffff = 7fc00000                   stored bits to a value
//! narrow i8 0000ffff = 7f                      a value to stored bits
//! function exp 3f800000 = 402df854             a scalar function of the library
//! philox c0 c1 c2 c3 k0 k1 = w0 w1 w2 w3
//! program NAME                                 a step: text, encoding, what goes in and what comes out, up to `end`
//! | lockstep program 1                         the text form, each line after `| `
//! encoded KECCAK                               keccak256 of abi.encode(Program)
//! node 0 KECCAK                                keccak256 of abi.encode(Node)
//! state 0 HEX, data 0 HEX                      tensors before the step, in storage order
//! output 0 HEX                                 output of a node
//! next 0 HEX                                   state after the step
//! end
//! ```
#![allow(clippy::unwrap_used, reason = "it runs on programs that are written here")]

use std::fmt::Write as _;

use lockstep_ir::{
    DType, Node, Program, Source, Tensor, TensorDecl, Ty, eval,
    expr::{Expr, Types, load},
    func, number,
    sample::{Rng, tensors, valid_program},
    scalar::Op,
    tensor::{narrow, widen},
    validate,
};

/// First words of the file.
pub(crate) const MAGIC: &str = "lockstep vectors 1";

const FLOATS: [u32; 10] =
    [0, 0x8000_0000, 1, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0xbf80_0001, 0x7f7f_ffff, 0x7f80_0000, 0x7fc0_0000];
/// π/4 and its lower neighbour, π/2, the number nearest to a multiple of π/2, and one just below a multiple.
const ANGLES: [u32; 5] = [0x3f49_0fdb, 0x3f49_0fda, 0x3fc9_0fdb, 0x6f79_be45, 0x7ebd_cda0];
const INTEGERS: [u32; 8] = [0, 1, 2, 31, 32, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

#[allow(dead_code, reason = "the test takes the text alone")]
fn main() {
    print!("{}", text());
}

/// The whole file.
#[must_use]
pub(crate) fn text() -> String {
    let mut out = format!("{MAGIC}\n# See ir/examples/vectors.rs for what the lines mean.\n");
    numbers(&mut out);
    storage(&mut out);
    functions(&mut out);
    programs(&mut out);
    out
}

fn takes_floats(op: Op) -> bool {
    let code = op as u8;
    (0x10..0x20).contains(&code) || matches!(op, Op::FToI | Op::FToU | Op::FToBits)
}

fn numbers(out: &mut String) {
    let mut rng = Rng::new(1);
    for &op in Op::ALL.iter().filter(|op| op.arity() > 0) {
        let specials: &[u32] = if takes_floats(op) { &FLOATS } else { &INTEGERS };
        let n = op.arity();
        let crossed = if n == 3 { 0 } else { specials.len().pow(n as u32) };
        for i in 0..crossed + 40 {
            let mut args = [0; 3];
            for (place, arg) in args.iter_mut().enumerate().take(n) {
                *arg = if i < crossed {
                    specials[i / specials.len().pow(place as u32) % specials.len()]
                } else if takes_floats(op) {
                    rng.float()
                } else {
                    rng.value(rng.clone().pick(&[Ty::U32, Ty::F32]))
                };
            }
            if op == Op::Fma && i % 2 == 1 {
                // Near the product, where cancellation and ties are.
                let product = f32::from_bits(args[0]) * f32::from_bits(args[1]);
                args[2] = number::canonical((-product).to_bits().wrapping_add(rng.below(5) as u32).wrapping_sub(2));
            }
            let result = number::apply(op, args[0], args[1], args[2]);
            let args: String = args[..n].iter().map(|a| format!(" {a:08x}")).collect();
            _ = writeln!(out, "number {}{args} = {result:08x}", op.text());
        }
    }
}

fn storage(out: &mut String) {
    let mut rng = Rng::new(2);
    for dtype in DType::ALL {
        let digits = 2 * dtype.size();
        for i in 0..40 {
            let special = FLOATS.get(i).copied();
            let value = special.unwrap_or_else(|| rng.value(dtype.ty()));
            // Half-way between two bf16, and next to it.
            let value = if i > 30 { value & 0xffff_0000 | (0x7fff + rng.below(3) as u32) } else { value };
            let stored = narrow(dtype, value);
            _ = writeln!(out, "narrow {dtype} {value:08x} = {stored:0digits$x}");
            let any = if i == 0 { u32::MAX } else { rng.bits() as u32 } & (u32::MAX >> (32 - 4 * digits));
            _ = writeln!(out, "widen {dtype} {any:0digits$x} = {:08x}", widen(dtype, any));
        }
    }
}

/// The value of an expression of one `f32`, or of none.
fn evaluate(e: &Expr, x: u32) -> u32 {
    let (finish, ty) = e.compile(&Types { loads: &[Ty::F32], acc: None }).unwrap();
    let decl = |dtype| TensorDecl { dtype, shape: vec![] };
    let operand = lockstep_ir::Operand {
        source: Source::State(0),
        decl: decl(DType::F32),
        view: vec![],
        access: vec![],
        gathers: vec![],
        fill: 0,
        skip: false,
    };
    let out = decl(if ty == Ty::F32 { DType::F32 } else { DType::U32 });
    let node = Node { out, domain: vec![], operands: vec![operand], fold: None, finish };
    let x = Tensor::from_f32(&[], &[f32::from_bits(x)]).unwrap();
    eval::Element::new(&node, &mut [&x].as_slice(), 0).value()
}

fn functions(out: &mut String) {
    let mut rng = Rng::new(3);
    for &(name, function) in func::UNARY {
        let e = function(&load(0));
        let random: Vec<u32> = (FLOATS.len()..60)
            .map(|i| match i % 3 {
                0 => rng.float(),
                _ => ((rng.below(1 << 20) as f32 - 524_288.0) / 2f32.powi(rng.below(20) as i32)).to_bits(),
            })
            .collect();
        for x in FLOATS.into_iter().chain(random).chain(ANGLES) {
            _ = writeln!(out, "function {name} {x:08x} = {:08x}", evaluate(&e, x));
        }
    }
    for i in 0..20u64 {
        let input: Vec<u32> = (0..6).map(|_| if i == 0 { 0 } else { rng.bits() as u32 }).collect();
        let constants: Vec<Expr> = input.iter().map(|&x| lockstep_ir::expr::u(x)).collect();
        let [c0, c1, c2, c3, k0, k1] = constants.try_into().unwrap();
        let words: String =
            func::philox([c0, c1, c2, c3], [k0, k1]).iter().map(|w| format!(" {:08x}", evaluate(w, 0))).collect();
        let input: String = input.iter().map(|x| format!(" {x:08x}")).collect();
        _ = writeln!(out, "philox{input} ={words}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn programs(out: &mut String) {
    let mut rng = Rng::new(4);
    for (name, text) in WRITTEN {
        program(out, &mut rng, name, &text.parse().unwrap_or_else(|e| panic!("{name}: {e}")));
    }
    for i in 0..12 {
        let drawn = valid_program(&mut rng, 2, 60);
        program(out, &mut rng, &format!("random-{i}"), &drawn);
    }
}

fn program(out: &mut String, rng: &mut Rng, name: &str, program: &Program) {
    validate(program).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (state, data) = tensors(rng, program);
    let step = eval::step(program, &state, &data).unwrap();
    _ = writeln!(out, "program {name}");
    for line in program.to_string().lines() {
        _ = writeln!(out, "{}", format!("| {line}").trim_end());
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
    out.push_str("end\n");
}

/// Programs that show one thing each.
const WRITTEN: [(&str, &str); 6] = [
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
];
