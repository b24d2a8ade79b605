//! Packing of rows that are contiguous along the fold: a transposition, eight by eight words in registers.
#![allow(unsafe_code, reason = "vector loads and stores through pointers, bounds checked before")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::{fetch, pack::Word};

/// Words after the end of a panel that [`panel`] may write and that its caller writes again or never reads.
pub(super) const SLACK: usize = 8;

/// Packs up to `words` words from each of `starts` (elements; a full panel of 6, or a multiple of 4, rows), one of every row beside each
/// other, while those of `next`, as many or none, are fetched. Gives how many, a multiple of 8. `out` has room for the panel and [`SLACK`]
/// more.
#[cfg(target_arch = "x86_64")]
pub(super) fn panel(bytes: &[u8], [starts, next]: [&[usize]; 2], word: Word, words: usize, out: &mut [u32]) -> usize {
    let (width, whole) = (starts.len(), words / 8 * 8);
    assert!(width == 6 || width.is_multiple_of(4));
    let size = if word == Word::Float { 4 } else { 1 };
    let reach = whole * word.positions();
    assert!(out.len() >= width * whole + SLACK && starts.iter().all(|s| (s + reach) * size <= bytes.len()));
    for (group, rows) in starts.chunks(8).enumerate() {
        let out = out[group * 8..].as_mut_ptr();
        let next = next.get(group * 8..).unwrap_or_default();
        let rows = [rows, &next[..next.len().min(rows.len())]];
        // SAFETY: `Micro::new` gives micro-kernels only where AVX2 is, and the bounds were checked above: a group writes one word of each
        // of its rows at multiples of `width`, and 8 where it has 6, which the slack allows for.
        unsafe {
            match word {
                Word::Float => rows_of_8::<FLOAT>(bytes, rows, 0, whole, width, out),
                Word::Pair => rows_of_8::<PAIR>(bytes, rows, 0, whole, width, out),
                Word::Quad(flip) => rows_of_8::<QUAD>(bytes, rows, flip, whole, width, out),
            }
        }
    }
    whole
}

/// The kinds of [`Word`]: fold positions in it.
#[cfg(target_arch = "x86_64")]
const FLOAT: usize = Word::Float.positions();
#[cfg(target_arch = "x86_64")]
const PAIR: usize = Word::Pair.positions();
#[cfg(target_arch = "x86_64")]
const QUAD: usize = Word::Quad(0).positions();

/// # Safety
/// Every start has the elements of `words` (a multiple of 8) words after it; `out` takes `starts.len()` words at multiples of `width` up
/// to `words`, and 8 where there are 6.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn rows_of_8<const WORD: usize>(
    bytes: &[u8],
    [starts, next]: [&[usize]; 2],
    flip: u8,
    words: usize,
    width: usize,
    out: *mut u32,
) {
    let size = if WORD == FLOAT { 4 } else { 1 };
    let flip = _mm256_set1_epi8(flip as i8);
    let address = |start: usize| bytes.as_ptr().wrapping_add(start.wrapping_mul(size));
    // Rows that are not there repeat the first one.
    let from: [*const u8; 8] = std::array::from_fn(|i| address(*starts.get(i).unwrap_or(&starts[0])));
    for k in (0..words).step_by(8) {
        let at = k.wrapping_mul(WORD).wrapping_mul(size);
        if at.is_multiple_of(64) {
            next.iter().for_each(|&start| fetch::line(address(start).wrapping_add(at)));
        }
        // SAFETY: by the caller's promise.
        let rows: [__m256; 8] = std::array::from_fn(|i| unsafe {
            let from = from[i].add(at);
            _mm256_castsi256_ps(match WORD {
                PAIR => _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())),
                QUAD => _mm256_xor_si256(_mm256_loadu_si256(from.cast()), flip),
                _ => _mm256_loadu_si256(from.cast()),
            })
        });
        for (i, row) in transposed(rows).into_iter().enumerate() {
            // SAFETY: by the caller's promise. A row of 6 spills into the next word, which is written after it.
            unsafe {
                let to = out.add((k + i).wrapping_mul(width)).cast::<f32>();
                if starts.len() == 4 {
                    _mm_storeu_ps(to, _mm256_castps256_ps128(row));
                } else {
                    _mm256_storeu_ps(to, row);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn transposed(r: [__m256; 8]) -> [__m256; 8] {
    // Pairs, then quads, then halves change places.
    let mut p = r;
    for i in 0..4 {
        p[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        p[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let mut q = p;
    for i in 0..2 {
        let at = 4 * i;
        q[at] = _mm256_shuffle_ps::<0x44>(p[at], p[at + 2]);
        q[at + 1] = _mm256_shuffle_ps::<0xee>(p[at], p[at + 2]);
        q[at + 2] = _mm256_shuffle_ps::<0x44>(p[at + 1], p[at + 3]);
        q[at + 3] = _mm256_shuffle_ps::<0xee>(p[at + 1], p[at + 3]);
    }
    let mut out = q;
    for i in 0..4 {
        out[i] = _mm256_permute2f128_ps::<0x20>(q[i], q[i + 4]);
        out[i + 4] = _mm256_permute2f128_ps::<0x31>(q[i], q[i + 4]);
    }
    out
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn panel(_: &[u8], _: [&[usize]; 2], _: Word, _: usize, _: &mut [u32]) -> usize {
    unreachable!("`Micro::new` gives no micro-kernel for this target");
}
