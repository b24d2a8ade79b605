//! Matrix products in every transposition and batched: `acc ← fma(a, b, acc)` in `chain` order, and sums of products of bytes.
//! Convolutions too, for they are products whose taps are copied as they are packed, or left out where they are out of bounds.
//!
//! ```text
//!  A rows ──pack──► panels of MR rows ─┐
//!                                      ├─ 256 fold positions at a time ─► C = tile, then C = combine(C, tile) ─► finish
//!  B columns ─pack─► panels of NR cols ┘
//! ```
//!
//! The depth of a packed block of floats is the protocol's leaf block (256), so blocking for the cache and the canonical order are one
//! and the same: a micro-kernel keeps one accumulator per element and walks `k` upwards from `init`. Sums of integers have no order, so
//! bytes are packed as many words deep.
//!
//! Threads share one product, unless there are many: `B` is packed once, by all of them, and then each takes blocks of rows.

mod cut;
mod fetch;
mod micro;
mod pack;
mod padding;
mod pattern;
mod stretches;
mod thin;
mod transpose;

pub(crate) use fetch::words as fetch_words;
pub(crate) use micro::Micro;
pub(crate) use pattern::Gemm;
pub(crate) use transpose::floats_across;

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use crate::{
    Error, Isa,
    access::{BLOCK, affine},
    blocks::Blocks,
    parallel::{Split, threads_for, together},
    phases::Phases,
    worker::Worker,
};
use cut::{Cut, Groups, Step};
use micro::Tile;
use pack::{Packed, Source};

/// Fold positions of a packed block: the protocol's leaf block.
const KC: usize = BLOCK as usize;
/// Products per thread from which on a thread takes whole ones.
const WHOLE_PRODUCTS: usize = 4;
/// Operations of the vector evaluator that take as long as one multiply-add in a tile.
const SPEEDUP: u64 = 32;

/// Rows that take as long to multiply as `B` takes to be packed.
const PACKING_ROWS: u64 = 16;

/// Tiles that fetch a panel of `B` together.
const PARTS: usize = 8;

/// Packed columns of `B`.
type Group = RwLock<Packed>;

/// Memory of one product.
#[derive(Debug, Default)]
struct Room {
    b: Vec<Group>,
    /// Products, where the output cannot hold them.
    products: Vec<u8>,
}

/// Packing buffers that are not in use, kept from step to step.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    a: Mutex<Vec<Packed>>,
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

/// Where the products of a block of rows go, and its part of the output if that is elsewhere.
type Part<'a> = (&'a mut [u8], Option<&'a mut [u8]>);

/// One product, shared by the threads that work on it.
struct Job<'a> {
    batch: u64,
    cut: &'a Cut,
    b: &'a [Group],
    /// One for each block of rows.
    rows: Vec<Mutex<Part<'a>>>,
    phases: Phases,
}

impl Job<'_> {
    /// Where a group of the columns of a step is packed.
    fn group(&self, step: usize, group: usize) -> &Group {
        &self.b[step % self.cut.buffers * self.cut.groups + group]
    }
}

/// What a thread has to itself.
struct Mine<'a> {
    buffers: &'a Buffers,
    a: Packed,
    /// For a group of columns that no other thread uses.
    b: Packed,
    finish: Option<Worker<'a>>,
}

