//! Runs compiled folds over the outputs of a node.

use crate::{
    access::{Address, BLOCK, digits},
    blocks::FoldCode,
    code::Reg,
    compile::{FoldKernel, FoldStream, Way},
    levels::Levels,
    worker::Worker,
};
use lockstep_ir::program::LANES;

/// A run of outputs along the innermost dimension.
#[derive(Clone, Copy)]
struct Run<'a> {
    kernel: &'a FoldKernel,
    /// Element index of each stream at the first output and fold position 0, and from one output to the next.
    starts: &'a [(i64, i64)],
    outputs: usize,
}

/// One call of a routine.
struct Call<'a> {
    /// Leaf blocks or outputs.
    count: usize,
    /// Elements from the streams' starts.
    skip: &'a dyn Fn(usize) -> i64,
    /// Elements from one leaf block or fold position to the next.
    step: &'a dyn Fn(usize) -> i64,
    /// Elements that each stream reaches over, in either direction, beside the steps.
    reach: &'a dyn Fn(usize) -> i64,
    /// Values in whole steps of a leaf block, or fold positions.
    length: u64,
    /// Values after that.
    rest: u64,
}

impl Worker<'_> {
    /// Folds `n` elements from `first` with the compiled routines; `false` if they are too few.
    pub(crate) fn fold_compiled(&mut self, fold: &FoldCode, kernel: &FoldKernel, first: u64, n: usize, out: &mut Reg) {
        let sizes = &self.node.places.domain;
        let inner = sizes.last().copied().unwrap_or(1);
        let (mut at, mut done) = (Vec::new(), 0);
        while done < n {
            let here = first + done as u64;
            let outputs = (n - done).min((inner - here % inner) as usize);
            digits(here, sizes, &mut at);
            let starts: Vec<(i64, i64)> = kernel.streams.iter().map(|s| self.start(s, &at)).collect();
            let run = Run { kernel, starts: &starts, outputs };
            let slot = &mut out.0[done..][..outputs];
            match kernel.way {
                Way::Rows => self.fold_rows(fold, run, slot),
                Way::Columns if outputs >= kernel.lanes => self.fold_columns(fold, run, slot),
                Way::Columns => slot.copy_from_slice(&self.fold_evaluated(fold, here, outputs).0[..outputs]),
            }
            done += outputs;
        }
    }

    fn start(&self, stream: &FoldStream, at: &[u64]) -> (i64, i64) {
        let Address::Linear { base, domain, .. } = &self.node.places.operands[stream.operand].address else {
            return (i64::MIN, 0);
        };
        let index = domain.iter().zip(at).fold(*base, |sum, (&c, &x)| sum + c * x as i64);
        (index, domain.last().copied().unwrap_or(0))
    }

    /// Each output's leaf blocks one after the other.
    fn fold_rows(&mut self, fold: &FoldCode, run: Run<'_>, out: &mut [u32]) {
        let total = fold.leaf_blocks();
        if total == 1 {
            let step = |s: usize| run.starts[s].1;
            return self.row_blocks(run, fold.length, out, &|_| 0, &step);
        }
        let width = run.outputs.next_multiple_of(LANES);
        let (mut levels, mut column) = (Levels::default(), vec![0; width]);
        let mut leaves = vec![0; run.outputs * BLOCK as usize];
        for block in (0..total).step_by(BLOCK as usize) {
            let blocks = (total - block).min(BLOCK) as usize;
            for (row, leaves) in leaves.chunks_mut(BLOCK as usize).enumerate() {
                self.row_leaves(fold, run, row, block, &mut leaves[..blocks]);
            }
            for b in 0..blocks {
                column.iter_mut().zip(leaves.iter().skip(b).step_by(BLOCK as usize)).for_each(|(c, &l)| *c = l);
                levels.push(&column, &mut |acc, rhs| self.combine(fold, acc, rhs));
            }
        }
        let result = levels.finish(&mut |acc, rhs| self.combine(fold, acc, rhs));
        out.copy_from_slice(&result[..run.outputs]);
    }

    /// Leaf blocks of one output from `block` on.
    fn row_leaves(&mut self, fold: &FoldCode, run: Run<'_>, row: usize, block: u64, out: &mut [u32]) {
        let left = fold.length - block * BLOCK;
        let whole = (left / BLOCK).min(out.len() as u64) as usize;
        let stride = |s: usize| run.kernel.streams[s].stride;
        let at = |b: usize| {
            move |s: usize| run.starts[s].1 * row as i64 + stride(s) * (block as i64 + b as i64) * BLOCK as i64
        };
        let step = |s: usize| stride(s) * BLOCK as i64;
        let (blocks, last) = out.split_at_mut(whole);
        if whole > 0 {
            self.row_blocks(run, BLOCK, blocks, &at(0), &step);
        }
        if !last.is_empty() {
            self.row_blocks(run, left % BLOCK, last, &at(whole), &step);
        }
    }

    /// Leaf blocks of `values` values each.
    fn row_blocks(
        &mut self,
        run: Run<'_>,
        values: u64,
        out: &mut [u32],
        skip: &dyn Fn(usize) -> i64,
        step: &dyn Fn(usize) -> i64,
    ) {
        let rest = values % LANES as u64;
        let reach = |s: usize| run.kernel.streams[s].stride * (values as i64 - 1);
        let call = Call { count: out.len(), skip, step, reach: &reach, length: values - rest, rest };
        let blocks = out.len();
        self.call(run, &call, blocks, out);
    }

    /// All outputs of a run side by side.
    fn fold_columns(&mut self, fold: &FoldCode, run: Run<'_>, out: &mut [u32]) {
        let width = run.outputs.next_multiple_of(LANES);
        let lanes = fold.accumulators();
        let (mut levels, mut accumulators) = (Levels::default(), vec![fold.init; width * lanes]);
        for block in 0..fold.leaf_blocks() {
            let values = (fold.length - block * BLOCK).min(BLOCK);
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
        let stride = |s: usize| run.kernel.streams[s].stride;
        let skip = |s: usize| stride(s) * k as i64;
        let step = |s: usize| stride(s) * by as i64;
        // Outputs lie side by side, or share one element.
        let reach = |s: usize| run.starts[s].1 * (run.outputs as i64 - 1);
        let call = Call { count: run.outputs, skip: &skip, step: &step, reach: &reach, length: steps, rest: 0 };
        self.call(run, &call, steps as usize, out);
    }

    /// Runs the leaf routine; every stream takes `times` steps.
    fn call(&mut self, run: Run<'_>, call: &Call<'_>, times: usize, out: &mut [u32]) {
        let kernel = run.kernel;
        assert!(out.len() >= call.count, "a result for each leaf block or output");
        let mut scratch = std::mem::take(&mut self.scratch);
        let (area, arguments) = scratch.prepare(kernel.slots);
        for i in 0..if call.rest > 0 { LANES / kernel.lanes } else { 0 } {
            let lane = |j: usize| (i * kernel.lanes + j) as u64;
            area[kernel.mask + i] = std::array::from_fn(|j| if lane(j) < call.rest { u32::MAX } else { 0 });
        }
        arguments.extend([call.count as u64, area.as_mut_ptr() as u64]);
        for (s, stream) in kernel.streams.iter().enumerate() {
            let bytes = self.operands[stream.operand];
            let size = self.node.places.operands[stream.operand].dtype.size();
            let first = run.starts[s].0 + (call.skip)(s);
            let (steps, reach) = ((call.step)(s) * (times as i64 - 1), (call.reach)(s));
            let (low, high) = (first + steps.min(0) + reach.min(0), first + steps.max(0) + reach.max(0));
            assert!(low >= 0 && (high as usize) < bytes.len() / size, "a fold stays inside its operands");
            arguments.push(bytes.as_ptr() as u64 + first as u64 * size as u64);
        }
        arguments.push(out.as_mut_ptr() as u64);
        for (s, stream) in kernel.streams.iter().enumerate() {
            let size = self.node.places.operands[stream.operand].dtype.size();
            arguments.push(((call.step)(s) * size as i64) as u64);
        }
        arguments.extend([call.length, call.rest]);
        #[allow(unsafe_code, reason = "runs machine code")]
        // SAFETY: plans hold code only for instructions that are there; every element read lies between the first and the last one
        // checked above; `out` has room for all results and overlaps nothing; the area has `slots` registers.
        unsafe {
            kernel.leaf.call(arguments);
        }
        self.scratch = scratch;
    }

    /// Puts `rhs` into `acc`; both are whole registers long.
    pub(crate) fn combine(&mut self, fold: &FoldCode, acc: &mut [u32], rhs: &[u32]) {
        let Some((kernel, entry)) = fold.kernel.as_ref().and_then(|k| Some((k, k.combine.as_ref()?))) else {
            return self.combine_evaluated(fold, acc, rhs);
        };
        assert!(acc.len() == rhs.len() && acc.len().is_multiple_of(LANES) && !acc.is_empty(), "whole registers");
        let mut scratch = std::mem::take(&mut self.scratch);
        let (area, arguments) = scratch.prepare(kernel.slots);
        let start = acc.as_mut_ptr() as u64;
        arguments.extend([acc.len() as u64, area.as_mut_ptr() as u64, start, rhs.as_ptr() as u64, start]);
        #[allow(unsafe_code, reason = "runs machine code")]
        // SAFETY: as for leaf blocks. The output is the first stream: whole registers are loaded before they are stored, and none is
        // computed twice, for their number is exact.
        unsafe {
            entry.call(arguments);
        }
        self.scratch = scratch;
    }
}
