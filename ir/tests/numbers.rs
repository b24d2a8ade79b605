//! `number` against the host, edge-heavy, and every rule of docs/protocol.md, section 1, by name.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

use lockstep_ir::{
    DType, SplitMix64, number,
    scalar::Op,
    tensor::{narrow, widen},
};

struct Rng(SplitMix64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0.bits()
    }

    /// Any float, with extremes of every field more often than chance gives them.
    fn float(&mut self) -> u32 {
        let r = self.next();
        let fraction = match r >> 32 & 7 {
            0 => 0,
            1 => 0x7f_ffff,
            2 => 1,
            3 => 1 << (r >> 40 & 31) & 0x7f_ffff,
            _ => r as u32 & 0x7f_ffff,
        };
        let exponent = match r >> 48 & 7 {
            0 => 0,
            1 => 255,
            2 => 254,
            3 => 1,
            4 => 127,
            _ => (r >> 56) as u32,
        };
        ((r >> 47 & 1) as u32) << 31 | exponent << 23 | fraction
    }
}

#[test]
fn fma_agrees_with_the_host_on_edges() {
    let mut rng = Rng(SplitMix64::new(1));
    for _ in 0..4_000_000 {
        let (a, b) = (rng.float(), rng.float());
        let product = f32::from_bits(a) * f32::from_bits(b);
        // A third of the addends lie near the product, where cancellation and ties are.
        let c = match rng.next() % 3 {
            0 => (product.to_bits() ^ 0x8000_0000).wrapping_add((rng.next() % 5) as u32).wrapping_sub(2),
            _ => rng.float(),
        };
        let want = f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c));
        let want = number::canonical(want.to_bits());
        assert_eq!(number::fma(a, b, c), want, "fma({a:#x}, {b:#x}, {c:#x})");
    }
}

#[test]
fn square_root_floor_and_rint_agree_with_the_host() {
    let mut rng = Rng(SplitMix64::new(2));
    for _ in 0..1_000_000 {
        let a = rng.float();
        let x = f32::from_bits(a);
        for (op, want) in [(Op::FSqrt, x.sqrt()), (Op::FFloor, x.floor()), (Op::FRint, x.round_ties_even())] {
            let want = number::canonical(want.to_bits());
            assert_eq!(number::apply(op, a, 0, 0), want, "{}({a:#x})", op.text());
        }
    }
}

fn f(op: Op, a: f32, b: f32) -> u32 {
    number::apply(op, a.to_bits(), b.to_bits(), 0)
}

#[test]
fn nan_is_always_the_canonical_one() {
    let odd = 0xffa0_0001;
    for op in [Op::FAdd, Op::FSub, Op::FMul, Op::FDiv, Op::FSqrt, Op::Fma, Op::FNeg, Op::FAbs, Op::FFloor, Op::FRint] {
        assert_eq!(number::apply(op, odd, 0, 0), number::NAN, "{}", op.text());
    }
    assert_eq!(number::apply(Op::BitsToF, odd, 0, 0), number::NAN);
    assert_eq!(widen(DType::F32, odd), number::NAN);
    assert_eq!(widen(DType::Bf16, 0xffa1), number::NAN);
    assert_eq!(narrow(DType::Bf16, odd), 0x7fc0);
    assert_eq!(number::apply(Op::Select, 1, odd, 0), odd, "select passes bits");
}

#[test]
fn zeros_keep_their_sign() {
    let minus = 0x8000_0000;
    for (op, x) in [(Op::FFloor, -0.0f32), (Op::FRint, -0.0), (Op::FRint, -0.3), (Op::FSqrt, -0.0)] {
        assert_eq!(f(op, x, 0.0), minus, "{}({x})", op.text());
    }
    assert_eq!(f(Op::FSqrt, -1.0, 0.0), number::NAN);
    assert_eq!(number::fma(0, 0x3f80_0000, minus), 0, "0·1 + −0 is +0");
    assert_eq!(number::fma(minus, 0x3f80_0000, minus), minus);
    assert_eq!(number::fma(0, 0x7f80_0000, 0), number::NAN, "0·∞");
}

