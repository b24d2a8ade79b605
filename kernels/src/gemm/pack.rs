//! Factors copied into the order in which the micro-kernel reads them.

use lockstep_ir::DType;

use crate::{
    access::affine,
    memory::{Read, with_elements},
};

use super::{fetch, padding::Padded, pattern::Factor, stretches::Stretches, transpose};

/// One factor of one product of the batch.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
    factor: &'a Factor,
    base: i64,
    /// What each of the factor's tested coordinates starts from.
    tests: Vec<i64>,
}

impl<'a> Source<'a> {
    /// A factor that starts at element `base`, and its tested coordinates at `tests`.
    pub(super) fn new(bytes: &'a [u8], factor: &'a Factor, base: i64, tests: Vec<i64>) -> Self {
        Self { bytes, factor, base, tests }
    }
}

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

/// Panels of `width` rows (or columns): for each word's worth of fold positions, `width` words. What is missing in the last panel, and
/// the parts of a word that have no fold position, are 0.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    values: Vec<u32>,
    outer: Vec<i64>,
    k: Vec<i64>,
    /// Of a factor that leaves positions out: which of them each panel takes.
    pub(super) stretches: Stretches,
}

/// First and number.
type Span = (u64, usize);

impl Packed {
    /// Packs rows by fold positions, given the sizes of the dimensions that each of the two are made of.
    pub(super) fn fill(
        &mut self,
        source: &Source<'_>,
        [outer_sizes, k_sizes]: [&[u64]; 2],
        [outer, k]: [Span; 2],
        width: usize,
        word: Word,
    ) {
        self.outer.resize(outer.1, 0);
        affine(outer_sizes, &source.factor.outer, source.base, outer.0, &mut self.outer);
        self.k.resize(k.1, 0);
        affine(k_sizes, &source.factor.k, 0, k.0, &mut self.k);
        let size = outer.1.div_ceil(width) * width * k.1.div_ceil(word.positions());
        if self.values.len() < size {
            self.values.resize(size, 0);
        }
        self.stretches.clear();
        let panels = Panels { values: &mut self.values[..size], outer: &self.outer, k: &self.k, width };
        if !source.tests.is_empty() {
            let coordinates = source.factor.tests.iter().zip(&source.tests).map(|(test, &start)| {
                let mut at = [vec![0; outer.1], vec![0; k.1]];
                affine(outer_sizes, &test.outer, start, outer.0, &mut at[0]);
                affine(k_sizes, &test.k, 0, k.0, &mut at[1]);
                (at, test.extent)
            });
            let floats = (source.factor.dtype == DType::F32).then_some(source.bytes);
            let left_out = source.factor.skip.then_some(&mut self.stretches);
            let coordinates = coordinates.collect();
            let padded = Padded { panels, floats, fill: source.factor.fill, coordinates, left_out };
            return with_elements(source.factor.dtype, source.bytes, padded);
        }
        match (word, source.factor.dtype) {
            (Word::Float, DType::F32) => panels.floats(source.bytes),
            (Word::Float, dtype) => with_elements(dtype, source.bytes, panels),
            (Word::Pair | Word::Quad(_), _) => panels.bytes(source.bytes, word),
        }
    }

    /// Where panel `i` starts, if there is one.
    pub(super) fn panel(&self, i: usize, size: usize) -> *const u32 {
        self.values.as_ptr().wrapping_add(i * size)
    }

    pub(super) fn panels(&self, size: usize) -> std::slice::ChunksExact<'_, u32> {
        self.values.chunks_exact(size)
    }
}

/// What is packed: into `values`, from the elements at each sum of `outer` and `k`.
pub(super) struct Panels<'a> {
    pub(super) values: &'a mut [u32],
    pub(super) outer: &'a [i64],
    pub(super) k: &'a [i64],
    pub(super) width: usize,
}

pub(super) fn is_run(offsets: &[i64]) -> bool {
    offsets.windows(2).all(|w| w[1] - w[0] == 1)
}

/// The rows of panel `i`, and those of the next one if it is whole.
fn rows_of(starts: &[usize], i: usize, width: usize) -> [&[usize]; 2] {
    let panel = |i: usize| starts.get(i * width..(i + 1) * width).unwrap_or_default();
    [panel(i), panel(i + 1)]
}

