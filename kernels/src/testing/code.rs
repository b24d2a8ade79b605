//! Random scalar programs.

use lockstep_ir::{
    Node, Ty,
    scalar::{Instr, Op},
};

use super::{Rng, value};

/// What a random scalar program may use.
pub(super) struct Inputs<'a> {
    pub(super) node: &'a Node,
    pub(super) acc: Option<Ty>,
    pub(super) rhs: bool,
    pub(super) loads: &'a [usize],
    pub(super) domain: usize,
    pub(super) fold: usize,
    pub(super) k: bool,
}

/// Random code with a result of type `ty`: every load and accumulator, then up to `longest` operations on them.
pub(super) fn code(rng: &mut Rng, inputs: &Inputs<'_>, ty: Ty, longest: usize) -> Vec<Instr> {
    let mut c = Draft { code: Vec::new(), types: Vec::new() };
    for &i in inputs.loads {
        c.push(Instr::op(Op::Load, i as u16, 0, 0), inputs.node.operands[i].decl.dtype.ty());
    }
    if let Some(acc) = inputs.acc {
        c.push(Instr::op(Op::Acc, 0, 0, 0), acc);
        if inputs.rhs {
            c.push(Instr::op(Op::Rhs, 0, 0, 0), acc);
        }
    }
    if inputs.domain > 0 && rng.one_in(4) {
        c.push(Instr::op(Op::Coord, rng.below(inputs.domain) as u16, 0, 0), Ty::U32);
    }
    if inputs.k && rng.one_in(4) {
        c.push(Instr::op(Op::K, 0, 0, 0), Ty::U32);
    }
    if inputs.fold > 0 && rng.one_in(4) {
        c.push(Instr::op(Op::Kf, rng.below(inputs.fold) as u16, 0, 0), Ty::U32);
    }
    if c.code.is_empty() || rng.one_in(3) {
        let ty = rng.pick(&[Ty::F32, Ty::I32, Ty::U32]);
        let bits = value(rng, ty);
        c.push(Instr::Const(ty, bits), ty);
    }
    for _ in 0..rng.below(longest + 1) {
        c.operation(rng, None);
    }
    // The result uses something of what came before, and has the type that is needed.
    for _ in 0..50 {
        if c.types.last() == Some(&ty) && (longest == 0 || c.code.last().is_some_and(|i| i.args().count() > 0)) {
            return c.code;
        }
        c.operation(rng, Some(ty));
    }
    let bits = value(rng, ty);
    c.push(Instr::Const(ty, bits), ty);
    c.code
}

struct Draft {
    code: Vec<Instr>,
    types: Vec<Ty>,
}

impl Draft {
    fn push(&mut self, instr: Instr, ty: Ty) {
        self.code.push(instr);
        self.types.push(ty);
    }

    /// A value of type `ty`, mostly a late one.
    fn any(&self, rng: &mut Rng, ty: Ty) -> Option<u16> {
        let fits: Vec<usize> = (0..self.types.len()).filter(|&i| self.types[i] == ty).collect();
        let late = &fits[fits.len().saturating_sub(3)..];
        let list = if rng.one_in(3) { &fits[..] } else { late };
        (!list.is_empty()).then(|| rng.pick(list) as u16)
    }

    /// Appends a random operation whose arguments exist; with a result of type `wanted` if given.
    fn operation(&mut self, rng: &mut Rng, wanted: Option<Ty>) {
        for _ in 0..40 {
            let (op, args, out) = signature(rng);
            if wanted.is_some_and(|w| w != out) {
                continue;
            }
            let mut found = [0; 3];
            let complete = args.iter().enumerate().all(|(i, &ty)| {
                let value = self.any(rng, ty);
                found[i] = value.unwrap_or(0);
                value.is_some()
            });
            if complete {
                self.push(Instr::op(op, found[0], found[1], found[2]), out);
                return;
            }
        }
    }
}

/// A random operation, its argument types and its result type.
fn signature(rng: &mut Rng) -> (Op, Vec<Ty>, Ty) {
    use Ty::{F32, I32, U32};
    let computing: Vec<Op> = Op::ALL.iter().copied().filter(|o| o.arity() > 0).collect();
    let op = rng.pick(&computing);
    let integer = rng.pick(&[I32, U32]);
    let any = rng.pick(&[F32, I32, U32]);
    let n = op.arity();
    let (args, out) = match op {
        Op::FEq | Op::FNe | Op::FLt | Op::FLe => (vec![F32; n], U32),
        Op::Add | Op::Sub | Op::Mul | Op::And | Op::Or | Op::Xor => (vec![integer; n], integer),
        Op::Eq | Op::Ne => (vec![integer; n], U32),
        Op::MulHiS => (vec![I32; n], I32),
        Op::MulHiU | Op::ShrU => (vec![U32; n], U32),
        Op::Shl => (vec![integer, U32], integer),
        Op::ShrS => (vec![I32, U32], I32),
        Op::LtS | Op::LeS => (vec![I32; n], U32),
        Op::LtU | Op::LeU => (vec![U32; n], U32),
        Op::Select => (vec![U32, any, any], any),
        Op::FToI => (vec![F32], I32),
        Op::FToU | Op::FToBits => (vec![F32], U32),
        Op::IToF => (vec![I32], F32),
        Op::UToF | Op::BitsToF => (vec![U32], F32),
        Op::AsI => (vec![U32], I32),
        Op::AsU => (vec![I32], U32),
        _ => (vec![F32; n], F32),
    };
    (op, args, out)
}
