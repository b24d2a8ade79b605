//! The loops of thin products, with AVX2.

use std::arch::x86_64::*;

use super::super::fetch;

/// Rows that pass over the sums together, so that each sum is loaded and stored once for all of them.
const ROWS: usize = 8;

/// `acc[j] ← fma(x[k], rows[k][j], acc[j])`, one `k` after the other.
///
/// # Safety
/// The machine has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(in super::super) unsafe fn pass_over(x: &[f32], rows: &[&[[u8; 4]]], acc: &mut [u32]) {
    let n = acc.len();
    assert!(x.len() == rows.len() && rows.iter().all(|r| r.len() == n));
    let (groups, rest) = rows.as_chunks::<ROWS>();
    let (x_groups, x_rest) = x.as_chunks::<ROWS>();
    for (i, (x, group)) in x_groups.iter().zip(groups).enumerate() {
        // SAFETY: every row has as many elements as there are sums.
        unsafe { group_over(x, group, groups.get(i + 1), acc) };
    }
    for (x, row) in x_rest.iter().zip(rest) {
        // SAFETY: as above.
        unsafe { group_over(&[*x], &[*row], None, acc) };
    }
}

/// # Safety
/// The machine has AVX2 and FMA; every row is as long as `acc`.
#[target_feature(enable = "avx2,fma")]
unsafe fn group_over<const N: usize>(
    x: &[f32; N],
    rows: &[&[[u8; 4]]; N],
    next: Option<&[&[[u8; 4]]; N]>,
    acc: &mut [u32],
) {
    let (n, to) = (acc.len(), acc.as_mut_ptr().cast::<f32>());
    let (whole, factors) = (n / 8 * 8, x.map(|x| _mm256_set1_ps(x)));
    let rows_from = rows.map(|r| r.as_ptr().cast::<f32>());
    for j in (0..whole).step_by(8) {
        if let Some(next) = next.filter(|_| j.is_multiple_of(fetch::LINE)) {
            next.iter().for_each(|row| fetch::line(row.as_ptr().wrapping_add(j)));
        }
        // SAFETY: `j + 8` is at most the length of the sums and of every row.
        unsafe {
            let mut sum = _mm256_loadu_ps(to.add(j));
            for (factor, row) in factors.iter().zip(&rows_from) {
                sum = _mm256_fmadd_ps(*factor, _mm256_loadu_ps(row.add(j)), sum);
            }
            _mm256_storeu_ps(to.add(j), sum);
        }
    }
    for j in whole..n {
        let sum = x.iter().zip(rows).fold(f32::from_bits(acc[j]), |a, (x, r)| x.mul_add(f32::from_le_bytes(r[j]), a));
        acc[j] = sum.to_bits();
    }
}

/// Columns whose fold positions are transposed together: so many sums are in a register.
const SIDE: usize = 8;

/// `sums[j] ← fma(x[k], matrix[first + stride · j + k], sums[j])`, one `k` after the other, while what lies `ahead` is fetched.
///
/// # Safety
/// The machine has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(in super::super) unsafe fn across<const GROUPS: usize>(
    x: &[f32],
    matrix: &[[u8; 4]],
    [first, stride, ahead]: [i64; 3],
    sums: &mut [[f32; SIDE]; GROUPS],
) {
    let (depth, last) = (x.len(), first + stride * (GROUPS * SIDE - 1) as i64);
    assert!(first.min(last) >= 0 && first.max(last) as usize + depth <= matrix.len());
    let whole = depth / SIDE * SIDE;
    let (from, stride) = (matrix.as_ptr().cast::<f32>().wrapping_add(first as usize), stride as isize);
    let column = |j: usize| from.wrapping_offset(stride * j as isize);
    // SAFETY: eight sums each.
    let mut acc: [__m256; GROUPS] = std::array::from_fn(|g| unsafe { _mm256_loadu_ps(sums[g].as_ptr()) });
    for k in (0..whole).step_by(SIDE) {
        for (g, acc) in acc.iter_mut().enumerate() {
            let from = column(g * SIDE).wrapping_add(k);
            if k.is_multiple_of(fetch::LINE) {
                (0..SIDE as isize).for_each(|j| fetch::line_soon(from.wrapping_offset(ahead as isize + stride * j)));
            }
            // SAFETY: `k + 8` is at most the length of every column and of `x`.
            unsafe {
                for (i, &values) in transposed(from, stride).iter().enumerate() {
                    *acc = _mm256_fmadd_ps(_mm256_broadcast_ss(&*x.as_ptr().add(k + i)), values, *acc);
                }
            }
        }
    }
    for (g, (sums, acc)) in sums.iter_mut().zip(acc).enumerate() {
        // SAFETY: eight sums each.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), acc) };
        for (j, sum) in sums.iter_mut().enumerate() {
            let at = (first + stride as i64 * (g * SIDE + j) as i64) as usize;
            let rest = x[whole..].iter().zip(&matrix[at + whole..]);
            *sum = rest.fold(*sum, |a, (x, &y)| x.mul_add(f32::from_le_bytes(y), a));
        }
    }
}

/// Eight words from each of eight addresses, `stride` words apart; vector `i` gets everyone's `i`-th.
///
/// # Safety
/// They are there.
#[target_feature(enable = "avx2")]
unsafe fn transposed(from: *const f32, stride: isize) -> [__m256; SIDE] {
    let middle = from.wrapping_offset(4 * stride);
    // Halves of two columns together: a way across the middle of a register that takes no shuffle.
    let pair = |i: isize, at: usize| {
        // SAFETY: by the caller's promise.
        unsafe {
            let low = _mm256_castps128_ps256(_mm_loadu_ps(from.wrapping_offset(i * stride).add(at)));
            _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(middle.wrapping_offset(i * stride).add(at)))
        }
    };
    let half = |at: usize| {
        let [a, b, c, d] = [pair(0, at), pair(1, at), pair(2, at), pair(3, at)];
        let low = [_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)];
        let high = [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)];
        [
            _mm256_shuffle_ps::<0x44>(low[0], low[1]),
            _mm256_shuffle_ps::<0xee>(low[0], low[1]),
            _mm256_shuffle_ps::<0x44>(high[0], high[1]),
            _mm256_shuffle_ps::<0xee>(high[0], high[1]),
        ]
    };
    let ([a, b, c, d], [e, f, g, h]) = (half(0), half(4));
    [a, b, c, d, e, f, g, h]
}
