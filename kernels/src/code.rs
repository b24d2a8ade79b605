//! Scalar programs, compiled to operations on registers of [`WIDTH`] lanes.
//!
//! Dead instructions are dropped, loads come first, and a register is free again after its last use. No operation writes a register
//! that it reads.

use std::collections::BTreeMap;

use lockstep_ir::scalar::{Instr, Op};

/// Lanes of a register: output elements (or accumulators) worked on together. A register is 1 KiB, so that the registers of an
/// ordinary program stay in the first-level cache.
pub(crate) const WIDTH: usize = 256;

/// One value per lane.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Reg(pub(crate) [u32; WIDTH]);

impl Reg {
    pub(crate) const ZERO: Self = Self([0; WIDTH]);
}

/// One operation: `op` takes values, or is [`Op::Acc`], which here copies `a`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) dst: u32,
    pub(crate) a: u32,
    pub(crate) b: u32,
    pub(crate) c: u32,
}

/// A compiled scalar program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    /// `(register, operand)` to fill before each run.
    pub(crate) loads: Vec<(u32, usize)>,
    /// `(register, operand)` to fill once per block of lanes: operands that do not depend on the fold position.
    pub(crate) fixed: Vec<(u32, usize)>,
    /// Register of the linear fold position.
    pub(crate) k: Option<u32>,
    /// `(register, factor)` of the fold coordinates.
    pub(crate) kf: Vec<(u32, usize)>,
    pub(crate) steps: Vec<Step>,
    /// Register of the result.
    pub(crate) result: u32,
}

/// Hands out the registers of one node.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    /// Registers that hold a constant from the start.
    pub(crate) consts: BTreeMap<u32, u32>,
    /// Registers that hold a domain coordinate, by dimension.
    pub(crate) coords: BTreeMap<usize, u32>,
    pinned: u32,
    /// How many registers the node needs.
    pub(crate) count: u32,
}

/// The accumulator.
pub(crate) const ACC: u32 = 0;
/// Where `body` leaves the next accumulator; the two change roles after every run.
pub(crate) const NEXT: u32 = 1;
/// The second value of `combine`.
pub(crate) const RHS: u32 = 2;

impl Registers {
    /// For scalar programs that will be compiled with it: their constants and coordinates get registers of their own.
    pub(crate) fn new<'a>(programs: impl Iterator<Item = &'a Instr>) -> Self {
        let mut r = Self { consts: BTreeMap::new(), coords: BTreeMap::new(), pinned: 3, count: 3 };
        for instr in programs {
            let next = r.pinned;
            let slot = match *instr {
                Instr::Const(_, bits) => *r.consts.entry(bits).or_insert(next),
                Instr::Op { op: Op::Coord, a, .. } => *r.coords.entry(usize::from(a)).or_insert(next),
                Instr::Op { .. } => continue,
            };
            r.pinned += u32::from(slot == next);
        }
        r.count = r.pinned;
        r
    }

    /// Keeps what `code` fills once per block of lanes from the programs compiled from now on.
    pub(crate) fn pin(&mut self, code: &Code) {
        self.pinned = code.fixed.iter().map(|&(r, _)| r + 1).fold(self.pinned, u32::max);
    }

    /// Compiles a program. `is_fixed` tells which operands do not depend on the fold position. With `into`, the result is left in that
    /// register.
    pub(crate) fn compile(&mut self, code: &[Instr], is_fixed: impl Fn(usize) -> bool, into: Option<u32>) -> Code {
        let last_use = last_uses(code);
        let mut c = Compiler { free: Vec::new(), next: self.pinned, slots: vec![0; code.len()], out: Code::default() };
        let live = |at: usize| last_use[at].is_some();
        let inputs = code.iter().enumerate().filter(|&(at, _)| live(at));
        for (at, instr) in inputs {
            c.slots[at] = match *instr {
                Instr::Const(_, bits) => self.consts.get(&bits).copied().unwrap_or(0),
                Instr::Op { op, a, .. } if op.arity() == 0 => self.input(&mut c, op, usize::from(a), &is_fixed),
                Instr::Op { .. } => continue,
            };
        }
        for (at, instr) in code.iter().enumerate().filter(|&(at, _)| live(at)) {
            if let Instr::Op { op, a, b, c: third } = *instr
                && op.arity() > 0
            {
                let target = into.filter(|_| at + 1 == code.len());
                c.compute(at, op, [a, b, third].map(usize::from), target, &last_use, code);
            }
        }
        let result = c.slots.last().copied().unwrap_or(0);
        c.out.result = into.unwrap_or(result);
        if c.out.result != result {
            c.out.steps.push(Step { op: Op::Acc, dst: c.out.result, a: result, b: result, c: result });
        }
        self.count = self.count.max(c.next);
        c.out
    }

    fn input(&self, c: &mut Compiler, op: Op, index: usize, is_fixed: &impl Fn(usize) -> bool) -> u32 {
        match op {
            Op::Acc => ACC,
            Op::Rhs => RHS,
            Op::Coord => self.coords.get(&index).copied().unwrap_or(0),
            Op::Load => {
                let list = if is_fixed(index) { &c.out.fixed } else { &c.out.loads };
                if let Some(&(slot, _)) = list.iter().find(|l| l.1 == index) {
                    return slot;
                }
                let slot = c.fresh();
                if is_fixed(index) { &mut c.out.fixed } else { &mut c.out.loads }.push((slot, index));
                slot
            }
            Op::Kf => {
                if let Some(&(slot, _)) = c.out.kf.iter().find(|l| l.1 == index) {
                    return slot;
                }
                let slot = c.fresh();
                c.out.kf.push((slot, index));
                slot
            }
            // The linear position; everything else takes values.
            _ => {
                let slot = c.out.k.unwrap_or_else(|| c.fresh());
                c.out.k = Some(slot);
                slot
            }
        }
    }
}

