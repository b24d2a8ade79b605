//! Registers for a loop's body, and its instructions.
//!
//! The body is a straight line, so the value that is needed last is the best one to put away when registers run out. Constants,
//! uniform values and stream elements need not be put away: they are in memory already, and operations read them there where the
//! machine allows it.

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::{
    asm::{Asm, at, at_index, constant},
    draft::{Body, Def, Item, Kind, Val},
    masks::Masks,
    ops::Target,
};

/// General registers while a routine runs.
pub(crate) const ARGS: Register = Register::RDI;
/// Uniform values and values that were put away.
pub(crate) const AREA: Register = Register::RSI;
/// Element that the loop is at.
pub(crate) const INDEX: Register = Register::RAX;
/// Where the loop ends.
pub(crate) const END: Register = Register::RCX;
/// For addresses that have no register of their own.
pub(crate) const SPARE: Register = Register::R11;
/// Addresses of streams and outputs.
pub(crate) const POINTERS: [Register; 10] = [
    Register::RDX,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];
/// Bytes of a slot of the area.
pub(crate) const SLOT_BYTES: usize = 64;

/// What bodies of one routine share.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) target: Target,
    /// How each stream's elements lie.
    pub(crate) streams: Vec<Kind>,
    /// Position of the first stream's address among the arguments; the outputs' follow.
    pub(crate) first_pointer: usize,
    /// Slots of the area in use.
    pub(crate) slots: usize,
    /// Values that keep a register through the routine, from the last register down.
    pub(crate) pinned: Vec<Def>,
    /// Registers of accumulators, below those.
    pub(crate) carried: usize,
    /// Loads of whole words take only the lanes of this mask, which lies in the area. For AVX2 only.
    pub(crate) mask: Option<usize>,
}

impl Frame {
    fn usable(&self) -> usize {
        self.target.registers() - self.pinned.len() - self.carried
    }

    /// Register of a pinned value.
    pub(crate) fn pinned_register(&self, i: usize) -> u8 {
        (self.target.registers() - 1 - i) as u8
    }

    /// Register of an accumulator.
    pub(crate) fn carried_register(&self, i: usize) -> u8 {
        (self.usable() + i) as u8
    }

    /// Address of the current element of the n-th pointer, `lane` elements on.
    fn element(&self, asm: &mut Asm, pointer: usize, kind: Kind, lane: usize) -> MemoryOperand {
        let base = POINTERS.get(pointer).copied().unwrap_or_else(|| {
            asm.load(Code::Mov_r64_rm64, SPARE, at(ARGS, 8 * (self.first_pointer + pointer)));
            SPARE
        });
        if kind == Kind::Same { at(base, 0) } else { at_index(base, INDEX, kind.size(), lane * kind.size()) }
    }
}

/// How well a body fits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fit {
    /// Values that were put away.
    pub(crate) spills: usize,
    /// Most registers in use at once.
    pub(crate) peak: usize,
}

/// An argument: a register, or memory.
#[derive(Clone, Copy)]
pub(crate) enum Arg {
    Reg(Register),
    Mem(MemoryOperand),
}

/// Emits one body.
pub(crate) struct Emitter<'a> {
    pub(super) asm: &'a mut Asm,
    pub(super) frame: &'a mut Frame,
    body: &'a Body,
    /// What each usable register holds.
    held: Vec<Option<Val>>,
    /// Register of each value.
    pub(super) register: Vec<Option<u8>>,
    /// Slot of each value that was put away.
    away: Vec<Option<usize>>,
    /// Items that use each value, the next one last.
    uses: Vec<Vec<usize>>,
    /// The accumulator that each value ends in.
    carries: Vec<Option<usize>>,
    /// Results of comparisons that are in mask registers.
    pub(super) masks: Masks,
    /// Registers that the current item needs.
    pub(super) locked: Vec<u8>,
    fit: Fit,
}

fn args(def: &Def) -> &[Val] {
    match def {
        Def::Op(op, args) => &args[..op.arity()],
        _ => &[],
    }
}

