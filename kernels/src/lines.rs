//! Where a compiled fold reads what does not lie evenly: several dimensions of fold positions, padding, places where the body is left
//! out, values that lie one after the other along the fold.
//!
//! ```text
//!  operand, at the fold positions of a leaf block ──► one line per position: the elements of all outputs beside each other
//! ```
//!
//! Lines that lie in memory as they are, all of them or nothing, go into a list of addresses; others are copied.

use std::ops::Range;

use crate::{
    access::{Address, BLOCK, Place, Row, affine, row_major},
    compile::{FoldKernel, FoldStream, Kind, Lies, Source},
    gemm::floats_across,
    memory::{Read, with_elements},
    worker::Worker,
};

/// The copy of one stream, and what is kept to make the next one.
#[derive(Default)]
pub(crate) struct Packed {
    /// A line of [`pitch`] words for every fold position.
    pub(crate) words: Vec<u32>,
    /// Of an operand without tests: the element index of the first word, outputs, and fold positions.
    first: Option<(i64, usize, Range<u64>)>,
    lines: Vec<Line>,
    /// The fold positions that `index` and `offsets` are for.
    block: Range<u64>,
    /// What these fold positions add to the element index.
    index: Vec<i64>,
    /// What they add to each tested coordinate, if anything.
    offsets: Vec<Vec<i64>>,
    /// The least and the most of that.
    reach: Vec<(i64, i64)>,
    /// Element index of every output, where values lie one after the other along the fold.
    starts: Vec<usize>,
    /// A line of what stands beyond the edges.
    fill: Vec<u32>,
}

/// One fold position: which outputs are in bounds, and the element index of output 0, which may be out of them.
struct Line {
    first: i64,
    inside: Range<usize>,
}

/// Words from one line to the next.
pub(crate) fn pitch(outputs: usize) -> usize {
    outputs.next_multiple_of(4)
}

