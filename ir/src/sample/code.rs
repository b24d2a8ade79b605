//! Random scalar programs that type-check.

use alloc::vec::Vec;

use super::Rng;
use crate::{
    scalar::{Instr, Op},
    types::Ty,
};

/// Scalar code under construction, with the type of every value.
pub(super) struct Code {
    instrs: Vec<Instr>,
    types: Vec<Ty>,
}

impl Code {
    pub(super) const fn new() -> Self {
        Self { instrs: Vec::new(), types: Vec::new() }
    }

    pub(super) fn push(&mut self, instr: Instr, ty: Ty) -> u16 {
        self.instrs.push(instr);
        self.types.push(ty);
        self.instrs.len() as u16 - 1
    }

    /// A value of this type: one that is there, one converted, or a constant.
    fn value(&mut self, rng: &mut Rng, ty: Ty) -> u16 {
        let same: Vec<u16> = (0..self.types.len() as u16).filter(|&v| self.types[usize::from(v)] == ty).collect();
        if !same.is_empty() && !rng.once_in(8) {
            return rng.pick(&same);
        }
        if self.types.is_empty() || rng.once_in(2) {
            let bits = rng.value(ty);
            return self.push(Instr::Const(ty, bits), ty);
        }
        let from = rng.below(self.types.len() as u64) as u16;
        self.converted(rng, from, ty)
    }

    fn converted(&mut self, rng: &mut Rng, v: u16, ty: Ty) -> u16 {
        let op = match (self.types[usize::from(v)], ty) {
            (Ty::F32, Ty::I32) => Op::FToI,
            (Ty::F32, Ty::U32) => rng.pick(&[Op::FToU, Op::FToBits]),
            (Ty::I32, Ty::F32) => Op::IToF,
            (Ty::U32, Ty::F32) => rng.pick(&[Op::UToF, Op::BitsToF]),
            (Ty::I32, Ty::U32) => Op::AsU,
            (Ty::U32, Ty::I32) => Op::AsI,
            _ => return v,
        };
        self.push(Instr::op(op, v, 0, 0), ty)
    }

    /// A random operation on random values.
    pub(super) fn operation(&mut self, rng: &mut Rng) {
        use Ty::{F32, I32, U32};
        let computing: Vec<Op> = Op::ALL.iter().copied().filter(|op| op.arity() > 0).collect();
        let op = rng.pick(&computing);
        let any = rng.pick(&[F32, I32, U32]);
        let integer = rng.pick(&[I32, U32]);
        let (args, out) = match op {
            Op::FEq | Op::FNe | Op::FLt | Op::FLe => ([F32; 3], U32),
            Op::Add | Op::Sub | Op::Mul | Op::And | Op::Or | Op::Xor => ([integer; 3], integer),
            Op::Eq | Op::Ne => ([integer; 3], U32),
            Op::MulHiS => ([I32; 3], I32),
            Op::MulHiU => ([U32; 3], U32),
            Op::LtS | Op::LeS => ([I32; 3], U32),
            Op::LtU | Op::LeU => ([U32; 3], U32),
            Op::Shl => ([integer, U32, U32], integer),
            Op::ShrU => ([U32; 3], U32),
            Op::ShrS => ([I32, U32, U32], I32),
            Op::Select => ([U32, any, any], any),
            Op::FToI => ([F32; 3], I32),
            Op::FToU | Op::FToBits => ([F32; 3], U32),
            Op::IToF => ([I32; 3], F32),
            Op::UToF | Op::BitsToF => ([U32; 3], F32),
            Op::AsI => ([U32; 3], I32),
            Op::AsU => ([I32; 3], U32),
            // What is left works on floats.
            _ => ([F32; 3], F32),
        };
        let mut abc = [0; 3];
        for (slot, ty) in abc.iter_mut().zip(args).take(op.arity()) {
            *slot = self.value(rng, ty);
        }
        self.push(Instr::op(op, abc[0], abc[1], abc[2]), out);
    }

    /// Ends with a value of this type that depends on some `most` values which nothing took yet and, for a fold, on the
    /// accumulator (value 0).
    pub(super) fn finish(mut self, rng: &mut Rng, ty: Ty, most: usize, fold: bool) -> Vec<Instr> {
        let last = self.instrs.len() as u16 - 1;
        let mut v = self.converted(rng, last, ty);
        let taken: Vec<u16> = self.instrs.iter().flat_map(|i| i.args()).collect();
        let free = (u16::from(fold)..last).rev().filter(|v| !taken.contains(v));
        for other in free.take(most).collect::<Vec<_>>() {
            let other = self.converted(rng, other, ty);
            let op =
                if ty == Ty::F32 { rng.pick(&[Op::FAdd, Op::FSub]) } else { rng.pick(&[Op::Add, Op::Sub, Op::Xor]) };
            v = self.push(Instr::op(op, v, other, 0), ty);
        }
        if fold {
            let op = if ty == Ty::F32 {
                rng.pick(&[Op::FAdd, Op::FSub, Op::FMul])
            } else {
                rng.pick(&[Op::Add, Op::Sub, Op::Mul, Op::Xor, Op::Or])
            };
            v = self.push(Instr::op(op, 0, v, 0), ty);
        }
        if usize::from(v) + 1 < self.instrs.len() {
            // The result is the last value; take it once more.
            let zero = self.push(Instr::Const(Ty::U32, 0), Ty::U32);
            self.push(Instr::op(Op::Select, zero, v, v), ty);
        }
        self.instrs
    }
}
