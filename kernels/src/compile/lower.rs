//! Scalar instructions as vector operations with the same bits (docs/protocol.md, section 1).
//!
//! NaNs keep whatever payload the hardware gives them until their bits are taken or stored, which is where a payload could be seen.
//! What a comparison gives stays a mask until something needs the number 0 or 1.

use lockstep_ir::{
    DType,
    number::NAN,
    scalar::{Instr, Op},
};

use super::{
    draft::{Draft, Item, Kind, Pool, Val},
    ops::{FPredicate, Imm, One, ROUND_DOWN, ROUND_EVEN, Target, Two, Vop},
};

const SIGN: u32 = 0x8000_0000;
const TWO_31: u32 = 0x4f00_0000;
const TWO_32: u32 = 0x4f80_0000;
const TWO_16: u32 = 0x4780_0000;

/// A scalar value: its lanes, or a mask for a number that is 0 or 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scalar {
    /// The bits.
    Bits(Val),
    /// All bits set for 1, none for 0.
    Mask(Val),
}

/// Lowers scalar programs into one draft.
pub(crate) struct Lower<'a> {
    pub(crate) draft: &'a mut Draft,
    pub(crate) pool: &'a mut Pool,
    pub(crate) target: Target,
}

impl Lower<'_> {
    /// The result of a scalar program whose inputs (`Acc`, `Load`, … with their index) `input` gives; `None` if it gives none.
    pub(crate) fn program(
        &mut self,
        code: &[Instr],
        input: impl FnMut(&mut Self, Op, usize) -> Option<Scalar>,
    ) -> Option<Scalar> {
        let last = code.len().checked_sub(1)?;
        self.results(code, &[last], input)?.first().copied()
    }

    /// The values of these instructions of a scalar program.
    pub(crate) fn results(
        &mut self,
        code: &[Instr],
        wanted: &[usize],
        mut input: impl FnMut(&mut Self, Op, usize) -> Option<Scalar>,
    ) -> Option<Vec<Scalar>> {
        let mut values: Vec<Option<Scalar>> = Vec::with_capacity(code.len());
        let needed = needed(code, wanted);
        for (instr, needed) in code.iter().zip(needed) {
            let value = match *instr {
                _ if !needed => None,
                Instr::Const(_, bits) => Some(Scalar::Bits(self.splat(bits))),
                Instr::Op { op, a, .. } if op.arity() == 0 => Some(input(self, op, usize::from(a))?),
                Instr::Op { op, a, b, c } => {
                    let mut args = [a, b, c].map(|i| values.get(usize::from(i)).copied().flatten());
                    let first = args[0]?;
                    args[op.arity()..].fill(Some(first));
                    Some(self.apply(op, [first, args[1]?, args[2]?]))
                }
            };
            values.push(value);
        }
        wanted.iter().map(|&at| values.get(at).copied().flatten()).collect()
    }

    fn splat(&mut self, bits: u32) -> Val {
        self.draft.splat(self.pool, bits)
    }

    fn two(&mut self, op: Two, a: Val, b: Val) -> Val {
        self.draft.op(Vop::Two(op), &[a, b])
    }

    fn imm(&mut self, op: Imm, number: u8, a: Val) -> Val {
        self.draft.op(Vop::Imm(op, number), &[a])
    }

    fn compare(&mut self, predicate: FPredicate, a: Val, b: Val) -> Val {
        self.draft.op(Vop::FCompare(predicate), &[a, b])
    }

    fn not(&mut self, mask: Val) -> Val {
        let ones = self.splat(u32::MAX);
        self.two(Two::Xor, mask, ones)
    }

    /// Mask, value where it is set, value elsewhere.
    pub(crate) fn select(&mut self, mask: Val, yes: Val, no: Val) -> Val {
        if yes == no { yes } else { self.draft.op(Vop::Select, &[mask, yes, no]) }
    }

    /// The bits of a scalar value.
    pub(crate) fn bits(&mut self, value: Scalar) -> Val {
        match value {
            Scalar::Bits(v) => v,
            Scalar::Mask(m) => self.imm(Imm::ShrU, 31, m),
        }
    }

    fn mask(&mut self, value: Scalar) -> (Val, bool) {
        match value {
            Scalar::Mask(m) => (m, true),
            Scalar::Bits(v) => {
                let zero = self.splat(0);
                (self.draft.op(Vop::Equal, &[v, zero]), false)
            }
        }
    }

    fn apply(&mut self, op: Op, args: [Scalar; 3]) -> Scalar {
        if let (Op::And | Op::Or | Op::Xor, [Scalar::Mask(a), Scalar::Mask(b), _]) = (op, args) {
            let both = match op {
                Op::And => Two::And,
                Op::Or => Two::Or,
                _ => Two::Xor,
            };
            return Scalar::Mask(self.two(both, a, b));
        }
        if op == Op::Select {
            let (mask, positive) = self.mask(args[0]);
            let (yes, no) = (self.bits(args[1]), self.bits(args[2]));
            let (yes, no) = if positive { (yes, no) } else { (no, yes) };
            return Scalar::Bits(self.select(mask, yes, no));
        }
        if matches!(op, Op::BitsToF | Op::AsI | Op::AsU) {
            return args[0];
        }
        let [a, b, c] = args.map(|v| self.bits(v));
        match op {
            Op::FEq => Scalar::Mask(self.compare(FPredicate::Equal, a, b)),
            Op::FNe => Scalar::Mask(self.compare(FPredicate::NotEqual, a, b)),
            Op::FLt => Scalar::Mask(self.compare(FPredicate::Less, a, b)),
            Op::FLe => Scalar::Mask(self.compare(FPredicate::LessOrEqual, a, b)),
            Op::Eq => Scalar::Mask(self.draft.op(Vop::Equal, &[a, b])),
            Op::LtS => Scalar::Mask(self.draft.op(Vop::Greater, &[b, a])),
            Op::LeU => Scalar::Mask(self.at_most(a, b)),
            Op::Ne | Op::LeS | Op::LtU => {
                let opposite = match op {
                    Op::Ne => self.draft.op(Vop::Equal, &[a, b]),
                    Op::LeS => self.draft.op(Vop::Greater, &[a, b]),
                    _ => self.at_most(b, a),
                };
                Scalar::Mask(self.not(opposite))
            }
            _ => Scalar::Bits(self.number(op, a, b, c)),
        }
    }

    /// Mask of `a ≤ b` as unsigned integers.
    fn at_most(&mut self, a: Val, b: Val) -> Val {
        let smaller = self.two(Two::MinU, a, b);
        self.draft.op(Vop::Equal, &[smaller, a])
    }

    fn number(&mut self, op: Op, a: Val, b: Val, c: Val) -> Val {
        match op {
            Op::FAdd => self.two(Two::FAdd, a, b),
            Op::FSub => self.two(Two::FSub, a, b),
            Op::FMul => self.two(Two::FMul, a, b),
            Op::FDiv => self.two(Two::FDiv, a, b),
            Op::FSqrt => self.draft.op(Vop::One(One::Sqrt), &[a]),
            Op::Fma => self.draft.op(Vop::Fma, &[a, b, c]),
            Op::FNeg => self.with(Two::Xor, a, SIGN),
            Op::FAbs => self.with(Two::And, a, !SIGN),
            Op::FFloor => self.imm(Imm::Round, ROUND_DOWN, a),
            Op::FRint => self.imm(Imm::Round, ROUND_EVEN, a),
            Op::Add => self.two(Two::Add, a, b),
            Op::Sub => self.two(Two::Sub, a, b),
            Op::Mul => self.two(Two::Mul, a, b),
            Op::MulHiS => self.high_product(Two::MulEvenS, a, b),
            Op::MulHiU => self.high_product(Two::MulEvenU, a, b),
            Op::And => self.two(Two::And, a, b),
            Op::Or => self.two(Two::Or, a, b),
            Op::Xor => self.two(Two::Xor, a, b),
            // Shifts by 32 and more give 0 or the sign in hardware, too.
            Op::Shl => self.two(Two::Shl, a, b),
            Op::ShrU => self.two(Two::ShrU, a, b),
            Op::ShrS => self.two(Two::ShrS, a, b),
            Op::FToI => self.truncated_signed(a),
            Op::FToU => self.truncated_unsigned(a),
            Op::IToF => self.draft.op(Vop::One(One::ToFloat), &[a]),
            Op::UToF => self.unsigned_as_float(a),
            Op::FToBits => self.canonical(a),
            // Everything else was handled before, or is no number.
            _ => a,
        }
    }

    fn with(&mut self, op: Two, a: Val, bits: u32) -> Val {
        let constant = self.splat(bits);
        self.two(op, a, constant)
    }

    /// The upper halves of 64-bit products: of the even lanes, and of the odd ones moved to where the even ones are.
    fn high_product(&mut self, product: Two, a: Val, b: Val) -> Val {
        let even = self.two(product, a, b);
        let even = self.imm(Imm::ShrWide, 32, even);
        let (a, b) = (self.imm(Imm::ShrWide, 32, a), self.imm(Imm::ShrWide, 32, b));
        let odd = self.two(product, a, b);
        let lanes: [u32; 16] = std::array::from_fn(|i| if i % 2 == 1 { u32::MAX } else { 0 });
        let upper = self.draft.vector(self.pool, lanes);
        let odd = self.two(Two::And, odd, upper);
        self.two(Two::Or, even, odd)
    }

    /// Truncates; hardware gives `SIGN` for everything that does not fit.
    fn truncated_signed(&mut self, a: Val) -> Val {
        let cut = self.draft.op(Vop::One(One::Truncate), &[a]);
        let limit = self.splat(TWO_31);
        let large = self.compare(FPredicate::LessOrEqual, limit, a);
        let saturated = self.two(Two::Xor, cut, large);
        let ordered = self.compare(FPredicate::Ordered, a, a);
        self.two(Two::And, saturated, ordered)
    }

    fn truncated_unsigned(&mut self, a: Val) -> Val {
        let (zero, limit, end) = (self.splat(0), self.splat(TWO_31), self.splat(TWO_32));
        // The second argument where either is a NaN.
        let a = self.two(Two::FMax, a, zero);
        let large = self.compare(FPredicate::LessOrEqual, limit, a);
        let taken = self.two(Two::And, large, limit);
        let rest = self.two(Two::FSub, a, taken);
        let cut = self.draft.op(Vop::One(One::Truncate), &[rest]);
        let upper = self.with(Two::And, large, SIGN);
        let whole = self.two(Two::Xor, cut, upper);
        let beyond = self.compare(FPredicate::LessOrEqual, end, a);
        self.two(Two::Or, whole, beyond)
    }

    /// Both halves are exact, so the sum is rounded once.
    fn unsigned_as_float(&mut self, a: Val) -> Val {
        let high = self.imm(Imm::ShrU, 16, a);
        let low = self.with(Two::And, a, 0xffff);
        let high = self.draft.op(Vop::One(One::ToFloat), &[high]);
        let low = self.draft.op(Vop::One(One::ToFloat), &[low]);
        let scale = self.splat(TWO_16);
        self.draft.op(Vop::Fma, &[high, scale, low])
    }

    /// NaNs become the only one.
    pub(crate) fn canonical(&mut self, a: Val) -> Val {
        let (nan, unordered) = (self.splat(NAN), self.compare(FPredicate::Unordered, a, a));
        self.select(unordered, nan, a)
    }

    /// The value of a stored element of this type, widened from what a stream gives.
    pub(crate) fn widened(&mut self, dtype: DType, element: Val) -> Val {
        if dtype == DType::Bf16 { self.imm(Imm::Shl, 16, element) } else { element }
    }

    /// Nearest even on the bits; the largest magnitude that is no NaN does not overflow.
    fn rounded_half(&mut self, value: Val) -> Val {
        let value = self.canonical(value);
        let odd = self.imm(Imm::ShrU, 16, value);
        let odd = self.with(Two::And, odd, 1);
        let sum = self.with(Two::Add, value, 0x7fff);
        let rounded = self.two(Two::Add, sum, odd);
        let half = self.imm(Imm::ShrU, 16, rounded);
        let unordered = self.compare(FPredicate::Unordered, value, value);
        let nan = self.splat(NAN >> 16);
        self.select(unordered, nan, half)
    }

    /// Stores a value as an element of this type.
    pub(crate) fn store(&mut self, dtype: DType, value: Val, out: usize) -> Item {
        let (val, kind) = match dtype {
            DType::F32 => (self.canonical(value), Kind::Word),
            DType::I32 | DType::U32 => (value, Kind::Word),
            DType::Bf16 => (self.rounded_half(value), Kind::Half),
            DType::I8 => (value, Kind::Byte),
        };
        Item::Store { val: self.packed(kind, val), out, kind, lane: 0 }
    }

    /// AVX2 packs by halves of a register, AVX-512 while it stores.
    fn packed(&mut self, kind: Kind, val: Val) -> Val {
        if self.target == Target::Avx512 {
            return val;
        }
        match kind {
            Kind::Word | Kind::Same => val,
            Kind::Half => {
                let packed = self.two(Two::PackHalves, val, val);
                self.permuted([0, 1, 4, 5, 0, 0, 0, 0], packed)
            }
            Kind::Byte => {
                let packed = self.two(Two::PackSigned, val, val);
                let packed = self.two(Two::PackBytes, packed, packed);
                self.permuted([0, 4, 0, 0, 0, 0, 0, 0], packed)
            }
        }
    }

    fn permuted(&mut self, lanes: [u32; 8], a: Val) -> Val {
        let mut all = [0; 16];
        all[..8].copy_from_slice(&lanes);
        let lanes = self.draft.vector(self.pool, all);
        self.two(Two::Permute, lanes, a)
    }

    /// Lane `i` gets what lane `i + by` has; the last lanes get something.
    pub(crate) fn shifted_down(&mut self, by: u32, a: Val) -> Val {
        let count = self.target.lanes() as u32;
        let lanes: [u32; 16] = std::array::from_fn(|i| (i as u32 + by) % count);
        let lanes = self.draft.vector(self.pool, lanes);
        self.two(Two::Permute, lanes, a)
    }
}

/// Which instructions the wanted ones need, themselves included.
fn needed(code: &[Instr], wanted: &[usize]) -> Vec<bool> {
    let mut needed: Vec<bool> = (0..code.len()).map(|at| wanted.contains(&at)).collect();
    for (at, instr) in code.iter().enumerate().rev() {
        if needed[at] {
            instr.args().for_each(|a| needed[usize::from(a)] = true);
        }
    }
    needed
}