impl Worker<'_> {
    /// Finds what the fold positions `block` read of every stream that does not lie evenly, for outputs from the one at `at` on, and
    /// copies it where it lies apart.
    pub(crate) fn pack(&mut self, kernel: &FoldKernel, at: &[u64], outputs: usize, block: Range<u64>) {
        let mut all = std::mem::take(&mut self.packed);
        all.resize_with(kernel.streams.len(), Packed::default);
        for (stream, packed) in kernel.streams.iter().zip(&mut all) {
            let (Source::Operand(operand) | Source::Inside(operand)) = stream.source else { continue };
            let (place, bytes) = (&self.node.places.operands[operand], self.operands[operand]);
            let fold = &self.node.places.fold;
            if stream.lies != Lies::Apart {
                if kernel.listed {
                    packed.find_lines(place, fold, at, outputs, block.clone());
                    packed.fill.resize(outputs.max(packed.fill.len()), place.fill);
                }
                continue;
            }
            if let Address::Linear { base, domain, .. } = &place.address {
                // What does not depend on these outputs is there already, if its fold has one block.
                let first = Some((base + sum(domain, at), outputs, block.clone()));
                if packed.first == first {
                    continue;
                }
                packed.first = first;
            }
            packed.words.resize(pitch(outputs) * (block.end - block.start) as usize, 0);
            match &place.address {
                Address::Linear { base, domain, fold: along } if *along == row_major(fold) => {
                    let (first, step) = (base + sum(domain, at) + block.start as i64, inner(domain));
                    // After the last block come the next outputs.
                    let last = block.end == fold.iter().product();
                    let next = if last { step * outputs as i64 - block.start as i64 } else { BLOCK as i64 };
                    packed.across(place, bytes, [first, next], step, outputs);
                }
                _ => {
                    let step = packed.find_lines(place, fold, at, outputs, block.clone());
                    packed.copy_lines(stream, place, bytes, step, outputs);
                }
            }
        }
        self.packed = all;
    }

    /// Lists the addresses of all streams at every `by`-th of `count` fold positions from `k` on, without those that are left out, and
    /// what they go on by from each of so many rows of outputs to the next. What they read was packed before.
    pub(crate) fn list(
        &mut self,
        kernel: &FoldKernel,
        starts: &[(i64, i64)],
        outputs: usize,
        [k, by, count]: [u64; 3],
        rows: usize,
    ) {
        let (n, mut left_out) = (kernel.streams.len(), false);
        let (mut list, mut steps) = (std::mem::take(&mut self.list), std::mem::take(&mut self.steps));
        list.clear();
        list.resize(n * count as usize, LEFT_OUT);
        steps.clear();
        steps.resize(list.len(), 0);
        for (s, (stream, packed)) in kernel.streams.iter().zip(&self.packed).enumerate() {
            let operand = match stream.source {
                Source::Operand(i) | Source::Inside(i) if stream.lies != Lies::Apart => Some(i),
                _ => None,
            };
            let (address, bytes, size) = match (operand, stream.source) {
                (Some(i), _) => (
                    self.operands[i].as_ptr() as u64,
                    self.operands[i].len(),
                    self.node.places.operands[i].dtype.size(),
                ),
                (None, Source::Position | Source::Coordinate(_)) => {
                    (kernel.positions.as_ptr() as u64, kernel.positions.len() * 4, 4)
                }
                (None, _) => (packed.words.as_ptr() as u64, packed.words.len() * 4, 4),
            };
            let reach = if stream.kind == Kind::Same { 1 } else { outputs as i64 };
            let row = self.node.places.domain.len().checked_sub(2);
            let step = match (operand, stream.source, row) {
                (Some(i), _, Some(row)) => step(&self.node.places.operands[i], row),
                (None, Source::Coordinate(d), Some(row)) => i64::from(d == row),
                _ => 0,
            };
            let at = |first: i64| {
                let last = first + step * (rows as i64 - 1);
                let inside = first.min(last) >= 0 && (first.max(last) + reach) as usize * size <= bytes;
                assert!(inside, "a fold stays inside its operands");
                address + first as u64 * size as u64
            };
            let positions = (k..).step_by(by as usize);
            let by = step.wrapping_mul(size as i64) as u64;
            for ((slot, step), k) in list[s..].iter_mut().zip(&mut steps[s..]).step_by(n).zip(positions) {
                *step = by;
                *slot = match (operand, stream.source) {
                    (Some(i), _) => match &packed.lines[(k % BLOCK) as usize] {
                        line if !line.inside.is_empty() => at(line.first),
                        _ if self.node.places.operands[i].skip => LEFT_OUT,
                        _ => {
                            *step = 0;
                            packed.fill.as_ptr() as u64
                        }
                    },
                    (None, Source::Position | Source::Coordinate(_)) => at(starts[s].0 + stream.stride * k as i64),
                    (None, _) => at((k % BLOCK) as i64 * pitch(outputs) as i64),
                };
                left_out |= *slot == LEFT_OUT;
            }
        }
        if left_out {
            let mut to = 0;
            for from in (0..list.len()).step_by(n) {
                if !list[from..from + n].contains(&LEFT_OUT) {
                    list.copy_within(from..from + n, to);
                    steps.copy_within(from..from + n, to);
                    to += n;
                }
            }
            list.truncate(to);
        }
        (self.list, self.steps) = (list, steps);
    }
}

/// In place of a line's address: the body is not applied at this fold position.
const LEFT_OUT: u64 = 0;

impl Packed {
    /// Copies values that lie one after the other along the fold, while those `next` elements on are fetched.
    fn across(&mut self, place: &Place, bytes: &[u8], [first, next]: [i64; 2], step: i64, outputs: usize) {
        self.starts.clear();
        self.starts.extend((0..outputs as i64).map(|j| (first + step * j) as usize));
        // Lines are filled up with their last output.
        self.starts.resize(pitch(outputs), self.starts[outputs - 1]);
        let done = if place.dtype.size() == 4 {
            floats_across(bytes, &self.starts, next as isize, self.words.len() / self.starts.len(), &mut self.words)
        } else {
            0
        };
        with_elements(place.dtype, bytes, Across { starts: &self.starts, done, words: &mut self.words });
    }

