//! How a product is cut into cells: blocks of rows, for the second-level cache, and of columns, for threads.

use std::ops::Range;

use super::{Gemm, KC, Micro};

/// Rows of `A` that are packed together: so many fill half of a second-level cache of 1 MiB.
const MOST_ROWS: usize = 512;
/// A block of rows is a multiple of these.
const ROWS: usize = 4;
/// Multiply-adds in a tile that take as long as packing an element, and one that has to be tested.
const PACKING: [usize; 2] = [8, 32];
/// The same for an element of the output that is copied to where it belongs: those of cells whose rows are not whole.
const COPYING: usize = 32;
/// Part of a cell's time for which threads wait for each other at the end.
const WAITING: usize = 32;

/// A product's blocks of rows and of columns: every two of them are a cell.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) rows: Vec<Range<usize>>,
    pub(super) columns: Vec<Range<usize>>,
}

impl Cut {
    /// For so many threads that share a product: a cell packs all of its rows and columns, so that nobody waits for another. Few, even
    /// and square cells are best.
    pub(super) fn new(gemm: &Gemm, micro: Micro, threads: usize) -> Self {
        let [m, n] = [gemm.m, gemm.n].map(|x| x as usize);
        let packing = [&gemm.a, &gemm.b].map(|f| PACKING[usize::from(!f.tests.is_empty())]);
        let least = m.div_ceil(MOST_ROWS);
        if threads == 1 {
            return Self { rows: even(m, ROWS, least), columns: even(n, micro.nr, 1) };
        }
        let time = |rows: usize, columns: usize| {
            let [r, c] = [m.div_ceil(rows), n.div_ceil(columns).next_multiple_of(micro.nr)];
            let copied = if columns > 1 { r * c * COPYING / gemm.k as usize } else { 0 };
            let cell = r * c + r * packing[0] + c * packing[1] + copied;
            (rows * columns).div_ceil(threads) * cell + cell / WAITING
        };
        let most = [m.div_ceil(ROWS), n.div_ceil(micro.nr)];
        let cuts = (1..=(4 * threads).min(most[1])).flat_map(|columns| {
            (1..=4).map(move |each| ((threads * each).div_ceil(columns).max(least).min(most[0]), columns))
        });
        let (rows, columns) = cuts.min_by_key(|&(rows, columns)| time(rows, columns)).unwrap_or((least, 1));
        Self { rows: even(m, ROWS, rows), columns: even(n, micro.nr, columns) }
    }
}

/// Fold positions that are packed together.
pub(super) fn depths(gemm: &Gemm, micro: Micro) -> impl Iterator<Item = Range<usize>> {
    // A sum that starts from something does so in every leaf block.
    let words = if gemm.init == 0 { micro.left().positions() } else { 1 };
    let (k, each) = (gemm.k as usize, KC * words);
    (0..k).step_by(each).map(move |at| at..(at + each).min(k))
}

/// At most so many blocks of multiples of `unit`, as equal as can be.
fn even(size: usize, unit: usize, blocks: usize) -> Vec<Range<usize>> {
    let units = size.div_ceil(unit);
    let blocks = blocks.clamp(1, units);
    (0..blocks).map(|b| b * units / blocks * unit..((b + 1) * units / blocks * unit).min(size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_even_and_cover_all() {
        for size in (1..200).chain([512, 768, 2048, 50_257]) {
            for (unit, wanted) in [(4, 1), (4, 2), (4, 7), (32, 2), (16, 3)] {
                let blocks = even(size, unit, wanted);
                assert_eq!((blocks[0].start, blocks[blocks.len() - 1].end), (0, size));
                assert!(blocks.windows(2).all(|w| w[0].end == w[1].start && w[0].end % unit == 0));
                assert!(blocks.iter().all(|b| !b.is_empty()) && blocks.len() <= wanted);
                let sizes = || blocks.iter().map(|b| b.len().div_ceil(unit));
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{size} {unit} {wanted}: {blocks:?}");
            }
        }
    }
}
