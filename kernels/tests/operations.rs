//! Every operation on hostile values, as machine code and without, against its definition ([`lockstep_ir::number::apply`]).
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;

use lockstep_ir::{
    DType, Node, Operand, Program, Source, StateDecl, Tensor, TensorDecl, Ty,
    number::{apply, canonical},
    scalar::{Instr, Op},
    tensor::narrow,
};
use lockstep_kernels::{
    Options, Plan,
    testing::{self, Rng, value},
};

const N: u32 = 4099;

fn decl(dtype: DType) -> TensorDecl {
    TensorDecl { dtype, shape: vec![N] }
}

/// One operation on whole tensors: `out[i] = op(s0[i], s1[i], s2[i])`. Constant arguments stand for the operands in `fixed`.
fn program(op: Op, args: &[Ty], out: DType, fixed: &[Option<u32>]) -> Program {
    let dtype = |ty: Ty| match ty {
        Ty::F32 => DType::F32,
        Ty::I32 => DType::I32,
        Ty::U32 => DType::U32,
    };
    let state =
        args.iter().enumerate().map(|(i, &ty)| StateDecl { decl: decl(dtype(ty)), next: Source::State(i as u32) });
    let operand = |(i, &ty): (usize, &Ty)| Operand {
        source: Source::State(i as u32),
        decl: decl(dtype(ty)),
        view: vec![N],
        access: vec![0, 1],
        gathers: Vec::new(),
        fill: 0,
        skip: false,
    };
    let mut finish: Vec<Instr> = (args.iter().zip(fixed).enumerate())
        .map(|(i, (&ty, bits))| {
            let before = fixed[..i].iter().filter(|f| f.is_none()).count();
            bits.map_or(Instr::op(Op::Load, before as u16, 0, 0), |bits| Instr::Const(ty, bits))
        })
        .collect();
    let at = |i: usize| if i < args.len() { i as u16 } else { 0 };
    finish.push(Instr::op(op, at(0), at(1), at(2)));
    let operands = args.iter().enumerate().filter(|&(i, _)| fixed[i].is_none()).map(operand).collect();
    let node = Node { out: decl(out), domain: vec![N], operands, fold: None, finish };
    Program { state: state.collect(), data: Vec::new(), nodes: vec![node] }
}

fn signature(op: Op) -> (Vec<Ty>, DType) {
    use Ty::{F32, I32, U32};
    let n = op.arity();
    match op {
        Op::FEq | Op::FNe | Op::FLt | Op::FLe => (vec![F32; n], DType::U32),
        Op::MulHiS => (vec![I32; n], DType::I32),
        Op::ShrS => (vec![I32, U32], DType::I32),
        Op::LtS | Op::LeS => (vec![I32; n], DType::U32),
        Op::Select => (vec![U32, F32, F32], DType::F32),
        Op::FToI => (vec![F32], DType::I32),
        Op::FToU | Op::FToBits => (vec![F32], DType::U32),
        Op::IToF => (vec![I32], DType::F32),
        Op::UToF | Op::BitsToF => (vec![U32], DType::F32),
        Op::AsI => (vec![U32], DType::I32),
        Op::AsU => (vec![I32], DType::U32),
        op if op as u8 >= Op::Add as u8 && op as u8 <= Op::LeU as u8 => (vec![U32; n], DType::U32),
        _ => (vec![F32; n], DType::F32),
    }
}

fn check(op: Op, args: &[Ty], out: DType, fixed: &[Option<u32>], rng: &mut Rng) {
    let p = program(op, args, out, fixed);
    let values: Vec<Vec<u32>> = args.iter().map(|&ty| (0..N).map(|_| value(rng, ty)).collect()).collect();
    let tensor = |(v, s): (&Vec<u32>, &StateDecl)| {
        Tensor::from_bytes(s.decl.clone(), v.iter().flat_map(|b| b.to_le_bytes()).collect()).unwrap()
    };
    let state: Vec<Tensor> = values.iter().zip(&p.state).map(tensor).collect();
    let at = |j: usize, i: usize| match fixed.get(j) {
        Some(Some(bits)) => *bits,
        Some(None) => values[j][i],
        None => 0,
    };
    for isa in testing::paths() {
        for interpret in [false, true] {
            let plan = Plan::with(&p, Options { isa: Some(isa), interpret, ..Options::default() }).unwrap();
            let traced = plan.trace(&state, &[], |_, t| {
                for i in 0..N as usize {
                    let [a, b, c] = [0, 1, 2].map(|j| at(j, i));
                    let result = apply(op, a, b, c);
                    let result = if out == DType::F32 { canonical(result) } else { result };
                    let (got, want) = (t.stored(i as u64), narrow(out, result));
                    assert_eq!(got, want, "{op:?}({a:#x}, {b:#x}, {c:#x}) on {isa:?}, interpreted: {interpret}");
                }
                ControlFlow::<()>::Continue(())
            });
            assert!(traced.is_ok());
        }
    }
}

#[test]
fn every_operation_on_hostile_values() {
    let mut rng = Rng::new(1);
    for &op in Op::ALL.iter().filter(|o| o.arity() > 0) {
        let (args, out) = signature(op);
        check(op, &args, out, &vec![None; args.len()], &mut rng);
        // Each argument as a constant: it lies in memory, or in a register of its own.
        for (i, &ty) in args.iter().enumerate() {
            for _ in 0..6 {
                let mut fixed = vec![None; args.len()];
                fixed[i] = Some(value(&mut rng, ty));
                check(op, &args, out, &fixed, &mut rng);
            }
        }
    }
}

#[test]
fn results_are_narrowed_as_they_are_stored() {
    let mut rng = Rng::new(2);
    check(Op::FAdd, &[Ty::F32; 2], DType::Bf16, &[None; 2], &mut rng);
    check(Op::FAbs, &[Ty::F32], DType::Bf16, &[None], &mut rng);
    check(Op::Add, &[Ty::I32; 2], DType::I8, &[None; 2], &mut rng);
    check(Op::AsI, &[Ty::U32], DType::I8, &[None], &mut rng);
}
