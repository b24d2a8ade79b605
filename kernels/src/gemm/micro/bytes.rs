//! Tiles of sums of products of bytes, in `i32`. The sums are exact until they wrap, as the definition's do, in whatever order.
#![allow(unsafe_code, reason = "vector loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{super::aside::Aside, AT_ONCE, Beside, Excess, Tile};

/// # Safety
/// `a` holds `6 · words` pairs, `b` `16 · words`; `c` has 6 rows of 16 values, `tile.stride` apart.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn pairs_6x16(
    words: usize,
    mut a: *const i32,
    mut b: *const i32,
    c: *mut i32,
    tile: &Tile<'_>,
    aside: &mut Aside<'_>,
) {
    let mut acc = [[_mm256_set1_epi32(tile.init as i32); 2]; 6];
    let beside = Beside::new(c, 6, 16, tile, aside);
    let word = || {
        // SAFETY: within the panels, by the caller's promise.
        unsafe {
            let b0 = _mm256_loadu_si256(b.cast());
            let b1 = _mm256_loadu_si256(b.add(8).cast());
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(*a.add(i));
                row[0] = _mm256_add_epi32(row[0], _mm256_madd_epi16(x, b0));
                row[1] = _mm256_add_epi32(row[1], _mm256_madd_epi16(x, b1));
            }
            a = a.add(6);
            b = b.add(16);
        }
    };
    beside.during::<16>(words, AT_ONCE, word);
    for (i, row) in acc.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            // SAFETY: within the tile, by the caller's promise.
            unsafe {
                let at = c.add(i * tile.stride + j * 8).cast();
                let x = if tile.add { _mm256_add_epi32(_mm256_loadu_si256(at), value) } else { value };
                _mm256_storeu_si256(at, x);
            }
        }
    }
}

/// # Safety
/// `a` holds `12 · words` pairs, `b` `32 · words`; `c` has 12 rows of 32 values, `tile.stride` apart.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn pairs_12x32(
    words: usize,
    mut a: *const i32,
    mut b: *const i32,
    c: *mut i32,
    tile: &Tile<'_>,
    aside: &mut Aside<'_>,
) {
    let mut acc = [[_mm512_set1_epi32(tile.init as i32); 2]; 12];
    let beside = Beside::new(c, 12, 32, tile, aside);
    let word = || {
        // SAFETY: within the panels, by the caller's promise.
        unsafe {
            let b0 = _mm512_loadu_si512(b.cast());
            let b1 = _mm512_loadu_si512(b.add(16).cast());
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(*a.add(i));
                row[0] = _mm512_add_epi32(row[0], _mm512_madd_epi16(x, b0));
                row[1] = _mm512_add_epi32(row[1], _mm512_madd_epi16(x, b1));
            }
            a = a.add(12);
            b = b.add(32);
        }
    };
    beside.during::<32>(words, AT_ONCE, word);
    // SAFETY: by the caller's promise.
    unsafe { leave(acc, c, tile) };
}

/// 128 times the sum of each column of a panel of quads.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn excess(panel: &[[u32; 32]]) -> Excess {
    let offset = _mm512_set1_epi8(-128); // 128 without a sign
    let mut sums = [_mm512_setzero_si512(); 2];
    for words in panel {
        for (sum, words) in sums.iter_mut().zip(words.as_chunks::<16>().0) {
            // SAFETY: sixteen words are there.
            *sum = _mm512_dpbusd_epi32(*sum, offset, unsafe { _mm512_loadu_si512(words.as_ptr().cast()) });
        }
    }
    let mut excess = [0; 32];
    for (to, sum) in excess.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
        // SAFETY: there is room for sixteen words.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), sum) };
    }
    excess
}

/// `a` holds `x + 128` for every `x`; what that adds to a column's products is in `tile.excess`.
///
/// # Safety
/// `a` holds `12 · words` quads, `b` `32 · words`; `c` has 12 rows of 32 values, `tile.stride` apart.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn quads_12x32(
    words: usize,
    mut a: *const i32,
    mut b: *const i32,
    c: *mut i32,
    tile: &Tile<'_>,
    aside: &mut Aside<'_>,
) {
    let init = _mm512_set1_epi32(tile.init as i32);
    let start = [0, 16].map(|at| {
        // SAFETY: sixteen words are there.
        let excess = unsafe { _mm512_loadu_si512(tile.excess[at..at + 16].as_ptr().cast()) };
        _mm512_sub_epi32(init, excess)
    });
    let mut acc = [start; 12];
    let beside = Beside::new(c, 12, 32, tile, aside);
    let word = || {
        // SAFETY: within the panels, by the caller's promise.
        unsafe {
            let b0 = _mm512_loadu_si512(b.cast());
            let b1 = _mm512_loadu_si512(b.add(16).cast());
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(*a.add(i));
                row[0] = _mm512_dpbusd_epi32(row[0], x, b0);
                row[1] = _mm512_dpbusd_epi32(row[1], x, b1);
            }
            a = a.add(12);
            b = b.add(32);
        }
    };
    beside.during::<32>(words, AT_ONCE, word);
    // SAFETY: by the caller's promise.
    unsafe { leave(acc, c, tile) };
}

/// Takes the accumulators themselves: of which somebody keeps the address, they would be written to memory at every word.
///
/// # Safety
/// `c` has 12 rows of 32 values, `tile.stride` apart.
#[target_feature(enable = "avx512f")]
unsafe fn leave(acc: [[__m512i; 2]; 12], c: *mut i32, tile: &Tile<'_>) {
    for (i, row) in acc.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            // SAFETY: within the tile, by the caller's promise.
            unsafe {
                let at: *mut __m512i = c.add(i * tile.stride + j * 16).cast();
                let x = if tile.add { _mm512_add_epi32(_mm512_loadu_si512(at.cast_const()), value) } else { value };
                _mm512_storeu_si512(at, x);
            }
        }
    }
}