impl<'a> Emitter<'a> {
    /// Emits a body and tells how well it fits.
    pub(crate) fn emit(asm: &'a mut Asm, frame: &'a mut Frame, body: &'a Body) -> Fit {
        let n = body.defs.len();
        let mut uses = vec![Vec::new(); n];
        let mut carries = vec![None; n];
        for (at, item) in body.items.iter().enumerate().rev() {
            match *item {
                Item::Make(val) => args(&body.defs[val]).iter().for_each(|&a| uses[a].push(at)),
                Item::Store { val, .. } => uses[val].push(at),
                Item::Carry { val, to } => {
                    uses[val].push(at);
                    carries[val] = Some(to);
                }
            }
        }
        let held = vec![None; frame.usable()];
        let mut register = vec![None; n];
        for (val, def) in body.defs.iter().enumerate() {
            register[val] = match def {
                Def::Carried(i) => Some(frame.carried_register(*i)),
                def => frame.pinned.iter().position(|p| p == def).map(|i| frame.pinned_register(i)),
            };
        }
        let away = vec![None; n];
        let (masks, locked) = (Masks::default(), Vec::new());
        let mut e = Self { asm, frame, body, held, register, away, uses, carries, masks, locked, fit: Fit::default() };
        (0..body.items.len()).for_each(|at| e.item(at));
        e.fit
    }

    fn item(&mut self, at: usize) {
        self.locked.clear();
        match self.body.items[at] {
            Item::Make(val) => {
                if let Def::Op(op, three) = self.body.defs[val] {
                    self.operation(at, val, op, three);
                }
            }
            Item::Store { val, out, kind, lane } => {
                let from = self.in_register(val);
                let pointer = self.frame.streams.len() + out;
                let to = self.frame.element(self.asm, pointer, kind, lane);
                self.store(kind, to, from);
                self.done_with(val, at);
            }
            Item::Carry { val, to } => {
                let acc = self.frame.carried_register(to);
                match self.operand(val) {
                    Arg::Reg(r) if r == self.name(acc) => {}
                    Arg::Reg(r) => self.asm.two(self.frame.target.copy(), self.name(acc), r),
                    Arg::Mem(m) => self.asm.load(self.frame.target.load(), self.name(acc), m),
                }
                self.done_with(val, at);
            }
        }
    }

    pub(super) fn name(&self, register: u8) -> Register {
        self.frame.target.register(register)
    }

    fn store(&mut self, kind: Kind, to: MemoryOperand, from: Register) {
        let (code, from) = match (kind, self.frame.target) {
            (Kind::Word, target) => (target.store(), from),
            (Kind::Same, Target::Avx2) => (Code::VEX_Vmovss_m32_xmm, narrow(from)),
            (Kind::Same, Target::Avx512) => (Code::EVEX_Vmovss_m32_k1_xmm, narrow(from)),
            (Kind::Half, Target::Avx2) => (Code::VEX_Vmovdqu_xmmm128_xmm, narrow(from)),
            (Kind::Byte, Target::Avx2) => (Code::VEX_Vmovq_xmmm64_xmm, narrow(from)),
            (Kind::Half, Target::Avx512) => (Code::EVEX_Vpmovdw_ymmm256_k1z_zmm, from),
            (Kind::Byte, Target::Avx512) => (Code::EVEX_Vpmovsdb_xmmm128_k1z_zmm, from),
        };
        self.asm.store(code, to, from);
    }

    // --- Registers ----------------------------------------------------------------------------------------------------------

    /// Memory where the value is, if it is there as a whole register.
    fn in_memory(&mut self, val: Val) -> Option<MemoryOperand> {
        if let Some(slot) = self.away[val] {
            return Some(at(AREA, slot * SLOT_BYTES));
        }
        match self.body.defs[val] {
            Def::Const(number) => Some(constant(number)),
            Def::Uniform(slot) => Some(at(AREA, slot * SLOT_BYTES)),
            Def::Stream { slot, lane } if self.frame.streams[slot] == Kind::Word && self.frame.mask.is_none() => {
                Some(self.frame.element(self.asm, slot, Kind::Word, lane))
            }
            _ => None,
        }
    }

    pub(super) fn next_use(&self, val: Val) -> usize {
        self.uses[val].last().copied().unwrap_or(usize::MAX)
    }

    /// A register that holds nothing; puts away the value needed last if there is none.
    pub(super) fn free_register(&mut self) -> u8 {
        let open: Vec<usize> = (0..self.held.len()).filter(|&r| !self.locked.contains(&(r as u8))).collect();
        let free = open.iter().copied().find(|&r| self.held[r].is_none());
        let register = free.unwrap_or_else(|| {
            let victim = open
                .iter()
                .copied()
                .max_by_key(|&r| self.held[r].map_or(usize::MAX, |v| self.next_use(v)))
                .unwrap_or(0);
            self.put_away(victim);
            victim
        });
        self.locked.push(register as u8);
        register as u8
    }

