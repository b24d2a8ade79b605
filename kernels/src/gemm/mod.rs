//! Matrix products in every transposition and batched: `acc ← fma(a, b, acc)` in `chain` order, and sums of products of bytes.
//! Convolutions too, for they are products whose taps are copied as they are packed, or left out where they are out of bounds.
//!
//! ```text
//!  A rows ──pack──► panels of MR rows ─┐
//!                                      ├─ 256 fold positions at a time ─► C = tile, then C = combine(C, tile) ─► finish
//!  B columns ─pack─► panel of NR cols ─┘
//!         ▲             │ used for all rows, while the next one is packed a piece after every tile
//!         └─────────────┘
//! ```
//!
//! The depth of a packed block of floats is the protocol's leaf block (256), so blocking for the cache and the canonical order are one
//! and the same: a micro-kernel keeps one accumulator per element and walks `k` upwards from `init`. Sums of integers have no order, so
//! bytes are packed as many words deep.
//!
//! Threads share one product, unless there are many, by taking cells of it: some rows and some columns, over the whole depth. Each packs
//! what it needs, so that none waits for another before the end, and what it packs stays in its own caches (decision 25).

mod aside;
mod cut;
mod fetch;
mod micro;
mod offsets;
mod pack;
mod padding;
mod pattern;
mod pieces;
mod stretches;
mod thin;
mod transpose;

pub(crate) use fetch::words as fetch_words;
pub(crate) use micro::Micro;
pub(crate) use pattern::Gemm;
pub(crate) use transpose::floats_across;

use std::{
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    Error, Isa,
    access::BLOCK,
    blocks::Blocks,
    parallel::{Split, threads_for, together},
    worker::Worker,
};
use aside::{Ahead, Aside};
use cut::Cut;
use micro::Tile;
use offsets::Offsets;
use pack::{Packed, Source};
use pieces::Pieces;

/// Fold positions of a packed block: the protocol's leaf block.
const KC: usize = BLOCK as usize;
/// Products per thread from which on a thread takes whole ones.
const WHOLE_PRODUCTS: usize = 4;
/// Operations of the vector evaluator that take as long as one multiply-add in a tile.
const SPEEDUP: u64 = 32;

/// Rows that take as long to multiply as `B` takes to be packed.
const PACKING_ROWS: u64 = 16;

/// What a thread packs and multiplies in.
#[derive(Debug, Default)]
struct Room {
    rows: Offsets,
    columns: Offsets,
    a: Packed,
    /// The panel that is used, and the one that is packed meanwhile.
    b: [Packed; 2],
    /// Products that do not go where the output is, and what becomes of them.
    products: Vec<u8>,
    finished: Vec<u8>,
}

/// Memory that is not in use, kept from step to step.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    rooms: Mutex<Vec<Room>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node's products, to be run.
pub(crate) struct Products<'a> {
    pub(crate) gemm: &'a Gemm,
    pub(crate) micro: Micro,
    pub(crate) node: &'a Blocks,
    pub(crate) isa: Isa,
    pub(crate) operands: &'a [&'a [u8]],
    pub(crate) buffers: &'a Buffers,
}

/// Some rows and columns of one product.
#[derive(Clone, Copy)]
struct Cell<'a> {
    batch: u64,
    rows: &'a Range<usize>,
    columns: &'a Range<usize>,
}

/// What a thread has to itself.
struct Mine<'a> {
    buffers: &'a Buffers,
    room: Room,
    finish: Option<Worker<'a>>,
}

impl Drop for Mine<'_> {
    fn drop(&mut self) {
        lock(&self.buffers.rooms).push(std::mem::take(&mut self.room));
    }
}

impl<'a> Products<'a> {
    /// Fills the output, on up to `threads` threads; `split_small` takes them all, however little there is to do.
    ///
    /// # Errors
    /// A thread's floating-point control word is wrong.
    pub(crate) fn run(&self, out: &mut [u8], threads: usize, split_small: bool) -> Result<(), Error> {
        if self.gemm.is_thin() {
            return self.run_thin(out, threads, split_small);
        }
        let bytes = (self.gemm.m * self.gemm.n) as usize * self.node.out.size();
        let batches = out.len() / bytes;
        let elements = (out.len() / self.node.out.size()) as u64;
        let work = (elements + elements / self.gemm.m * PACKING_ROWS) * self.node.work / SPEEDUP;
        let work = if split_small { u64::MAX } else { work };
        let threads = threads_for(work, threads) as usize;
        if threads == 1 || batches >= WHOLE_PRODUCTS * threads {
            let cut = Cut::new(self.gemm, self.micro, 1);
            let split = Split::new(batches as u64, work, threads);
            return split.run(out, split.units as usize * bytes, || {
                let (mut mine, cut) = (self.mine(), &cut);
                move |piece, out: &mut [u8]| {
                    for (batch, out) in (piece * split.units..).zip(out.chunks_mut(bytes)) {
                        self.product(batch, cut, out, &mut mine);
                    }
                }
            });
        }
        self.shared(out, batches, threads)
    }

