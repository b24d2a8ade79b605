//! Routines for the leaf blocks of folds.
//!
//! `rows`: one output after the other, its sixteen accumulators in one or two registers: `lanes` order along contiguous memory.
//! `columns`: one output per lane, all at the same fold position: any order, where neighbouring outputs lie side by side.
//!
//! Arguments of both: number of outputs, area, addresses of the streams, address of the results. Then, for `columns`, bytes from one fold
//! position of each stream to the next, and how many positions there are; for `rows`, bytes from the result of a leaf block to the next
//! one's, values of a leaf block, leaf blocks of an output, and bytes from the end of each stream's last leaf block to the next output's
//! first, and the same for the results.

use iced_x86::{Code, IcedError, Instruction, MemoryOperand};
use lockstep_ir::program::{BLOCK, LANES};

use super::{
    asm::{Asm, at, at_index},
    draft::{Body, Def, Kind, Pool},
    emit::{AREA, ARGS, END, Emitter, Fit, Frame, INDEX, POINTERS, SLOT_BYTES, SPARE},
    ops::Target,
    routine::{Routine, copies, count_loop, element_loops, epilogue, finish, fit, pin, prologue, worth_pinning, zero},
};

/// What `rows` is made for, also where there is AVX-512: two registers of accumulators hide one's latency behind the other's, fewer of
/// their loads cross a line, and what decides between values needs no mask registers (docs/decisions/0023-avx-512.md).
pub(crate) const ROWS: Target = Target::Avx2;
/// Registers of a leaf block's lanes.
pub(crate) const ROWS_REGISTERS: usize = LANES / ROWS.lanes();

/// What a `rows` routine is made of. A body's accumulators are the registers of a leaf block's lanes.
pub(crate) struct RowsSpec<'a> {
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

/// Leaf blocks in `lanes` order, output by output.
pub(crate) fn rows(spec: &RowsSpec<'_>) -> Result<Routine, IcedError> {
    let n = spec.streams.len();
    let frame = Frame {
        target: ROWS,
        streams: spec.streams.to_vec(),
        first_pointer: 2,
        slots: spec.slots,
        pinned: Vec::new(),
        carried: ROWS_REGISTERS,
        mask: None,
    };
    let body = spec.long.map_or(spec.step, |l| l.0);
    let fits = [body, spec.halving].map(|b| fit(&frame, b));
    let fit = Fit { peak: fits[0].peak.max(fits[1].peak), ..fits[0] };
    // What is uniform changes from one leaf block to the next.
    let mut pinned = worth_pinning(&[body, spec.halving], &frame, fit);
    pinned.retain(|def| matches!(def, Def::Const(_)));
    let mut frame = Frame { pinned, ..frame };
    let mut asm = Asm::default();
    prologue(&mut asm);
    load_pointers(&mut asm, n + 1);
    pin(&mut asm, &frame);
    let more = 2 + n + 1;
    let (rows_left, blocks_left) = (SPARE, POINTERS[n + 1]);
    // What addresses are made of stays in registers, if there are enough: else each leaf block's loads wait for those of an argument, which
    // wait for all before them.
    let jumps = POINTERS.get(n + 2..2 * n + 2);
    for (i, &register) in jumps.into_iter().flatten().enumerate() {
        asm.load(Code::Mov_r64_rm64, register, at(ARGS, 8 * (more + 3 + i)));
    }
    asm.load(Code::Mov_r64_rm64, rows_left, at(ARGS, 0));
    asm.load(Code::Mov_r64_rm64, END, at(ARGS, 8 * (more + 1)));
    let (row, block) = (asm.label(), asm.label());
    asm.bind(row);
    asm.load(Code::Mov_r64_rm64, blocks_left, at(ARGS, 8 * (more + 2)));
    asm.bind(block);
    leaf_block(&mut asm, &mut frame, spec);
    asm.load(Code::Add_r64_rm64, POINTERS[n], at(ARGS, 8 * more));
    asm.imm(Code::Sub_rm64_imm32, blocks_left, 1);
    asm.jump(Code::Jne_rel32_64, block);
    match jumps {
        Some(jumps) => (0..n).for_each(|i| asm.two(Code::Add_r64_rm64, POINTERS[i], jumps[i])),
        None => advance(&mut asm, n, more + 3),
    }
    asm.load(Code::Add_r64_rm64, POINTERS[n], at(ARGS, 8 * (more + 3 + n)));
    asm.imm(Code::Sub_rm64_imm32, rows_left, 1);
    asm.jump(Code::Jne_rel32_64, row);
    epilogue(&mut asm);
    finish(asm, spec.pool, &frame)
}