    fn put_away(&mut self, register: usize) {
        let Some(val) = self.held[register].take() else { return };
        self.register[val] = None;
        let again = matches!(self.body.defs[val], Def::Const(_) | Def::Uniform(_) | Def::Stream { .. });
        if !again && self.away[val].is_none() {
            let slot = self.frame.slots;
            self.frame.slots += 1;
            self.away[val] = Some(slot);
            self.fit.spills += 1;
            let name = self.name(register as u8);
            self.asm.store(self.frame.target.store(), at(AREA, slot * SLOT_BYTES), name);
        }
    }

    pub(super) fn hold(&mut self, val: Val, register: u8) {
        self.register[val] = Some(register);
        if let Some(slot) = self.held.get_mut(usize::from(register)) {
            *slot = Some(val);
        }
        self.fit.peak = self.fit.peak.max(self.held.iter().flatten().count());
    }

    /// The value's register; loads it if it has none.
    pub(super) fn in_register(&mut self, val: Val) -> Register {
        if let Some(r) = self.register[val] {
            self.locked.push(r);
            return self.name(r);
        }
        let r = self.free_register();
        let name = self.name(r);
        if let Some(mask) = self.masks.of(val) {
            self.asm.two(Code::EVEX_Vpmovm2d_zmm_kr, name, mask);
        } else if let Some(memory) = self.in_memory(val) {
            self.asm.load(self.frame.target.load(), name, memory);
        } else if let Def::Stream { slot, lane } = self.body.defs[val] {
            self.load_stream(slot, lane, name);
        }
        self.hold(val, r);
        name
    }

    fn load_stream(&mut self, slot: usize, lane: usize, to: Register) {
        let kind = self.frame.streams[slot];
        let target = self.frame.target;
        let from = self.frame.element(self.asm, slot, kind, lane);
        match (kind, self.frame.mask) {
            (Kind::Word, Some(mask)) => {
                // Lanes that the mask leaves out are 0, and their memory is not touched.
                let mask = at(AREA, (mask + lane % 16 / target.lanes()) * SLOT_BYTES);
                self.asm.load(target.load(), to, mask);
                self.asm.push(Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, to, to, from));
            }
            (Kind::Word, None) => self.asm.load(target.load(), to, from),
            (Kind::Same, _) => self.asm.load(target.broadcast(), to, from),
            (Kind::Byte, _) => self.asm.load(target.widen_bytes(), to, from),
            (Kind::Half, _) => self.asm.load(target.widen_halves(), to, from),
        }
    }

    /// The value's register if it has one or will be needed again, else its memory.
    pub(super) fn operand(&mut self, val: Val) -> Arg {
        let again = self.uses[val].len() > 1 && !matches!(self.body.defs[val], Def::Const(_) | Def::Uniform(_));
        if self.register[val].is_none()
            && !again
            && let Some(memory) = self.in_memory(val)
        {
            return Arg::Mem(memory);
        }
        Arg::Reg(self.in_register(val))
    }

    pub(super) fn is_in_register(&self, val: Val) -> bool {
        self.register[val].is_some()
    }

    /// This item has used the value; its register is free if no other does.
    pub(super) fn done_with(&mut self, val: Val, at: usize) {
        while self.uses[val].last() == Some(&at) {
            self.uses[val].pop();
        }
        if !self.uses[val].is_empty() {
            return;
        }
        self.masks.forget(val);
        if let Some(r) = self.register[val]
            && let Some(slot) = self.held.get_mut(usize::from(r))
        {
            *slot = None;
            self.register[val] = None;
        }
    }

    /// Whether no later item uses the value, and its register may be written.
    pub(super) fn dies(&self, val: Val, at: usize) -> bool {
        let owned = self.register[val].is_some_and(|r| usize::from(r) < self.held.len());
        owned && self.uses[val].iter().all(|&u| u == at)
    }

    /// Register of the accumulator that the value ends in, if nobody needs the accumulator after this item.
    pub(super) fn accumulator(&self, at: usize, val: Val) -> Option<u8> {
        let to = self.carries[val]?;
        let acc = self.body.defs.iter().position(|d| *d == Def::Carried(to));
        let free = acc.is_none_or(|acc| self.uses[acc].iter().all(|&u| u <= at));
        free.then(|| self.frame.carried_register(to))
    }

    pub(super) fn destination(&mut self, at: usize, val: Val) -> u8 {
        self.accumulator(at, val).unwrap_or_else(|| self.free_register())
    }
}

/// The first 128 bits of a register.
fn narrow(register: Register) -> Register {
    let first = if register.is_zmm() { Register::ZMM0 } else { Register::YMM0 };
    Register::XMM0 + (register as u32 - first as u32)
}
