//! Packing of rows that are contiguous along the fold: a transposition in registers, of eight rows by four words or four by eight, or
//! with AVX-512 up to sixteen by sixteen.
#![allow(unsafe_code, reason = "vector loads and stores through pointers, bounds checked before")]

#[cfg(target_arch = "x86_64")]
use std::{arch::x86_64::*, ops::Range};

use super::{
    fetch,
    pack::{Shape, Word},
};

#[cfg(target_arch = "x86_64")]
mod wide;

/// Rows that are transposed together.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 4;

/// Packs up to `words` words from each of `starts` (elements; a full panel of 6, or a multiple of 4, rows), one of every row beside each
/// other, while those of `next`, as many or none, are fetched. Gives how many, a multiple of 8.
#[cfg(target_arch = "x86_64")]
pub(super) fn panel(bytes: &[u8], [starts, next]: [&[usize]; 2], shape: Shape, words: usize, out: &mut [u32]) -> usize {
    let (width, word, whole) = (starts.len(), shape.word, words / 8 * 8);
    assert!(width == 6 || width.is_multiple_of(ROWS));
    let size = if word == Word::Float { 4 } else { 1 };
    let reach = whole * word.positions();
    assert!(out.len() >= width * whole && starts.iter().all(|s| (s + reach) * size <= bytes.len()));
    let lines = if shape.wide { whole / 16 * 16 } else { 0 };
    if lines > 0 {
        for (group, rows) in starts.chunks(16).enumerate() {
            let out = out[group * 16..].as_mut_ptr();
            let next = next.get(group * 16..).unwrap_or_default();
            let rows = [rows, &next[..next.len().min(rows.len())]];
            // SAFETY: a shape is wide only where AVX-512 is, and the bounds were checked above: a group has a multiple of 4 rows, and
            // writes one word of each at multiples of `width`.
            unsafe {
                match word {
                    Word::Float => wide::rows::<FLOAT>(bytes, rows, 0, lines, width, out),
                    Word::Pair => wide::rows::<PAIR>(bytes, rows, 0, lines, width, out),
                    Word::Quad(flip) => wide::rows::<QUAD>(bytes, rows, flip, lines, width, out),
                }
            }
        }
    }
    if lines == whole {
        return whole;
    }
    let mut first = 0;
    while first < width {
        let count = if width - first >= 2 * ROWS { 2 * ROWS } else { ROWS.min(width - first) };
        let out = out[first..].as_mut_ptr();
        let next = next.get(first..).unwrap_or_default();
        let rows = [&starts[first..first + count], &next[..next.len().min(count)]];
        first += count;
        // SAFETY: `Micro::new` gives micro-kernels only where AVX2 is, and the bounds were checked above: a group has 8 rows, 4 or 2, and
        // writes one word of each at multiples of `width`.
        unsafe {
            match (word, count == 2 * ROWS) {
                (Word::Float, true) => eight_rows::<FLOAT>(bytes, rows, 0, lines..whole, width, out),
                (Word::Pair, true) => eight_rows::<PAIR>(bytes, rows, 0, lines..whole, width, out),
                (Word::Quad(flip), true) => eight_rows::<QUAD>(bytes, rows, flip, lines..whole, width, out),
                (Word::Float, false) => some_rows::<FLOAT>(bytes, rows, 0, lines..whole, width, out),
                (Word::Pair, false) => some_rows::<PAIR>(bytes, rows, 0, lines..whole, width, out),
                (Word::Quad(flip), false) => some_rows::<QUAD>(bytes, rows, flip, lines..whole, width, out),
            }
        }
    }
    whole
}

/// Puts `words` words from each of `starts` (elements; a multiple of 4 of them) on beside each other, while those that lie `ahead` are fetched. Gives
/// how many, a multiple of 8; none where there is no AVX2.
#[cfg(target_arch = "x86_64")]
pub(crate) fn floats_across(bytes: &[u8], starts: &[usize], ahead: isize, words: usize, out: &mut [u32]) -> usize {
    if !crate::Isa::Avx2.is_available() {
        return 0;
    }
    let next: Vec<usize> = starts.iter().map(|s| s.wrapping_add_signed(ahead)).collect();
    let shape = Shape { width: starts.len(), word: Word::Float, wide: false };
    panel(bytes, [starts, &next], shape, words, out)
}

/// The kinds of [`Word`]: fold positions in it.
#[cfg(target_arch = "x86_64")]
const FLOAT: usize = Word::Float.positions();
#[cfg(target_arch = "x86_64")]
const PAIR: usize = Word::Pair.positions();
#[cfg(target_arch = "x86_64")]
const QUAD: usize = Word::Quad(0).positions();

