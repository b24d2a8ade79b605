//! Tiles of `fma`, one fold position after the other.
#![allow(unsafe_code, reason = "vector loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{
    super::fetch::{LINE, line as line_now, line_soon},
    Tile, fetch,
};

/// Fold positions between two jumps back: with one, the loop itself takes a tenth of the time.
const AT_ONCE: usize = 8;

/// # Safety
/// `a` holds `6 · depth` values, `b` `16 · depth`; `c` has 6 rows of 16 values, `tile.stride` apart.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn tile_6x16(depth: usize, a: *const f32, b: *const f32, c: *mut f32, tile: &Tile<'_>) {
    let mut acc = [[_mm256_set1_ps(f32::from_bits(tile.init)); 2]; 6];
    if tile.resume {
        for (i, row) in acc.iter_mut().enumerate() {
            // SAFETY: within the tile, by the caller's promise.
            *row = [0, 8].map(|j| unsafe { _mm256_loadu_ps(c.add(i.wrapping_mul(tile.stride) + j)) });
        }
    }
    fetch::<6>(c.cast(), 16, tile);
    let mut ahead = tile.ahead;
    let mut position = |k: usize| {
        // SAFETY: within the panels, by the caller's promise.
        unsafe {
            let (a, b) = (a.add(k * 6), b.add(k * 16));
            let (b0, b1) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm256_broadcast_ss(&*a.add(i));
                row[0] = _mm256_fmadd_ps(x, b0, row[0]);
                row[1] = _mm256_fmadd_ps(x, b1, row[1]);
            }
        }
    };
    let whole = depth / AT_ONCE * AT_ONCE;
    for k in (0..whole).step_by(AT_ONCE) {
        (k..k + AT_ONCE).for_each(&mut position);
        // The three lines of `a` that are read soon: the second-level cache would be late. And one of what comes after this tile.
        for line in 0..AT_ONCE * 6 / LINE {
            line_now(a.wrapping_add(k * 6 + 240 + line * LINE));
        }
        line_soon(ahead);
        ahead = ahead.wrapping_add(LINE);
    }
    (whole..depth).for_each(position);
    let nan = _mm256_castsi256_ps(_mm256_set1_epi32(lockstep_ir::number::NAN as i32));
    for (i, row) in acc.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            // SAFETY: within the tile, by the caller's promise.
            unsafe {
                let at = c.wrapping_add(i.wrapping_mul(tile.stride)).wrapping_add(j * 8);
                let mut x = value;
                if tile.add {
                    x = _mm256_add_ps(_mm256_loadu_ps(at), x);
                }
                if tile.canonical {
                    x = _mm256_blendv_ps(x, nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
                }
                _mm256_storeu_ps(at, x);
            }
        }
    }
}

/// # Safety
/// `a` holds `12 · depth` values, `b` `32 · depth`; `c` has 12 rows of 32 values, `tile.stride` apart.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile_12x32(depth: usize, mut a: *const f32, mut b: *const f32, c: *mut f32, tile: &Tile<'_>) {
    let mut acc = [[_mm512_set1_ps(f32::from_bits(tile.init)); 2]; 12];
    if tile.resume {
        for (i, row) in acc.iter_mut().enumerate() {
            // SAFETY: within the tile, by the caller's promise.
            *row = [0, 16].map(|j| unsafe { _mm512_loadu_ps(c.add(i.wrapping_mul(tile.stride) + j)) });
        }
    }
    fetch::<12>(c.cast(), 32, tile);
    for _ in 0..depth {
        // SAFETY: within the panels, by the caller's promise.
        unsafe {
            let b0 = _mm512_loadu_ps(b);
            let b1 = _mm512_loadu_ps(b.add(16));
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.add(i));
                row[0] = _mm512_fmadd_ps(x, b0, row[0]);
                row[1] = _mm512_fmadd_ps(x, b1, row[1]);
            }
            a = a.add(12);
            b = b.add(32);
        }
    }
    let nan = _mm512_castsi512_ps(_mm512_set1_epi32(lockstep_ir::number::NAN as i32));
    for (i, row) in acc.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            // SAFETY: within the tile, by the caller's promise.
            unsafe {
                let at = c.wrapping_add(i.wrapping_mul(tile.stride)).wrapping_add(j * 16);
                let mut x = value;
                if tile.add {
                    x = _mm512_add_ps(_mm512_loadu_ps(at), x);
                }
                if tile.canonical {
                    x = _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), x, nan);
                }
                _mm512_storeu_ps(at, x);
            }
        }
    }
}
