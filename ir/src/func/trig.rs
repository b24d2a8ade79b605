//! Sine and cosine, for every argument.
//!
//! An argument of π/4 or more is reduced exactly, in integers: `|x| = m·2^e` with a 24-bit `m`, and of `|x|·2/π` only what is left
//! modulo 4 matters, so 96 bits of 2/π, starting where `m·2^e` times a bit is no multiple of 4, times `m`, are enough (Payne and
//! Hanek 1983). Its two upper bits are the quadrant, the rest is the fraction of a quarter turn.

use crate::expr::{Expr, f, select, u};

/// 32 zeros, then the bits of 2/π.
const TWO_OVER_PI: [u32; 8] =
    [0, 0xa2f9_836e, 0x4e44_1529, 0xfc27_57d1, 0xf534_ddc0, 0xdb62_9599, 0x3c43_9041, 0xfe51_63ab];

/// `sin x`; NaN for infinities, −0 for −0.
#[must_use]
pub fn sin(x: &Expr) -> Expr {
    let (quadrant, r) = reduce(x);
    let sign = quadrant.shl(&u(30)).xor(&x.to_bits());
    finish(x, &quadrant, &r, &sign)
}

/// `cos x`; NaN for infinities.
#[must_use]
pub fn cos(x: &Expr) -> Expr {
    let (quadrant, r) = reduce(x);
    let quadrant = quadrant + u(1);
    finish(x, &quadrant, &r, &quadrant.shl(&u(30)))
}

/// `sin r` in even quadrants, `cos r` in odd ones, with the upper bit of `sign`.
fn finish(x: &Expr, quadrant: &Expr, r: &Expr, sign: &Expr) -> Expr {
    let z = r * r;
    // Weighted minimax fits of (sin r − r) / r³ and (cos r − 1 + r²/2) / r⁴ in r² on ±π/4.
    let s = f(-1.951_828_6e-4).fma(&z, &f(8.332_189e-3)).fma(&z, &f(-0.166_666_55));
    let c = f(2.443_256_4e-5).fma(&z, &f(-1.388_731_1e-3)).fma(&z, &f(4.166_664_6e-2));
    let sine = (r * &z).fma(&s, r);
    let cosine = (&z * &z).fma(&c, &z.fma(&f(-0.5), &f(1.0)));
    let value = select(&quadrant.and(&u(1)), &cosine, &sine);
    let signed = value.to_bits().xor(&sign.and(&u(0x8000_0000))).bits_to_f32();
    select(&x.abs().lt(&f(f32::INFINITY)), &signed, &f(f32::NAN))
}

/// `|x|` as a quadrant (modulo 4 in its lower bits) and what is left, in radians, within ±π/4.
fn reduce(x: &Expr) -> (Expr, Expr) {
    let magnitude = x.abs();
    let bits = magnitude.to_bits();
    let m = bits.and(&u(0x007f_ffff)).or(&u(0x0080_0000));
    // Where the window of 96 bits starts in the table; meaningless below π/4.
    let start = bits.shr(&u(23)) - u(120);
    let [w0, w1, w2] = window(&start);
    // The lower 96 bits of m·window, less the lowest word.
    let low = m.mul(&w1);
    let middle = &low + &m.mulhi(&w2);
    let carry = middle.lt(&low);
    let top = m.mul(&w0) + m.mulhi(&w1) + carry;
    let (high, low) = (top.shl(&u(2)).or(&middle.shr(&u(30))), middle.shl(&u(2)));
    // To the nearest quarter turn: the fraction becomes signed. Its upper 24 bits are rounded to the nearest, so that the 32 below
    // are signed too and never cancel against them; the quadrant is rounded with them.
    let quadrant = (&top + &u(0x2000_0020)).shr(&u(30));
    // Both as floats, times π/2, which is a sum of two floats.
    let a = (&high + &u(0x80)).and(&u(0xffff_ff00)).to_i32().to_f32();
    let b = high.shl(&u(24)).or(&low.shr(&u(8))).to_i32().to_f32();
    let tail = a.fma(&f(-1.017_735_1e-17), &(&b * &f(-6.066_173_7e-25)));
    let r = a.fma(&f(3.657_295_3e-10), &b.fma(&f(2.179_917_9e-17), &tail));
    let small = magnitude.lt(&f(core::f32::consts::FRAC_PI_4));
    (select(&small, &u(0), &quadrant), select(&small, &magnitude, &r))
}

/// Three words of the table from bit `start` on.
fn window(start: &Expr) -> [Expr; 3] {
    let word = |i: usize| u(TWO_OVER_PI.get(i).copied().unwrap_or(0));
    let by = |bit: u32, yes: &Expr, no: &Expr| select(&start.and(&u(bit)), yes, no);
    let coarse: [Expr; 5] = core::array::from_fn(|i| by(128, &word(i + 4), &by(64, &word(i + 2), &word(i))));
    let fine: [Expr; 4] = core::array::from_fn(|i| by(32, &coarse[i + 1], &coarse[i]));
    let shift = start.and(&u(31));
    let rest = u(32).sub(&shift);
    core::array::from_fn(|i| fine[i].shl(&shift).or(&fine[i + 1].shr(&rest)))
}
