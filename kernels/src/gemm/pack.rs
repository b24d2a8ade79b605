//! Factors copied into the order in which the micro-kernel reads them.

use std::ops::Range;

use lockstep_ir::DType;

use crate::memory::{Read, with_elements};

use super::{aside::put, fetch, offsets::Offsets, padding::Padded, pattern::Factor, stretches::Stretches, transpose};

/// What a word of a panel holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// The `f32` of one fold position.
    Float,
    /// The bytes of two fold positions, as `i16`.
    Pair,
    /// The bytes of four fold positions, each with these bits flipped: `0x80` makes `x + 128` of `x`.
    Quad(u8),
}

impl Word {
    /// Fold positions in a word.
    pub(super) const fn positions(self) -> usize {
        match self {
            Self::Float => 1,
            Self::Pair => 2,
            Self::Quad(_) => 4,
        }
    }

    /// A byte as part `i` of a word.
    fn part(self, byte: u8, i: usize) -> u32 {
        match self {
            Self::Float => 0,
            Self::Pair => u32::from(i16::from(byte as i8) as u16) << (16 * i),
            Self::Quad(flip) => u32::from(byte ^ flip) << (8 * i),
        }
    }
}

/// How panels are made: of so many rows (or columns), and such words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) word: Word,
    /// Whether AVX-512 may be used.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no micro-kernel"))]
    pub(super) wide: bool,
}

/// Panels: for each word's worth of fold positions, a word of every row (or column). What is missing in the last panel, and the parts
/// of a word that have no fold position, are 0.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// From the first line of the cache on.
    values: Vec<u32>,
    /// Of a factor that leaves positions out: which of them each panel takes.
    pub(super) stretches: Stretches,
}

impl Packed {
    /// Makes room for panels of so many words in all, which hold anything.
    pub(super) fn start(&mut self, words: usize) {
        if self.values.len() < words + fetch::LINE {
            self.values.resize(words + fetch::LINE, 0);
        }
        self.stretches.clear();
    }

    /// Packs rows by fold positions.
    pub(super) fn fill(&mut self, source: &Source<'_>, rows: Range<usize>, depth: Range<usize>) {
        let Shape { width, word, .. } = source.shape;
        let size = rows.len().div_ceil(width) * width * depth.len().div_ceil(word.positions());
        self.start(size);
        self.fill_part(source, rows, depth, 0..size);
    }

    /// The same, into a part of what there is room for. A factor with tests has to be packed as a whole.
    pub(super) fn fill_part(&mut self, source: &Source<'_>, rows: Range<usize>, depth: Range<usize>, at: Range<usize>) {
        let line = self.line();
        source.pack(rows, depth, &mut self.values[line..][at], &mut self.stretches);
    }

    /// Where the first line starts: words that lie across two of them take twice as long to load and to store.
    fn line(&self) -> usize {
        self.values.as_ptr().align_offset(fetch::LINE * size_of::<u32>()).min(fetch::LINE)
    }

    /// The first panel, of so many words.
    pub(super) fn panel(&self, size: usize) -> &[u32] {
        &self.values[self.line()..][..size]
    }

    /// The words of a panel, to be packed.
    pub(super) fn room(&mut self, words: usize) -> &mut [u32] {
        let line = self.line();
        &mut self.values[line..][..words]
    }

    /// Where such a word is going to be packed.
    pub(super) fn slots(&self, word: usize) -> *const u32 {
        self.values.as_ptr().wrapping_add(self.line() + word)
    }

    pub(super) fn panels(&self, size: usize) -> std::slice::ChunksExact<'_, u32> {
        self.values[self.line()..].chunks_exact(size)
    }
}

/// One factor of one product, and where its elements are.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) factor: &'a Factor,
    pub(super) at: &'a Offsets,
    pub(super) shape: Shape,
}

