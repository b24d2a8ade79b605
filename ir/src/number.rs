//! What one instruction computes: the definition that every kernel and the referee must match bit for bit.
//!
//! Addition, subtraction, multiplication, division and square root are the IEEE operations that Rust defines as correctly rounded;
//! fused multiply-add is integer code, so that hosts without the instruction agree.

use crate::scalar::Op;

/// The only NaN.
pub const NAN: u32 = 0x7fc0_0000;

const fn is_nan(bits: u32) -> bool {
    bits & 0x7fff_ffff > 0x7f80_0000
}

/// The bits, or [`NAN`] if they are any NaN.
#[must_use]
pub const fn canonical(bits: u32) -> u32 {
    if is_nan(bits) { NAN } else { bits }
}

/// Widens `bf16`.
#[must_use]
pub const fn bf16_to_f32(bits: u16) -> u32 {
    canonical((bits as u32) << 16)
}

/// Rounds to `bf16`, nearest even on the bits: overflow goes to infinity, subnormals are kept.
#[must_use]
pub const fn f32_to_bf16(bits: u32) -> u32 {
    if is_nan(bits) {
        return 0x7fc0;
    }
    // No overflow: the largest non-NaN magnitude is 0x7f80_0000.
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// Saturates an `i32` to `i8`; the byte, zero-extended.
#[must_use]
pub fn saturate_i8(bits: u32) -> u32 {
    u32::from((bits as i32).clamp(-128, 127) as i8 as u8)
}

fn float1(a: u32, f: impl Fn(f32) -> f32) -> u32 {
    canonical(f(f32::from_bits(a)).to_bits())
}

fn float2(a: u32, b: u32, f: impl Fn(f32, f32) -> f32) -> u32 {
    canonical(f(f32::from_bits(a), f32::from_bits(b)).to_bits())
}

fn compare(a: u32, b: u32, f: impl Fn(f32, f32) -> bool) -> u32 {
    u32::from(f(f32::from_bits(a), f32::from_bits(b)))
}

/// Mantissa and exponent of a finite number: `mantissa · 2^exponent`.
const fn unpack(bits: u32) -> (i128, i32) {
    let exponent = (bits >> 23 & 0xff) as i32;
    let fraction = (bits & 0x7f_ffff) as i128;
    if exponent == 0 { (fraction, -149) } else { (fraction | 0x80_0000, exponent - 150) }
}

/// Rounds `magnitude · 2^exponent` (not 0) to the nearest `f32`, ties to even, gradual underflow.
fn round(negative: bool, magnitude: u128, exponent: i32) -> u32 {
    let bits = 128 - magnitude.leading_zeros() as i32;
    let drop = (bits - 24).max(-149 - exponent);
    let kept = if drop <= 0 {
        magnitude << -drop
    } else if drop > 127 {
        0
    } else {
        let (kept, rest, half) = (magnitude >> drop, magnitude & ((1 << drop) - 1), 1u128 << (drop - 1));
        kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
    };
    // A carry out of `kept` moves into the exponent field by itself; a subnormal has no hidden bit to take away.
    let field = exponent + drop + 150;
    let finite = if field >= 255 { 0x7f80_0000 } else { ((field as u32) << 23) + kept as u32 - 0x80_0000 };
    finite.min(0x7f80_0000) | u32::from(negative) << 31
}

/// `a·b + c`, rounded once (IEEE 754-2019, 5.4.1), in integers.
#[must_use]
pub fn fma(a: u32, b: u32, c: u32) -> u32 {
    let special = |x: u32| x & 0x7f80_0000 == 0x7f80_0000;
    let zero = |x: u32| x & 0x7fff_ffff == 0;
    if special(a) || special(b) || special(c) || zero(a) || zero(b) {
        // The product of a zero is exact, and infinities and NaNs need no rounding, but an infinite `c` must not meet a product
        // that overflows only because it was rounded.
        let product =
            if special(c) && !special(a) && !special(b) { (a ^ b) & 0x8000_0000 } else { apply(Op::FMul, a, b, 0) };
        return apply(Op::FAdd, product, c, 0);
    }
    let ((ma, ea), (mb, eb), (mc, ec)) = (unpack(a), unpack(b), unpack(c));
    // 30 bits below the product keep everything that rounding can see of a smaller `c`; a larger `c` is shifted up.
    let (mut product, mut exponent) = ((ma * mb) << 30, ea + eb - 30);
    let shift = ec - exponent;
    let addend = if mc == 0 {
        0
    } else if shift > 100 {
        (product, exponent) = (1, ec - 40);
        mc << 40
    } else if shift >= 0 {
        mc << shift
    } else {
        let down = (-shift).min(64);
        mc >> down | i128::from(mc & ((1 << down) - 1) != 0)
    };
    let sign = |negative: bool, m: i128| if negative { -m } else { m };
    let sum = sign((a ^ b) >> 31 == 1, product) + sign(c >> 31 == 1, addend);
    if sum == 0 { 0 } else { round(sum < 0, sum.unsigned_abs(), exponent) }
}

/// Shifts by 32 or more give 0, or the sign.
fn shift(a: u32, by: u32, op: Op) -> u32 {
    match op {
        Op::Shl => a.checked_shl(by).unwrap_or(0),
        Op::ShrU => a.checked_shr(by).unwrap_or(0),
        _ => ((a as i32) >> by.min(31)) as u32,
    }
}

/// Applies an operation that takes values; the inputs (`Acc`, `Load`, …) are the evaluator's.
///
/// Floats and integers are bits. Arguments beyond the arity are ignored.
#[must_use]
pub fn apply(op: Op, a: u32, b: u32, c: u32) -> u32 {
    match op {
        Op::FAdd => float2(a, b, |x, y| x + y),
        Op::FSub => float2(a, b, |x, y| x - y),
        Op::FMul => float2(a, b, |x, y| x * y),
        Op::FDiv => float2(a, b, |x, y| x / y),
        Op::FSqrt => float1(a, libm::sqrtf),
        Op::Fma => fma(a, b, c),
        Op::FNeg => canonical(a ^ 0x8000_0000),
        Op::FAbs => canonical(a & 0x7fff_ffff),
        Op::FFloor => float1(a, libm::floorf),
        Op::FRint => float1(a, libm::rintf),
        Op::FEq => compare(a, b, |x, y| x == y),
        Op::FNe => compare(a, b, |x, y| x != y),
        Op::FLt => compare(a, b, |x, y| x < y),
        Op::FLe => compare(a, b, |x, y| x <= y),
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::Mul => a.wrapping_mul(b),
        Op::MulHiS => ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32,
        Op::MulHiU => ((u64::from(a) * u64::from(b)) >> 32) as u32,
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::Shl | Op::ShrU | Op::ShrS => shift(a, b, op),
        Op::Eq => u32::from(a == b),
        Op::Ne => u32::from(a != b),
        Op::LtS => u32::from((a as i32) < b as i32),
        Op::LeS => u32::from(a as i32 <= b as i32),
        Op::LtU => u32::from(a < b),
        Op::LeU => u32::from(a <= b),
        Op::Select => {
            if a != 0 {
                b
            } else {
                c
            }
        }
        // Rust's `as` truncates, saturates and takes NaN to 0.
        Op::FToI => f32::from_bits(a) as i32 as u32,
        Op::FToU => f32::from_bits(a) as u32,
        Op::IToF => (a as i32 as f32).to_bits(),
        Op::UToF => (a as f32).to_bits(),
        Op::BitsToF => canonical(a),
        Op::FToBits | Op::AsI | Op::AsU => a,
        Op::Const | Op::Acc | Op::Rhs | Op::Load | Op::Coord | Op::K | Op::Kf => 0,
    }
}
