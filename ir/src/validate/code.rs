//! Types and inputs of scalar programs.

use alloc::{vec, vec::Vec};

use super::Rule;
use crate::{
    judge,
    number::canonical,
    program::{BLOCK, Fold, Node, Order},
    scalar::{Instr, MAX_INSTRUCTIONS, Op},
    types::Ty,
};

/// What a scalar program may use, and how it is called in messages.
struct Context<'a> {
    name: &'static str,
    node: &'a Node,
    acc: Option<Ty>,
    rhs: bool,
    load: bool,
    fold_position: bool,
}

/// Checks the scalar programs of a node whose operands are right.
pub(super) fn check(n: &Node) -> Result<(), Rule> {
    let mut used = vec![false; n.operands.len()];
    if let Some(fold) = &n.fold {
        if fold.ty == Ty::F32 && canonical(fold.init) != fold.init {
            return Err(Rule::Nan("init"));
        }
        let base = Context { name: "body", node: n, acc: Some(fold.ty), rhs: false, load: true, fold_position: true };
        expect(&base, &fold.body, fold.ty)?;
        mark(&fold.body, &mut used);
        combine(n, fold)?;
    }
    let finish = Context {
        name: "finish",
        node: n,
        acc: n.fold.as_ref().map(|f| f.ty),
        rhs: false,
        load: true,
        fold_position: false,
    };
    expect(&finish, &n.finish, n.out.dtype.ty())?;
    let mut in_finish = vec![false; n.operands.len()];
    mark(&n.finish, &mut in_finish);
    for (i, _) in in_finish.iter().enumerate().filter(|(_, u)| **u) {
        let gathered = n.operands[i].gathers.iter().map(|g| usize::from(g.operand));
        if n.operands[i].skip || gathered.chain([i]).any(|j| judge::depends_on_fold(n, j)) {
            return Err(Rule::FinishLoad(i));
        }
        used[i] = true;
    }
    for i in 0..used.len() {
        if used[i] {
            n.operands[i].gathers.iter().for_each(|g| used[usize::from(g.operand)] = true);
        }
    }
    used.iter().position(|u| !u).map_or(Ok(()), |i| Err(Rule::Unused(i)))
}

fn combine(n: &Node, fold: &Fold) -> Result<(), Rule> {
    let needed = fold.order == Order::Lanes || fold.length().is_none_or(|k| k > BLOCK);
    if !needed {
        return if fold.combine.is_empty() { Ok(()) } else { Err(Rule::Needless) };
    }
    let context =
        Context { name: "combine", node: n, acc: Some(fold.ty), rhs: true, load: false, fold_position: false };
    expect(&context, &fold.combine, fold.ty)
}

fn mark(code: &[Instr], used: &mut [bool]) {
    for instr in code {
        if let Instr::Op { op: Op::Load, a, .. } = *instr {
            used[usize::from(a)] = true;
        }
    }
}

fn expect(context: &Context<'_>, code: &[Instr], expected: Ty) -> Result<(), Rule> {
    let program = context.name;
    if code.len() > MAX_INSTRUCTIONS {
        return Err(Rule::TooLong(program));
    }
    let types = infer(context, code)?;
    let got = *types.last().ok_or(Rule::Missing(program))?;
    if got == expected { Ok(()) } else { Err(Rule::Result { program, expected, got }) }
}

fn infer(context: &Context<'_>, code: &[Instr]) -> Result<Vec<Ty>, Rule> {
    let mut types: Vec<Ty> = Vec::with_capacity(code.len());
    for (at, &instr) in code.iter().enumerate() {
        if let Some(argument) = instr.args().find(|&a| usize::from(a) >= at) {
            return Err(Rule::Argument { program: context.name, at, argument });
        }
        if let Instr::Op { op, .. } = instr
            && !instr.is_packable()
        {
            return Err(Rule::Field { program: context.name, at, op: op.text() });
        }
        let ty = match instr {
            Instr::Const(Ty::F32, bits) if canonical(bits) != bits => return Err(Rule::Nan("a constant")),
            Instr::Const(ty, _) => ty,
            Instr::Op { op, a, .. } if op.arity() == 0 => input(context, at, op, usize::from(a))?,
            Instr::Op { op, a, b, c } => computed(context.name, at, op, [a, b, c].map(usize::from), &types)?,
        };
        types.push(ty);
    }
    Ok(types)
}

fn input(context: &Context<'_>, at: usize, op: Op, index: usize) -> Result<Ty, Rule> {
    let n = context.node;
    let ty = match op {
        Op::Acc => context.acc,
        Op::Rhs => context.acc.filter(|_| context.rhs),
        Op::Load => n.operands.get(index).filter(|_| context.load).map(|o| o.decl.dtype.ty()),
        Op::Coord => n.domain.get(index).filter(|_| context.load).map(|_| Ty::U32),
        Op::K => context.fold_position.then_some(Ty::U32),
        Op::Kf => n.fold_factors().get(index).filter(|_| context.fold_position).map(|_| Ty::U32),
        _ => None,
    };
    ty.ok_or(Rule::Input { program: context.name, at, op: op.text() })
}

/// Types: of the result, checking those of the arguments.
fn computed(program: &'static str, at: usize, op: Op, args: [usize; 3], types: &[Ty]) -> Result<Ty, Rule> {
    use Ty::{F32, I32, U32};
    let check = |argument: usize, expected: Ty| {
        let got = types[args[argument]];
        if got == expected { Ok(()) } else { Err(Rule::Type { program, at, op: op.text(), expected, got }) }
    };
    let all = |expected: Ty, out: Ty| (0..op.arity()).try_for_each(|i| check(i, expected)).map(|()| out);
    // Integer operations with one meaning for both types take any two of a kind.
    let integer = |out: Option<Ty>| {
        let ty = if types[args[0]] == I32 { I32 } else { U32 };
        all(ty, out.unwrap_or(ty))
    };
    match op {
        Op::FAdd | Op::FSub | Op::FMul | Op::FDiv | Op::FSqrt | Op::Fma | Op::FNeg | Op::FAbs => all(F32, F32),
        Op::FFloor | Op::FRint => all(F32, F32),
        Op::FEq | Op::FNe | Op::FLt | Op::FLe => all(F32, U32),
        Op::Add | Op::Sub | Op::Mul | Op::And | Op::Or | Op::Xor => integer(None),
        Op::Eq | Op::Ne => integer(Some(U32)),
        Op::MulHiS => all(I32, I32),
        Op::MulHiU => all(U32, U32),
        Op::LtS | Op::LeS => all(I32, U32),
        Op::LtU | Op::LeU => all(U32, U32),
        Op::Shl | Op::ShrU | Op::ShrS => {
            let ty = match (op, types[args[0]]) {
                (Op::ShrU, _) => U32,
                (Op::ShrS, _) | (_, I32) => I32,
                _ => U32,
            };
            check(0, ty)?;
            check(1, U32).map(|()| ty)
        }
        Op::Select => {
            check(0, U32)?;
            check(2, types[args[1]]).map(|()| types[args[1]])
        }
        Op::FToI => all(F32, I32),
        Op::FToU | Op::FToBits => all(F32, U32),
        Op::IToF => all(I32, F32),
        Op::UToF | Op::BitsToF => all(U32, F32),
        Op::AsI => all(U32, I32),
        Op::AsU => all(I32, U32),
        Op::Const | Op::Acc | Op::Rhs | Op::Load | Op::Coord | Op::K | Op::Kf => {
            Err(Rule::Input { program, at, op: op.text() })
        }
    }
}
