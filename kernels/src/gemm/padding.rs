//! Packing of factors that run out of their tensor: the taps of a convolution with padding.

use std::ops::Range;

use crate::memory::Read;

use super::{
    pack::{Panels, Word, is_run},
    transpose,
};

/// Panels of a factor with padding, one value to a word.
pub(super) struct Padded<'a> {
    pub(super) panels: Panels<'a>,
    /// The tensor, if it holds `f32`.
    pub(super) floats: Option<&'a [u8]>,
    pub(super) fill: u32,
    /// Each tested coordinate's part from the rows and from the fold positions, and its extent.
    pub(super) coordinates: Vec<([Vec<i64>; 2], i64)>,
}

impl Padded<'_> {
    fn is_inside(&self, row: usize, k: usize) -> bool {
        self.coordinates.iter().all(|([rows, positions], extent)| (0..*extent).contains(&(rows[row] + positions[k])))
    }

    /// Runs of fold positions that are in bounds together, whatever the row: all channels of a tap.
    fn taps(&self) -> Vec<Range<usize>> {
        let alike = |k: usize| self.coordinates.iter().all(|c| c.0[1][k - 1] == c.0[1][k]);
        let mut taps: Vec<Range<usize>> = Vec::new();
        for k in 0..self.panels.k.len() {
            match taps.last_mut() {
                Some(last) if alike(k) => last.end = k + 1,
                _ => taps.push(k..k + 1),
            }
        }
        taps
    }
}

impl Read for Padded<'_> {
    fn run<const N: usize>(mut self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let taps = self.taps();
        let values = std::mem::take(&mut self.panels.values);
        let Panels { outer, k, width, .. } = self.panels;
        let size = width * k.len();
        let mut starts = Vec::with_capacity(width);
        for first in (0..outer.len()).step_by(width) {
            let panel = &mut values[first / width * size..][..size];
            let rows = first..outer.len().min(first + width);
            for tap in &taps {
                let inside = |row: usize| self.is_inside(row, tap.start);
                let mut from = tap.start;
                if let Some(bytes) = self.floats
                    && rows.len() == width
                    && is_run(&k[tap.clone()])
                    && rows.clone().all(inside)
                {
                    starts.clear();
                    starts.extend(outer[rows.clone()].iter().map(|&o| (o + k[tap.start]) as usize));
                    from += transpose::panel(
                        bytes,
                        [&starts, &[]],
                        Word::Float,
                        tap.len(),
                        &mut panel[tap.start * width..],
                    );
                }
                let slots = &mut panel[from * width..tap.end * width];
                for (i, row) in rows.clone().enumerate() {
                    let inside = inside(row);
                    for (slots, &k) in slots.chunks_exact_mut(width).zip(&k[from..tap.end]) {
                        slots[i] = if inside { widen(items[(outer[row] + k) as usize]) } else { self.fill };
                    }
                }
                slots.chunks_exact_mut(width).for_each(|s| s[rows.len()..].fill(0));
            }
        }
    }
}
