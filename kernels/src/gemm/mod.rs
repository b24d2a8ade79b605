//! Matrix products `acc ← fma(a, b, acc)` in `chain` order, in every transposition and batched.
//!
//! ```text
//!  A rows ──pack──► panels of MR rows ─┐
//!                                      ├─ 256 fold positions at a time ─► C = tile, then C = combine(C, tile) ─► finish
//!  B columns ─pack─► panels of NR cols ┘
//! ```
//!
//! The depth of a packed block is the protocol's leaf block (256), so blocking for the cache and the canonical order are one and the
//! same: a micro-kernel keeps one accumulator per element and walks `k` upwards from `init`.

mod micro;
mod pack;
mod pattern;
mod transpose;

pub(crate) use micro::Micro;
pub(crate) use pattern::Gemm;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    Isa,
    access::{BLOCK, affine},
    blocks::Blocks,
    worker::Worker,
};
use micro::Tile;
use pack::{Packed, Source};

/// Fold positions of a packed block: the protocol's leaf block.
const KC: usize = BLOCK as usize;
/// Rows of `A` that are packed together: 128 KiB or less, for the second-level cache.
const MC: usize = 120;
/// Columns of `B` that are packed together: 2 MiB, for the third-level cache.
const NC: usize = 2048;

/// Packing buffers that are not in use, kept from step to step.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<(Packed, Packed)>>);

impl Buffers {
    fn free(&self) -> MutexGuard<'_, Vec<(Packed, Packed)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's matrix products for one node.
pub(crate) struct GemmWorker<'a> {
    buffers: &'a Buffers,
    gemm: &'a Gemm,
    micro: Micro,
    operands: &'a [&'a [u8]],
    finish: Option<Worker<'a>>,
    out_size: usize,
    a: Packed,
    b: Packed,
    /// Products, where the output cannot hold them.
    products: Vec<u8>,
}

/// Rows of the output that are worked on together, all of one batch.
struct Rows {
    batch: u64,
    first: u64,
    count: usize,
}

impl<'a> GemmWorker<'a> {
    pub(crate) fn new(
        gemm: &'a Gemm,
        node: &'a Blocks,
        isa: Isa,
        micro: Micro,
        operands: &'a [&'a [u8]],
        buffers: &'a Buffers,
    ) -> Self {
        let (a, b) = buffers.free().pop().unwrap_or_default();
        let finish = (!gemm.plain).then(|| Worker::new(node, isa, operands));
        let out_size = node.out.size();
        Self { buffers, gemm, micro, operands, finish, out_size, a, b, products: Vec::new() }
    }

    /// Evaluates whole rows from `first` on.
    pub(crate) fn evaluate(&mut self, first: u64, out: &mut [u8]) {
        let (m, n) = (self.gemm.m, self.gemm.n as usize);
        let total = (out.len() / self.out_size / n) as u64;
        let mut rest = out;
        let mut row = first;
        while row < first + total {
            let in_batch = row % m;
            let count = (m - in_batch).min(first + total - row) as usize;
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count * n * self.out_size);
            self.rows(&Rows { batch: row / m, first: in_batch, count }, now);
            (rest, row) = (later, row + count as u64);
        }
    }

    fn rows(&mut self, rows: &Rows, out: &mut [u8]) {
        let n = self.gemm.n as usize;
        let first = (rows.batch * self.gemm.m + rows.first) * self.gemm.n;
        if self.out_size == 4 {
            self.multiply(rows, out);
            self.finish_in_place(first, out);
        } else {
            let mut products = std::mem::take(&mut self.products);
            products.resize(rows.count * n * 4, 0);
            self.multiply(rows, &mut products);
            self.finish_from(first, &products, out);
            self.products = products;
        }
    }

    fn finish_in_place(&mut self, first: u64, out: &mut [u8]) {
        let Some(finish) = &mut self.finish else { return };
        let mut acc = [0; crate::code::WIDTH];
        let mut rest = out;
        let mut at = first;
        while !rest.is_empty() {
            let count = finish.block(at, rest.len() as u64 / 4);
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count * 4);
            read(now, &mut acc[..count]);
            finish.finish_folded(at, &acc[..count], now);
            (rest, at) = (later, at + count as u64);
        }
    }

    fn finish_from(&mut self, first: u64, products: &[u8], out: &mut [u8]) {
        let Some(finish) = &mut self.finish else { return };
        let mut acc = [0; crate::code::WIDTH];
        let (mut from, mut to) = (products, out);
        let mut at = first;
        while !from.is_empty() {
            let count = finish.block(at, from.len() as u64 / 4);
            let (values, later) = from.split_at(count * 4);
            read(values, &mut acc[..count]);
            let (now, rest) = std::mem::take(&mut to).split_at_mut(count * self.out_size);
            finish.finish_folded(at, &acc[..count], now);
            (from, to, at) = (later, rest, at + count as u64);
        }
    }

    /// The folded values of these rows, as `f32`, row-major.
    fn multiply(&mut self, rows: &Rows, c: &mut [u8]) {
        let g = self.gemm;
        let (n, k) = (g.n as usize, g.k as usize);
        let batch = |coefficients: &[i64]| {
            let mut at = [0];
            affine(&g.batch_sizes, coefficients, 0, rows.batch, &mut at);
            at[0]
        };
        let a = Source::new(self.operands[g.a.operand], &g.a, batch(&g.a.batch));
        let b = Source::new(self.operands[g.b.operand], &g.b, batch(&g.b.batch));
        for column in (0..n).step_by(NC) {
            let columns = NC.min(n - column);
            for depth in (0..k).step_by(KC) {
                let kc = KC.min(k - depth);
                self.b.fill(&b, &g.n_sizes, (column as u64, columns), &g.k_sizes, (depth as u64, kc), self.micro.nr);
                for row in (0..rows.count).step_by(MC) {
                    let block = MC.min(rows.count - row);
                    let from = rows.first + row as u64;
                    self.a.fill(&a, &g.m_sizes, (from, block), &g.k_sizes, (depth as u64, kc), self.micro.mr);
                    let tile =
                        Tile { init: f32::from_bits(g.init), add: depth > 0, canonical: depth + kc == k, stride: n };
                    let from = (row * n + column) * 4;
                    self.block(&mut c[from..], block, columns, kc, &tile);
                }
            }
        }
    }

    /// One packed block of `A` times one of `B`, into `c` (which starts at the block's first element).
    fn block(&self, c: &mut [u8], rows: usize, columns: usize, kc: usize, tile: &Tile) {
        let Micro { mr, nr, .. } = self.micro;
        for (j, b) in self.b.panels(nr * kc).enumerate().take(columns.div_ceil(nr)) {
            for (i, a) in self.a.panels(mr * kc).enumerate().take(rows.div_ceil(mr)) {
                let size = (mr.min(rows - i * mr), nr.min(columns - j * nr));
                self.micro.run(a, b, &mut c[(i * mr * tile.stride + j * nr) * 4..], size, tile);
            }
        }
    }
}

impl Drop for GemmWorker<'_> {
    fn drop(&mut self) {
        self.buffers.free().push((std::mem::take(&mut self.a), std::mem::take(&mut self.b)));
    }
}

fn read(from: &[u8], to: &mut [u32]) {
    to.iter_mut().zip(from.as_chunks::<4>().0).for_each(|(t, &b)| *t = u32::from_le_bytes(b));
}