    fn mine(&self) -> Mine<'a> {
        let finish = (!self.gemm.plain).then(|| Worker::new(self.node, self.isa, self.operands));
        let room = lock(&self.buffers.rooms).pop().unwrap_or_default();
        Mine { buffers: self.buffers, room, finish }
    }

    /// Bytes of a row of the output.
    fn pitch(&self) -> usize {
        self.gemm.n as usize * self.node.out.size()
    }

    /// A whole product, on one thread.
    fn product(&self, batch: u64, cut: &Cut, mut out: &mut [u8], mine: &mut Mine<'a>) {
        for rows in &cut.rows {
            let out = Mutex::new(take(&mut out, rows.len() * self.pitch()));
            for columns in &cut.columns {
                self.cell(Cell { batch, rows, columns }, &out, mine);
            }
        }
    }

    /// All products, one after the other, their cells on so many threads.
    fn shared(&self, mut out: &mut [u8], batches: usize, threads: usize) -> Result<(), Error> {
        let cut = Cut::new(self.gemm, self.micro, threads);
        let mut cells = Vec::with_capacity(batches * cut.rows.len());
        for batch in 0..batches as u64 {
            cells.extend(
                cut.rows.iter().map(|rows| (batch, rows, Mutex::new(take(&mut out, rows.len() * self.pitch())))),
            );
        }
        let (next, each) = (AtomicUsize::new(0), cut.columns.len());
        together(threads as u64, || {
            let mut mine = self.mine();
            loop {
                let cell = next.fetch_add(1, Ordering::Relaxed);
                let Some((batch, rows, out)) = cells.get(cell / each) else { break };
                self.cell(Cell { batch: *batch, rows, columns: &cut.columns[cell % each] }, out, &mut mine);
            }
        })
    }

    /// Fills a cell of the output, given its rows. Where those are whole and hold what is summed, it is summed there.
    fn cell(&self, cell: Cell<'_>, out: &Mutex<&mut [u8]>, mine: &mut Mine<'a>) {
        let (n, size, columns) = (self.gemm.n as usize, self.node.out.size(), cell.columns.len());
        let row = |row: usize| (cell.batch * self.gemm.m + row as u64) * self.gemm.n + cell.columns.start as u64;
        if columns == n && size == 4 {
            let out = &mut **lock(out);
            self.fold(cell, out, n, &mut mine.room);
            if let Some(finish) = &mut mine.finish {
                finish_in_place(finish, row(cell.rows.start), out);
            }
            return;
        }
        let [mut products, mut finished] = [&mut mine.room.products, &mut mine.room.finished].map(std::mem::take);
        let stride = columns.next_multiple_of(self.micro.nr);
        products.resize(products.len().max(cell.rows.len() * stride * 4), 0);
        self.fold(cell, &mut products, stride, &mut mine.room);
        let mut values = products.chunks(stride * 4).map(|row| &row[..columns * 4]);
        if let Some(finish) = &mut mine.finish {
            finished.resize(finished.len().max(cell.rows.len() * columns * size), 0);
            let rows = cell.rows.clone().zip(&mut values).zip(finished.chunks_mut(columns * size));
            for ((at, products), out) in rows {
                finish_from(finish, row(at), products, out);
            }
            copy(finished.chunks(columns * size), cell.columns.start * size, &mut lock(out), self.pitch());
        } else {
            copy(values, cell.columns.start * size, &mut lock(out), self.pitch());
        }
        (mine.room.products, mine.room.finished) = (products, finished);
    }

    /// Folds a cell, into `c`: rows that are `stride` words apart.
    fn fold(&self, cell: Cell<'_>, c: &mut [u8], stride: usize, room: &mut Room) {
        let (g, nr) = (self.gemm, self.micro.nr);
        let Room { rows, columns, a, b: [now, next], .. } = room;
        rows.find(&g.a, [&g.batch_sizes, &g.m_sizes, &g.k_sizes], cell.batch, cell.rows.clone(), g.k as usize);
        columns.find(&g.b, [&g.batch_sizes, &g.n_sizes, &g.k_sizes], cell.batch, cell.columns.clone(), g.k as usize);
        let [left, right] = self.micro.shapes();
        let left = Source { bytes: self.operands[g.a.operand], factor: &g.a, at: rows, shape: left };
        let right = Source { bytes: self.operands[g.b.operand], factor: &g.b, at: columns, shape: right };
        let (height, width) = (cell.rows.len(), cell.columns.len());
        let tiles = height.div_ceil(self.micro.mr);
        let mut panels = cut::depths(g, self.micro)
            .flat_map(|depth| (0..width).step_by(nr).map(move |at| (depth.clone(), at..width.min(at + nr))));
        let Some(mut panel) = panels.next() else { return };
        Pieces::new(right, panel.clone(), 1, self.micro, now).pack(now);
        loop {
            let (depth, columns) = panel;
            if columns.start == 0 {
                a.fill(&left, 0..height, depth.clone());
            }
            let later = panels.next();
            let pieces = later.clone().map(|panel| Pieces::new(right, panel, tiles, self.micro, next));
            let tile = Tile {
                init: g.init,
                resume: false,
                add: depth.start > 0,
                canonical: depth.end == g.k as usize,
                stride,
                excess: &[0; 32],
            };
            let size = [height, columns.len(), self.micro.words(depth.len())];
            self.panel([a, now], &mut c[columns.start * 4..], size, tile, pieces, next);
            let Some(later) = later else { break };
            panel = later;
            std::mem::swap(now, next);
        }
    }

    /// Multiplies packed rows with a panel of `B`, into `c`, which starts with the panel's first column, and packs the `next` panel.
    fn panel(
        &self,
        [a, b]: [&Packed; 2],
        c: &mut [u8],
        [rows, columns, words]: [usize; 3],
        tile: Tile<'_>,
        mut pieces: Option<Pieces<'_>>,
        next: &mut Packed,
    ) {
        let Micro { mr, nr, .. } = self.micro;
        let columns_of = b.panel(nr * words);
        let excess = self.micro.excess(columns_of);
        for (i, rows_of) in a.panels(mr * words).enumerate().take(rows.div_ceil(mr)) {
            let tile = Tile { excess: &excess, ..tile };
            let stretches = [a.stretches.panel(i), b.stretches.panel(0)];
            let size = (mr.min(rows - i * mr), columns);
            let c = &mut c[i * mr * tile.stride * 4..];
            let mut aside = match &mut pieces {
                Some(pieces) => pieces.aside(next),
                None => Aside::Fetch(Ahead::NOTHING),
            };
            self.micro.run([rows_of, columns_of], stretches, c, size, &tile, &mut aside);
            aside.finish(nr);
            if let Some(pieces) = &mut pieces {
                pieces.pack(next);
            }
        }
    }
}

