//! Runs compiled folds over the outputs of a node.

use crate::{
    access::{Address, BLOCK, digits},
    blocks::FoldCode,
    code::WIDTH,
    compile::{FoldKernel, FoldStream, Lies, Source, Way},
    levels::Levels,
    lines::{Packed, pitch},
    worker::Worker,
};
use lockstep_ir::program::LANES;

/// A run of outputs along the innermost dimension.
#[derive(Clone, Copy)]
struct Run<'a> {
    kernel: &'a FoldKernel,
    /// Element index of each stream at the first output and fold position 0, and from one output to the next.
    starts: &'a [(i64, i64)],
    /// Coordinates of the first output.
    at: &'a [u64],
    outputs: usize,
}

/// One call of a leaf routine.
struct Call<'a> {
    outputs: usize,
    /// Leaf blocks of an output, or fold positions: how often a stream steps.
    steps: u64,
    /// Elements from the streams' starts.
    skip: &'a dyn Fn(usize) -> i64,
    /// Elements from one leaf block or fold position to the next.
    step: &'a dyn Fn(usize) -> i64,
    /// Values of a leaf block, all of a stream's reach within a step.
    values: u64,
    /// Elements from the result of a leaf block to the next one's, and from that of an output to the next one's.
    apart: [u64; 2],
}

/// Results that a call makes at a time: few enough to stay in the first-level cache.
const RESULTS: usize = 2048;
/// Leaf blocks of a row at most whose results are written beside those of other rows. With more, their lines are out of the cache again
/// when the next row comes.
const SIDE_BY_SIDE: u64 = 16;
/// Words of the copy of an operand: 32 KiB.
const PACKED_WORDS: usize = 8192;
/// Outputs side by side at least, if there are so many.
const FEWEST_OUTPUTS: usize = 32;

