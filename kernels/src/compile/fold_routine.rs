//! Routines for the leaf blocks of folds.
//!
//! `rows`: one output after the other, its sixteen accumulators in one or two registers: `lanes` order along contiguous memory.
//! `columns`: one output per lane, all at the same fold position: any order, where neighbouring outputs lie side by side.
//!
//! Arguments of both: number of outputs, area, addresses of the streams, address of the results, bytes from one leaf block (or fold
//! position) of each stream to the next, length. Those of `rows` go on: whether a rest follows the whole steps of sixteen values that
//! the length counts, leaf blocks of an output, the same number again (which the routine counts down), bytes from the end of each
//! stream's last leaf block to the next output's first.

use iced_x86::{Code, IcedError, Instruction};

use super::{
    asm::{Asm, at},
    draft::{Body, Def, Kind, Pool},
    emit::{AREA, ARGS, END, Emitter, Frame, POINTERS, SLOT_BYTES, SPARE},
    ops::Target,
    routine::{Routine, copies, count_loop, element_loops, epilogue, finish, pin, prologue, worth_pinning, zero},
};

/// What a `rows` routine is made of. A body's accumulators are the registers of a leaf block's lanes.
pub(crate) struct RowsSpec<'a> {
    pub(crate) target: Target,
    pub(crate) pool: &'a Pool,
    /// The first accumulators.
    pub(crate) init: u32,
    /// Several steps of sixteen values, and how many values that are.
    pub(crate) long: Option<(&'a Body, usize)>,
    /// One step of sixteen values.
    pub(crate) step: &'a Body,
    /// One step of fewer, whose lanes a mask leaves out.
    pub(crate) rest: Option<&'a Body>,
    /// From the accumulators to the stored result.
    pub(crate) halving: &'a Body,
    pub(crate) streams: &'a [Kind],
    /// Slot of the value that the n-th stream has for a whole leaf block, if it has.
    pub(crate) same: &'a [Option<usize>],
    /// First slot of the mask: one for each register of a leaf block.
    pub(crate) mask: usize,
    pub(crate) slots: usize,
}

/// Leaf blocks in `lanes` order, output by output. Writes the last number of leaf blocks in its arguments.
pub(crate) fn rows(spec: &RowsSpec<'_>) -> Result<Routine, IcedError> {
    let (n, registers) = (spec.streams.len(), 16 / spec.target.lanes());
    let frame = Frame {
        target: spec.target,
        streams: spec.streams.to_vec(),
        first_pointer: 2,
        slots: spec.slots,
        pinned: Vec::new(),
        carried: registers,
        mask: None,
    };
    let body = spec.long.map_or(spec.step, |l| l.0);
    let fit = Emitter::emit(&mut Asm::default(), &mut frame.clone(), body);
    // What is uniform changes from one leaf block to the next.
    let mut pinned = worth_pinning(body, &frame, fit);
    pinned.retain(|def| matches!(def, Def::Const(_)));
    let mut frame = Frame { pinned, ..frame };
    let mut asm = Asm::default();
    prologue(&mut asm);
    load_pointers(&mut asm, n + 1);
    pin(&mut asm, &frame);
    asm.load(Code::Mov_r64_rm64, SPARE, at(ARGS, 0));
    let top = asm.label();
    asm.bind(top);
    for (i, slot) in spec.same.iter().enumerate() {
        if let Some(slot) = slot {
            let register = spec.target.register(0);
            asm.load(spec.target.broadcast(), register, at(POINTERS[i], 0));
            asm.store(spec.target.store(), at(AREA, slot * SLOT_BYTES), register);
        }
    }
    start_accumulators(&mut asm, &frame, spec.init, registers);
    steps(&mut asm, &mut frame, spec, 2 + n + 1 + n);
    Emitter::emit(&mut asm, &mut frame, spec.halving);
    asm.imm(Code::Add_rm64_imm32, POINTERS[n], 4);
    advance(&mut asm, n, 2 + n + 1);
    let blocks = 2 + n + 1 + n + 2;
    asm.push(Instruction::with2(Code::Sub_rm64_imm32, at(ARGS, 8 * (blocks + 1)), 1));
    asm.jump(Code::Jne_rel32_64, top);
    asm.load(Code::Mov_r64_rm64, END, at(ARGS, 8 * blocks));
    asm.store(Code::Mov_rm64_r64, at(ARGS, 8 * (blocks + 1)), END);
    advance(&mut asm, n, blocks + 2);
    asm.imm(Code::Sub_rm64_imm32, SPARE, 1);
    asm.jump(Code::Jne_rel32_64, top);
    epilogue(&mut asm);
    finish(asm, spec.pool, &frame)
}

