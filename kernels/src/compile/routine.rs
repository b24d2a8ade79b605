//! Loops around bodies: whole routines.
//!
//! A routine takes one argument: the address of a list of 64-bit words. The first two are the number of elements and the address of the
//! area (`slots` registers of scratch); what follows depends on the routine.

use iced_x86::{Code, IcedError, Instruction, Register};

use super::{
    asm::{Asm, CONSTANT_BYTES, at},
    draft::{Body, Def, Kind, Pool},
    emit::{AREA, ARGS, END, Emitter, Fit, Frame, INDEX, POINTERS, SLOT_BYTES},
    ops::Target,
};

/// Most instructions of a loop's body that is repeated side by side.
pub(super) const LONGEST_BODY: usize = 400;

/// Finished code of a routine.
#[derive(Debug)]
pub(crate) struct Routine {
    /// Instructions that it was made for.
    #[cfg(test)]
    pub(crate) target: Target,
    /// Constants, then instructions.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of constants.
    pub(crate) constants: usize,
    /// Registers of scratch that it needs.
    pub(crate) slots: usize,
}

/// What a map routine is made of.
pub(crate) struct MapSpec<'a> {
    pub(crate) target: Target,
    pub(crate) pool: &'a Pool,
    pub(crate) body: &'a Body,
    pub(crate) streams: &'a [Kind],
    pub(crate) outputs: usize,
    pub(crate) uniforms: usize,
}

/// A loop over elements. Arguments: number of elements (at least one register's), area, addresses of the streams, addresses of the
/// outputs, uniform values. Outputs must not overlap streams: the last register's elements may be computed twice.
pub(crate) fn map(spec: &MapSpec<'_>) -> Result<Routine, IcedError> {
    let lanes = spec.target.lanes();
    let frame = Frame {
        target: spec.target,
        streams: spec.streams.to_vec(),
        first_pointer: 2,
        slots: spec.uniforms,
        pinned: Vec::new(),
        carried: 0,
        mask: None,
    };
    let (copies, fit) = copies(&frame, spec.body, lanes);
    let wide = spec.body.times(copies, lanes);
    let mut frame = Frame { pinned: worth_pinning(&[&wide], &frame, fit), ..frame };
    let mut asm = Asm::default();
    prologue(&mut asm);
    let first_uniform = 2 + spec.streams.len() + spec.outputs;
    for i in 0..spec.uniforms {
        let register = spec.target.register(0);
        asm.load(spec.target.broadcast(), register, at(ARGS, 8 * (first_uniform + i)));
        asm.store(spec.target.store(), at(AREA, i * SLOT_BYTES), register);
    }
    for (i, &register) in POINTERS.iter().enumerate().take(spec.streams.len() + spec.outputs) {
        asm.load(Code::Mov_r64_rm64, register, at(ARGS, 8 * (2 + i)));
    }
    pin(&mut asm, &frame);
    element_loops(&mut asm, &mut frame, copies, |asm, frame, wide_now| {
        Emitter::emit(asm, frame, if wide_now { &wide } else { spec.body });
    });
    epilogue(&mut asm);
    finish(asm, spec.pool, &frame)
}

/// A loop of `copies` registers' elements at a time, one of single registers, and the last register's elements again if some are left.
/// `emit` is told whether its body is the wide one.
pub(super) fn element_loops(
    asm: &mut Asm,
    frame: &mut Frame,
    copies: usize,
    mut emit: impl FnMut(&mut Asm, &mut Frame, bool),
) {
    let lanes = frame.target.lanes();
    asm.load(Code::Mov_r64_rm64, END, at(ARGS, 0));
    zero(asm);
    if copies > 1 {
        asm.imm(Code::Sub_rm64_imm32, END, copies * lanes);
        count_loop(asm, frame, copies * lanes, |asm, frame| emit(asm, frame, true));
        asm.imm(Code::Add_rm64_imm32, END, copies * lanes);
    }
    asm.imm(Code::Sub_rm64_imm32, END, lanes);
    let (again, done) = (asm.label(), asm.label());
    asm.bind(again);
    count_loop(asm, frame, lanes, |asm, frame| emit(asm, frame, false));
    asm.imm(Code::Add_rm64_imm32, END, lanes);
    asm.two(Code::Cmp_r64_rm64, INDEX, END);
    asm.jump(Code::Jge_rel32_64, done);
    asm.imm(Code::Sub_rm64_imm32, END, lanes);
    asm.two(Code::Mov_r64_rm64, INDEX, END);
    asm.jump(Code::Jmp_rel32_64, again);
    asm.bind(done);
}