impl Worker<'_> {
    /// Folds the elements from `first` on that `out` has room for with the compiled routines.
    pub(crate) fn fold_compiled(&mut self, fold: &FoldCode, kernel: &FoldKernel, first: u64, out: &mut [u32]) {
        let sizes = &self.node.places.domain;
        let inner = sizes.last().copied().unwrap_or(1);
        let (mut at, mut starts, mut done) = (Vec::new(), Vec::new(), 0);
        while done < out.len() {
            let here = first + done as u64;
            let outputs = (out.len() - done).min((inner - here % inner) as usize).min(WIDTH);
            digits(here, sizes, &mut at);
            starts.clear();
            starts.extend(kernel.streams.iter().map(|s| self.start(s, &at)));
            let run = Run { kernel, starts: &starts, at: &at, outputs };
            let slot = &mut out[done..][..outputs];
            match kernel.way {
                Way::Rows => self.fold_rows(fold, run, slot),
                Way::Columns if outputs < kernel.lanes => {
                    slot.copy_from_slice(&self.fold_evaluated(fold, here, outputs).0[..outputs]);
                }
                Way::Columns if kernel.listed && fold.length <= BLOCK && fold.accumulators() == 1 => {
                    done += self.fold_lines(fold, run, &mut out[done..]);
                    continue;
                }
                Way::Columns => self.fold_columns(fold, run, slot),
            }
            done += outputs;
        }
    }

    /// Folds a run of outputs over a list, and the rows of outputs after it for which the same fold positions are in bounds: their list is
    /// the same but for what each address goes on by. Gives the number of outputs.
    fn fold_lines(&mut self, fold: &FoldCode, run: Run<'_>, out: &mut [u32]) -> usize {
        self.pack(run.kernel, run.at, run.outputs, 0..fold.length);
        let rows = self.rows_alike(run, out.len() / run.outputs);
        self.list(run.kernel, run.starts, run.outputs, [0, 1, fold.length], rows);
        self.call_listed(run, &mut out[..rows * run.outputs]);
        rows * run.outputs
    }

    /// How many of at most `most` rows of outputs are in bounds at the same fold positions: 1, if this is not a whole row.
    fn rows_alike(&self, run: Run<'_>, most: usize) -> usize {
        let sizes = &self.node.places.domain;
        let (Some(row), inner) = (sizes.len().checked_sub(2), sizes.len() - 1) else { return 1 };
        let copies = run.kernel.streams.iter().any(|s| s.lies == Lies::Apart);
        if copies || run.outputs as u64 != sizes[inner] {
            return 1;
        }
        let most = most.min((sizes[row] - run.at[row]) as usize);
        let alike = |(stream, packed): (&FoldStream, &Packed)| match stream.source {
            Source::Operand(i) => packed.rows_alike(&self.node.places.operands[i], run.at, row, most),
            _ => most,
        };
        run.kernel.streams.iter().zip(&self.packed).map(alike).min().unwrap_or(most)
    }

    fn start(&self, stream: &FoldStream, at: &[u64]) -> (i64, i64) {
        let innermost = |d: usize| i64::from(d + 1 == at.len());
        let operand = match stream.source {
            // Beside each other in the copy.
            _ if stream.lies == Lies::Apart => return (0, 1),
            _ if stream.lies == Lies::InLines => return (0, 0),
            Source::Operand(operand) => operand,
            Source::Coordinate(d) => return (at[d] as i64, innermost(d)),
            Source::Position | Source::Inside(_) => return (0, 0),
        };
        let Address::Linear { base, domain, .. } = &self.node.places.operands[operand].address else {
            return (i64::MIN, 0);
        };
        let index = domain.iter().zip(at).fold(*base, |sum, (&c, &x)| sum + c * x as i64);
        (index, domain.last().copied().unwrap_or(0))
    }

    /// Each output's leaf blocks one after the other.
    fn fold_rows(&mut self, fold: &FoldCode, run: Run<'_>, out: &mut [u32]) {
        let total = fold.leaf_blocks();
        if total == 1 {
            return self.row_blocks(run, [0, out.len() as u64], [0, 1], [0, 1], fold.length, out);
        }
        let at_once = (RESULTS / total.min(BLOCK) as usize).max(LANES);
        for (i, out) in out.chunks_mut(at_once).enumerate() {
            self.fold_some_rows(fold, run, i * at_once, out);
        }
    }

    fn fold_some_rows(&mut self, fold: &FoldCode, run: Run<'_>, row: usize, out: &mut [u32]) {
        let (total, rows) = (fold.leaf_blocks(), [row as u64, out.len() as u64]);
        let width = out.len().next_multiple_of(LANES);
        let (mut levels, mut leaves) = (Levels::default(), vec![0; width * total.min(BLOCK) as usize]);
        for block in (0..total).step_by(BLOCK as usize) {
            let blocks = (total - block).min(BLOCK);
            let whole = (fold.length / BLOCK).saturating_sub(block).min(blocks);
            let leaves = &mut leaves[..width * blocks as usize];
            let (full, last) = leaves.split_at_mut(width * whole as usize);
            if whole > SIDE_BY_SIDE {
                let mut results = vec![0; out.len() * whole as usize];
                self.row_blocks(run, rows, [block, whole], [1, whole], BLOCK, &mut results);
                for (b, column) in full.chunks_exact_mut(width).enumerate() {
                    let results = results[b..].iter().step_by(whole as usize);
                    column.iter_mut().zip(results).for_each(|(to, &result)| *to = result);
                }
            } else if whole > 0 {
                self.row_blocks(run, rows, [block, whole], [width as u64, 1], BLOCK, full);
            }
            if whole < blocks {
                self.row_blocks(run, rows, [block + whole, 1], [0, 1], fold.length % BLOCK, last);
            }
            // A block of the next level at once: that level's results are what `levels` counts.
            let (first, others) = leaves.split_at_mut(width);
            self.combine(fold, first, others);
            if total <= BLOCK {
                return out.copy_from_slice(&first[..out.len()]);
            }
            levels.push(first, &mut |acc, rhs| self.combine(fold, acc, rhs));
        }
        let result = levels.finish(&mut |acc, rhs| self.combine(fold, acc, rhs));
        out.copy_from_slice(&result[..out.len()]);
    }

    /// `blocks` leaf blocks of `values` values, from `block` on, of each of the rows from `row` on; `apart` as in [`Call`].
    fn row_blocks(
        &mut self,
        run: Run<'_>,
        [row, rows]: [u64; 2],
        [block, blocks]: [u64; 2],
        apart: [u64; 2],
        values: u64,
        out: &mut [u32],
    ) {
        let stride = |s: usize| run.kernel.streams[s].stride;
        let skip = |s: usize| run.starts[s].1 * row as i64 + stride(s) * (block * BLOCK) as i64;
        let step = |s: usize| stride(s) * BLOCK as i64;
        let call = Call { outputs: rows as usize, steps: blocks, skip: &skip, step: &step, values, apart };
        self.call(run, &call, out);
    }

    /// All outputs of a run side by side; not so many, where copies of what they read should stay in the cache.
    fn fold_columns(&mut self, fold: &FoldCode, run: Run<'_>, out: &mut [u32]) {
        if run.kernel.streams.iter().all(|s| s.lies != Lies::Apart) {
            return self.fold_side_by_side(fold, run, out);
        }
        // Parts of about one size, for each has to be as wide as a register.
        let most = (PACKED_WORDS / fold.length.min(BLOCK) as usize).max(FEWEST_OUTPUTS);
        let part = run.outputs.div_ceil(run.outputs.div_ceil(most));
        if part == run.outputs {
            return self.fold_side_by_side(fold, run, out);
        }
        let mut at = run.at.to_vec();
        for out in out.chunks_mut(part) {
            let starts: Vec<(i64, i64)> = run.kernel.streams.iter().map(|s| self.start(s, &at)).collect();
            self.fold_side_by_side(fold, Run { starts: &starts, at: &at, outputs: out.len(), ..run }, out);
            at.iter_mut().last().into_iter().for_each(|x| *x += out.len() as u64);
        }
    }

    fn fold_side_by_side(&mut self, fold: &FoldCode, run: Run<'_>, out: &mut [u32]) {
        if fold.length <= BLOCK && fold.accumulators() == 1 {
            self.pack(run.kernel, run.at, run.outputs, 0..fold.length);
            return self.column_lane(run, 0, 1, fold.length, out);
        }
        let width = run.outputs.next_multiple_of(LANES);
        let lanes = fold.accumulators();
        let (mut levels, mut accumulators) = (Levels::default(), vec![fold.init; width * lanes]);
        for block in 0..fold.leaf_blocks() {
            let values = (fold.length - block * BLOCK).min(BLOCK);
            self.pack(run.kernel, run.at, run.outputs, block * BLOCK..block * BLOCK + values);
            for (lane, slot) in accumulators.chunks_mut(width).enumerate() {
                self.column_lane(
                    run,
                    block * BLOCK + lane as u64,
                    lanes as u64,
                    values.saturating_sub(lane as u64),
                    slot,
                );
                if values <= lane as u64 {
                    slot.fill(fold.init);
                }
            }
            let mut half = lanes / 2;
            while half > 0 {
                let (low, high) = accumulators.split_at_mut(half * width);
                self.combine(fold, low, &high[..half * width]);
                half /= 2;
            }
            levels.push(&accumulators[..width], &mut |acc, rhs| self.combine(fold, acc, rhs));
        }
        let result = levels.finish(&mut |acc, rhs| self.combine(fold, acc, rhs));
        out.copy_from_slice(&result[..run.outputs]);
    }

    /// Every `by`-th of `left` values from fold position `k` on.
    fn column_lane(&mut self, run: Run<'_>, k: u64, by: u64, left: u64, out: &mut [u32]) {
        let steps = left.div_ceil(by);
        if steps == 0 {
            return;
        }
        if run.kernel.listed {
            self.list(run.kernel, run.starts, run.outputs, [k, by, steps], 1);
            return self.call_listed(run, &mut out[..run.outputs]);
        }
        let copied = |s: usize| run.kernel.streams[s].lies == Lies::Apart;
        let stride = |s: usize| if copied(s) { pitch(run.outputs) as i64 } else { run.kernel.streams[s].stride };
        // A copy begins with its leaf block.
        let skip = |s: usize| stride(s) * if copied(s) { k % BLOCK } else { k } as i64;
        let step = |s: usize| stride(s) * by as i64;
        let call = Call { outputs: run.outputs, steps, skip: &skip, step: &step, values: 1, apart: [0, 1] };
        self.call(run, &call, out);
    }

    /// Runs the leaf routine.
    fn call(&mut self, run: Run<'_>, call: &Call<'_>, out: &mut [u32]) {
        let kernel = run.kernel;
        assert!(call.outputs > 0 && call.steps > 0, "something to do");
        let last = call.apart[0] * (call.steps - 1) + call.apart[1] * (call.outputs as u64 - 1);
        assert!(out.len() as u64 > last, "room for every result");
        let rest = if kernel.way == Way::Rows { call.values % LANES as u64 } else { 0 };
        let mut scratch = std::mem::take(&mut self.scratch);
        let (area, arguments) = scratch.prepare(kernel.slots);
        for i in 0..if rest > 0 { LANES / kernel.lanes } else { 0 } {
            let lane = |j: usize| (i * kernel.lanes + j) as u64;
            area[kernel.mask + i] = std::array::from_fn(|j| if lane(j) < rest { u32::MAX } else { 0 });
        }
        // Where a stream lies, its number of elements, and the size of one.
        let memory = |s: usize| match kernel.streams[s].source {
            _ if kernel.streams[s].lies == Lies::Apart => {
                (self.packed[s].words.as_ptr() as u64, self.packed[s].words.len(), 4)
            }
            Source::Position | Source::Coordinate(_) => (kernel.positions.as_ptr() as u64, kernel.positions.len(), 4),
            Source::Operand(i) | Source::Inside(i) => {
                let (bytes, size) = (self.operands[i], self.node.places.operands[i].dtype.size());
                (bytes.as_ptr() as u64, bytes.len() / size, size)
            }
        };
        let size = |s: usize| memory(s).2;
        let all = 0..kernel.streams.len();
        arguments.extend([call.outputs as u64, area.as_mut_ptr() as u64]);
        for s in all.clone() {
            let (address, elements, size) = memory(s);
            let first = run.starts[s].0 + (call.skip)(s);
            let reaches = [
                run.starts[s].1 * (call.outputs as i64 - 1),
                (call.step)(s) * (call.steps as i64 - 1),
                kernel.streams[s].stride * (call.values as i64 - 1),
            ];
            let low = first + reaches.iter().map(|r| r.min(&0)).sum::<i64>();
            let high = first + reaches.iter().map(|r| r.max(&0)).sum::<i64>();
            assert!(low >= 0 && (high as usize) < elements, "a fold stays inside its operands");
            arguments.push(address + first as u64 * size as u64);
        }
        arguments.push(out.as_mut_ptr() as u64);
        let stride = |s: usize| (call.step)(s) * size(s) as i64;
        if kernel.way == Way::Rows {
            arguments.extend([4 * call.apart[0], call.values, call.steps]);
            let jump = |s: usize| run.starts[s].1 * size(s) as i64 - stride(s) * call.steps as i64;
            arguments.extend(all.map(|s| jump(s) as u64));
            arguments.push((4 * call.apart[1]).wrapping_sub(4 * call.apart[0] * call.steps));
        } else {
            arguments.extend(all.map(|s| stride(s) as u64));
            arguments.push(call.steps);
        }
        #[allow(unsafe_code, reason = "runs machine code")]
        // SAFETY: plans hold code only for instructions that are there; every element read lies between the first and the last one
        // checked above; `out` has room for all results and overlaps nothing; the area has `slots` registers.
        unsafe {
            kernel.leaf.call(arguments);
        }
        self.scratch = scratch;
    }

    /// Runs the leaf routine over the list, for as many rows of outputs as there is room for.
    fn call_listed(&mut self, run: Run<'_>, out: &mut [u32]) {
        assert!(out.len().is_multiple_of(run.outputs) && run.outputs >= run.kernel.lanes, "room for every result");
        if self.list.is_empty() {
            // Everything is left out.
            return out.fill(run.kernel.init);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let (area, arguments) = scratch.prepare(run.kernel.slots);
        let list = self.list.as_ptr_range();
        arguments.extend([run.outputs as u64, area.as_mut_ptr() as u64, list.start as u64]);
        arguments.resize(2 + run.kernel.streams.len(), 0);
        let to = arguments.len();
        arguments.extend([0, list.end as u64]);
        for out in out.chunks_exact_mut(run.outputs) {
            arguments[to] = out.as_mut_ptr() as u64;
            #[allow(unsafe_code, reason = "runs machine code")]
            // SAFETY: plans hold code only for instructions that are there; every line of the list has all outputs' elements, for so many
            // rows, which was checked when it was made, and the list has one address a stream for each of its positions; `out` has room
            // for all results and overlaps nothing; the area has `slots` registers.
            unsafe {
                run.kernel.leaf.call(arguments);
            }
            self.list.iter_mut().zip(&self.steps).for_each(|(address, &step)| *address = address.wrapping_add(step));
        }
        self.scratch = scratch;
    }

    /// Puts into `acc` what follows in `rhs`, one after the other, each as long as `acc` is: whole registers.
    pub(crate) fn combine(&mut self, fold: &FoldCode, acc: &mut [u32], rhs: &[u32]) {
        assert!(acc.len().is_multiple_of(LANES) && !acc.is_empty(), "whole registers");
        assert!(rhs.len().is_multiple_of(acc.len()), "as long as the accumulators");
        let Some((kernel, entry)) = fold.kernel.as_ref().and_then(|k| Some((k, k.combine.as_ref()?))) else {
            return rhs.chunks_exact(acc.len()).for_each(|rhs| self.combine_evaluated(fold, acc, rhs));
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let (area, arguments) = scratch.prepare(kernel.slots);
        arguments.extend([acc.len() as u64, area.as_mut_ptr() as u64, rhs.as_ptr() as u64, acc.as_mut_ptr() as u64]);
        arguments.extend([4 * acc.len() as u64, (rhs.len() / acc.len()) as u64]);
        #[allow(unsafe_code, reason = "runs machine code")]
        // SAFETY: as for leaf blocks. Whole registers of accumulators are loaded, and stored when their fold is done; none is computed
        // twice, for their number is exact.
        unsafe {
            entry.call(arguments);
        }
        self.scratch = scratch;
    }
}
