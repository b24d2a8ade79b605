//! Prints the test vectors of the protocol: `cargo run --release -p lockstep-ir --example vectors > ir/vectors/v1.txt`.
//!
//! A second implementation can be checked against that file alone. Lines: magic and version first; `#` starts a comment.
//! docs/protocol.md, section 3, says what they mean.
#![allow(clippy::unwrap_used, reason = "it runs on programs that are written here")]

mod programs;

use std::fmt::Write as _;

use lockstep_ir::{
    DType, Node, Source, Tensor, TensorDecl, Ty, eval,
    expr::{Expr, Types, load},
    func, number,
    sample::Rng,
    scalar::Op,
    tensor::{narrow, widen},
};

/// First words of the file.
pub(crate) const MAGIC: &str = "lockstep vectors 1";

const FLOATS: [u32; 10] =
    [0, 0x8000_0000, 1, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0xbf80_0001, 0x7f7f_ffff, 0x7f80_0000, 0x7fc0_0000];
/// π/4 and its lower neighbour, π/2, the number nearest to a multiple of π/2, and one just below a multiple.
const ANGLES: [u32; 5] = [0x3f49_0fdb, 0x3f49_0fda, 0x3fc9_0fdb, 0x6f79_be45, 0x7ebd_cda0];
/// Halves of both signs, even and odd, and their neighbours; where integers end, and their neighbours.
const HALVES: [u32; 16] = [
    0x3f00_0000,
    0x3eff_ffff,
    0x3f00_0001,
    0x3fc0_0000,
    0x4020_0000,
    0xbf00_0000,
    0xbfc0_0000,
    0xc020_0000,
    0x4aff_ffff,
    0xcb00_0001,
    0x4eff_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0xcf00_0001,
    0x4f7f_ffff,
    0x4f80_0000,
];
/// Infinities that meet a zero or each other, zeros of both signs, a product that is only in range with its addend, a result that is
/// subnormal, and ties that one rounding breaks otherwise than two.
const PRODUCTS: [[u32; 3]; 12] = [
    [0x7f80_0000, 0, 0x3f80_0000],
    [0x8000_0000, 0xff80_0000, 0x7fc0_0000],
    [0x7f80_0000, 0x3f80_0000, 0xff80_0000],
    [0x7f80_0000, 0xbf80_0000, 0xff80_0000],
    [0x7f7f_ffff, 0x7f7f_ffff, 0xff80_0000],
    [0x3f80_0000, 0xbf80_0000, 0x3f80_0000],
    [0x8000_0000, 0x3f80_0000, 0x8000_0000],
    [0x8000_0000, 0x3f80_0000, 0],
    [0x7f7f_ffff, 0x4000_0000, 0xff7f_ffff],
    [0x0080_0000, 0x3f00_0000, 0x0000_0001],
    [0x3f80_0001, 0x3f80_0001, 0xb380_0000],
    [0x3f80_0800, 0x3f80_0800, 0x0000_0001],
];
const INTEGERS: [u32; 8] = [0, 1, 2, 31, 32, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

#[allow(dead_code, reason = "the test takes the text alone")]
fn main() {
    print!("{}", text());
}

/// The whole file.
#[must_use]
pub(crate) fn text() -> String {
    let mut out = format!("{MAGIC}\n# Made by ir/examples/vectors; docs/protocol.md says what the lines mean.\n");
    numbers(&mut out);
    storage(&mut out);
    functions(&mut out);
    programs::write(&mut out);
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
            number(out, op, args);
        }
        match op {
            Op::FRint | Op::FFloor | Op::FToI | Op::FToU => HALVES.iter().for_each(|&x| number(out, op, [x, 0, 0])),
            Op::Fma => PRODUCTS.iter().for_each(|&args| number(out, op, args)),
            _ => (),
        }
    }
}

fn number(out: &mut String, op: Op, args: [u32; 3]) {
    let result = number::apply(op, args[0], args[1], args[2]);
    let args: String = args[..op.arity()].iter().map(|a| format!(" {a:08x}")).collect();
    _ = writeln!(out, "number {}{args} = {result:08x}", op.text());
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
