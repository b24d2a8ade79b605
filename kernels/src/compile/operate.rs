//! The instructions of each vector operation, once its values have registers.

use iced_x86::{Code, IcedError, Instruction, Register};

use super::{
    draft::Val,
    emit::{Arg, Emitter},
    masks::SCRATCH,
    ops::{Imm, Target, Vop},
};

impl Emitter<'_> {
    pub(super) fn operation(&mut self, at: usize, val: Val, op: Vop, three: [Val; 3]) {
        let mut args = three;
        if op == Vop::Fma {
            return self.fma(at, val, args);
        }
        if op.commutes() && !self.is_in_register(args[0]) && self.is_in_register(args[1]) {
            args.swap(0, 1);
        }
        let [a, b, c] = args;
        match op {
            Vop::One(one) => {
                let from = self.operand(a);
                let dst = self.finish_args(at, val, &[a]);
                self.one(one.code(self.frame.target), dst, from);
            }
            Vop::Imm(imm, number) => {
                let memory = imm == Imm::Round || self.frame.target == Target::Avx512;
                let from = if memory { self.operand(a) } else { Arg::Reg(self.in_register(a)) };
                let dst = self.finish_args(at, val, &[a]);
                self.imm(imm.code(self.frame.target), dst, from, number);
            }
            Vop::Select => {
                let mask = self.masks.of(a);
                let mask = mask.unwrap_or_else(|| self.in_register(a));
                let no = self.in_register(c);
                let yes = self.operand(b);
                let dst = self.finish_args(at, val, &[a, b, c]);
                self.select(dst, mask, yes, no);
            }
            Vop::FCompare(_) | Vop::Equal | Vop::Greater if self.frame.target == Target::Avx512 => {
                let first = self.in_register(a);
                let second = self.operand(b);
                let mask = self.mask_for(val);
                [a, b].iter().for_each(|&x| self.done_with(x, at));
                self.compare(op, mask, first, second);
            }
            _ => {
                let first = self.in_register(a);
                let second = self.operand(b);
                let dst = self.finish_args(at, val, &[a, b]);
                self.binary(op, dst, first, second);
            }
        }
    }

    /// Frees what dies and gives the result its register.
    fn finish_args(&mut self, at: usize, val: Val, args: &[Val]) -> Register {
        args.iter().for_each(|&a| self.done_with(a, at));
        self.locked.clear();
        let dst = self.destination(at, val);
        self.hold(val, dst);
        self.name(dst)
    }

    /// The mask register of a comparison's result. What it held so far becomes a vector, if it is needed and is none yet.
    fn mask_for(&mut self, val: Val) -> Register {
        let mask = self.masks.room(|held| self.next_use(held));
        if let Some(held) = self.masks.held(mask) {
            self.in_register(held);
        }
        self.masks.hold(mask, val);
        mask
    }

    pub(super) fn one(&mut self, code: Code, dst: Register, from: Arg) {
        match from {
            Arg::Reg(r) => self.asm.two(code, dst, r),
            Arg::Mem(m) => self.asm.load(code, dst, m),
        }
    }

    fn imm(&mut self, code: Code, dst: Register, from: Arg, number: u8) {
        let number = u32::from(number);
        self.asm.push(match from {
            Arg::Reg(r) => Instruction::with3(code, dst, r, number),
            Arg::Mem(m) => Instruction::with3(code, dst, m, number),
        });
    }

    fn select(&mut self, dst: Register, mask: Register, yes: Arg, no: Register) {
        let instruction = match self.frame.target {
            Target::Avx2 => {
                let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
                match yes {
                    Arg::Reg(r) => Instruction::with4(code, dst, no, r, mask),
                    Arg::Mem(m) => Instruction::with4(code, dst, no, m, mask),
                }
            }
            Target::Avx512 => {
                let mask = if mask.is_k() {
                    mask
                } else {
                    self.asm.two(Code::EVEX_Vpmovd2m_kr_zmm, SCRATCH, mask);
                    SCRATCH
                };
                let blend = three(Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32, dst, no, yes);
                blend.map(|mut i| {
                    i.set_op_mask(mask);
                    i
                })
            }
        };
        self.asm.push(instruction);
    }

    fn binary(&mut self, op: Vop, dst: Register, a: Register, b: Arg) {
        self.asm.push(match op {
            Vop::Two(two) => three(two.code(self.frame.target), dst, a, b),
            Vop::FCompare(p) => four(Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, dst, a, b, p as u32),
            Vop::Equal => three(Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256, dst, a, b),
            _ => three(Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256, dst, a, b),
        });
    }

    /// A comparison of AVX-512, whose result is a mask.
    fn compare(&mut self, op: Vop, mask: Register, a: Register, b: Arg) {
        let (code, predicate) = match op {
            Vop::FCompare(p) => (Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae, p as u32),
            Vop::Equal => (Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8, 0),
            _ => (Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8, 6),
        };
        self.asm.push(four(code, mask, a, b, predicate));
    }

    /// The instruction overwrites one of its arguments: one that is not needed any more, or a copy of the addend.
    fn fma(&mut self, at: usize, val: Val, [a, b, c]: [Val; 3]) {
        let [code_132, code_213, code_231] = self.fma_codes();
        let home = self.accumulator(at, val);
        let over = [c, a, b].into_iter().find(|&x| match home {
            Some(acc) => self.register[x] == Some(acc),
            None => self.dies(x, at),
        });
        let (a, b) = if over == Some(b) || !self.is_in_register(a) && over != Some(a) { (b, a) } else { (a, b) };
        let (code, dst, second, third) = match over {
            Some(x) if x == c => {
                let dst = self.keep(x);
                let second = self.in_register(a);
                (code_231, dst, second, self.operand(b))
            }
            Some(x) => {
                let dst = self.keep(x);
                if !self.is_in_register(b) && self.is_in_register(c) {
                    let second = self.in_register(c);
                    (code_132, dst, second, self.operand(b))
                } else {
                    let second = self.in_register(b);
                    (code_213, dst, second, self.operand(c))
                }
            }
            None => {
                let second = self.in_register(a);
                if self.is_in_register(b) {
                    self.keep(b);
                }
                let addend = self.operand(c);
                let dst = home.unwrap_or_else(|| self.free_register());
                let target = self.frame.target;
                let code = if matches!(addend, Arg::Reg(_)) { target.copy() } else { target.load() };
                self.one(code, self.name(dst), addend);
                (code_231, dst, second, self.operand(b))
            }
        };
        [a, b, c].iter().for_each(|&x| self.done_with(x, at));
        self.hold(val, dst);
        let dst = self.name(dst);
        self.asm.push(three(code, dst, second, third));
    }

    /// The number of a register that the current item must not lose.
    pub(super) fn keep(&mut self, val: Val) -> u8 {
        let register = self.register[val].unwrap_or(0);
        self.locked.push(register);
        register
    }

    /// Forms 132, 213 and 231.
    fn fma_codes(&self) -> [Code; 3] {
        match self.frame.target {
            Target::Avx2 => [
                Code::VEX_Vfmadd132ps_ymm_ymm_ymmm256,
                Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256,
                Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
            ],
            Target::Avx512 => [
                Code::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
            ],
        }
    }
}

fn three(code: Code, dst: Register, a: Register, b: Arg) -> Result<Instruction, IcedError> {
    match b {
        Arg::Reg(b) => Instruction::with3(code, dst, a, b),
        Arg::Mem(b) => Instruction::with3(code, dst, a, b),
    }
}

fn four(code: Code, dst: Register, a: Register, b: Arg, number: u32) -> Result<Instruction, IcedError> {
    match b {
        Arg::Reg(b) => Instruction::with4(code, dst, a, b, number),
        Arg::Mem(b) => Instruction::with4(code, dst, a, b, number),
    }
}
