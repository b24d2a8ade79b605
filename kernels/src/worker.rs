//! One thread's evaluation of a compiled node: registers, tables of addresses, and the walk through blocks.

use lockstep_ir::{Order, program::LANES};

use crate::{
    Isa,
    access::{Address, BLOCK, affine, digits},
    blocks::{Blocks, FoldCode},
    code::{ACC, Code, NEXT, RHS, Reg, WIDTH},
    levels::Levels,
    lines::Packed,
    memory::{self, Lanes, Load, LoadActive, LoadInside, Pattern, with_elements},
    segments::Scratch,
    tables::{Position, Table, dot, place_lanes},
    vector,
};

/// State of one thread while it evaluates one node.
pub(crate) struct Worker<'a> {
    pub(crate) node: &'a Blocks,
    isa: Isa,
    pub(crate) operands: &'a [&'a [u8]],
    pub(crate) regs: Vec<Reg>,
    tables: Vec<Table>,
    position: Position,
    active: Reg,
    /// Set when `active` leaves out some lane.
    pub(crate) masked: bool,
    pub(crate) first: u64,
    pub(crate) outputs: usize,
    /// Lanes per output.
    pub(crate) sub: usize,
    pub(crate) scratch: Scratch,
    /// Copies of what a compiled fold reads, stream by stream: see [`crate::lines`].
    pub(crate) packed: Vec<Packed>,
    /// Addresses of all streams at one fold position after the other.
    pub(crate) list: Vec<u64>,
    /// Bytes by which each of them goes on from one row of outputs to the next.
    pub(crate) steps: Vec<u64>,
    /// Folded values that `finish` takes, where it is machine code.
    pub(crate) folded: Vec<u32>,
}

/// Outputs that a compiled fold makes before `finish` takes them: 16 KiB, for the first-level cache.
const FOLDED: u64 = 4096;

