//! Packing of factors that run out of their tensor: the taps of a convolution, with padding or left out.

use std::ops::Range;

use crate::memory::Read;

use super::{
    pack::Panels,
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
            let all = whole(rows.len());
            let outer = &at.outer[rows.clone()];
            let alike = tests.iter().all(|c| c.0[0][rows.clone()].windows(2).all(|w| w[0] == w[1]));
            let side_by_side = alike && at.outer.run(rows.start, rows.end) == rows.end;
            for tap in &taps {
                let inside = inside(tests, &rows, alike, tap.start);
                if let Some(stretches) = &mut left_out {
                    // Rows that are not there are never in the way.
                    stretches.push(tap.end - depth.start, inside | !all & whole(width));
                }
                let mut from = tap.start;
                if let Some(bytes) = floats
                    && rows.len() == width
                    && inside == all
                    && !side_by_side
                    && at.k.run(tap.start, tap.end) == tap.end
                {
                    starts.clear();
                    starts.extend(outer.iter().map(|&o| (o + at.k[tap.start]) as usize));
                    let slots = &mut panel[(tap.start - depth.start) * width..];
                    from += transpose::panel(bytes, [&starts, &[]], shape, tap.len(), slots);
                }
                let slots = &mut panel[(from - depth.start) * width..(tap.end - depth.start) * width];
                for (slots, &k) in slots.chunks_exact_mut(width).zip(&at.k[from..tap.end]) {
                    let (slots, missing) = slots.split_at_mut(rows.len());
                    missing.fill(0);
                    if side_by_side && inside == all {
                        let row = &items[(outer[0] + k) as usize..][..slots.len()];
                        // A number of words that the compiler knows is copied in registers.
                        match (slots.as_chunks_mut::<16>(), row.as_chunks::<16>()) {
                            (([slots], []), ([row], _)) => *slots = row.map(&widen),
                            _ => slots.iter_mut().zip(row).for_each(|(slot, &x)| *slot = widen(x)),
                        }
                    } else if inside == 0 {
                        slots.fill(fill);
                    } else {
                        for (i, (slot, &o)) in slots.iter_mut().zip(outer).enumerate() {
                            *slot = if inside >> i & 1 == 1 { widen(items[(o + k) as usize]) } else { fill };
                        }
                    }
                }
            }
            left_out.iter_mut().for_each(|s| s.end_panel(whole(width)));
        }
    }
}
