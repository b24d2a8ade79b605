//! Packing of rows that are contiguous along the fold: a transposition, eight by eight in registers.
#![allow(unsafe_code, reason = "vector loads and stores through pointers, bounds checked before")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Values after the end of a panel that [`panel`] may write and that its caller writes again or never reads.
pub(super) const SLACK: usize = 8;

/// Copies `depth` values from each of `starts` (a full panel of 6, or a multiple of 4, rows): for each fold position, one value of every
/// row. `out` has room for the panel and [`SLACK`] more.
#[cfg(target_arch = "x86_64")]
pub(super) fn panel(source: &[[u8; 4]], starts: &[usize], depth: usize, out: &mut [f32]) {
    let width = starts.len();
    assert!(width == 6 || width.is_multiple_of(4));
    assert!(out.len() >= width * depth + SLACK && starts.iter().all(|s| s + depth <= source.len()));
    let whole = depth / 8 * 8;
    for (group, rows) in starts.chunks(8).enumerate() {
        // SAFETY: `Micro::new` gives micro-kernels only where AVX2 is, and the bounds were checked above: a group writes `rows` values per
        // fold position from `8 · group` on, and 8 where it has 6, which the slack allows for.
        unsafe { rows_of_8(source, rows, whole, width, out.as_mut_ptr().add(group * 8)) };
    }
    for k in whole..depth {
        for (slot, &start) in out[k * width..][..width].iter_mut().zip(starts) {
            *slot = f32::from_le_bytes(source[start + k]);
        }
    }
}

/// # Safety
/// Every start has `depth` (a multiple of 8) values after it; `out` takes `starts.len()` values at multiples of `width` up to `depth`,
/// and 8 where there are 6.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn rows_of_8(source: &[[u8; 4]], starts: &[usize], depth: usize, width: usize, out: *mut f32) {
    let first = source.as_ptr().cast::<f32>();
    for k in (0..depth).step_by(8) {
        // SAFETY: by the caller's promise. Rows that are not there repeat the first one.
        let rows: [__m256; 8] = std::array::from_fn(|i| unsafe {
            _mm256_loadu_ps(first.add(starts.get(i).unwrap_or(&starts[0]).wrapping_add(k)))
        });
        for (i, row) in transposed(rows).into_iter().enumerate() {
            // SAFETY: by the caller's promise. A row of 6 spills into the next fold position, which is written after it.
            unsafe {
                let to = out.add((k + i) * width);
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
pub(super) fn panel(_: &[[u8; 4]], _: &[usize], _: usize, _: &mut [f32]) {
    unreachable!("`Micro::new` gives no micro-kernel for this target");
}