impl<'a> Worker<'a> {
    pub(crate) fn new(node: &'a Blocks, isa: Isa, operands: &'a [&'a [u8]]) -> Self {
        // Accumulator, successor, second value, which a compiled map has none of; the evaluator's only if it runs.
        let regs = if node.map.is_some() { 0 } else { RHS as usize + 1 };
        let regs = vec![Reg::ZERO; regs];
        let tables = node.places.operands.iter().map(|p| Table::new(&p.address)).collect();
        let position = Position::default();
        let active = Reg([1; WIDTH]);
        Self {
            node,
            isa,
            operands,
            regs,
            tables,
            position,
            active,
            masked: false,
            first: 0,
            outputs: 0,
            sub: 1,
            scratch: Scratch::default(),
            packed: Vec::new(),
            list: Vec::new(),
            steps: Vec::new(),
            folded: Vec::new(),
        }
    }

    /// All registers, with the constants in theirs: before the evaluator runs.
    fn start_registers(&mut self) {
        let registers = &self.node.registers;
        if self.regs.len() < registers.count as usize {
            self.regs.resize(registers.count as usize, Reg::ZERO);
            for (&bits, &r) in &registers.consts {
                self.regs[r as usize] = Reg([bits; WIDTH]);
            }
        }
    }

    /// Evaluates a map with several outputs: the elements from `first` on that they have room for.
    pub(crate) fn evaluate_all(&mut self, first: u64, outs: &mut [&mut [u8]]) {
        if let (Some(map), Some(out)) = (&self.node.map, outs.first()) {
            let n = out.len() / map.outputs[0].size();
            self.run_map(map, first, n as u64, outs);
        }
    }

    /// Evaluates the elements from `first` on that `out` has room for.
    pub(crate) fn evaluate(&mut self, first: u64, out: &mut [u8]) {
        let size = self.node.out.size();
        let end = first + (out.len() / size) as u64;
        if let (Some(map), None) = (&self.node.map, &self.node.fold) {
            return self.run_map(map, first, end - first, &mut [out]);
        }
        let mut at = first;
        let mut rest = out;
        while at < end {
            let compiled = self.node.fold.as_ref().and_then(|f| Some((f, f.kernel.as_ref()?)));
            let n = if compiled.is_some() { (end - at).min(FOLDED) as usize } else { self.node.block(at, end - at) };
            if let Some((fold, kernel)) = compiled {
                let mut folded = self.room(n);
                self.fold_compiled(fold, kernel, at, &mut folded[..n]);
                self.folded = folded;
            } else if let Some(fold) = &self.node.fold {
                let folded = self.fold_evaluated(fold, at, n);
                self.put_folded(&folded.0[..n]);
            }
            let (now, later) = std::mem::take(&mut rest).split_at_mut(n * size);
            self.finish(at, n, now);
            (rest, at) = (later, at + n as u64);
        }
    }

    /// Room for folded values, and for as many as a register takes more than there are.
    fn room(&mut self, n: usize) -> Vec<u32> {
        let mut folded = std::mem::take(&mut self.folded);
        folded.resize((n + LANES).max(folded.len()), 0);
        folded
    }

    /// Elements from `first` that are evaluated together, at most `limit`.
    pub(crate) fn block(&self, first: u64, limit: u64) -> usize {
        self.node.block(first, limit)
    }

    /// Evaluates `finish` for elements whose folded values are `acc`.
    pub(crate) fn finish_folded(&mut self, first: u64, acc: &[u32], out: &mut [u8]) {
        self.put_folded(acc);
        self.finish(first, acc.len(), out);
    }

    /// Puts folded values where `finish` takes them from.
    fn put_folded(&mut self, acc: &[u32]) {
        if self.node.map.is_some() {
            self.folded = self.room(acc.len());
            self.folded[..acc.len()].copy_from_slice(acc);
        } else {
            self.regs[ACC as usize].0[..acc.len()].copy_from_slice(acc);
        }
    }

    fn finish(&mut self, first: u64, n: usize, out: &mut [u8]) {
        if let Some(map) = &self.node.map {
            return self.run_map(map, first, n as u64, &mut [out]);
        }
        self.start_registers();
        if (self.first, self.outputs) != (first, n) || self.sub != 1 {
            self.start_outputs(first, n);
            self.start_lanes(1);
        }
        self.start_position(1, |_| 0);
        self.masked = false;
        let code = &self.node.finish;
        self.run(code, n);
        memory::store(self.node.out, &self.regs[code.result as usize].0[..n], out);
    }

    /// Folds `n` elements from `first`, with the evaluator.
    pub(crate) fn fold_evaluated(&mut self, fold: &FoldCode, first: u64, n: usize) -> Reg {
        self.start_registers();
        let mut folded = Reg::ZERO;
        let accumulators = fold.accumulators();
        let together = (WIDTH / accumulators).min(n);
        for from in (0..n).step_by(together) {
            let outputs = together.min(n - from);
            self.start_outputs(first + from as u64, outputs);
            let result = self.fold_outputs(fold, outputs);
            folded.0[from..from + outputs].copy_from_slice(&result[..outputs]);
        }
        folded
    }

    fn fold_outputs(&mut self, fold: &FoldCode, outputs: usize) -> Vec<u32> {
        let total = fold.leaf_blocks();
        // Few outputs: several of their leaf blocks side by side. Otherwise all lanes share their fold position, which is simpler.
        let spare = (WIDTH / (outputs * fold.accumulators())) as u64;
        let side_by_side = if spare >= 4 || fold.order == Order::Lanes { spare.clamp(1, total) } else { 1 };
        let width = outputs.next_multiple_of(LANES);
        let mut levels = Levels::default();
        let mut block = 0;
        self.sub = 0;
        while block < total {
            let blocks = side_by_side.min(total - block) as usize;
            let sub = blocks * fold.accumulators();
            if sub != self.sub {
                self.start_lanes(sub);
                self.start_fold_position(fold, block, 0);
                self.masked = false;
                self.fill(&fold.body[0].fixed, outputs * sub);
            }
            let leaf = self.leaf_blocks(fold, block, blocks);
            for b in 0..blocks {
                let mut value = Reg::ZERO;
                for (j, slot) in value.0[..outputs].iter_mut().enumerate() {
                    *slot = leaf.0[j * blocks + b];
                }
                levels.push(&value.0[..width], &mut |acc, rhs| self.combine(fold, acc, rhs));
            }
            block += blocks as u64;
        }
        levels.finish(&mut |acc, rhs| self.combine(fold, acc, rhs))
    }

    /// Puts `rhs` into `acc`, block by block.
    pub(crate) fn combine_evaluated(&mut self, fold: &FoldCode, acc: &mut [u32], rhs: &[u32]) {
        self.start_registers();
        for (acc, rhs) in acc.chunks_mut(WIDTH).zip(rhs.chunks(WIDTH)) {
            let n = acc.len();
            self.regs[ACC as usize].0[..n].copy_from_slice(acc);
            self.regs[RHS as usize].0[..n].copy_from_slice(rhs);
            vector::run(self.isa, &fold.combine.steps, &mut self.regs, n);
            acc.copy_from_slice(&self.regs[fold.combine.result as usize].0[..n]);
        }
    }

    /// Results of `blocks` leaf blocks of every output, from `first_block` on: output by output.
    fn leaf_blocks(&mut self, fold: &FoldCode, first_block: u64, blocks: usize) -> Reg {
        let (lanes, accumulators) = (self.outputs * self.sub, fold.accumulators() as u64);
        self.regs[ACC as usize].0[..lanes].fill(fold.init);
        let left = fold.length - first_block * BLOCK;
        let steps = left.min(BLOCK).div_ceil(accumulators);
        for t in 0..steps {
            self.start_fold_position(fold, first_block, t);
            self.set_active(fold, lanes);
            self.step(&fold.body[(t % 2) as usize], t % 2, lanes);
        }
        let last = if steps % 2 == 0 { ACC } else { NEXT };
        let mut leaf = self.regs[last as usize];
        let mut half = fold.accumulators() / 2;
        while half > 0 {
            leaf = self.halve(fold, &leaf, half, self.outputs * blocks);
            half /= 2;
        }
        leaf
    }

    /// Step `t` of leaf blocks from `first_block` on.
    fn start_fold_position(&mut self, fold: &FoldCode, first_block: u64, t: u64) {
        let n = fold.accumulators() as u64;
        self.start_position(self.sub, |s| (first_block + s as u64 / n) * BLOCK + t * n + s as u64 % n);
    }

    /// Combines accumulator `i` with `i + half` in every group of `2 · half`.
    fn halve(&mut self, fold: &FoldCode, values: &Reg, half: usize, groups: usize) -> Reg {
        let (mut low, mut high) = (Reg::ZERO, Reg::ZERO);
        for g in 0..groups {
            let from = &values.0[g * 2 * half..][..2 * half];
            low.0[g * half..][..half].copy_from_slice(&from[..half]);
            high.0[g * half..][..half].copy_from_slice(&from[half..]);
        }
        let width = (groups * half).next_multiple_of(LANES).min(WIDTH);
        self.combine(fold, &mut low.0[..width], &high.0[..width]);
        low
    }

    /// One application of `body`.
    fn step(&mut self, code: &Code, parity: u64, lanes: usize) {
        self.fill(&code.loads, lanes);
        self.fill_positions(code, lanes);
        vector::run(self.isa, &code.steps, &mut self.regs, lanes);
        if self.masked {
            let [acc, next, ..] = &mut self.regs[..] else { return };
            let (new, old) = if parity == 0 { (next, acc) } else { (acc, next) };
            vector::keep_inactive(&mut new.0[..lanes], &old.0[..lanes], &self.active.0);
        }
    }

    /// A scalar program whose operands do not depend on the fold.
    fn run(&mut self, code: &Code, lanes: usize) {
        self.fill(&code.fixed, lanes);
        vector::run(self.isa, &code.steps, &mut self.regs, lanes);
    }

    fn fill(&mut self, loads: &[(u32, usize)], lanes: usize) {
        for &(r, operand) in loads {
            let mut regs = std::mem::take(&mut self.regs);
            self.load(operand, &mut regs[r as usize].0[..lanes]);
            self.regs = regs;
        }
    }

    fn fill_positions(&mut self, code: &Code, lanes: usize) {
        let (sub, rank) = (self.sub, self.node.places.fold.len());
        let p = &self.position;
        if let Some(r) = code.k {
            let reg = &mut self.regs[r as usize].0[..lanes];
            reg.iter_mut().enumerate().for_each(|(i, x)| *x = p.k[i % sub] as u32);
        }
        for &(r, factor) in &code.kf {
            let Some(d) = self.node.places.kf[factor] else { continue };
            let reg = &mut self.regs[r as usize].0[..lanes];
            reg.iter_mut().enumerate().for_each(|(i, x)| *x = p.digits[i % sub * rank + d] as u32);
        }
    }

    // --- Where things are -------------------------------------------------------------------------------------------------

    /// The lanes now belong to these output elements.
    pub(crate) fn start_outputs(&mut self, first: u64, outputs: usize) {
        (self.first, self.outputs) = (first, outputs);
        let sizes = &self.node.places.domain;
        for (i, (place, table)) in self.node.places.operands.iter().zip(&mut self.tables).enumerate() {
            match &place.address {
                Address::Linear { base, domain, .. } => {
                    table.pattern = self.node.pattern(i, domain, first, outputs);
                    // Simple patterns need only their first entry, unless lanes differ in their fold position.
                    let needed = if table.pattern == Pattern::Table || self.node.fold.is_some() { outputs } else { 1 };
                    affine(sizes, domain, *base, first, &mut table.outputs_mut()[..needed]);
                }
                Address::Tested(rows) => {
                    for (row, slots) in rows.iter().zip(table.outputs_mut().chunks_exact_mut(WIDTH)) {
                        affine(sizes, &row.domain, row.offset, first, &mut slots[..outputs]);
                    }
                }
            }
        }
    }

    /// Every output now has `sub` lanes.
    pub(crate) fn start_lanes(&mut self, sub: usize) {
        self.sub = sub;
        self.tables.iter_mut().for_each(|t| t.lanes.clear());
        let sizes = &self.node.places.domain;
        let mut values = [0; WIDTH];
        for &(r, d) in &self.node.coords {
            let mut unit = vec![0; sizes.len()];
            unit[d] = 1;
            affine(sizes, &unit, 0, self.first, &mut values[..self.outputs]);
            // Machine code takes coordinates as streams.
            let Some(Reg(reg)) = self.regs.get_mut(r as usize) else { continue };
            reg[..self.outputs * sub].iter_mut().enumerate().for_each(|(i, x)| *x = values[i / sub] as u32);
        }
    }

    /// Sub-lane `s` of every output is now at fold position `k(s)`.
    pub(crate) fn start_position(&mut self, sub: usize, k: impl Fn(usize) -> u64) {
        let p = &mut self.position;
        p.stamp += 1;
        p.k.clear();
        p.k.extend((0..sub).map(k));
        let sizes = &self.node.places.fold;
        if let [_] = sizes[..] {
            p.digits.clone_from(&p.k);
        } else {
            p.digits.clear();
            let mut one = Vec::new();
            for &k in &p.k {
                digits(k, sizes, &mut one);
                p.digits.extend_from_slice(&one);
            }
        }
        for (place, table) in self.node.places.operands.iter().zip(&mut self.tables) {
            if let Address::Linear { fold, .. } = &place.address {
                place_lanes(table, fold, &p.digits, self.outputs, sub, place.fixed);
            }
        }
    }

    /// Which lanes take this step: those that have a value left, and none of whose skipping operands is out of bounds.
    fn set_active(&mut self, fold: &FoldCode, lanes: usize) {
        let skips = self.node.places.operands.iter().any(|p| p.skip && matches!(p.address, Address::Tested(_)));
        if !skips && !self.position.beyond(fold.length) {
            self.masked = false;
            return;
        }
        let (sub, k) = (self.sub, &self.position.k);
        for (i, x) in self.active.0[..lanes].iter_mut().enumerate() {
            *x = u32::from(k[i % sub] < fold.length);
        }
        self.masked = true;
        if skips {
            for i in 0..self.tables.len() {
                if self.node.places.operands[i].skip && self.test(i, lanes) {
                    let inside = &self.tables[i].inside;
                    self.active.0[..lanes].iter_mut().zip(inside).for_each(|(a, &b)| *a &= b);
                }
            }
        }
    }

    pub(crate) fn load(&mut self, operand: usize, dst: &mut [u32]) {
        let place = &self.node.places.operands[operand];
        let bytes = self.operands[operand];
        if self.test(operand, dst.len()) {
            let t = &self.tables[operand];
            with_elements(place.dtype, bytes, LoadInside { index: &t.index, inside: &t.inside, fill: place.fill, dst });
            return;
        }
        let t = &self.tables[operand];
        let differ = self.sub > 1;
        let lanes = Lanes { pattern: t.pattern, offsets: if differ { &t.lanes } else { &t.outputs }, shift: t.shift };
        if self.masked && differ && !place.fixed {
            with_elements(place.dtype, bytes, LoadActive { lanes, active: &self.active.0, dst });
        } else {
            with_elements(place.dtype, bytes, Load { lanes, dst });
        }
    }

    /// Finds where the lanes are in a tested operand; false for a linear one.
    fn test(&mut self, operand: usize, lanes: usize) -> bool {
        let place = &self.node.places.operands[operand];
        let Address::Tested(rows) = &place.address else { return false };
        if self.tables[operand].stamp == self.position.stamp {
            return true;
        }
        let mut index = std::mem::take(&mut self.tables[operand].index);
        let mut inside = std::mem::take(&mut self.tables[operand].inside);
        index.clear();
        index.resize(lanes, 0);
        self.in_range(lanes, &mut inside);
        let mut gathered = [0; WIDTH];
        for (d, row) in rows.iter().enumerate() {
            let gather = row.gather.map(|(source, stride)| {
                self.load(source, &mut gathered[..lanes]);
                let unsigned = self.node.places.operands[source].dtype.ty() == lockstep_ir::Ty::U32;
                (unsigned, stride)
            });
            let value = |x: u32| match gather {
                None => 0,
                Some((true, stride)) => stride.wrapping_mul(i64::from(x)),
                Some((false, stride)) => stride.wrapping_mul(i64::from(x as i32)),
            };
            let at = &self.tables[operand].outputs[d * WIDTH..];
            let fold: Vec<i64> = self.fold_parts(&row.fold);
            for (i, (index, inside)) in index.iter_mut().zip(&mut inside).enumerate() {
                let x = at[i / self.sub].wrapping_add(fold[i % self.sub]).wrapping_add(value(gathered[i]));
                *inside &= u32::from(x >= 0 && x < row.extent);
                *index = index.wrapping_mul(row.extent).wrapping_add(x);
            }
        }
        let table = &mut self.tables[operand];
        (table.index, table.inside, table.stamp) = (index, inside, self.position.stamp);
        true
    }

    /// 1 for each lane whose fold position exists.
    fn in_range(&self, lanes: usize, out: &mut Vec<u32>) {
        out.clear();
        out.resize(lanes, 1);
        let length = self.node.fold.as_ref().map_or(u64::MAX, |f| f.length);
        if self.position.beyond(length) {
            out.iter_mut().enumerate().for_each(|(i, x)| *x = u32::from(self.position.k[i % self.sub] < length));
        }
    }

    /// `Σ coefficient · fold coordinate` for each sub-lane.
    fn fold_parts(&self, coefficients: &[i64]) -> Vec<i64> {
        let p = &self.position;
        if coefficients.is_empty() {
            return vec![0; p.k.len()];
        }
        p.digits.chunks_exact(coefficients.len()).map(|d| dot(coefficients, d)).collect()
    }
}