/// Where each value is used last; `None` for those that the result does not need.
fn last_uses(code: &[Instr]) -> Vec<Option<usize>> {
    let mut last = vec![None; code.len()];
    if let Some(end) = last.last_mut() {
        *end = Some(code.len());
    }
    for (at, instr) in code.iter().enumerate().rev() {
        if last[at].is_some() {
            for a in instr.args() {
                let slot: &mut Option<usize> = &mut last[usize::from(a)];
                *slot = slot.or(Some(at));
            }
        }
    }
    last
}

struct Compiler {
    free: Vec<u32>,
    next: u32,
    /// Register of every value.
    slots: Vec<u32>,
    out: Code,
}

impl Compiler {
    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn compute(
        &mut self,
        at: usize,
        op: Op,
        args: [usize; 3],
        target: Option<u32>,
        last_use: &[Option<usize>],
        code: &[Instr],
    ) {
        let dst = target.unwrap_or_else(|| self.free.pop().unwrap_or_else(|| self.fresh()));
        // Arguments that an operation does not take name a register that it does.
        let slot = |i: usize| self.slots[args[if i < op.arity() { i } else { 0 }]];
        self.out.steps.push(Step { op, dst, a: slot(0), b: slot(1), c: slot(2) });
        self.slots[at] = dst;
        // Only results of computations are given back: inputs may be shared, or filled once for many runs.
        for (i, &arg) in args[..op.arity()].iter().enumerate() {
            let computed = matches!(code[arg], Instr::Op { op, .. } if op.arity() > 0);
            if computed && last_use[arg] == Some(at) && !args[..i].contains(&arg) {
                self.free.push(self.slots[arg]);
            }
        }
    }
}

impl Code {
    /// The same program with the accumulator and its successor exchanged.
    pub(crate) fn swapped(&self) -> Self {
        let swap = |r: u32| match r {
            ACC => NEXT,
            NEXT => ACC,
            other => other,
        };
        let step = |s: &Step| Step { dst: swap(s.dst), a: swap(s.a), b: swap(s.b), c: swap(s.c), ..*s };
        Self { steps: self.steps.iter().map(step).collect(), result: swap(self.result), ..self.clone() }
    }
}
