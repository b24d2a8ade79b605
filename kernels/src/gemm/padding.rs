//! Packing of factors that run out of their tensor: the taps of a convolution, with padding or left out.

use std::ops::Range;

use crate::memory::Read;

use super::{
    pack::{Panels, Shape},
    stretches::{Stretches, whole},
    transpose,
};

/// Panels of a factor with edges, one value to a word.
pub(super) struct Padded<'a> {
    pub(super) panels: Panels<'a>,
    /// The tensor, if it holds `f32`.
    pub(super) floats: Option<&'a [u8]>,
    pub(super) fill: u32,
    /// Where to note what is out of bounds, if it is left out.
    pub(super) left_out: Option<&'a mut Stretches>,
}

/// Coordinates that can be out of bounds: each one's part from every row and from every fold position, and its extent.
type Tests = [([Vec<i64>; 2], i64)];

fn is_inside(tests: &Tests, row: usize, k: usize) -> bool {
    tests.iter().all(|([rows, positions], extent)| (0..*extent).contains(&(rows[row] + positions[k])))
}

/// Which of these rows are in bounds at a fold position; `alike` if one is where all are.
fn inside(tests: &Tests, rows: &Range<usize>, alike: bool, k: usize) -> u32 {
    if alike {
        return if is_inside(tests, rows.start, k) { whole(rows.len()) } else { 0 };
    }
    rows.clone().rev().fold(0, |bits, row| bits << 1 | u32::from(is_inside(tests, row, k)))
}

/// Runs of fold positions that are in bounds together, whatever the row: all channels of a tap.
fn taps(tests: &Tests, depth: Range<usize>) -> Vec<Range<usize>> {
    let alike = |k: usize| tests.iter().all(|c| c.0[1][k - 1] == c.0[1][k]);
    let mut taps: Vec<Range<usize>> = Vec::new();
    for k in depth {
        match taps.last_mut() {
            Some(last) if alike(k) => last.end = k + 1,
            _ => taps.push(k..k + 1),
        }
    }
    taps
}

impl Read for Padded<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let Self { panels: Panels { values, at, rows, depth, shape }, floats, fill, mut left_out } = self;
        let (tests, width) = (&at.tests[..], shape.width);
        let taps = taps(tests, depth.clone());
        let mut starts = Vec::with_capacity(width);
        for (first, panel) in rows.clone().step_by(width).zip(values.chunks_mut(width * depth.len())) {
            let rows = first..rows.end.min(first + width);
            let full = rows.len() == width;
            if !full {
                panel.fill(0);
            }
            let outer = &at.outer[rows.clone()];
            let alike = tests.iter().all(|c| c.0[0][rows.clone()].windows(2).all(|w| w[0] == w[1]));
            let side_by_side = alike && at.outer.run(rows.start, rows.end) == rows.end;
            for positions in &taps {
                let inside = inside(tests, &rows, alike, positions.start);
                if let Some(stretches) = &mut left_out {
                    // Rows that are not there are never in the way.
                    stretches.push(positions.end - depth.start, inside | !whole(rows.len()) & whole(width));
                }
                let slots = &mut panel[(positions.start - depth.start) * width..(positions.end - depth.start) * width];
                let tap = Tap { outer, k: &at.k[positions.clone()], inside, shape, slots };
                if inside == 0 {
                    tap.words().for_each(|words| words.fill(fill));
                } else if side_by_side {
                    tap.copy(items, &widen);
                } else {
                    let run = at.k.run(positions.start, positions.end) == positions.end;
                    tap.gather(items, &widen, floats.filter(|_| full && run), fill, &mut starts);
                }
            }
            left_out.iter_mut().for_each(|s| s.end_panel(whole(width)));
        }
    }
}

/// A tap of a panel: the part of an element's index from each row and from each fold position, which rows are in bounds, and where it goes.
struct Tap<'a> {
    outer: &'a [i64],
    k: &'a [i64],
    inside: u32,
    shape: Shape,
    slots: &'a mut [u32],
}

impl<'a> Tap<'a> {
    /// A word of every row, for each fold position.
    fn words(self) -> impl Iterator<Item = &'a mut [u32]> {
        self.slots.chunks_exact_mut(self.shape.width).map(|words| &mut words[..self.outer.len()])
    }

    /// Rows side by side, all of them in bounds.
    fn copy<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let (first, k) = (self.outer[0], self.k);
        for (words, k) in self.words().zip(k) {
            let row = &items[(first + k) as usize..][..words.len()];
            // A number of words that the compiler knows is copied in registers.
            match (words.as_chunks_mut::<16>(), row.as_chunks::<16>()) {
                (([words], []), ([row], _)) => *words = row.map(&widen),
                _ => words.iter_mut().zip(row).for_each(|(word, &x)| *word = widen(x)),
            }
        }
    }

    /// Rows anywhere, some of them in bounds; `floats` if the tensor holds them and all are one after the other. What is out of bounds is
    /// read from a row that is not, and then replaced.
    fn gather<const N: usize>(
        self,
        items: &[[u8; N]],
        widen: impl Fn([u8; N]) -> u32,
        floats: Option<&[u8]>,
        fill: u32,
        starts: &mut Vec<usize>,
    ) {
        let Self { outer, k, inside, shape, slots } = self;
        let there = outer[inside.trailing_zeros() as usize];
        let row = |(i, &o): (usize, &i64)| if inside >> i & 1 == 1 { o } else { there };
        starts.clear();
        starts.extend(outer.iter().enumerate().map(row).map(|o| (o + k[0]) as usize));
        let done = floats.map_or(0, |bytes| transpose::panel(bytes, [starts, &[]], shape, k.len(), slots));
        for (words, position) in slots.chunks_exact_mut(shape.width).zip(k).skip(done) {
            let on = (position - k[0]) as usize;
            words.iter_mut().zip(&*starts).for_each(|(word, start)| *word = widen(items[start.wrapping_add(on)]));
        }
        for row in (0..outer.len()).filter(|row| inside >> row & 1 == 0) {
            slots.iter_mut().skip(row).step_by(shape.width).for_each(|word| *word = fill);
        }
    }
}
