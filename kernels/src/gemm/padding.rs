//! Packing of factors that run out of their tensor: the taps of a convolution, with padding or left out.

use std::ops::Range;

use crate::memory::Read;

use super::{
    pack::{Panels, Word, is_run},
    stretches::{Stretches, whole},
    transpose,
};

/// Panels of a factor with edges, one value to a word.
pub(super) struct Padded<'a> {
    pub(super) panels: Panels<'a>,
    /// The tensor, if it holds `f32`.
    pub(super) floats: Option<&'a [u8]>,
    pub(super) fill: u32,
    /// Each tested coordinate's part from the rows and from the fold positions, and its extent.
    pub(super) coordinates: Vec<([Vec<i64>; 2], i64)>,
    /// Where to note what is out of bounds, if it is left out.
    pub(super) left_out: Option<&'a mut Stretches>,
}

impl Padded<'_> {
    fn is_inside(&self, row: usize, k: usize) -> bool {
        self.coordinates.iter().all(|([rows, positions], extent)| (0..*extent).contains(&(rows[row] + positions[k])))
    }

    /// Which of these rows are in bounds at a fold position; `alike` if one is where all are.
    fn inside(&self, rows: &Range<usize>, alike: bool, k: usize) -> u32 {
        if alike {
            return if self.is_inside(rows.start, k) { whole(rows.len()) } else { 0 };
        }
        rows.clone().rev().fold(0, |bits, row| bits << 1 | u32::from(self.is_inside(row, k)))
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
        let (taps, mut left_out) = (self.taps(), self.left_out.take());
        let values = std::mem::take(&mut self.panels.values);
        let Panels { outer, k, width, .. } = self.panels;
        let size = width * k.len();
        let mut starts = Vec::with_capacity(width);
        for first in (0..outer.len()).step_by(width) {
            let panel = &mut values[first / width * size..][..size];
            let rows = first..outer.len().min(first + width);
            let all = whole(rows.len());
            let alike = self.coordinates.iter().all(|c| c.0[0][rows.clone()].windows(2).all(|w| w[0] == w[1]));
            let side_by_side = alike && is_run(&outer[rows.clone()]);
            for tap in &taps {
                let inside = self.inside(&rows, alike, tap.start);
                if let Some(stretches) = &mut left_out {
                    // Rows that are not there are never in the way.
                    stretches.push(tap.end, inside | !all & whole(width));
                }
                let mut from = tap.start;
                if let Some(bytes) = self.floats
                    && rows.len() == width
                    && inside == all
                    && !side_by_side
                    && is_run(&k[tap.clone()])
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
                let slots = panel[from * width..tap.end * width].chunks_exact_mut(width).zip(&k[from..tap.end]);
                for (slots, &k) in slots {
                    let (slots, missing) = slots.split_at_mut(rows.len());
                    missing.fill(0);
                    if side_by_side && inside == all {
                        let row = &items[(outer[first] + k) as usize..][..slots.len()];
                        // A number of words that the compiler knows is copied in registers.
                        match (slots.as_chunks_mut::<16>(), row.as_chunks::<16>()) {
                            (([slots], []), ([row], _)) => *slots = row.map(&widen),
                            _ => slots.iter_mut().zip(row).for_each(|(slot, &x)| *slot = widen(x)),
                        }
                    } else if inside == 0 {
                        slots.fill(self.fill);
                    } else {
                        for (i, (slot, &o)) in slots.iter_mut().zip(&outer[rows.clone()]).enumerate() {
                            *slot = if inside >> i & 1 == 1 { widen(items[(o + k) as usize]) } else { self.fill };
                        }
                    }
                }
            }
            left_out.iter_mut().for_each(|s| s.end_panel(whole(width)));
        }
    }
}