    /// Finds the lines of an operand without gathers; gives the elements from one output to the next.
    fn find_lines(&mut self, place: &Place, fold: &[u64], at: &[u64], outputs: usize, block: Range<u64>) -> i64 {
        if self.block != block {
            self.start_block(place, fold, block);
        }
        let start = |row: &Row| (row.offset.wrapping_add(sum(&row.domain, at)), inner(&row.domain));
        // The ends of the longest reach are in bounds for the first and the last output: then so is everything.
        let all = |(x, by): (i64, i64), row: &Row, (low, high): (i64, i64)| {
            [low, high].iter().all(|d| within(x.wrapping_add(*d), by, row.extent, outputs) == (0, outputs))
        };
        let (mut base, mut step, mut edges) = (0i64, 0i64, false);
        match &place.address {
            Address::Linear { base: first, domain, .. } => (base, step) = (first + sum(domain, at), inner(domain)),
            Address::Tested(rows) => {
                for (row, &reach) in rows.iter().zip(&self.reach) {
                    let (x, by) = start(row);
                    edges |= !all((x, by), row, reach);
                    base = base.wrapping_mul(row.extent).wrapping_add(x);
                    step = step.wrapping_mul(row.extent).wrapping_add(by);
                }
            }
        }
        self.lines.clear();
        self.lines.extend(self.index.iter().map(|x| Line { first: base.wrapping_add(*x), inside: 0..outputs }));
        let Address::Tested(rows) = &place.address else { return step };
        for (row, offsets) in rows.iter().zip(&self.offsets).filter(|_| edges) {
            let (base, by) = start(row);
            for (k, line) in self.lines.iter_mut().enumerate() {
                let x = base.wrapping_add(offsets.get(k).copied().unwrap_or(0));
                let (from, to) = within(x, by, row.extent, outputs);
                line.inside.start = line.inside.start.max(from);
                line.inside.end = line.inside.end.min(to).max(line.inside.start);
            }
        }
        step
    }

    /// For how many of `most` rows of outputs, from the one at `at` on and along this dimension, the lines in bounds are the same.
    pub(crate) fn rows_alike(&self, place: &Place, at: &[u64], row: usize, most: usize) -> usize {
        let Address::Tested(tests) = &place.address else { return most };
        let tests = tests.iter().zip(&self.offsets).filter(|(test, _)| test.domain[row] != 0);
        let each = tests.flat_map(|(test, offsets)| {
            let x = test.offset.wrapping_add(sum(&test.domain, at));
            let alike = move |offset: &i64| match within(x.wrapping_add(*offset), test.domain[row], test.extent, most) {
                (from, to) if from == to => most,
                (0, to) => to,
                (from, _) => from,
            };
            let still: &[i64] = if offsets.is_empty() { &[0] } else { &[] };
            offsets.iter().chain(still).map(alike)
        });
        each.min().unwrap_or(most)
    }

    /// What depends on the fold positions alone.
    fn start_block(&mut self, place: &Place, fold: &[u64], block: Range<u64>) {
        let values = (block.end - block.start) as usize;
        let offsets = |along: &[i64]| {
            let mut offsets = vec![0; values];
            affine(fold, along, 0, block.start, &mut offsets);
            offsets
        };
        (self.index, self.offsets) = match &place.address {
            Address::Linear { fold, .. } => (offsets(fold), Vec::new()),
            Address::Tested(rows) => {
                let mut index = vec![0i64; values];
                for row in rows {
                    let added = offsets(&row.fold);
                    index.iter_mut().zip(added).for_each(|(i, x)| *i = i.wrapping_mul(row.extent).wrapping_add(x));
                }
                let still = |along: &[i64]| along.iter().all(|&c| c == 0);
                let tested = |row: &Row| if still(&row.fold) { Vec::new() } else { offsets(&row.fold) };
                (index, rows.iter().map(tested).collect())
            }
        };
        let reach = |o: &Vec<i64>| (o.iter().copied().min().unwrap_or(0), o.iter().copied().max().unwrap_or(0));
        self.reach = self.offsets.iter().map(reach).collect();
        self.block = block;
    }

    fn copy_lines(&mut self, stream: &FoldStream, place: &Place, bytes: &[u8], step: i64, outputs: usize) {
        let (lines, words) = (&self.lines, &mut self.words);
        if let Source::Inside(_) = stream.source {
            for (line, words) in lines.iter().zip(words.chunks_exact_mut(pitch(outputs))) {
                words.fill(0);
                words[line.inside.clone()].fill(u32::MAX);
            }
        } else {
            with_elements(place.dtype, bytes, Along { lines, step, fill: place.fill, outputs, words });
        }
    }
}