/// `INDEX = 0`
pub(super) fn zero(asm: &mut Asm) {
    asm.two(Code::Xor_r32_rm32, Register::EAX, Register::EAX);
}

/// `while INDEX <= END { body; INDEX += step }`
pub(super) fn count_loop(asm: &mut Asm, frame: &mut Frame, step: usize, emit: impl FnOnce(&mut Asm, &mut Frame)) {
    let past = asm.label();
    asm.two(Code::Cmp_r64_rm64, INDEX, END);
    asm.jump(Code::Jg_rel32_64, past);
    let top = asm.label();
    asm.bind(top);
    emit(asm, frame);
    asm.imm(Code::Add_rm64_imm32, INDEX, step);
    asm.two(Code::Cmp_r64_rm64, INDEX, END);
    asm.jump(Code::Jle_rel32_64, top);
    asm.bind(past);
}

/// As many copies side by side as registers allow: they hide the time that one operation waits for another.
pub(super) fn copies(frame: &Frame, body: &Body, lanes: usize) -> (usize, Fit) {
    for copies in [4, 2] {
        if body.items.len() * copies <= LONGEST_BODY {
            let fit = fit(frame, &body.times(copies, lanes));
            if fit.spills == 0 {
                return (copies, fit);
            }
        }
    }
    (1, fit(frame, body))
}

pub(super) fn fit(frame: &Frame, body: &Body) -> Fit {
    Emitter::emit(&mut Asm::default(), &mut frame.clone(), body)
}

/// Constants and uniform values, used most first, for the registers that the body leaves.
pub(super) fn worth_pinning(bodies: &[&Body], frame: &Frame, fit: Fit) -> Vec<Def> {
    let spare = (frame.target.registers() - frame.carried).saturating_sub(fit.peak + 1);
    let mut uses: Vec<(usize, Def)> = Vec::new();
    for (body, def) in bodies.iter().flat_map(|b| b.defs.iter().map(move |d| (b, d))) {
        let Def::Op(op, args) = def else { continue };
        for &arg in &args[..op.arity()] {
            let def = body.defs[arg];
            if !matches!(def, Def::Const(_) | Def::Uniform(_)) {
                continue;
            }
            match uses.iter_mut().find(|u| u.1 == def) {
                Some(u) => u.0 += 1,
                None => uses.push((1, def)),
            }
        }
    }
    uses.sort_by_key(|u| std::cmp::Reverse(u.0));
    uses.into_iter().take(spare).map(|u| u.1).collect()
}

pub(super) fn pin(asm: &mut Asm, frame: &Frame) {
    for (i, def) in frame.pinned.iter().enumerate() {
        let register = frame.target.register(frame.pinned_register(i));
        match *def {
            Def::Const(number) => asm.load(frame.target.load(), register, super::asm::constant(number)),
            Def::Uniform(slot) => asm.load(frame.target.load(), register, at(AREA, slot * SLOT_BYTES)),
            _ => {}
        }
    }
}

/// Registers that belong to the caller.
const SAVED: [Register; 6] = [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

pub(super) fn prologue(asm: &mut Asm) {
    SAVED.iter().for_each(|&r| asm.push(Instruction::with1(Code::Push_r64, r)));
    asm.load(Code::Mov_r64_rm64, AREA, at(ARGS, 8));
}

pub(super) fn epilogue(asm: &mut Asm) {
    asm.push(Ok(Instruction::with(Code::VEX_Vzeroupper)));
    SAVED.iter().rev().for_each(|&r| asm.push(Instruction::with1(Code::Pop_r64, r)));
    asm.push(Ok(Instruction::with(Code::Retnq)));
}

pub(super) fn finish(asm: Asm, pool: &Pool, frame: &Frame) -> Result<Routine, IcedError> {
    let bytes = asm.finish(&pool.vectors)?;
    Ok(Routine {
        #[cfg(test)]
        target: frame.target,
        bytes,
        constants: pool.vectors.len() * CONSTANT_BYTES,
        slots: frame.slots,
    })
}