#[test]
fn comparisons_follow_ieee() {
    let nan = f32::NAN;
    for op in [Op::FEq, Op::FLt, Op::FLe] {
        assert_eq!(f(op, nan, 1.0), 0);
        assert_eq!(f(op, 1.0, nan), 0);
    }
    assert_eq!(f(Op::FNe, nan, nan), 1);
    assert_eq!(f(Op::FEq, 0.0, -0.0), 1);
    assert_eq!(f(Op::FLt, -0.0, 0.0), 0);
}

#[test]
fn conversions_saturate_and_round_to_even() {
    for (x, i, u) in [
        (f32::NAN, 0i32, 0u32),
        (-1.5, -1, 0),
        (1.9, 1, 1),
        (3e9, i32::MAX, 3_000_000_000),
        (-3e9, i32::MIN, 0),
        (f32::INFINITY, i32::MAX, u32::MAX),
        (f32::NEG_INFINITY, i32::MIN, 0),
    ] {
        assert_eq!(f(Op::FToI, x, 0.0) as i32, i, "{x}");
        assert_eq!(f(Op::FToU, x, 0.0), u, "{x}");
    }
    assert_eq!(f32::from_bits(number::apply(Op::UToF, 0x0100_0001, 0, 0)), 16_777_216.0, "tie to even");
    assert_eq!(f32::from_bits(number::apply(Op::UToF, u32::MAX, 0, 0)), 4_294_967_296.0);
    assert_eq!(f32::from_bits(number::apply(Op::IToF, (-16_777_217i32) as u32, 0, 0)), -16_777_216.0);
    for (bits, want) in
        [(0x3f80_8000u32, 0x3f80), (0x3f81_8000, 0x3f82), (0x7f7f_ffff, 0x7f80), (0x0000_8001, 1), (1, 0)]
    {
        assert_eq!(narrow(DType::Bf16, bits), want, "{bits:#x}");
    }
    for (i, want) in [(-129i32, 0x80u32), (-128, 0x80), (-1, 0xff), (127, 0x7f), (1000, 0x7f)] {
        assert_eq!(narrow(DType::I8, i as u32), want, "{i}");
    }
    assert_eq!(widen(DType::I8, 0x80) as i32, -128);
}

#[test]
fn integers_wrap_and_wide_shifts_are_defined() {
    let apply = |op, a: u32, b: u32| number::apply(op, a, b, 0);
    assert_eq!(apply(Op::Add, u32::MAX, 2), 1);
    assert_eq!(apply(Op::Sub, 0, 1), u32::MAX);
    assert_eq!(apply(Op::Mul, 0x1_0001, 0x1_0001), 0x2_0001);
    assert_eq!(apply(Op::MulHiS, u32::MAX, u32::MAX), 0);
    assert_eq!(apply(Op::MulHiS, 0x8000_0000, 2), u32::MAX);
    assert_eq!(apply(Op::MulHiU, u32::MAX, u32::MAX), u32::MAX - 1);
    for by in [32, 33, u32::MAX] {
        assert_eq!(apply(Op::Shl, 1, by), 0);
        assert_eq!(apply(Op::ShrU, u32::MAX, by), 0);
        assert_eq!(apply(Op::ShrS, 0x8000_0000, by), u32::MAX);
        assert_eq!(apply(Op::ShrS, 0x4000_0000, by), 0);
    }
}

#[test]
fn operation_codes_are_those_of_the_solidity_library() {
    let sol = include_str!("../sol/Op.sol");
    let declared: Vec<(&str, u8)> = (sol.lines())
        .filter_map(|l| l.trim().strip_prefix("uint8 internal constant "))
        .filter_map(|l| l.split_once(" = 0x"))
        .map(|(name, code)| (name, u8::from_str_radix(&code[..2], 16).unwrap()))
        .collect();
    let ours: Vec<(&str, u8)> = Op::ALL.iter().map(|op| (op.solidity_name(), *op as u8)).collect();
    assert_eq!(declared, ours);
}