/// Copies rows to where they are among others, `pitch` bytes apart.
fn copy<'a>(rows: impl Iterator<Item = &'a [u8]>, start: usize, out: &mut [u8], pitch: usize) {
    for (to, from) in out.chunks_mut(pitch).zip(rows) {
        to[start..start + from.len()].copy_from_slice(from);
    }
}

/// Takes so many bytes away.
fn take<'a>(from: &mut &'a mut [u8], size: usize) -> &'a mut [u8] {
    let (now, later) = std::mem::take(from).split_at_mut(size);
    *from = later;
    now
}

/// Applies `finish` to products, from element `first` on, where they lie.
fn finish_in_place(finish: &mut Worker<'_>, first: u64, out: &mut [u8]) {
    let mut acc = [0; crate::code::WIDTH];
    let (mut at, mut rest) = (first, out);
    while !rest.is_empty() {
        let count = finish.block(at, rest.len() as u64 / 4);
        let (now, later) = std::mem::take(&mut rest).split_at_mut(count * 4);
        read(now, &mut acc[..count]);
        finish.finish_folded(at, &acc[..count], now);
        (rest, at) = (later, at + count as u64);
    }
}

/// The same, into an output of another size.
fn finish_from(finish: &mut Worker<'_>, first: u64, products: &[u8], out: &mut [u8]) {
    let mut acc = [0; crate::code::WIDTH];
    let size = out.len() / (products.len() / 4);
    let (mut at, mut from, mut to) = (first, products, out);
    while !from.is_empty() {
        let count = finish.block(at, from.len() as u64 / 4);
        let (values, later) = from.split_at(count * 4);
        read(values, &mut acc[..count]);
        let (now, rest) = std::mem::take(&mut to).split_at_mut(count * size);
        finish.finish_folded(at, &acc[..count], now);
        (from, to, at) = (later, rest, at + count as u64);
    }
}

fn read(from: &[u8], to: &mut [u32]) {
    to.iter_mut().zip(from.as_chunks::<4>().0).for_each(|(t, &b)| *t = u32::from_le_bytes(b));
}
