//! Sixteen words from each of up to sixteen rows.
#![allow(unsafe_code, reason = "vector loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{super::fetch, FLOAT, PAIR, QUAD};

/// # Safety
/// There are 4, 8, 12 or 16 starts, each with the elements of `words` (a multiple of 16) words after it; `out` takes as many words at
/// multiples of `width` up to `words`.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn rows<const WORD: usize>(
    bytes: &[u8],
    [starts, next]: [&[usize]; 2],
    flip: u8,
    words: usize,
    width: usize,
    out: *mut u32,
) {
    let size = if WORD == FLOAT { 4 } else { 1 };
    let address = |start: usize| bytes.as_ptr().wrapping_add(start.wrapping_mul(size));
    // Rows that are not there repeat the last one.
    let from: [*const u8; 16] = std::array::from_fn(|i| address(starts[i.min(starts.len() - 1)]));
    for k in (0..words).step_by(16) {
        let at = k.wrapping_mul(WORD).wrapping_mul(size);
        if at.is_multiple_of(64) {
            next.iter().for_each(|&start| fetch::line(address(start).wrapping_add(at)));
        }
        // SAFETY: by the caller's promise.
        unsafe {
            let to = out.add(k.wrapping_mul(width));
            match starts.len() {
                16 => tile::<WORD, 4>(&from, at, flip, width, to),
                12 => tile::<WORD, 3>(&from, at, flip, width, to),
                8 => tile::<WORD, 2>(&from, at, flip, width, to),
                _ => tile::<WORD, 1>(&from, at, flip, width, to),
            }
        }
    }
}

/// Four rows at a time within the quarters of a vector, then the quarters among vectors.
///
/// # Safety
/// Sixteen words are at `at` from each of the first `FOURS` times four; `out` takes as many words sixteen times, `width` apart.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn tile<const WORD: usize, const FOURS: usize>(
    from: &[*const u8; 16],
    at: usize,
    flip: u8,
    width: usize,
    out: *mut u32,
) {
    let flip = _mm512_set1_epi8(flip as i8);
    let quarters: [[__m512; 4]; FOURS] = std::array::from_fn(|four| {
        let [a, b, c, d] = std::array::from_fn(|i| {
            // SAFETY: by the caller's promise.
            unsafe {
                let from = from[four * 4 + i].add(at);
                _mm512_castsi512_ps(match WORD {
                    PAIR => _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())),
                    QUAD => _mm512_xor_si512(_mm512_loadu_si512(from.cast()), flip),
                    _ => _mm512_loadu_si512(from.cast()),
                })
            }
        });
        let (low, high) = (
            [_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d)],
            [_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d)],
        );
        [
            _mm512_shuffle_ps::<0x44>(low[0], low[1]),
            _mm512_shuffle_ps::<0xee>(low[0], low[1]),
            _mm512_shuffle_ps::<0x44>(high[0], high[1]),
            _mm512_shuffle_ps::<0xee>(high[0], high[1]),
        ]
    });
    // Quarter `l` of vector `i` of a four holds its rows of word `4l + i`.
    (0..4).for_each(|i| {
        let four = |four: usize| quarters[four.min(FOURS - 1)][i];
        let even = [[four(0), four(1)], [four(2), four(3)]].map(|[x, y]| _mm512_shuffle_f32x4::<0x88>(x, y));
        let odd = [[four(0), four(1)], [four(2), four(3)]].map(|[x, y]| _mm512_shuffle_f32x4::<0xdd>(x, y));
        let words = [
            _mm512_shuffle_f32x4::<0x88>(even[0], even[1]),
            _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]),
            _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]),
            _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]),
        ];
        for (l, word) in words.into_iter().enumerate() {
            // SAFETY: by the caller's promise.
            unsafe {
                let to = out.add((4 * l + i).wrapping_mul(width));
                match FOURS {
                    4 => _mm512_storeu_ps(to.cast(), word),
                    3 => {
                        // Faster than with a mask.
                        _mm256_storeu_ps(to.cast(), _mm512_castps512_ps256(word));
                        _mm_storeu_ps(to.add(8).cast(), _mm512_extractf32x4_ps::<2>(word));
                    }
                    _ => _mm512_mask_storeu_ps(to.cast(), 0xffff >> (16 - 4 * FOURS), word),
                }
            }
        }
    });
}
