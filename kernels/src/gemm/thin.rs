//! A vector times a matrix: nothing is packed, for every element of the matrix is used once. What counts is to read it in the order in
//! which it lies, with enough sums side by side, for each is one after the other over the 256 fold positions of a leaf block.
//!
//! ```text
//!  columns beside each other:  sums of 2,048 columns in the first-level cache, eight rows of the matrix pass over them at a time
//!  fold positions beside each other:  32 columns at a time, eight fold positions of each transposed in registers
//! ```
#![allow(unsafe_code, reason = "vector loads and stores through pointers, bounds checked before")]

use std::ops::Range;

use lockstep_ir::DType;

use crate::{
    Error,
    access::{affine, row_major},
    memory::{Lanes, Load, Pattern, with_elements},
    parallel::Split,
    scatter::finish,
    worker::Worker,
};

use super::{Gemm, KC, Products, pattern::Kind};

/// Where neighbours in the matrix are neighbours in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lies {
    /// Columns at the same fold position.
    Beside,
    /// Fold positions of the same column.
    Deep,
}

/// Columns whose sums are kept side by side: 8 KiB.
const COLUMNS: usize = 2048;
/// Columns of a matrix that lies deep, and how many times eight of them are folded together.
const WIDE: usize = 4;
/// Operations of the vector evaluator that take as long as one multiply-add here, where memory is what is waited for.
const SPEEDUP: u64 = 8;

impl Gemm {
    /// Whether this is a vector times a matrix that need not be packed.
    pub(super) fn is_thin(&self) -> bool {
        self.lies().is_some()
    }

    fn lies(&self) -> Option<Lies> {
        let b = &self.b;
        let fits = self.kind == Kind::Float && self.m == 1 && b.dtype == DType::F32;
        if !fits || !b.tests.is_empty() || !self.a.tests.is_empty() {
            None
        } else if b.outer == row_major(&self.n_sizes) {
            Some(Lies::Beside)
        } else {
            (b.k == row_major(&self.k_sizes)).then_some(Lies::Deep)
        }
    }
}

impl Products<'_> {
    /// Fills the output of a thin product.
    ///
    /// # Errors
    /// A thread's floating-point control word is wrong.
    pub(super) fn run_thin(&self, out: &mut [u8], threads: usize, split_small: bool) -> Result<(), Error> {
        let size = self.node.out.size();
        let elements = (out.len() / size) as u64;
        let work = if split_small { u64::MAX } else { elements * self.node.work / SPEEDUP };
        let split = Split::new(elements, work, threads);
        split.run(out, split.units as usize * size, || {
            let mut thin = Thin::new(self);
            move |piece, out: &mut [u8]| thin.fill(piece * split.units, out)
        })
    }
}

/// What a thread keeps.
struct Thin<'a> {
    products: &'a Products<'a>,
    lies: Lies,
    worker: Worker<'a>,
    /// The batch that `vector` is of.
    batch: Option<u64>,
    vector: Vec<f32>,
    /// What each fold position adds to the element index in the matrix.
    k: Vec<i64>,
    /// The element index of columns.
    starts: Vec<i64>,
    /// Sums of the leaf blocks so far, and of the one that is being folded.
    sums: [Vec<u32>; 2],
}

impl<'a> Thin<'a> {
    fn new(products: &'a Products<'a>) -> Self {
        let gemm = products.gemm;
        let mut k = vec![0; gemm.k as usize];
        affine(&gemm.k_sizes, &gemm.b.k, 0, 0, &mut k);
        Self {
            products,
            lies: gemm.lies().unwrap_or(Lies::Beside),
            worker: Worker::new(products.node, products.isa, products.operands),
            batch: None,
            vector: Vec::new(),
            k,
            starts: Vec::new(),
            sums: Default::default(),
        }
    }

