//! Scalar functions as instruction sequences. Their bits are part of the protocol: a changed bit is a new version.

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

/// Philox4x32-10 (Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, SC'11): four random words.
#[must_use]
pub fn philox(counter: [Expr; 4], key: [Expr; 2]) -> [Expr; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    let (m0, m1) = (u(0xD251_1F53), u(0xCD9E_8D57));
    for round in 0..10 {
        if round > 0 {
            k0 = k0 + u(0x9E37_79B9);
            k1 = k1 + u(0xBB67_AE85);
        }
        let (hi0, lo0, hi1, lo1) = (m0.mulhi(&c0), m0.mul(&c0), m1.mulhi(&c2), m1.mul(&c2));
        (c0, c1, c2, c3) = (hi1.xor(&c1).xor(&k0), lo1, hi0.xor(&c3).xor(&k1), lo0);
    }
    [c0, c1, c2, c3]
}

/// A word below `n`, from a random word: the upper half of the product (its bias is below n/2^32).
#[must_use]
pub fn below(word: &Expr, n: u32) -> Expr {
    word.mulhi(&u(n))
}

/// A number in [0, 1) from a random word: `(word >> 8) · 2^-24`.
#[must_use]
pub fn uniform(word: &Expr) -> Expr {
    word.shr(&u(8)).to_f32() * f(1.0 / 16_777_216.0)
}