impl Drop for Mine<'_> {
    fn drop(&mut self) {
        let mut free = lock(&self.buffers.a);
        free.push(std::mem::take(&mut self.b));
        free.push(std::mem::take(&mut self.a));
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
                        self.product(batch, cut, out, &mut |job| self.take_part(job, &mut mine));
                    }
                }
            });
        }
        let cut = Cut::new(self.gemm, self.micro, threads);
        for (batch, out) in (0..).zip(out.chunks_mut(bytes)) {
            let mut result = Ok(());
            self.product(batch, &cut, out, &mut |job| {
                result = together(threads as u64, || self.take_part(job, &mut self.mine()));
            });
            result?;
        }
        Ok(())
    }

    fn mine(&self) -> Mine<'a> {
        let finish = (!self.gemm.plain).then(|| Worker::new(self.node, self.isa, self.operands));
        let mut free = lock(&self.buffers.a);
        let [a, b] = [0; 2].map(|_| free.pop().unwrap_or_default());
        Mine { buffers: self.buffers, a, b, finish }
    }

    /// Sets up one product and has it `done`.
    fn product(&self, batch: u64, cut: &Cut, out: &mut [u8], done: &mut dyn FnMut(&Job<'_>)) {
        let Room { mut b, mut products } = lock(&self.buffers.rooms).pop().unwrap_or_default();
        if b.len() < cut.buffers * cut.groups {
            b.resize_with(cut.buffers * cut.groups, RwLock::default);
        }
        let (size, n) = (self.node.out.size(), self.gemm.n as usize);
        let in_place = size == 4;
        if !in_place {
            products.resize(products.len().max(self.gemm.m as usize * n * 4), 0);
        }
        let (mut values, mut rest) = if in_place { (out, &mut [][..]) } else { (&mut products[..], out) };
        let mut rows = Vec::with_capacity(cut.rows.len());
        for block in &cut.rows {
            let here = take(&mut values, block.len() * n * 4);
            rows.push(Mutex::new((here, (!in_place).then(|| take(&mut rest, block.len() * n * size)))));
        }
        let phases = match cut.columns {
            Some(columns) => Phases::new([columns.len(), 1].into_iter()),
            // First a step's columns, then with each step its rows and the columns of the next.
            None => Phases::new((0..=cut.steps.len()).map(|phase| {
                let rows = if phase == 0 { 0 } else { cut.rows.len() };
                rows + cut.steps.get(phase).map_or(0, |next| cut.groups_of(next).len())
            })),
        };
        done(&Job { batch, cut, b: &b, rows, phases });
        lock(&self.buffers.rooms).push(Room { b, products });
    }

    /// Works on pieces of a product until none is left.
    fn take_part(&self, job: &Job<'_>, mine: &mut Mine<'_>) {
        if let Some(columns) = job.cut.columns {
            return self.take_columns(job, columns, mine);
        }
        let (steps, blocks) = (job.cut.steps.len(), job.cut.rows.len());
        while let Some(piece) = job.phases.take() {
            let multiplied = if piece.phase == 0 { 0 } else { blocks };
            if piece.index >= multiplied {
                let (step, group) = (&job.cut.steps[piece.phase], piece.index - multiplied);
                let columns = job.cut.groups_of(step).columns(group);
                let mut packed = job.group(piece.phase, group).write().unwrap_or_else(PoisonError::into_inner);
                self.pack(job, columns, step, &mut packed);
                continue;
            }
            let mut rows = lock(&job.rows[piece.index]);
            self.multiply(job, piece.phase - 1, piece.index, rows.0, &mut mine.a);
            if piece.phase == steps {
                self.finish(job, piece.index, &mut rows, mine);
            }
        }
    }

    /// The same where threads share the columns. A group's products are made beside the output, whose rows lie across all groups.
    fn take_columns(&self, job: &Job<'_>, groups: Groups, mine: &mut Mine<'_>) {
        let (m, n) = (self.gemm.m as usize, self.gemm.n as usize);
        let mut products = Vec::new();
        while let Some(piece) = job.phases.take() {
            if piece.phase == 1 {
                self.finish(job, 0, &mut lock(&job.rows[0]), mine);
                continue;
            }
            let columns = groups.columns(piece.index);
            let stride = columns.len().next_multiple_of(self.micro.nr);
            products.resize(m * stride * 4, 0);
            for depth in cut::depths(self.gemm, self.micro) {
                let step = Step { columns: columns.clone(), depth };
                self.pack(job, columns.clone(), &step, &mut mine.b);
                let tile = self.pack_rows(job, &step, &(0..m), &mut mine.a);
                let size = [m, columns.len(), step.depth.len()];
                self.block(&mine.a, [&mine.b; 2], &mut products, size, &Tile { stride, ..tile });
            }
            let mut rows = lock(&job.rows[0]);
            for (to, from) in rows.0.chunks_mut(n * 4).zip(products.chunks(stride * 4)) {
                to[columns.start * 4..columns.end * 4].copy_from_slice(&from[..columns.len() * 4]);
            }
        }
    }

    /// Applies the node's `finish` to the products of a block of rows.
    fn finish(&self, job: &Job<'_>, block: usize, (values, out): &mut Part<'_>, mine: &mut Mine<'_>) {
        let Some(finish) = &mut mine.finish else { return };
        let first = (job.batch * self.gemm.m + job.cut.rows[block].start as u64) * self.gemm.n;
        match out {
            Some(out) => finish_from(finish, first, values, out),
            None => finish_in_place(finish, first, values),
        }
    }

    fn source(&self, factor: &'a pattern::Factor, batch: u64) -> Source<'a> {
        let at = |coefficients: &[i64], base: i64| {
            let mut at = [0];
            affine(&self.gemm.batch_sizes, coefficients, base, batch, &mut at);
            at[0]
        };
        let tests = factor.tests.iter().map(|t| at(&t.batch, t.offset)).collect();
        Source::new(self.operands[factor.operand], factor, at(&factor.batch, factor.base), tests)
    }

    /// Packs the columns of one group.
    fn pack(&self, job: &Job<'_>, columns: Range<usize>, step: &Step, packed: &mut Packed) {
        let source = self.source(&self.gemm.b, job.batch);
        let sizes: [&[u64]; 2] = [&self.gemm.n_sizes, &self.gemm.k_sizes];
        let spans = [(columns.start as u64, columns.len()), (step.depth.start as u64, step.depth.len())];
        packed.fill(&source, sizes, spans, self.micro.nr, self.micro.right());
    }

    /// Packs rows, and tells what becomes of their tiles.
    fn pack_rows(&self, job: &Job<'_>, step: &Step, rows: &Range<usize>, a: &mut Packed) -> Tile<'static> {
        let g = self.gemm;
        let source = self.source(&g.a, job.batch);
        let sizes: [&[u64]; 2] = [&g.m_sizes, &g.k_sizes];
        let spans = [(rows.start as u64, rows.len()), (step.depth.start as u64, step.depth.len())];
        a.fill(&source, sizes, spans, self.micro.mr, self.micro.left());
        let canonical = step.depth.end == g.k as usize;
        Tile {
            init: g.init,
            resume: false,
            add: step.depth.start > 0,
            canonical,
            stride: g.n as usize,
            ahead: std::ptr::null(),
            excess: &[0; 32],
        }
    }

    /// Folds a block of rows over the depth of a step, for its columns.
    fn multiply(&self, job: &Job<'_>, number: usize, block: usize, c: &mut [u8], a: &mut Packed) {
        let (step, rows) = (&job.cut.steps[number], &job.cut.rows[block]);
        let tile = self.pack_rows(job, step, rows, a);
        let groups = job.cut.groups_of(step);
        let packed = |group: usize| job.group(number, group).read().unwrap_or_else(PoisonError::into_inner);
        let mut now = packed(0);
        for group in 0..groups.len() {
            let columns = groups.columns(group);
            let size = [rows.len(), columns.len(), step.depth.len()];
            let next = (group + 1 < groups.len()).then(|| packed(group + 1));
            self.block(a, [&now, next.as_deref().unwrap_or(&now)], &mut c[columns.start * 4..], size, &tile);
            let Some(next) = next else { break };
            now = next;
        }
    }

    /// One packed block of `A` times one of `B`, into `c` (which starts at the block's first element). After it comes another of `B`.
    fn block(
        &self,
        a: &Packed,
        [b, next]: [&Packed; 2],
        c: &mut [u8],
        [rows, columns, kc]: [usize; 3],
        tile: &Tile<'_>,
    ) {
        let Micro { mr, nr, .. } = self.micro;
        let words = self.micro.words(kc);
        let count = columns.div_ceil(nr);
        let after = |j: usize| if j + 1 < count { b.panel(j + 1, nr * words) } else { next.panel(0, nr * words) };
        for (j, columns_of) in b.panels(nr * words).enumerate().take(count) {
            // Every tile of a column has the next panel's next part fetched.
            let (next, part, excess) = (after(j), nr * words / PARTS, self.micro.excess(columns_of));
            for (i, rows_of) in a.panels(mr * words).enumerate().take(rows.div_ceil(mr)) {
                let size = (mr.min(rows - i * mr), nr.min(columns - j * nr));
                let tile = Tile { ahead: next.wrapping_add(i % PARTS * part), excess: &excess, ..*tile };
                let stretches = [a.stretches.panel(i), b.stretches.panel(j)];
                let c = &mut c[(i * mr * tile.stride + j * nr) * 4..];
                self.micro.run([rows_of, columns_of], stretches, c, size, &tile);
            }
        }
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