impl Source<'_> {
    /// Whether some of it can be out of bounds.
    pub(super) fn is_tested(&self) -> bool {
        !self.factor.tests.is_empty()
    }

    /// Whether it holds floats, all in bounds, and is packed as it is.
    pub(super) fn is_plain(&self) -> bool {
        self.shape.word == Word::Float && self.factor.dtype == DType::F32 && !self.is_tested()
    }

    fn pack(&self, rows: Range<usize>, depth: Range<usize>, values: &mut [u32], stretches: &mut Stretches) {
        let Self { bytes, factor, at, shape } = *self;
        let panels = Panels { values, at, rows, depth, shape };
        if self.is_tested() {
            let floats = (factor.dtype == DType::F32).then_some(bytes);
            let left_out = factor.skip.then_some(stretches);
            return with_elements(factor.dtype, bytes, Padded { panels, floats, fill: factor.fill, left_out });
        }
        match (shape.word, factor.dtype) {
            (Word::Float, DType::F32) => panels.floats(bytes),
            (Word::Float, dtype) => with_elements(dtype, bytes, panels),
            (Word::Pair | Word::Quad(_), _) => panels.bytes(bytes),
        }
    }
}

/// What is packed, and into what.
pub(super) struct Panels<'a> {
    pub(super) values: &'a mut [u32],
    pub(super) at: &'a Offsets,
    pub(super) rows: Range<usize>,
    pub(super) depth: Range<usize>,
    pub(super) shape: Shape,
}

/// Fewest fold positions, one after the other, of which a transposition is faster than one copy after another.
const FEWEST: usize = 8;

impl Panels<'_> {
    /// Packs a tensor of `f32`: full panels whose rows or columns are contiguous the fast way.
    fn floats(self, bytes: &[u8]) {
        let Self { values, at, rows, depth, shape } = self;
        let (items, width) = (bytes.as_chunks::<4>().0, shape.width);
        let size = width * depth.len();
        let mut first = rows.start;
        while first < rows.end {
            let values = &mut values[(first - rows.start) / width * size..];
            let side_by_side = (at.outer.run(first, rows.end) - first) / width;
            if side_by_side > 0 {
                let values = &mut values[..side_by_side * size];
                let lines = Lines { items, first: at.outer[first], k: &at.k, depth: depth.clone() };
                match width {
                    6 => lines.copy::<6>(shape, values),
                    12 => lines.copy::<12>(shape, values),
                    16 => lines.copy::<16>(shape, values),
                    _ => lines.copy::<32>(shape, values),
                }
                first += side_by_side * width;
                continue;
            }
            let panel = first..rows.end.min(first + width);
            let mut k = depth.start;
            while k < depth.end {
                let slots = &mut values[(k - depth.start) * width..size];
                let mut end = at.k.run(k, depth.end);
                if panel.len() == width && end - k >= FEWEST {
                    let rows = Starts::new(at, &panel, rows.end, k..end);
                    end = k + transpose::panel(bytes, rows.both(), shape, end - k, slots);
                } else {
                    one_panel(items, u32::from_le_bytes, at, &panel, &(k..end), width, slots);
                }
                k = end;
            }
            first += width;
        }
    }

    /// Packs a tensor of bytes, several fold positions to a word.
    fn bytes(self, bytes: &[u8]) {
        let Self { values, at, rows, depth, shape: shape @ Shape { width, word, .. } } = self;
        let per = word.positions();
        let words = depth.len().div_ceil(per);
        let deep = at.k.run(depth.start, depth.end) == depth.end;
        for (panel, values) in panels(&rows, width).zip(values.chunks_mut(width * words)) {
            let mut whole = 0;
            if panel.len() == width && deep {
                let rows = Starts::new(at, &panel, rows.end, depth.clone());
                whole = transpose::panel(bytes, rows.both(), shape, depth.len() / per, values);
            }
            let rest = &mut values[whole * width..];
            rest.fill(0);
            let run = at.outer.run(panel.start, panel.end) == panel.end;
            let outer = &at.outer[panel];
            let k = &at.k[depth.start + whole * per..depth.end];
            for (slots, k) in rest.chunks_exact_mut(width).zip(k.chunks(per)) {
                for (part, &k) in k.iter().enumerate() {
                    if run {
                        let row = &bytes[(outer[0] + k) as usize..][..outer.len()];
                        slots.iter_mut().zip(row).for_each(|(s, &b)| *s |= word.part(b, part));
                    } else {
                        slots.iter_mut().zip(outer).for_each(|(s, &o)| *s |= word.part(bytes[(o + k) as usize], part));
                    }
                }
            }
        }
    }
}