/// One leaf block: its result is stored, and streams go on to the next.
fn leaf_block(asm: &mut Asm, frame: &mut Frame, spec: &RowsSpec<'_>) {
    for (i, slot) in spec.same.iter().enumerate() {
        if let Some(slot) = slot {
            let register = ROWS.register(0);
            asm.load(ROWS.broadcast(), register, at(POINTERS[i], 0));
            asm.store(ROWS.store(), at(AREA, slot * SLOT_BYTES), register);
        }
    }
    start_accumulators(asm, frame, spec.init, ROWS_REGISTERS);
    steps(asm, frame, spec);
    Emitter::emit(asm, frame, spec.halving);
    for (i, kind) in spec.streams.iter().enumerate() {
        if *kind != Kind::Same {
            asm.imm(Code::Add_rm64_imm32, POINTERS[i], BLOCK as usize * kind.size());
        }
    }
}

/// The values of one leaf block: as many as `END` says.
fn steps(asm: &mut Asm, frame: &mut Frame, spec: &RowsSpec<'_>) {
    zero(asm);
    if let Some((body, values)) = spec.long {
        asm.imm(Code::Sub_rm64_imm32, END, values);
        count_loop(asm, frame, values, |asm, frame| _ = Emitter::emit(asm, frame, body));
        asm.imm(Code::Add_rm64_imm32, END, values);
    }
    asm.imm(Code::Sub_rm64_imm32, END, 16);
    count_loop(asm, frame, 16, |asm, frame| _ = Emitter::emit(asm, frame, spec.step));
    asm.imm(Code::Add_rm64_imm32, END, 16);
    if let Some(rest) = spec.rest {
        let none = asm.label();
        asm.two(Code::Cmp_r64_rm64, INDEX, END);
        asm.jump(Code::Jge_rel32_64, none);
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
    /// The first accumulators; if there are none, what the results hold so far.
    pub(crate) init: Option<u32>,
    pub(crate) body: &'a Body,
    /// Stores the accumulator.
    pub(crate) end: &'a Body,
    pub(crate) streams: &'a [Kind],
    /// It takes a list.
    pub(crate) listed: bool,
}

/// One accumulator per output, over as many fold positions as the length says. At least one register's outputs; the last register's
/// may be computed twice, unless they are whole registers.
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
    let mut frame = Frame { pinned: worth_pinning(&[&wide[0]], &frame(4), fit), ..frame(4) };
    let mut asm = Asm::default();
    prologue(&mut asm);
    pin(&mut asm, &frame);
    element_loops(&mut asm, &mut frame, times, |asm, frame, wide_now| {
        let [body, end] = if wide_now { [&wide[0], &wide[1]] } else { [spec.body, spec.end] };
        let count = if wide_now { times } else { 1 };
        match spec.init {
            Some(init) => start_accumulators(asm, frame, init, count),
            None => load_accumulators(asm, frame, at(ARGS, 8 * (2 + n)), count),
        }
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

/// Accumulators go on from the results at the address that this argument says.
fn load_accumulators(asm: &mut Asm, frame: &Frame, results: MemoryOperand, count: usize) {
    asm.load(Code::Mov_r64_rm64, SPARE, results);
    for i in 0..count {
        let register = frame.target.register(frame.carried_register(i));
        asm.load(frame.target.load(), register, at_index(SPARE, INDEX, 4, 4 * i * frame.target.lanes()));
    }
}
