//! Tiles of `fma`, one fold position after the other.
#![allow(unsafe_code, reason = "vector loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{
    super::{
        aside::Aside,
        fetch::{LINE, line},
    },
    AT_ONCE, Beside, Tile,
};

/// A tile of some rows: `(depth, a, b, c, tile, aside)`.
type Tile6x16 = unsafe fn(usize, *const f32, *const f32, *mut f32, &Tile<'_>, &mut Aside<'_>);
/// A tile of some rows, and its columns: `(depth, a, b, c, columns, tile, aside)`.
type Tile12x32 = unsafe fn(usize, *const f32, *const f32, *mut f32, usize, &Tile<'_>, &mut Aside<'_>);

/// For one row and for each more.
pub(super) const TILES_6X16: [Tile6x16; 6] =
    [tile_6x16::<1>, tile_6x16::<2>, tile_6x16::<3>, tile_6x16::<4>, tile_6x16::<5>, tile_6x16::<6>];

/// For one row and for each more.
pub(super) const TILES_12X32: [Tile12x32; 12] = [
    tile_12x32::<1>,
    tile_12x32::<2>,
    tile_12x32::<3>,
    tile_12x32::<4>,
    tile_12x32::<5>,
    tile_12x32::<6>,
    tile_12x32::<7>,
    tile_12x32::<8>,
    tile_12x32::<9>,
    tile_12x32::<10>,
    tile_12x32::<11>,
    tile_12x32::<12>,
];

/// # Safety
/// `a` holds `6 · depth` values, `b` `16 · depth`; `c` has so many rows of 16 values, `tile.stride` apart.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_6x16<const ROWS: usize>(
    depth: usize,
    mut a: *const f32,
    mut b: *const f32,
    c: *mut f32,
    tile: &Tile<'_>,
    aside: &mut Aside<'_>,
) {
    let mut acc = [[_mm256_set1_ps(f32::from_bits(tile.init)); 2]; ROWS];
    if tile.resume {
        for (i, row) in acc.iter_mut().enumerate() {
            // SAFETY: within the tile, by the caller's promise.
            *row = [0, 8].map(|j| unsafe { _mm256_loadu_ps(c.add(i.wrapping_mul(tile.stride) + j)) });
        }
    }
    let beside = Beside::new(c, ROWS, 16, tile, aside);
    let mut position = |a: &mut *const f32| {
        // SAFETY: within the panels, by the caller's promise.
        unsafe {
            let (b0, b1) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm256_broadcast_ss(&*(*a).add(i));
                row[0] = _mm256_fmadd_ps(x, b0, row[0]);
                row[1] = _mm256_fmadd_ps(x, b1, row[1]);
            }
            *a = a.add(6);
            b = b.add(16);
        }
    };
    // With one position between two jumps back, the loop itself takes a tenth of the time.
    beside.during::<16>(depth / 4, AT_ONCE / 4, || {
        (0..4).for_each(|_| position(&mut a));
        // Lines of `a` that are read soon: the second-level cache would be late.
        [0, LINE].iter().for_each(|ahead| line(a.wrapping_add(240 + ahead)));
    });
    (0..depth % 4).for_each(|_| position(&mut a));
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
/// `a` holds `12 · depth` values, `b` `32 · depth`; `c` has so many rows of `columns` values, at most 32, `tile.stride` apart.
#[target_feature(enable = "avx512f")]
unsafe fn tile_12x32<const ROWS: usize>(
    depth: usize,
    mut a: *const f32,
    mut b: *const f32,
    c: *mut f32,
    columns: usize,
    tile: &Tile<'_>,
    aside: &mut Aside<'_>,
) {
    let mut acc = [[_mm512_set1_ps(f32::from_bits(tile.init)); 2]; ROWS];
    if tile.resume {
        for (i, row) in acc.iter_mut().enumerate() {
            // SAFETY: what is resumed has all columns; within the tile, by the caller's promise.
            *row = [0, 16].map(|j| unsafe { _mm512_loadu_ps(c.add(i.wrapping_mul(tile.stride) + j)) });
        }
    }
    let beside = Beside::new(c, ROWS, columns, tile, aside);
    let position = || {
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
    };
    beside.during::<32>(depth, AT_ONCE, position);
    let nan = _mm512_castsi512_ps(_mm512_set1_epi32(lockstep_ir::number::NAN as i32));
    let there = [0, 16].map(|j| (0xffff_u32 >> (16 - columns.saturating_sub(j).min(16))) as __mmask16);
    for (i, row) in acc.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            // SAFETY: within the tile, by the caller's promise; what is masked is not touched.
            unsafe {
                let at = c.wrapping_add(i.wrapping_mul(tile.stride)).wrapping_add(j * 16);
                let mut x = value;
                if tile.add {
                    x = _mm512_add_ps(_mm512_maskz_loadu_ps(there[j], at), x);
                }
                if tile.canonical {
                    x = _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), x, nan);
                }
                _mm512_mask_storeu_ps(at, there[j], x);
            }
        }
    }
}