/// The rows of each panel.
fn panels(rows: &Range<usize>, width: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let end = rows.end;
    rows.clone().step_by(width).map(move |first| first..end.min(first + width))
}

/// Where the rows of a panel start, and what is read after them.
pub(super) struct Starts {
    count: usize,
    now: [usize; MAX_WIDTH],
    next: [usize; MAX_WIDTH],
}

/// Rows of the widest panel.
const MAX_WIDTH: usize = 32;

impl Starts {
    /// At the first of some fold positions. After them come those of the next panel, or those that follow if there is none up to `rows`.
    pub(super) fn new(at: &Offsets, panel: &Range<usize>, rows: usize, depth: Range<usize>) -> Self {
        let find = |rows: Range<usize>, k: usize| {
            let (mut starts, k) = ([0; MAX_WIDTH], at.k.get(k).map_or(0, |k| *k));
            starts.iter_mut().zip(&at.outer[rows]).for_each(|(s, row)| *s = row.wrapping_add(k) as usize);
            starts
        };
        let (count, next) = (panel.len(), panel.end..panel.end + panel.len());
        let next = if next.end <= rows { find(next, depth.start) } else { find(panel.clone(), depth.end) };
        Self { count, now: find(panel.clone(), depth.start), next }
    }

    pub(super) fn both(&self) -> [&[usize]; 2] {
        [&self.now[..self.count], &self.next[..self.count]]
    }
}

/// Fold positions that are fetched before they are copied: each lies in a page of its own, where the hardware sees no stream.
const AHEAD: usize = 8;

/// Rows or columns beside each other, from `first` on.
struct Lines<'a> {
    items: &'a [[u8; 4]],
    first: i64,
    k: &'a [i64],
    depth: Range<usize>,
}

