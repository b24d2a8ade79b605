//! Programs that can be encoded and written, and mean nothing.

use alloc::vec::Vec;

use super::Rng;
use crate::{
    program::{Fold, Gather, Node, Operand, Order, Program, Source, StateDecl, TensorDecl},
    scalar::{Instr, Op},
    types::{DType, Ty},
};

/// A well-formed program with anything at all in its fields: what a decoder or a parser can meet.
pub fn any_program(rng: &mut Rng) -> Program {
    let state = |rng: &mut Rng| StateDecl { decl: decl(rng), next: source(rng) };
    Program { state: some(rng, 3, state), data: some(rng, 3, decl), nodes: some(rng, 3, node) }
}

fn some<T>(rng: &mut Rng, most: u64, mut make: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    (0..rng.below(most + 1)).map(|_| make(rng)).collect()
}

fn small(rng: &mut Rng) -> u32 {
    if rng.once_in(8) { rng.integer() } else { rng.below(5) as u32 }
}

fn long(rng: &mut Rng) -> i64 {
    let any = rng.bits() as i64;
    rng.pick(&[0, 0, 1, -1, 2, 256, -3, any, i64::MAX, i64::MIN])
}

fn shape(rng: &mut Rng) -> Vec<u32> {
    some(rng, if rng.clone().once_in(8) { 9 } else { 3 }, small)
}

fn decl(rng: &mut Rng) -> TensorDecl {
    TensorDecl { dtype: rng.pick(&DType::ALL), shape: shape(rng) }
}

fn source(rng: &mut Rng) -> Source {
    rng.pick(&[Source::State, Source::Data, Source::Node])(small(rng))
}

fn code(rng: &mut Rng) -> Vec<Instr> {
    some(rng, 6, |rng| {
        let op = rng.pick(Op::ALL);
        if op == Op::Const {
            let bits = if rng.once_in(2) { rng.integer() } else { rng.bits() as u32 };
            return Instr::Const(rng.pick(&[Ty::F32, Ty::I32, Ty::U32]), bits);
        }
        let used = op.arity().max(usize::from(matches!(op, Op::Load | Op::Coord | Op::Kf)));
        let mut abc = [0; 3];
        abc.iter_mut().take(used).for_each(|slot| *slot = small(rng) as u16);
        Instr::op(op, abc[0], abc[1], abc[2])
    })
}

fn node(rng: &mut Rng) -> Node {
    let out = decl(rng);
    let domain = if rng.once_in(2) { out.shape.clone() } else { shape(rng) };
    let mut factors = shape(rng);
    factors.truncate(7);
    let fold = (!factors.is_empty()).then(|| Fold {
        factors,
        order: rng.pick(&[Order::Chain, Order::Lanes]),
        ty: rng.pick(&[Ty::F32, Ty::I32, Ty::U32]),
        init: rng.bits() as u32,
        body: code(rng),
        combine: code(rng),
    });
    let width = 1 + domain.len() + fold.as_ref().map_or(0, |f| f.factors.len());
    let operands = some(rng, 3, |rng| operand(rng, width));
    Node { out, domain, operands, fold, finish: code(rng) }
}

fn operand(rng: &mut Rng, width: usize) -> Operand {
    let decl = decl(rng);
    let view = if rng.once_in(2) { decl.shape.clone() } else { shape(rng) };
    let numbers = if rng.once_in(6) { rng.below(9) as usize } else { width * view.len() };
    let access = (0..numbers).map(|_| long(rng)).collect();
    let gather = |rng: &mut Rng| Gather { dim: small(rng) as u8, operand: small(rng) as u8, stride: long(rng) };
    let gathers = if rng.once_in(3) { some(rng, 3, gather) } else { Vec::new() };
    let fill = if rng.once_in(2) { 0 } else { rng.bits() as u32 };
    Operand { source: source(rng), decl, view, access, gathers, fill, skip: rng.once_in(3) }
}