impl Panels<'_> {
    /// Packs a tensor of `f32`: full panels whose rows or columns are contiguous the fast way.
    fn floats(self, bytes: &[u8]) {
        let items = bytes.as_chunks::<4>().0;
        let (size, deep) = (self.width * self.k.len(), is_run(self.k));
        let whole = self.outer.len() / self.width * self.width;
        let side_by_side = is_run(&self.outer[..whole]);
        if whole > 0 && side_by_side {
            let values = &mut self.values[..whole * self.k.len()];
            match self.width {
                6 => columns::<6>(items, self.outer[0], self.k, values),
                12 => columns::<12>(items, self.outer[0], self.k, values),
                16 => columns::<16>(items, self.outer[0], self.k, values),
                _ => columns::<32>(items, self.outer[0], self.k, values),
            }
        }
        let starts: Vec<usize> = self.outer.iter().map(|&o| (o + self.k[0]) as usize).collect();
        let done = if side_by_side { whole / self.width } else { 0 };
        for (i, outer) in self.outer.chunks(self.width).enumerate().skip(done) {
            let panel = &mut self.values[i * size..];
            let mut from = 0;
            if outer.len() == self.width && deep {
                let rows = rows_of(&starts, i, self.width);
                from = transpose::panel(bytes, rows, Word::Float, self.k.len(), &mut panel[..size]);
            }
            let rest = &mut panel[from * self.width..size];
            one_panel(items, u32::from_le_bytes, outer, &self.k[from..], self.width, rest);
        }
    }

    /// Packs a tensor of bytes, several fold positions to a word.
    fn bytes(self, bytes: &[u8], word: Word) {
        let per = word.positions();
        let words = self.k.len().div_ceil(per);
        let (size, deep) = (self.width * words, is_run(self.k));
        let starts: Vec<usize> = self.outer.iter().map(|&o| (o + self.k[0]) as usize).collect();
        for (i, outer) in self.outer.chunks(self.width).enumerate() {
            let panel = &mut self.values[i * size..];
            let mut whole = 0;
            if outer.len() == self.width && deep {
                let rows = rows_of(&starts, i, self.width);
                whole = transpose::panel(bytes, rows, word, self.k.len() / per, &mut panel[..size]);
            }
            let rest = &mut panel[whole * self.width..size];
            rest.fill(0);
            let run = is_run(outer);
            for (slots, k) in rest.chunks_exact_mut(self.width).zip(self.k[whole * per..].chunks(per)) {
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

/// Rows that are fetched before they are copied: each lies in a page of its own, where the hardware sees no stream.
const ROWS_AHEAD: usize = 8;

/// Copies neighbouring values, `W` to a panel, a few panels at a time: so memory is read in runs of some lines. Not more panels, for
/// their lines fall into few sets of the cache.
fn columns<const W: usize>(items: &[[u8; 4]], first: i64, k: &[i64], values: &mut [u32]) {
    let (size, side) = (W * k.len(), if W < 16 { 8 } else { 4 });
    for (i, panels) in values.chunks_mut(side * size).enumerate() {
        let first = first + (i * side * W) as i64;
        let mut panels: Vec<&mut [[u32; W]]> = panels.chunks_exact_mut(size).map(|p| p.as_chunks_mut().0).collect();
        for (at, &here) in k.iter().enumerate() {
            if let Some(&next) = k.get(at + ROWS_AHEAD) {
                fetch::words(items.as_ptr().wrapping_add((first + next) as usize).cast(), side * W);
            }
            let rows = items[(first + here) as usize..].as_chunks::<W>().0;
            for (panel, row) in panels.iter_mut().zip(rows) {
                put(&mut panel[at], row);
            }
        }
    }
}

/// Copies values: as a whole, where a compiler would move word after word.
#[allow(unsafe_code, reason = "words as the bytes that they are")]
fn put<const W: usize>(to: &mut [u32; W], from: &[[u8; 4]; W]) {
    if cfg!(target_endian = "little") {
        // SAFETY: words have as many bytes, any of which make one.
        let bytes: &mut [[u8; 4]; W] = unsafe { &mut *std::ptr::from_mut(to).cast() };
        *bytes = *from;
    } else {
        *to = from.map(u32::from_le_bytes);
    }
}

impl Read for Panels<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let panels = self.values.chunks_exact_mut(self.width * self.k.len());
        for (panel, outer) in panels.zip(self.outer.chunks(self.width)) {
            one_panel(items, &widen, outer, self.k, self.width, panel);
        }
    }
}

/// Packs a panel of any layout, type and number of rows, one value to a word.
fn one_panel<const N: usize>(
    items: &[[u8; N]],
    get: impl Fn([u8; N]) -> u32,
    outer: &[i64],
    k: &[i64],
    width: usize,
    panel: &mut [u32],
) {
    if outer.len() < width {
        panel.fill(0);
    }
    for (slots, &k) in panel.chunks_exact_mut(width).zip(k) {
        slots.iter_mut().zip(outer).for_each(|(s, &o)| *s = get(items[(o + k) as usize]));
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
                    let mut packed = Packed::default();
                    let sizes: [&[u64]; 2] = [&[n as u64], &[depth as u64]];
                    packed.fill(&Source::new(bytes, &factor, 0, vec![]), sizes, [(0, n), (0, depth)], width, word);
                    packed.values
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