fn inner(coefficients: &[i64]) -> i64 {
    coefficients.last().copied().unwrap_or(0)
}

/// Elements from an output to the next one along a dimension.
fn step(place: &Place, d: usize) -> i64 {
    match &place.address {
        Address::Linear { domain, .. } => domain[d],
        Address::Tested(rows) => rows.iter().fold(0, |s, r| s.wrapping_mul(r.extent).wrapping_add(r.domain[d])),
    }
}

fn sum(coefficients: &[i64], at: &[u64]) -> i64 {
    coefficients.iter().zip(at).fold(0i64, |sum, (&c, &x)| sum.wrapping_add(c.wrapping_mul(x as i64)))
}

/// The `j` below `n` for which `x + by · j` is in `0..extent`; from the same to the same where there are none.
fn within(x: i64, by: i64, extent: i64, n: usize) -> (usize, usize) {
    let inside = |x: i64| (0..extent).contains(&x);
    if by == 0 {
        return if inside(x) { (0, n) } else { (n, n) };
    }
    if by == 1 {
        let below = |limit: i64| limit.saturating_sub(x).clamp(0, n as i64) as usize;
        return (below(0), below(extent));
    }
    if inside(x) && by.checked_mul(n as i64 - 1).and_then(|d| x.checked_add(d)).is_some_and(inside) {
        return (0, n);
    }
    let (x, extent) = (i128::from(x), i128::from(extent));
    let (low, high) = match by {
        // From the first that is not below 0 to the first that is above.
        1.. => (-x, extent - x),
        // Downwards: from the first that is not above to the first that is below 0.
        _ => (x - extent + 1, x + 1),
    };
    let by = i128::from(by).abs();
    let reached = |distance: i128| ((distance + by - 1).div_euclid(by)).clamp(0, n as i128) as usize;
    (reached(low), reached(high))
}

/// Copies lines of elements.
struct Along<'a> {
    lines: &'a [Line],
    /// Elements from one output to the next.
    step: i64,
    fill: u32,
    outputs: usize,
    words: &'a mut [u32],
}

impl Read for Along<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        for (line, words) in self.lines.iter().zip(self.words.chunks_exact_mut(pitch(self.outputs))) {
            let at = |j: usize| line.first.wrapping_add(self.step.wrapping_mul(j as i64)) as usize;
            let Range { start, end } = line.inside;
            words[..start].fill(self.fill);
            words[end..].fill(self.fill);
            let inside = &mut words[start..end];
            if self.step == 1 && start < end {
                inside.iter_mut().zip(&items[at(start)..=at(end - 1)]).for_each(|(word, &x)| *word = widen(x));
            } else {
                (start..).zip(inside).for_each(|(j, word)| *word = widen(items[at(j)]));
            }
        }
    }
}

/// Copies elements that lie one after the other along the fold, from the fold position `done` on.
struct Across<'a> {
    starts: &'a [usize],
    done: usize,
    words: &'a mut [u32],
}

/// Fold positions that are copied of each output before those of the next one: no more than a line of the cache.
const TOGETHER: usize = 16;

impl Read for Across<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let pitch = self.starts.len();
        let rest = &mut self.words[self.done * pitch..];
        for (tile, words) in rest.chunks_mut(TOGETHER * pitch).enumerate() {
            let from = self.done + tile * TOGETHER;
            for (j, start) in self.starts.iter().enumerate() {
                let column = words[j..].iter_mut().step_by(pitch);
                column.zip(&items[start + from..]).for_each(|(word, &x)| *word = widen(x));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_is_what_is_counted() {
        for x in -9..9 {
            for by in -4..=4 {
                for extent in 1..7 {
                    for n in 0..12 {
                        let (from, to) = within(x, by, extent, n);
                        let counted: Vec<usize> =
                            (0..n).filter(|&j| (0..extent).contains(&(x + by * j as i64))).collect();
                        assert_eq!((from..to).collect::<Vec<_>>(), counted, "{x} + {by} · j in 0..{extent}, j < {n}");
                    }
                }
            }
        }
        assert_eq!(within(i64::MIN, i64::MAX, i64::MAX, 5), (2, 3));
    }
}