    /// Fills `out` with the elements from `first` on.
    fn fill(&mut self, first: u64, out: &mut [u8]) {
        let (n, size) = (self.products.gemm.n, self.products.node.out.size());
        let (mut at, mut rest) = (first, out);
        while !rest.is_empty() {
            let (batch, column) = (at / n, at % n);
            let inner = self.products.gemm.n_sizes.last().map_or(n, |&inner| inner);
            let count = (rest.len() / size).min((inner - column % inner) as usize).min(COLUMNS);
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count * size);
            self.start(batch, column, count);
            self.sums.iter_mut().for_each(|s| s.resize(count.max(s.len()), 0));
            match self.lies {
                Lies::Beside => self.beside(count),
                Lies::Deep => self.deep(count),
            }
            finish(&mut self.worker, at, &self.sums[0][..count], now, size);
            (rest, at) = (later, at + count as u64);
        }
    }

    /// Reads the vector of a batch, and finds columns of its matrix.
    fn start(&mut self, batch: u64, column: u64, count: usize) {
        let Products { gemm, operands, .. } = self.products;
        let at = |coefficients: &[i64], base: i64| {
            let mut at = [0];
            affine(&gemm.batch_sizes, coefficients, base, batch, &mut at);
            at[0]
        };
        if self.batch != Some(batch) {
            let mut offsets = vec![0; self.k.len()];
            affine(&gemm.k_sizes, &gemm.a.k, at(&gemm.a.batch, gemm.a.base), 0, &mut offsets);
            let mut words = vec![0; offsets.len()];
            let lanes = Lanes { pattern: Pattern::Table, offsets: &offsets, shift: 0 };
            with_elements(gemm.a.dtype, operands[gemm.a.operand], Load { lanes, dst: &mut words });
            self.vector = words.into_iter().map(f32::from_bits).collect();
            self.batch = Some(batch);
        }
        self.starts.resize(count, 0);
        affine(&gemm.n_sizes, &gemm.b.outer, at(&gemm.b.batch, gemm.b.base), column, &mut self.starts);
    }

    fn matrix(&self) -> &'a [[u8; 4]] {
        self.products.operands[self.products.gemm.b.operand].as_chunks().0
    }

    /// The fold positions of each leaf block.
    fn leaf_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let depth = self.k.len();
        (0..depth).step_by(KC).map(move |from| from..(from + KC).min(depth))
    }

    fn beside(&mut self, count: usize) {
        let (matrix, init) = (self.matrix(), self.products.gemm.init);
        for block in self.leaf_blocks() {
            let first = block.start == 0;
            let [total, sums] = &mut self.sums;
            let acc = &mut (if first { &mut *total } else { &mut *sums })[..count];
            acc.fill(init);
            let row = |k: &i64| &matrix[(self.starts[0] + k) as usize..][..count];
            let rows: Vec<&[[u8; 4]]> = self.k[block.clone()].iter().map(row).collect();
            // SAFETY: a product has a micro-kernel only where AVX2 and FMA are.
            unsafe { pass_over(&self.vector[block], &rows, acc) };
            if !first {
                add(&mut total[..count], &sums[..count]);
            }
        }
    }

    fn deep(&mut self, count: usize) {
        let mut from = 0;
        while from < count {
            if from + WIDE * 8 <= count {
                self.deep_columns::<WIDE>(from);
                from += WIDE * 8;
            } else if count >= 8 {
                // Some of the last eight columns are folded twice.
                self.deep_columns::<1>(from.min(count - 8));
                from += 8;
            } else {
                self.deep_column(from);
                from += 1;
            }
        }
    }

    /// Eight times so many columns, evenly spaced.
    fn deep_columns<const GROUPS: usize>(&mut self, from: usize) {
        let (matrix, init) = (self.matrix(), f32::from_bits(self.products.gemm.init));
        let stride = self.products.gemm.b.outer.last().copied().unwrap_or(0);
        for block in self.leaf_blocks() {
            let start = self.starts[from] + block.start as i64;
            let mut sums = [[init; 8]; GROUPS];
            // SAFETY: a product has a micro-kernel only where AVX2 and FMA are.
            unsafe {
                across(&self.vector[block.clone()], matrix, [start, stride, stride * 8 * GROUPS as i64], &mut sums);
            }
            let sums = sums.as_flattened();
            let total = &mut self.sums[0][from..from + sums.len()];
            match block.start {
                0 => total.iter_mut().zip(sums).for_each(|(t, s)| *t = s.to_bits()),
                _ => total.iter_mut().zip(sums).for_each(|(t, s)| *t = (f32::from_bits(*t) + s).to_bits()),
            }
        }
    }

    /// One column, where there are fewer than eight.
    fn deep_column(&mut self, from: usize) {
        let (matrix, init) = (self.matrix(), f32::from_bits(self.products.gemm.init));
        let column = &matrix[self.starts[from] as usize..][..self.k.len()];
        let block = |(x, y): (&[f32], &[[u8; 4]])| {
            x.iter().zip(y).fold(init, |acc, (x, &y)| x.mul_add(f32::from_le_bytes(y), acc))
        };
        let sum = self.vector.chunks(KC).zip(column.chunks(KC)).map(block).reduce(|total, sum| total + sum);
        self.sums[0][from] = sum.unwrap_or(init).to_bits();
    }
}

fn add(total: &mut [u32], sums: &[u32]) {
    total.iter_mut().zip(sums).for_each(|(t, &s)| *t = (f32::from_bits(*t) + f32::from_bits(s)).to_bits());
}

#[cfg(target_arch = "x86_64")]
use avx2::{across, pass_over};

#[cfg(not(target_arch = "x86_64"))]
use missing::{across, pass_over};

#[cfg(not(target_arch = "x86_64"))]
mod missing {
    pub(super) unsafe fn pass_over(_: &[f32], _: &[&[[u8; 4]]], _: &mut [u32]) {
        unreachable!("`Micro::new` gives no micro-kernel for this target");
    }

    pub(super) unsafe fn across<const N: usize>(_: &[f32], _: &[[u8; 4]], _: [i64; 3], _: &mut [[f32; 8]; N]) {
        unreachable!("`Micro::new` gives no micro-kernel for this target");
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2;
