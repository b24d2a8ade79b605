//! Folds that take only the positions whose index is the output's row: the gradient of a table that rows were gathered from.
//!
//! ```text
//! body:  acc ← select(index[k] = row, acc + value[k, column], acc)
//! ```
//!
//! The definition visits every position for every row. Here positions are sorted by their index, and each row adds its own, in ascending
//! order, leaf block by leaf block; blocks without any leave `init`, which is combined as the definition says. Rows without any are all
//! alike.

use lockstep_ir::{DType, Node, Order, scalar::Op};

use crate::{
    Error, Isa,
    access::{Address, BLOCK, affine},
    blocks::Blocks,
    code::{ACC, RHS, Step},
    gemm::fetch_words,
    memory::{Lanes, Load, Pattern, with_elements},
    parallel::Split,
    worker::Worker,
};

/// A node of this kind.
#[derive(Clone, Debug)]
pub(crate) struct Scatter {
    index: usize,
    index_base: i64,
    index_k: Vec<i64>,
    value: usize,
    value_base: i64,
    value_columns: Vec<i64>,
    value_k: Vec<i64>,
    column_sizes: Vec<u64>,
    k_sizes: Vec<u64>,
    columns: usize,
    length: u64,
    init: f32,
}

/// Longest fold whose block results fold in one more level.
const TWO_LEVELS: u64 = 65_536;

impl Scatter {
    /// Recognises such a fold in a compiled node.
    pub(crate) fn find(node: &Node, blocks: &Blocks) -> Option<Self> {
        let fold = blocks.fold.as_ref()?;
        if fold.order != Order::Chain || fold.length > TWO_LEVELS {
            return None;
        }
        let sum = match fold.combine.steps[..] {
            [] => true,
            [s] => s.op == Op::FAdd && [(ACC, RHS), (RHS, ACC)].contains(&(s.a, s.b)),
            _ => false,
        };
        let body = &fold.body[0];
        let find = |op: Op| body.steps.iter().find(|s| s.op == op);
        let (test, add, choice) = (find(Op::Eq)?, find(Op::FAdd)?, find(Op::Select)?);
        // An `i32` index is compared after a change of type, which changes no bit.
        let renamed = |s: &&Step| matches!(s.op, Op::AsU | Op::AsI);
        if !sum
            || body.steps.len() != 3 + body.steps.iter().filter(renamed).count()
            || (choice.a, choice.b, choice.c) != (test.dst, add.dst, ACC)
        {
            return None;
        }
        let operand = |r: u32| {
            let r = body.steps.iter().filter(renamed).find(|s| s.dst == r).map_or(r, |s| s.a);
            body.loads.iter().find(|l| l.0 == r).map(|l| l.1)
        };
        let row = |r: u32| blocks.coords.contains(&(r, 0));
        let index = operand(if row(test.b) { test.a } else { test.b })?;
        let value = operand(if add.a == ACC { add.b } else { add.a })?;
        let other = [test.a, test.b].into_iter().any(row) && [add.a, add.b].contains(&ACC);
        let places = &blocks.places;
        let Address::Linear { base: index_base, domain: still, fold: index_k } = &places.operands[index].address else {
            return None;
        };
        let Address::Linear { base: value_base, domain, fold: value_k } = &places.operands[value].address else {
            return None;
        };
        let fits = other
            && still.iter().all(|&c| c == 0)
            && domain.first() == Some(&0)
            && places.operands[index].dtype != DType::F32
            && places.operands[value].dtype == DType::F32
            && node.operands.iter().all(|o| !o.skip);
        fits.then(|| Self {
            index,
            index_base: *index_base,
            index_k: index_k.clone(),
            value,
            value_base: *value_base,
            value_columns: domain[1..].to_vec(),
            value_k: value_k.clone(),
            column_sizes: places.domain[1..].to_vec(),
            k_sizes: places.fold.clone(),
            columns: places.domain[1..].iter().product::<u64>() as usize,
            length: fold.length,
            init: f32::from_bits(fold.init),
        })
    }

