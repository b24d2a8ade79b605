//! Micro-kernels: one tile of the output over one leaf block of the fold, all accumulators in registers.

use crate::Isa;

/// Which micro-kernel, and the size of its tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micro {
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no micro-kernel to choose"))]
    isa: Isa,
    pub(super) mr: usize,
    pub(super) nr: usize,
}

/// What happens to a tile.
pub(super) struct Tile {
    /// What every accumulator starts from.
    pub(super) init: f32,
    /// Whether it is added to what is there, or overwrites it.
    pub(super) add: bool,
    /// Whether NaNs become canonical.
    pub(super) canonical: bool,
    /// Elements from one row of the output to the next.
    pub(super) stride: usize,
}

/// Largest tile of any micro-kernel.
const MAX_TILE: usize = 12 * 32;

impl Micro {
    /// The micro-kernel for these instructions, if there is one.
    pub(crate) fn new(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Portable => None,
            Isa::Avx2 => Some(Self { isa, mr: 6, nr: 16 }),
            Isa::Avx512 => Some(Self { isa, mr: 12, nr: 32 }),
        }
    }

    /// Multiplies a panel of `A` with one of `B` and leaves the `size.0 × size.1` corner of the tile at the start of `c`.
    pub(super) fn run(self, a: &[f32], b: &[f32], c: &mut [u8], size: (usize, usize), tile: &Tile) {
        let c = c.as_chunks_mut::<4>().0;
        if size == (self.mr, self.nr) {
            self.full(a, b, c, tile);
            return;
        }
        self.part(a, b, c, size, tile);
    }

    /// A tile that sticks out of the output, by way of a buffer.
    #[cold]
    fn part(self, a: &[f32], b: &[f32], c: &mut [[u8; 4]], size: (usize, usize), tile: &Tile) {
        let mut buffer = [[0; 4]; MAX_TILE];
        self.full(a, b, &mut buffer, &Tile { add: false, canonical: false, stride: self.nr, ..*tile });
        for (row, values) in c.chunks_mut(tile.stride).zip(buffer.chunks(self.nr)).take(size.0) {
            for (slot, &value) in row.iter_mut().zip(values).take(size.1) {
                let value = f32::from_le_bytes(value);
                let sum = if tile.add { f32::from_le_bytes(*slot) + value } else { value };
                let bits = if tile.canonical { lockstep_ir::number::canonical(sum.to_bits()) } else { sum.to_bits() };
                *slot = bits.to_le_bytes();
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "vector loads and stores through pointers, bounds checked before")]
    fn full(self, a: &[f32], b: &[f32], c: &mut [[u8; 4]], tile: &Tile) {
        let depth = a.len() / self.mr;
        assert!(a.len() == depth * self.mr && b.len() == depth * self.nr);
        assert!(tile.stride >= self.nr && c.len() >= (self.mr - 1) * tile.stride + self.nr);
        let c = c.as_mut_ptr().cast::<f32>();
        match self.isa {
            Isa::Portable => {}
            // SAFETY: the panels hold `depth` rows, `c` holds the tile (both checked above), and a plan only holds an `Isa` that is
            // available. Stores need no alignment.
            Isa::Avx2 => unsafe { x86::tile_6x16(depth, a.as_ptr(), b.as_ptr(), c, tile) },
            // SAFETY: as above.
            Isa::Avx512 => unsafe { x86::tile_12x32(depth, a.as_ptr(), b.as_ptr(), c, tile) },
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn full(self, _: &[f32], _: &[f32], _: &mut [[u8; 4]], _: &Tile) {
        unreachable!("`Micro::new` gives no micro-kernel for this target");
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector loads and stores through pointers")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Tile;

    /// Fetches a row of the tile into the nearest cache: it is there when the accumulators are done, which is hundreds of cycles later.
    ///
    /// # Safety
    /// `count` values start at `row`.
    #[inline(always)]
    unsafe fn fetch(row: *const f32, count: usize) {
        for at in (0..count).step_by(16).chain([count - 1]) {
            // SAFETY: by the caller's promise.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(row.add(at).cast()) };
        }
    }

    /// # Safety
    /// `a` holds `6 · depth` values, `b` `16 · depth`; `c` has 6 rows of 16 values, `tile.stride` apart.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn tile_6x16(depth: usize, mut a: *const f32, mut b: *const f32, c: *mut f32, tile: &Tile) {
        let mut acc = [[_mm256_set1_ps(tile.init); 2]; 6];
        // SAFETY: within the tile, by the caller's promise.
        (0..6).for_each(|i| unsafe { fetch(c.add(i * tile.stride), 16) });
        for _ in 0..depth {
            // SAFETY: within the panels, by the caller's promise.
            unsafe {
                let b0 = _mm256_loadu_ps(b);
                let b1 = _mm256_loadu_ps(b.add(8));
                for (i, row) in acc.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*a.add(i));
                    row[0] = _mm256_fmadd_ps(x, b0, row[0]);
                    row[1] = _mm256_fmadd_ps(x, b1, row[1]);
                }
                _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(6 * 40).cast());
                a = a.add(6);
                b = b.add(16);
            }
        }
        let nan = _mm256_castsi256_ps(_mm256_set1_epi32(lockstep_ir::number::NAN as i32));
        for (i, row) in acc.iter().enumerate() {
            for (j, &value) in row.iter().enumerate() {
                // SAFETY: within the tile, by the caller's promise.
                unsafe {
                    let at = c.add(i * tile.stride + j * 8);
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
    pub(super) unsafe fn tile_12x32(depth: usize, mut a: *const f32, mut b: *const f32, c: *mut f32, tile: &Tile) {
        let mut acc = [[_mm512_set1_ps(tile.init); 2]; 12];
        // SAFETY: within the tile, by the caller's promise.
        (0..12).for_each(|i| unsafe { fetch(c.add(i * tile.stride), 32) });
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
                    let at = c.add(i * tile.stride + j * 16);
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
}