/// The values of one leaf block.
fn steps(asm: &mut Asm, frame: &mut Frame, spec: &RowsSpec<'_>, length: usize) {
    zero(asm);
    asm.load(Code::Mov_r64_rm64, END, at(ARGS, 8 * length));
    if let Some((body, values)) = spec.long {
        asm.imm(Code::Sub_rm64_imm32, END, values);
        count_loop(asm, frame, values, |asm, frame| _ = Emitter::emit(asm, frame, body));
        asm.imm(Code::Add_rm64_imm32, END, values);
    }
    asm.imm(Code::Sub_rm64_imm32, END, 16);
    count_loop(asm, frame, 16, |asm, frame| _ = Emitter::emit(asm, frame, spec.step));
    if let Some(rest) = spec.rest {
        let none = asm.label();
        asm.push(Instruction::with2(Code::Cmp_rm64_imm32, at(ARGS, 8 * (length + 1)), 0));
        asm.jump(Code::Je_rel32_64, none);
        frame.mask = Some(spec.mask);
        Emitter::emit(asm, frame, rest);
        frame.mask = None;
        asm.bind(none);
    }
}

/// What a `columns` routine is made of. A body has one accumulator.
pub(crate) struct ColumnsSpec<'a> {
    pub(crate) target: Target,
    pub(crate) pool: &'a Pool,
    pub(crate) init: u32,
    pub(crate) body: &'a Body,
    /// Stores the accumulator.
    pub(crate) end: &'a Body,
    pub(crate) streams: &'a [Kind],
    /// It takes a list.
    pub(crate) listed: bool,
}

/// One accumulator per output, over as many fold positions as the length says. At least one register's outputs; the last register's
/// may be computed twice.
pub(crate) fn columns(spec: &ColumnsSpec<'_>) -> Result<Routine, IcedError> {
    let (n, lanes) = (spec.streams.len(), spec.target.lanes());
    let frame = |carried: usize| Frame {
        target: spec.target,
        streams: spec.streams.to_vec(),
        first_pointer: 2,
        slots: 0,
        pinned: Vec::new(),
        carried,
        mask: None,
    };
    let (times, fit) = copies(&frame(4), spec.body, lanes);
    let wide = [spec.body.times(times, lanes), spec.end.times(times, lanes)];
    let mut frame = Frame { pinned: worth_pinning(&wide[0], &frame(4), fit), ..frame(4) };
    let mut asm = Asm::default();
    prologue(&mut asm);
    pin(&mut asm, &frame);
    element_loops(&mut asm, &mut frame, times, |asm, frame, wide_now| {
        let [body, end] = if wide_now { [&wide[0], &wide[1]] } else { [spec.body, spec.end] };
        start_accumulators(asm, frame, spec.init, if wide_now { times } else { 1 });
        let positions = if spec.listed { listed_positions } else { even_positions };
        positions(asm, n, &mut |asm| _ = Emitter::emit(asm, frame, body));
        Emitter::emit(asm, frame, end);
    });
    epilogue(&mut asm);
    finish(asm, spec.pool, &frame)
}

/// The body at so many fold positions as the length says, perhaps none, through which streams go evenly.
fn even_positions(asm: &mut Asm, n: usize, body: &mut dyn FnMut(&mut Asm)) {
    load_pointers(asm, n + 1);
    let (top, none) = (asm.label(), asm.label());
    asm.load(Code::Mov_r64_rm64, SPARE, at(ARGS, 8 * (2 + n + 1 + n)));
    asm.push(Instruction::with2(Code::Test_rm64_r64, SPARE, SPARE));
    asm.jump(Code::Je_rel32_64, none);
    asm.bind(top);
    body(asm);
    advance(asm, n, 2 + n + 1);
    asm.imm(Code::Sub_rm64_imm32, SPARE, 1);
    asm.jump(Code::Jne_rel32_64, top);
    asm.bind(none);
}

/// The body at every fold position of the list.
fn listed_positions(asm: &mut Asm, n: usize, body: &mut dyn FnMut(&mut Asm)) {
    asm.load(Code::Mov_r64_rm64, POINTERS[n], at(ARGS, 8 * (2 + n)));
    asm.load(Code::Mov_r64_rm64, SPARE, at(ARGS, 8 * 2));
    let top = asm.label();
    asm.bind(top);
    for (i, &register) in POINTERS.iter().enumerate().take(n) {
        asm.load(Code::Mov_r64_rm64, register, at(SPARE, 8 * i));
    }
    body(asm);
    asm.imm(Code::Add_rm64_imm32, SPARE, 8 * n);
    asm.load(Code::Cmp_r64_rm64, SPARE, at(ARGS, 8 * (2 + n + 1)));
    asm.jump(Code::Jne_rel32_64, top);
}

fn load_pointers(asm: &mut Asm, count: usize) {
    for (i, &register) in POINTERS.iter().enumerate().take(count) {
        asm.load(Code::Mov_r64_rm64, register, at(ARGS, 8 * (2 + i)));
    }
}

/// Every stream goes on by its number among the arguments from `first` on.
fn advance(asm: &mut Asm, streams: usize, first: usize) {
    for (i, &register) in POINTERS.iter().enumerate().take(streams) {
        asm.load(Code::Add_r64_rm64, register, at(ARGS, 8 * (first + i)));
    }
}

fn start_accumulators(asm: &mut Asm, frame: &Frame, init: u32, count: usize) {
    for i in 0..count {
        let register = frame.target.register(frame.carried_register(i));
        asm.load(frame.target.load(), register, super::asm::constant(init));
    }
}
