//! Four messages in AVX2 registers.
#![allow(unsafe_code, reason = "vector instructions that were found to be there, and loads through pointers")]

use std::arch::x86_64::*;

use super::{
    interleaved,
    permutation::{Lanes, Rounds, hash, permute, word},
};
use crate::B256;

/// keccak256 of `4 · GROUPS` messages, while what is `next` is fetched.
#[target_feature(enable = "avx2")]
pub(super) fn fours<const GROUPS: usize, const BYTES: usize>(
    messages: &[&[u8; BYTES]],
    next: &[&[u8; BYTES]],
    digests: &mut [B256],
) {
    hash::<Four, GROUPS, BYTES>(messages, next, digests);
}

/// Only [`fours`] makes one, so AVX2 is there wherever one is.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Four(__m256i);

/// Where words `at` to `at + 3` of a message start.
#[inline(always)]
fn start<const BYTES: usize>(message: &[u8; BYTES], at: usize) -> *const __m256i {
    message[8 * at..8 * at + 32].as_ptr().cast()
}

impl Lanes for Four {
    const COUNT: usize = 4;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        // SAFETY: AVX2 is there, see `Four`; as in every function below.
        Self(unsafe { _mm256_set1_epi64x(word as i64) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: see `Four`.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn word<const BYTES: usize>(messages: &[&[u8; BYTES]], at: usize) -> Self {
        let word = |i: usize| word(messages[i], at) as i64;
        // SAFETY: see `Four`.
        Self(unsafe { _mm256_setr_epi64x(word(0), word(1), word(2), word(3)) })
    }

    #[inline(always)]
    fn four_words<const BYTES: usize>(messages: &[&[u8; BYTES]], at: usize) -> [Self; 4] {
        let start = |i: usize| start(messages[i], at);
        // SAFETY: see `Four`; `start` checks that 32 bytes are there.
        let rows = unsafe {
            [
                _mm256_loadu_si256(start(0)),
                _mm256_loadu_si256(start(1)),
                _mm256_loadu_si256(start(2)),
                _mm256_loadu_si256(start(3)),
            ]
        };
        let [a, b, c, d] = transposed(rows);
        [Self(a), Self(b), Self(c), Self(d)]
    }

    #[inline(always)]
    fn permute<const GROUPS: usize>(states: &mut [[Self; 25]; GROUPS]) {
        let (pairs, rest) = states.as_chunks_mut::<2>();
        for pair in pairs {
            // SAFETY: see `Four`, which is a transparent wrapper.
            unsafe { interleaved::permute(&mut *std::ptr::from_mut(pair).cast()) };
        }
        for state in rest {
            permute(state);
        }
    }

    #[inline(always)]
    fn fetch(byte: &u8) {
        // SAFETY: every x86-64 has this instruction, and it changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
    }

    #[inline(always)]
    fn store(words: [Self; 4], digests: &mut [B256]) {
        let [a, b, c, d] = words;
        for (digest, row) in digests.iter_mut().zip(transposed([a.0, b.0, c.0, d.0])) {
            // SAFETY: see `Four`; a digest has 32 bytes.
            unsafe { _mm256_storeu_si256(digest.0.as_mut_ptr().cast(), row) };
        }
    }
}

impl Rounds for Four {
    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        // SAFETY: see `Four`.
        Self(unsafe { _mm256_xor_si256(self.0, _mm256_andnot_si256(b.0, c.0)) })
    }

    #[inline(always)]
    fn rotate<const L: i32, const R: i32>(self) -> Self {
        // Whole bytes move by a shuffle.
        // SAFETY: see `Four`.
        Self(unsafe {
            match L {
                8 => _mm256_shuffle_epi8(self.0, by_bytes(7)),
                56 => _mm256_shuffle_epi8(self.0, by_bytes(1)),
                _ => _mm256_or_si256(_mm256_slli_epi64::<L>(self.0), _mm256_srli_epi64::<R>(self.0)),
            }
        })
    }
}

/// The shuffle that moves the bytes of every word `by` places down, around the word's end.
#[inline(always)]
fn by_bytes(by: usize) -> __m256i {
    let mut order = [0u8; 32];
    for (i, place) in order.iter_mut().enumerate() {
        *place = (i / 8 % 2 * 8 + (i + by) % 8) as u8;
    }
    // SAFETY: both are 32 bytes of plain data.
    unsafe { std::mem::transmute(order) }
}

/// Rows become columns.
#[inline(always)]
fn transposed(r: [__m256i; 4]) -> [__m256i; 4] {
    // SAFETY: only called for `Four`.
    unsafe {
        let (a, b) = (_mm256_unpacklo_epi64(r[0], r[1]), _mm256_unpackhi_epi64(r[0], r[1]));
        let (c, d) = (_mm256_unpacklo_epi64(r[2], r[3]), _mm256_unpackhi_epi64(r[2], r[3]));
        [
            _mm256_permute2x128_si256::<0x20>(a, c),
            _mm256_permute2x128_si256::<0x20>(b, d),
            _mm256_permute2x128_si256::<0x31>(a, c),
            _mm256_permute2x128_si256::<0x31>(b, d),
        ]
    }
}
