//! How a product is cut: for the caches, and for threads.

use std::ops::Range;

use super::{Gemm, KC, Micro};

/// Rows of `A` that are packed together: 128 KiB or less, for the second-level cache.
const MOST_ROWS: usize = 120;
/// Rows below which packing `B` panels again and again costs more than an even split brings.
const FEWEST_ROWS: usize = 48;
/// Blocks of rows per thread, so that a thread that was held up does not hold up the others.
const BLOCKS_PER_THREAD: usize = 4;
/// Columns of `B` that are packed together: 2 MiB, for a third-level cache that others use too. Packing more of them, or deeper, saves
/// threads from waiting for each other, but was slower.
const MOST_COLUMNS: usize = 2048;
/// Panels of `B` that are packed by one thread, side by side.
const PANELS: usize = 4;

/// A product's steps and blocks of rows.
pub(super) struct Cut {
    /// In their order: over the depth first, then over the columns.
    pub(super) steps: Vec<Step>,
    pub(super) rows: Vec<Range<usize>>,
    /// Most groups of columns of a step.
    pub(super) groups: usize,
    /// Steps whose columns are packed at a time: where threads share the product, the next one's while rows are multiplied with those
    /// of this one, so that a thread which finds no rows left does not wait for the others.
    pub(super) buffers: usize,
    /// Columns of a group.
    width: usize,
    /// Set for so few rows that threads share the columns: a group of them is packed and used by one thread, over the whole depth.
    pub(super) columns: Option<Groups>,
}

/// Columns and fold positions whose part of `B` is packed, then used.
pub(super) struct Step {
    pub(super) columns: Range<usize>,
    pub(super) depth: Range<usize>,
}

/// The columns of a step, in groups.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    start: usize,
    end: usize,
    width: usize,
}

impl Groups {
    pub(super) fn len(self) -> usize {
        (self.end - self.start).div_ceil(self.width)
    }

    pub(super) fn columns(self, group: usize) -> Range<usize> {
        let start = self.start + group * self.width;
        start..(start + self.width).min(self.end)
    }
}

impl Cut {
    pub(super) fn new(gemm: &Gemm, micro: Micro, threads: usize) -> Self {
        let [m, n] = [gemm.m, gemm.n].map(|x| x as usize);
        let width = PANELS * micro.nr;
        let columns = n.div_ceil(n.div_ceil(MOST_COLUMNS)).next_multiple_of(width);
        let mut steps = Vec::new();
        for column in (0..n).step_by(columns) {
            let columns = column..(column + columns).min(n);
            steps.extend(depths(gemm, micro).map(|depth| Step { columns: columns.clone(), depth }));
        }
        let few = m.div_ceil(micro.mr) < threads && m <= MOST_ROWS && n > width;
        let all = few.then_some(Groups { start: 0, end: n, width });
        let groups = if few { 0 } else { columns.div_ceil(width) };
        let rows = rows(m, micro.mr, if few { 1 } else { threads });
        Self { steps, rows, groups, buffers: threads.min(2), width, columns: all }
    }

    pub(super) fn groups_of(&self, step: &Step) -> Groups {
        Groups { start: step.columns.start, end: step.columns.end, width: self.width }
    }
}

/// Fold positions that are packed together.
pub(super) fn depths(gemm: &Gemm, micro: Micro) -> impl Iterator<Item = Range<usize>> {
    // A sum that starts from something does so in every leaf block.
    let words = if gemm.init == 0 { micro.left().positions() } else { 1 };
    let (k, each) = (gemm.k as usize, KC * words);
    (0..k).step_by(each).map(move |at| at..(at + each).min(k))
}

/// Blocks of whole panels of `mr` rows, as equal as can be, and as many for each thread.
fn rows(m: usize, mr: usize, threads: usize) -> Vec<Range<usize>> {
    let panels = m.div_ceil(mr);
    let least = panels.div_ceil(MOST_ROWS / mr);
    let wanted = if threads == 1 { 1 } else { threads * BLOCKS_PER_THREAD };
    let blocks = least.max(wanted.min(m / FEWEST_ROWS)).next_multiple_of(threads).min(panels);
    (0..blocks).map(|b| b * panels / blocks * mr..((b + 1) * panels / blocks * mr).min(m)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_covered_once_in_even_blocks() {
        for m in (1..200).chain([512, 768, 2048, 50_257]) {
            for (mr, threads) in [(6, 1), (6, 2), (12, 1), (12, 3)] {
                let blocks = rows(m, mr, threads);
                assert_eq!((blocks[0].start, blocks[blocks.len() - 1].end), (0, m));
                assert!(blocks.windows(2).all(|w| w[0].end == w[1].start && w[0].end % mr == 0));
                assert!(blocks.iter().all(|b| !b.is_empty() && b.len() <= MOST_ROWS), "{m} {mr} {threads}: {blocks:?}");
                let sizes = || blocks.iter().map(|b| b.len().div_ceil(mr));
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{m} {mr} {threads}: {blocks:?}");
            }
        }
    }
}
