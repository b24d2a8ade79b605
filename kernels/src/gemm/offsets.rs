//! Where the elements of a factor are.

use std::ops::{Deref, Range};

use crate::access::affine;

use super::pattern::Factor;

/// The elements of some rows (or columns) of a factor at every fold position, and whether they are in bounds. Kept by a thread from
/// product to product.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// Element index of each row at fold position 0.
    pub(super) outer: Line,
    /// What each fold position adds.
    pub(super) k: Line,
    /// The same of each coordinate that can be out of bounds, and its extent.
    pub(super) tests: Vec<([Vec<i64>; 2], i64)>,
}

impl Offsets {
    /// Finds rows of a product of the batch, given the sizes of the dimensions that batch, rows and folds are made of.
    pub(super) fn find(
        &mut self,
        factor: &Factor,
        [batch_sizes, outer_sizes, k_sizes]: [&[u64]; 3],
        batch: u64,
        rows: Range<usize>,
        depth: usize,
    ) {
        let start = |coefficients: &[i64], base: i64| {
            let mut at = [0];
            affine(batch_sizes, coefficients, base, batch, &mut at);
            at[0]
        };
        let along = |to: &mut Vec<i64>, [outer, k]: [&[i64]; 2], base: i64, which: usize| {
            let (sizes, coefficients, base, span) =
                if which == 0 { (outer_sizes, outer, base, rows.clone()) } else { (k_sizes, k, 0, 0..depth) };
            to.resize(span.len(), 0);
            affine(sizes, coefficients, base, span.start as u64, to);
        };
        let base = start(&factor.batch, factor.base);
        for (which, line) in [&mut self.outer, &mut self.k].into_iter().enumerate() {
            along(&mut line.at, [&factor.outer, &factor.k], base, which);
            line.find_runs();
        }
        self.tests.resize_with(factor.tests.len(), Default::default);
        for (to, test) in self.tests.iter_mut().zip(&factor.tests) {
            let base = start(&test.batch, test.offset);
            for (which, line) in to.0.iter_mut().enumerate() {
                along(line, [&test.outer, &test.k], base, which);
            }
            to.1 = test.extent;
        }
    }
}

/// Offsets, and how far they go on one after the other.
#[derive(Debug, Default)]
pub(super) struct Line {
    at: Vec<i64>,
    /// Where the run ends that each is in.
    ends: Vec<usize>,
}

impl Line {
    fn find_runs(&mut self) {
        self.ends.resize(self.at.len(), 0);
        let mut end = self.at.len();
        for i in (0..self.at.len()).rev() {
            if self.at.get(i + 1).is_some_and(|next| next - self.at[i] != 1) {
                end = i + 1;
            }
            self.ends[i] = end;
        }
    }

    /// Where the run that starts here ends, or `end` if that is before.
    pub(super) fn run(&self, from: usize, end: usize) -> usize {
        self.ends[from].min(end)
    }
}

impl Deref for Line {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.at
    }
}
