//! The natural logarithm.

use crate::expr::{Expr, f, i, select, u};

/// `ln x`. Worst error and the input that gives it are in docs/numbers.md.
///
/// `x = 2^e · m` with `m` in [√½, √2); `s = (m−1)/(m+1)`, `ln m = 2 artanh s`. −∞ at 0, NaN below, subnormals scaled first.
#[must_use]
pub fn log(x: &Expr) -> Expr {
    let tiny = x.lt(&f(f32::MIN_POSITIVE));
    let bits = select(&tiny, &(x * &f(8_388_608.0)), x).to_bits();
    let bias = select(&tiny, &i(-150), &i(-127));
    // Adding 1 − √½ to the fraction moves the exponent up for m ≥ √2.
    let shifted = &bits + &u(0x3f80_0000 - 0x3f35_04f3);
    let e = (shifted.shr(&u(23)).to_i32() + bias).to_f32();
    let m = (shifted.and(&u(0x007f_ffff)) + u(0x3f35_04f3)).bits_to_f32();
    let d = &m - &f(1.0);
    let s = &d / &(&m + &f(1.0));
    let z = &s * &s;
    // artanh s = s + s·z·P(z)
    let mut p = f(0.242_790_79);
    for c in [0.284_987_87, 0.400_009_72, 0.666_666_6] {
        p = p.fma(&z, &f(c));
    }
    // ln m = d − s·(d − z·P(z)), which keeps d exact.
    let inner = &d - &(&z * &p);
    let low = e.fma(&f(9.058_001e-6), &(f(0.0) - &s * &inner));
    let y = e.fma(&f(0.693_138_1), &(&low + &d));
    let finite = select(&x.lt(&f(f32::INFINITY)), &y, x);
    let nan = f(f32::NAN);
    select(&f(0.0).lt(x), &finite, &select(&x.eq(&f(0.0)), &f(f32::NEG_INFINITY), &nan))
}