    /// Fills the output.
    ///
    /// # Errors
    /// A thread's floating-point control word is wrong.
    pub(crate) fn run(
        &self,
        node: &Blocks,
        isa: Isa,
        operands: &[&[u8]],
        out: &mut [u8],
        threads: usize,
        split_small: bool,
    ) -> Result<(), Error> {
        let row_bytes = self.columns * node.out.size();
        let rows = (out.len() / row_bytes) as u64;
        let hits = self.hits(node, operands[self.index]);
        // A row is filled, a hit is added.
        let work = (rows + hits.len() as u64) * self.columns as u64;
        let split = Split::new(rows, if split_small { u64::MAX } else { work }, threads);
        let mut columns = vec![0; self.columns];
        affine(&self.column_sizes, &self.value_columns, self.value_base, 0, &mut columns);
        let mut positions = vec![0; self.length as usize];
        affine(&self.k_sizes, &self.value_k, 0, 0, &mut positions);
        let values = operands[self.value].as_chunks::<4>().0;
        let side_by_side = columns.windows(2).all(|w| w[1] - w[0] == 1);
        let sum = Sum { scatter: self, columns: &columns, side_by_side, positions: &positions, values };
        split.run(out, split.units as usize * row_bytes, || {
            let (mut worker, hits, sum) = (Worker::new(node, isa, operands), &hits, &sum);
            let (mut acc, mut filled) = (vec![0; self.columns], false);
            let mut sums = [vec![0.0; self.columns], vec![0.0; self.columns]];
            sum.fold(&[], &mut sums);
            let empty = sums[0][0].to_bits();
            move |piece, out: &mut [u8]| {
                let first = piece * split.units;
                let mut rest = &hits[hits.partition_point(|h| u64::from(h.0) < first)..];
                for (row, out) in (first..).zip(out.chunks_mut(row_bytes)) {
                    let (here, later) = rest.split_at(rest.iter().take_while(|h| u64::from(h.0) == row).count());
                    rest = later;
                    if here.is_empty() {
                        // After another such row it is there already.
                        if !filled {
                            acc.fill(empty);
                        }
                        filled = true;
                    } else {
                        filled = false;
                        later.first().into_iter().for_each(|next| sum.fetch(next));
                        sum.fold(here, &mut sums);
                        acc.iter_mut().zip(&sums[0]).for_each(|(a, x)| *a = x.to_bits());
                    }
                    finish(&mut worker, row * self.columns as u64, &acc, out, node.out.size());
                }
            }
        })
    }

    /// `(row, position)` of every position whose index can be a row, sorted.
    fn hits(&self, node: &Blocks, index: &[u8]) -> Vec<(u32, u32)> {
        let mut at = vec![0; self.length as usize];
        affine(&self.k_sizes, &self.index_k, self.index_base, 0, &mut at);
        let mut rows = vec![0; at.len()];
        let lanes = Lanes { pattern: Pattern::Table, offsets: &at, shift: 0 };
        with_elements(node.places.operands[self.index].dtype, index, Load { lanes, dst: &mut rows });
        let mut hits: Vec<(u32, u32)> = rows.into_iter().zip(0..).collect();
        hits.sort_unstable();
        hits
    }
}

/// Applies `finish` to folded values from element `first` on; `size` bytes each.
pub(crate) fn finish(worker: &mut Worker<'_>, first: u64, acc: &[u32], out: &mut [u8], size: usize) {
    let mut done = 0;
    while done < acc.len() {
        let at = first + done as u64;
        // Machine code takes any number.
        let count = if worker.node.map.is_some() { acc.len() } else { worker.block(at, (acc.len() - done) as u64) };
        worker.finish_folded(at, &acc[done..done + count], &mut out[done * size..(done + count) * size]);
        done += count;
    }
}

/// How the values of one row are added.
struct Sum<'a> {
    scatter: &'a Scatter,
    columns: &'a [i64],
    /// The values of one position are neighbours.
    side_by_side: bool,
    positions: &'a [i64],
    values: &'a [[u8; 4]],
}

impl Sum<'_> {
    /// Leaves the fold of a row with these hits, for every column, in `total`; a leaf block's is in `block` meanwhile.
    fn fold(&self, hits: &[(u32, u32)], [total, block]: &mut [Vec<f32>; 2]) {
        let init = self.scatter.init;
        let block_of = |hit: &(u32, u32)| u64::from(hit.1) / BLOCK;
        let (mut rest, mut b) = (hits, 0);
        while b < self.scatter.length.div_ceil(BLOCK) {
            let (now, later) = rest.split_at(rest.partition_point(|h| block_of(h) == b));
            rest = later;
            if now.is_empty() {
                match b {
                    0 => total.fill(init),
                    _ => total.iter_mut().for_each(|t| *t += init),
                }
                // Adding a zero once more changes nothing.
                let next = rest.first().map_or(u64::MAX, block_of);
                b = if init == 0.0 { next } else { b + 1 };
                continue;
            }
            block.fill(init);
            now.iter().for_each(|h| self.add(self.positions[h.1 as usize], block));
            if b == 0 {
                total.copy_from_slice(block);
            } else {
                total.iter_mut().zip(&*block).for_each(|(t, &x)| *t += x);
            }
            b += 1;
        }
    }

    /// Has the values of a hit loaded: they lie anywhere, so nothing else foresees them.
    fn fetch(&self, hit: &(u32, u32)) {
        if self.side_by_side {
            let start = (self.columns[0] + self.positions[hit.1 as usize]) as usize;
            fetch_words(self.values[start..].as_ptr().cast(), self.columns.len());
        }
    }

    fn add(&self, position: i64, acc: &mut [f32]) {
        if self.side_by_side {
            let start = (self.columns[0] + position) as usize;
            let row = &self.values[start..][..acc.len()];
            acc.iter_mut().zip(row).for_each(|(a, &x)| *a += f32::from_le_bytes(x));
        } else {
            let row = self.columns.iter().map(|c| self.values[(c + position) as usize]);
            acc.iter_mut().zip(row).for_each(|(a, x)| *a += f32::from_le_bytes(x));
        }
    }
}