impl Lines<'_> {
    /// Copies values, `W` to a panel.
    #[allow(unsafe_code, reason = "instructions that were found to be there")]
    fn copy<const W: usize>(self, shape: Shape, values: &mut [u32]) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Micro::new` gives micro-kernels only where AVX2 is, and wide ones only where AVX-512 is.
        unsafe {
            if shape.wide { self.with_avx512::<W>(values) } else { self.with_avx2::<W>(values) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.copy_each::<W>(values);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn with_avx512<const W: usize>(self, values: &mut [u32]) {
        self.copy_each::<W>(values);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn with_avx2<const W: usize>(self, values: &mut [u32]) {
        self.copy_each::<W>(values);
    }

    #[inline(always)]
    fn copy_each<const W: usize>(self, values: &mut [u32]) {
        let Self { items, first, k, depth } = self;
        let (slots, k) = (values.as_chunks_mut::<W>().0, &k[depth]);
        if slots.len() == k.len() {
            for (to, &k) in slots.iter_mut().zip(k) {
                put(to, items, first.wrapping_add(k));
            }
            return;
        }
        // A few panels at a time: so memory is read in runs of some lines. Not more of them, for their lines fall into few sets of the cache.
        let side = if W < 16 { 8 } else { 4 };
        for (i, slots) in slots.chunks_mut(side * k.len()).enumerate() {
            let first = first + (i * side * W) as i64;
            for (at, &here) in k.iter().enumerate() {
                if let Some(next) = k.get(at + AHEAD) {
                    let next = items.as_ptr().wrapping_add(first.wrapping_add(*next) as usize);
                    fetch::words(next.cast(), slots.len() / k.len() * W);
                }
                for (panel, to) in slots.iter_mut().skip(at).step_by(k.len()).enumerate() {
                    put(to, items, first.wrapping_add(here).wrapping_add((panel * W) as i64));
                }
            }
        }
    }
}

impl Read for Panels<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let Self { values, at, rows, depth, shape } = self;
        let values = values.chunks_exact_mut(shape.width * depth.len());
        for (panel, values) in panels(&rows, shape.width).zip(values) {
            one_panel(items, &widen, at, &panel, &depth, shape.width, values);
        }
    }
}

/// Packs a panel of any layout, type and number of rows, one value to a word.
fn one_panel<const N: usize>(
    items: &[[u8; N]],
    get: impl Fn([u8; N]) -> u32,
    at: &Offsets,
    rows: &Range<usize>,
    depth: &Range<usize>,
    width: usize,
    panel: &mut [u32],
) {
    let run = at.outer.run(rows.start, rows.end) == rows.end;
    let outer = &at.outer[rows.clone()];
    for (slots, &k) in panel.chunks_exact_mut(width).zip(&at.k[depth.clone()]) {
        let (slots, missing) = slots.split_at_mut(outer.len());
        missing.fill(0);
        if run {
            let row = &items[(outer[0] + k) as usize..][..outer.len()];
            slots.iter_mut().zip(row).for_each(|(s, &x)| *s = get(x));
        } else {
            slots.iter_mut().zip(outer).for_each(|(s, &o)| *s = get(items[(o + k) as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    /// What the instruction for such words adds to an accumulator.
    fn product(a: u32, b: u32, word: Word) -> i32 {
        let [a, b] = [a, b].map(u32::to_le_bytes);
        let half = |x: [u8; 4], i: usize| i32::from(i16::from_le_bytes([x[2 * i], x[2 * i + 1]]));
        match word {
            Word::Pair => (0..2).map(|i| half(a, i) * half(b, i)).sum(),
            // Unsigned times signed.
            _ => (0..4).map(|i| i32::from(a[i]) * i32::from(b[i] as i8)).sum(),
        }
    }

    /// The sums of AVX-512 tiles, from panels packed for them, without their instructions.
    #[test]
    fn panels_of_bytes_hold_the_product() {
        let mut rng = Rng::new(5);
        for depth in [1, 3, 4, 31, 64, 70] {
            for (deep, word, right) in [
                (false, Word::Pair, Word::Pair),
                (true, Word::Pair, Word::Pair),
                (false, Word::Quad(0x80), Word::Quad(0)),
                (true, Word::Quad(0x80), Word::Quad(0)),
            ] {
                let (rows, columns, width) = (9usize, 13usize, 8usize);
                let mut bytes = |n: usize| (0..n).map(|_| rng.below(256) as u8).collect::<Vec<_>>();
                let (a, b) = (bytes(rows * depth), bytes(columns * depth));
                // Offset of element `k` of row (or column) `o`.
                let strides = |n: usize| if deep { (depth as i64, 1) } else { (1, n as i64) };
                let pack = |bytes: &[u8], n: usize, word: Word| {
                    let (outer, k) = strides(n);
                    let factor = Factor {
                        operand: 0,
                        dtype: DType::I8,
                        base: 0,
                        batch: vec![],
                        outer: vec![outer],
                        k: vec![k],
                        tests: vec![],
                        fill: 0,
                        skip: false,
                    };
                    let mut at = Offsets::default();
                    at.find(&factor, [&[], &[n as u64], &[depth as u64]], 0, 0..n, depth);
                    let mut packed = Packed::default();
                    let shape = Shape { width, word, wide: false };
                    packed.fill(&Source { bytes, factor: &factor, at: &at, shape }, 0..n, 0..depth);
                    packed.panel(n.div_ceil(width) * width * depth.div_ceil(word.positions())).to_vec()
                };
                let (left, right) = (pack(&a, rows, word), pack(&b, columns, right));
                let words = depth.div_ceil(word.positions());
                let at = |panels: &[u32], o: usize, w: usize| panels[o / width * width * words + w * width + o % width];
                let value = |bytes: &[u8], n: usize, o: usize, k: usize| {
                    i32::from(bytes[o * strides(n).0 as usize + k * strides(n).1 as usize] as i8)
                };
                for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                    let expected: i32 = (0..depth).map(|k| value(&a, rows, i, k) * value(&b, columns, j, k)).sum();
                    let sum: i32 = (0..words).map(|w| product(at(&left, i, w), at(&right, j, w), word)).sum();
                    let offset = u32::from_le_bytes([0x80; 4]);
                    let excess = |w| if word == Word::Pair { 0 } else { product(offset, at(&right, j, w), word) };
                    assert_eq!(sum - (0..words).map(excess).sum::<i32>(), expected, "{word:?}, {depth} deep, {deep}");
                }
            }
        }
    }
}
