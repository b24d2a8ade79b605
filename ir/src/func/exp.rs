//! The exponential, and what is made of it.

use crate::expr::{Expr, f, i, select, u};

/// `e^x`. Worst error and the input that gives it are in docs/numbers.md.
///
/// Cody and Waite's reduction to `|r| ≤ ln 2 / 2`, a polynomial of degree 7, and the power of two applied as two factors, so that
/// results below 2^-126 are rounded once.
#[must_use]
pub fn exp(x: &Expr) -> Expr {
    let n = (x * &f(core::f32::consts::LOG2_E)).rint();
    // ln 2 in two parts: the first with trailing zeros, so that n·hi is exact.
    let r = n.fma(&f(-0.693_145_75), x);
    let r = n.fma(&f(-1.428_606_8e-6), &r);
    // Chebyshev fit of (e^r − 1 − r) / r² on ±ln 2 / 2, coefficients rounded one after the other.
    let mut p = f(1.996_964_9e-4);
    for c in [1.393_086_7e-3, 8.333_18e-3, 4.166_650_8e-2, 0.166_666_67, 0.5] {
        p = p.fma(&r, &f(c));
    }
    let y = (&r * &r).fma(&p, &r) + f(1.0);
    let n = n.to_i32();
    let half = n.shr(&u(1));
    let rest = &n - &half;
    let scaled = y * power_of_two(&half) * power_of_two(&rest);
    // 88.73 and −104 are the first inputs past which every result is infinite or 0; NaN fails both comparisons.
    let high = select(&f(88.73).lt(x), &f(f32::INFINITY), &scaled);
    select(&x.lt(&f(-104.0)), &f(0.0), &high)
}

/// `2^n` for `|n| ≤ 126`.
fn power_of_two(n: &Expr) -> Expr {
    (n + &i(127)).shl(&u(23)).to_u32().bits_to_f32()
}

/// `1 / (1 + e^-x)`, without losing the small results: `e^x / (1 + e^x)` below 0.
#[must_use]
pub fn sigmoid(x: &Expr) -> Expr {
    let negative = x.lt(&f(0.0));
    let e = exp(&x.abs().neg());
    let numerator = select(&negative, &e, &f(1.0));
    let sum = &e + &f(1.0);
    let q = &numerator / &sum;
    // What the sum and the quotient rounded away, times 1 / (1 + e), which is 1 − q or q.
    let lost = &e - &(&sum - &f(1.0));
    let minus = q.neg();
    let rest = minus.fma(&lost, &minus.fma(&sum, &numerator));
    let reciprocal = select(&negative, &f(1.0).sub(&q), &q);
    rest.fma(&reciprocal, &q)
}

/// `tanh x`: an odd polynomial up to 0.625, `1 − 2 / (e^2x + 1)` above. Keeps the sign of a zero.
#[must_use]
pub fn tanh(x: &Expr) -> Expr {
    let a = x.abs();
    let z = &a * &a;
    // Weighted minimax fit of (tanh x − x) / x³ in x² on ±0.625.
    let mut p = f(-5.696_253_4e-3);
    for c in [2.063_086_3e-2, -5.373_706e-2, 0.133_314_09, -0.333_332_8] {
        p = p.fma(&z, &f(c));
    }
    let small = (&a * &z).fma(&p, &a);
    let large = f(1.0) - f(2.0) / (exp(&(&a + &a)) + f(1.0));
    let magnitude = select(&a.lt(&f(0.625)), &small, &large);
    magnitude.to_bits().xor(&x.to_bits().and(&u(0x8000_0000))).bits_to_f32()
}
