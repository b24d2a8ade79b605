//! Division by constants, for which there is no instruction.

use core::num::{NonZeroI32, NonZeroU32};

use crate::expr::{Expr, i, select, u};

/// `⌊x / d⌋` of a `u32` (Granlund and Montgomery 1994): a product's upper half, and shifts.
#[must_use]
pub fn div_u32(x: &Expr, d: NonZeroU32) -> Expr {
    divide(x, d.get())
}

/// `x mod d` of a `u32`.
#[must_use]
pub fn rem_u32(x: &Expr, d: NonZeroU32) -> Expr {
    if d.is_power_of_two() { x.and(&u(d.get() - 1)) } else { x - &(div_u32(x, d) * u(d.get())) }
}

/// `x / d` of an `i32`, rounded towards 0; the one quotient that does not fit, −2^31 / −1, wraps.
#[must_use]
pub fn div_i32(x: &Expr, d: NonZeroI32) -> Expr {
    let negative = x.lt(&i(0));
    // The magnitude of −2^31 is 2^31 as a `u32`, so nothing is lost.
    let minus = i(0).sub(x);
    let magnitude = select(&negative, &minus, x).to_u32();
    let quotient = divide(&magnitude, d.get().unsigned_abs()).to_i32();
    let minus = i(0).sub(&quotient);
    if d.get() < 0 { select(&negative, &quotient, &minus) } else { select(&negative, &minus, &quotient) }
}

/// `x mod d` of an `i32`, with the sign of `x`.
#[must_use]
pub fn rem_i32(x: &Expr, d: NonZeroI32) -> Expr {
    x - &(div_i32(x, d) * i(d.get()))
}

/// `⌊x / d⌋` for `d > 0`.
pub(super) fn divide(x: &Expr, d: u32) -> Expr {
    if d.is_power_of_two() {
        return if d == 1 { x.clone() } else { x.shr(&u(d.trailing_zeros())) };
    }
    // 2^bits is the power of two above d. The factor is 2^32 + m, and m fits 32 bits.
    let bits = d.ilog2() + 1;
    let m = ((((1u64 << bits) - u64::from(d)) << 32) / u64::from(d) + 1) as u32;
    let t = x.mulhi(&u(m));
    // (t + x) / 2 without a carry.
    ((x - &t).shr(&u(1)) + t).shr(&u(bits - 1))
}