/// # Safety
/// There are 2 or 4 starts, each with the elements of `words` (multiples of 8) after it; `out` takes as many words at these multiples of
/// `width`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn some_rows<const WORD: usize>(
    bytes: &[u8],
    [starts, next]: [&[usize]; 2],
    flip: u8,
    words: Range<usize>,
    width: usize,
    out: *mut u32,
) {
    let size = if WORD == FLOAT { 4 } else { 1 };
    let flip = _mm256_set1_epi8(flip as i8);
    let address = |start: usize| bytes.as_ptr().wrapping_add(start.wrapping_mul(size));
    // Rows that are not there repeat the first one.
    let from: [*const u8; ROWS] = std::array::from_fn(|i| address(*starts.get(i).unwrap_or(&starts[0])));
    for k in words.step_by(8) {
        let at = k.wrapping_mul(WORD).wrapping_mul(size);
        if at.is_multiple_of(64) {
            next.iter().for_each(|&start| fetch::line(address(start).wrapping_add(at)));
        }
        // SAFETY: by the caller's promise.
        let rows: [__m256; ROWS] = std::array::from_fn(|i| unsafe {
            let from = from[i].add(at);
            _mm256_castsi256_ps(match WORD {
                PAIR => _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())),
                QUAD => _mm256_xor_si256(_mm256_loadu_si256(from.cast()), flip),
                _ => _mm256_loadu_si256(from.cast()),
            })
        });
        for (i, columns) in transposed(rows).into_iter().enumerate() {
            for (half, column) in
                [_mm256_castps256_ps128(columns), _mm256_extractf128_ps::<1>(columns)].iter().enumerate()
            {
                // SAFETY: by the caller's promise.
                unsafe {
                    let to = out.add((k + half * 4 + i).wrapping_mul(width));
                    match starts.len() {
                        2 => _mm_storel_epi64(to.cast(), _mm_castps_si128(*column)),
                        _ => _mm_storeu_ps(to.cast(), *column),
                    }
                }
            }
        }
    }
}

/// Four words of eight rows at a time, which are loaded beside each other: half as many shuffles and stores.
///
/// # Safety
/// There are 8 starts, each with the elements of `words` (multiples of 8) after it; `out` takes as many words at these multiples of
/// `width`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn eight_rows<const WORD: usize>(
    bytes: &[u8],
    [starts, next]: [&[usize]; 2],
    flip: u8,
    words: Range<usize>,
    width: usize,
    out: *mut u32,
) {
    let size = if WORD == FLOAT { 4 } else { 1 };
    let flip = _mm_set1_epi8(flip as i8);
    let address = |start: usize| bytes.as_ptr().wrapping_add(start.wrapping_mul(size));
    let from: [*const u8; 2 * ROWS] = std::array::from_fn(|i| address(starts[i]));
    for k in words.step_by(4) {
        let at = k.wrapping_mul(WORD).wrapping_mul(size);
        if at.is_multiple_of(64) {
            next.iter().for_each(|&start| fetch::line(address(start).wrapping_add(at)));
        }
        // SAFETY: by the caller's promise.
        let four = |row: usize| unsafe {
            let from = from[row].add(at);
            _mm_castsi128_ps(match WORD {
                PAIR => _mm_cvtepi8_epi16(_mm_loadl_epi64(from.cast())),
                QUAD => _mm_xor_si128(_mm_loadu_si128(from.cast()), flip),
                _ => _mm_loadu_si128(from.cast()),
            })
        };
        let rows: [__m256; ROWS] = std::array::from_fn(|i| _mm256_set_m128(four(i + ROWS), four(i)));
        for (i, column) in transposed(rows).into_iter().enumerate() {
            // SAFETY: by the caller's promise.
            unsafe { _mm256_storeu_ps(out.add((k + i).wrapping_mul(width)).cast(), column) };
        }
    }
}

/// Columns `i` and `i + 4` of the rows, as halves of vector `i`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn transposed([a, b, c, d]: [__m256; ROWS]) -> [__m256; ROWS] {
    let (low, high) =
        ([_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)], [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)]);
    [
        _mm256_shuffle_ps::<0x44>(low[0], low[1]),
        _mm256_shuffle_ps::<0xee>(low[0], low[1]),
        _mm256_shuffle_ps::<0x44>(high[0], high[1]),
        _mm256_shuffle_ps::<0xee>(high[0], high[1]),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn panel(_: &[u8], _: [&[usize]; 2], _: Shape, _: usize, _: &mut [u32]) -> usize {
    unreachable!("`Micro::new` gives no micro-kernel for this target");
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn floats_across(_: &[u8], _: &[usize], _: isize, _: usize, _: &mut [u32]) -> usize {
    0
}
