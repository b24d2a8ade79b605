//! Random words, numbers and permutations.

use crate::expr::{Expr, f, select, u};

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

/// How often [`permutation`] turns the circle.
const STAGES: u32 = 4;
/// Rounds of its network after each turn, for each half.
const ROUNDS: u32 = 2;

/// A permutation of the numbers below `n`, one for each key: where `index` (below `n`) goes. For an epoch of batches that
/// draw without replacement, with two words of Philox as the key.
///
/// Four times: the circle of `n` is turned by a word, then four rounds of a Feistel network mix the numbers below
/// `a·b ≤ n`, written as `left·b + right` with `a = ⌊√n⌋`, `b = ⌊n/a⌋`. Each step is a bijection for every `n` (a network
/// alone needs an `n` that factors), and the fewer than `a` numbers that one turn leaves out are mixed after the next.
#[must_use]
pub fn permutation(index: &Expr, n: core::num::NonZeroU32, key: [Expr; 2]) -> Expr {
    let n = n.get();
    let a = n.isqrt();
    let b = n / a;
    let mut x = index.clone();
    let mut round = 0;
    let mut word = |value: &Expr, half: usize| {
        round += 1;
        mix(value, &key[half], round)
    };
    for _ in 0..STAGES {
        x = turn(&x, n, &word(&u(0), 0));
        let mut left = super::divide(&x, b);
        let mut right = &x - &(&left * &u(b));
        for _ in 0..ROUNDS {
            left = turn(&left, a, &word(&right, 1));
            right = turn(&right, b, &word(&left, 0));
        }
        // `a·b` is at most `n`, so it fits.
        x = select(&x.lt(&u(a * b)), &(left * u(b) + right), &x);
    }
    x
}

/// `x` moved along the circle of `n` by a random word.
fn turn(x: &Expr, n: u32, word: &Expr) -> Expr {
    let by = below(word, n);
    let left = u(n).sub(&by);
    select(&x.lt(&left), &(x + &by), &(x - &left))
}

/// A word that depends on all bits of its inputs: the finaliser of MurmurHash3 over their sum.
fn mix(value: &Expr, key: &Expr, round: u32) -> Expr {
    let mut h = value + &(key + &u(0x9e37_79b9u32.wrapping_mul(round)));
    for (shift, factor) in [(16, 0x85eb_ca6b), (13, 0xc2b2_ae35)] {
        h = h.xor(&h.shr(&u(shift))) * u(factor);
    }
    h.xor(&h.shr(&u(16)))
}
