//! Runs the AVX-512 code of routines on machines without AVX-512: decodes it and does what Intel's manual says, lane by lane. For tests.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use lockstep_ir::number::{apply, saturate_i8};
use lockstep_ir::scalar::Op;

type Vector = [u32; 16];

/// The registers that routines use.
struct Machine<'a> {
    code: &'a [u8],
    general: [u64; 16],
    vectors: [Vector; 32],
    masks: [u16; 8],
    /// The last comparison's or subtraction's result, as a signed number that did not overflow.
    flags: i128,
    stack: Vec<u64>,
}

/// Runs the routine at `at` with these arguments. Addresses among them are real ones.
pub(super) fn run(code: &[u8], at: usize, arguments: &mut [u64]) {
    let mut decoder = Decoder::with_ip(64, &code[at..], at as u64, DecoderOptions::NONE);
    let (mut list, mut index): (Vec<Instruction>, HashMap<u64, usize>) = (Vec::new(), HashMap::new());
    while list.last().is_none_or(|i| i.mnemonic() != Mnemonic::Ret) {
        let instruction = decoder.decode();
        assert!(!instruction.is_invalid(), "bytes that are no instruction");
        index.insert(instruction.ip(), list.len());
        list.push(instruction);
    }
    let mut general = [0; 16];
    general[Register::RDI as usize - Register::RAX as usize] = arguments.as_mut_ptr() as u64;
    let mut m = Machine { code, general, vectors: [[0xdead_beef; 16]; 32], masks: [0; 8], flags: 0, stack: Vec::new() };
    let mut next = 0;
    while list[next].mnemonic() != Mnemonic::Ret {
        let i = list[next];
        next = if m.step(&i) { index[&i.near_branch_target()] } else { next + 1 };
    }
    assert!(m.stack.is_empty(), "pushed as often as popped");
}

impl Machine<'_> {
    /// Whether the instruction jumps.
    fn step(&mut self, i: &Instruction) -> bool {
        match i.mnemonic() {
            Mnemonic::Jmp => return true,
            Mnemonic::Jg => return self.flags > 0,
            Mnemonic::Jge => return self.flags >= 0,
            Mnemonic::Jle => return self.flags <= 0,
            Mnemonic::Je => return self.flags == 0,
            Mnemonic::Jne => return self.flags != 0,
            Mnemonic::Push => self.stack.push(self.number(i, 0)),
            Mnemonic::Pop => {
                let value = self.stack.pop().unwrap();
                self.set_number(i, value);
            }
            Mnemonic::Mov => self.set_number(i, self.number(i, 1)),
            Mnemonic::Xor => self.set_number(i, self.number(i, 0) ^ self.number(i, 1)),
            Mnemonic::Add => self.set_number(i, self.number(i, 0).wrapping_add(self.number(i, 1))),
            Mnemonic::Test => self.flags = i128::from(self.number(i, 0) & self.number(i, 1)),
            Mnemonic::Cmp | Mnemonic::Sub => {
                let (a, b) = (self.number(i, 0) as i64, self.number(i, 1) as i64);
                self.flags = i128::from(a) - i128::from(b);
                if i.mnemonic() == Mnemonic::Sub {
                    self.set_number(i, a.wrapping_sub(b) as u64);
                }
            }
            Mnemonic::Vzeroupper => {}
            _ => self.vector_step(i),
        }
        false
    }

    fn address(&self, i: &Instruction) -> u64 {
        if i.is_ip_rel_memory_operand() {
            return self.code.as_ptr() as u64 + i.ip_rel_memory_address();
        }
        let value = |r: Register| if r.is_segment_register() { 0 } else { self.general[general_number(r)] };
        let operand = (0..i.op_count()).find(|&n| i.op_kind(n) == OpKind::Memory).unwrap();
        i.virtual_address(operand, 0, |r, _, _| Some(value(r))).unwrap()
    }

    #[allow(unsafe_code, reason = "addresses are those that the machine code would use")]
    fn read(&self, address: u64, bytes: usize) -> u64 {
        let mut out = [0; 8];
        // SAFETY: the routine reads these bytes, which its caller vouches for.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, out.as_mut_ptr(), bytes) };
        u64::from_le_bytes(out)
    }

    #[allow(unsafe_code, reason = "addresses are those that the machine code would use")]
    fn write(&self, address: u64, bytes: usize, value: u64) {
        // SAFETY: the routine writes these bytes, which its caller vouches for.
        unsafe { std::ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), address as *mut u8, bytes) };
    }

    fn number(&self, i: &Instruction, operand: u32) -> u64 {
        match i.op_kind(operand) {
            OpKind::Register => self.general[general_number(i.op_register(operand))],
            OpKind::Memory => self.read(self.address(i), 8),
            _ => i.immediate(operand),
        }
    }

    fn set_number(&mut self, i: &Instruction, value: u64) {
        match i.op_kind(0) {
            OpKind::Register => self.general[general_number(i.op0_register())] = value,
            _ => self.write(self.address(i), 8, value),
        }
    }

    fn mask(&self, register: Register) -> u16 {
        self.masks[mask_number(register)]
    }

    fn vector(&self, i: &Instruction, operand: u32) -> Vector {
        if i.op_kind(operand) == OpKind::Register {
            return self.vectors[vector_number(i.op_register(operand))];
        }
        assert!(!i.is_broadcast());
        let address = self.address(i);
        let taken = |lane: usize| {
            i.op_mask() == Register::None
                || i.mnemonic() == Mnemonic::Vblendmps
                || self.mask(i.op_mask()) >> lane & 1 == 1
        };
        std::array::from_fn(|l| if taken(l) { self.read(address + 4 * l as u64, 4) as u32 } else { 0 })
    }

    fn narrow(&self, i: &Instruction, size: usize) -> Vector {
        let address = self.address(i);
        std::array::from_fn(|l| self.read(address + (l * size) as u64, size) as u32)
    }

    fn put(&self, i: &Instruction, size: usize, f: impl Fn(u32) -> u32) {
        let (address, from) = (self.address(i), self.vector(i, 1));
        (0..16).for_each(|l| self.write(address + (l * size) as u64, size, u64::from(f(from[l]))));
    }

    fn vector_step(&mut self, i: &Instruction) {
        use Mnemonic as M;
        let (last, imm) =
            (i.op_count() - 1, if i.op_kind(i.op_count() - 1) == OpKind::Immediate8 { i.immediate8() } else { 0 });
        let out: Vector = match i.mnemonic() {
            M::Vmovups if i.op0_kind() == OpKind::Memory => return self.put(i, 4, |x| x),
            M::Vpmovdw => return self.put(i, 2, |x| x),
            M::Vpmovsdb => return self.put(i, 1, saturate_i8),
            M::Vmovss => {
                return self.write(self.address(i), 4, u64::from(self.vectors[vector_number(i.op1_register())][0]));
            }
            M::Vcmpps | M::Vpcmpd => {
                let (a, b) = (self.vector(i, 1), self.vector(i, 2));
                let floats = i.mnemonic() == M::Vcmpps;
                let bit = |l: usize| {
                    u16::from(if floats { compare(imm, a[l], b[l]) } else { integers(imm, a[l], b[l]) }) << l
                };
                self.masks[mask_number(i.op0_register())] = (0..16).map(bit).fold(0, |m, b| m | b);
                return;
            }
            M::Vpmovd2m => {
                let a = self.vector(i, 1);
                self.masks[mask_number(i.op0_register())] = (0..16).fold(0, |m, l| m | ((a[l] >> 31) as u16) << l);
                return;
            }
            M::Vpmovm2d => {
                let mask = self.mask(i.op1_register());
                std::array::from_fn(|l| if mask >> l & 1 == 1 { u32::MAX } else { 0 })
            }
            M::Vblendmps => {
                let (mask, no, yes) = (self.mask(i.op_mask()), self.vector(i, 1), self.vector(i, 2));
                std::array::from_fn(|l| if mask >> l & 1 == 1 { yes[l] } else { no[l] })
            }
            M::Vmovups | M::Vmovaps => self.vector(i, 1),
            M::Vbroadcastss => [self.read(self.address(i), 4) as u32; 16],
            M::Vpmovsxbd => self.narrow(i, 1).map(|x| x as u8 as i8 as u32),
            M::Vpmovzxwd => self.narrow(i, 2),
            M::Vpermd => {
                let (lanes, a) = (self.vector(i, 1), self.vector(i, 2));
                lanes.map(|l| a[l as usize % 16])
            }
            M::Vpsrlq => wide(self.vector(i, 1), [0; 16], |a, _| a >> imm),
            M::Vpmuldq => {
                wide(self.vector(i, 1), self.vector(i, 2), |a, b| (i64::from(a as i32) * i64::from(b as i32)) as u64)
            }
            M::Vpmuludq => wide(self.vector(i, 1), self.vector(i, 2), |a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff)),
            M::Vfmadd132ps | M::Vfmadd213ps | M::Vfmadd231ps => {
                let [d, a, b] = [0, 1, 2].map(|n| self.vector(i, n));
                std::array::from_fn(|l| match i.mnemonic() {
                    M::Vfmadd132ps => apply(Op::Fma, d[l], b[l], a[l]),
                    M::Vfmadd213ps => apply(Op::Fma, a[l], d[l], b[l]),
                    _ => apply(Op::Fma, a[l], b[l], d[l]),
                })
            }
            _ if last == 1 || imm > 0 => self.vector(i, 1).map(|x| one(i.mnemonic(), imm, x)),
            _ => {
                let (a, b) = (self.vector(i, 1), self.vector(i, 2));
                std::array::from_fn(|l| two(i.mnemonic(), a[l], b[l]))
            }
        };
        self.vectors[vector_number(i.op0_register())] = out;
    }
}

fn general_number(register: Register) -> usize {
    register.full_register() as usize - Register::RAX as usize
}

fn vector_number(register: Register) -> usize {
    let first = if register.is_zmm() { Register::ZMM0 } else { Register::XMM0 };
    register as usize - first as usize
}

/// Products and shifts of pairs of lanes as 64-bit numbers.
fn wide(a: Vector, b: Vector, f: impl Fn(u64, u64) -> u64) -> Vector {
    let pair = |v: &Vector, l: usize| u64::from(v[l]) | u64::from(v[l + 1]) << 32;
    std::array::from_fn(|l| (f(pair(&a, l & !1), pair(&b, l & !1)) >> (32 * (l & 1))) as u32)
}

fn compare(predicate: u8, a: u32, b: u32) -> bool {
    let (a, b) = (f32::from_bits(a), f32::from_bits(b));
    match predicate {
        0x00 => a == b,
        0x03 => a.is_nan() || b.is_nan(),
        0x04 => a != b,
        0x07 => !a.is_nan() && !b.is_nan(),
        0x11 => a < b,
        0x12 => a <= b,
        _ => panic!("predicate {predicate:#x}"),
    }
}

fn integers(predicate: u8, a: u32, b: u32) -> bool {
    match predicate {
        0 => a == b,
        6 => a as i32 > b as i32,
        _ => panic!("predicate {predicate:#x}"),
    }
}

fn one(mnemonic: Mnemonic, imm: u8, a: u32) -> u32 {
    let x = f32::from_bits(a);
    match mnemonic {
        Mnemonic::Vsqrtps => x.sqrt().to_bits(),
        Mnemonic::Vrndscaleps if imm == 9 => x.floor().to_bits(),
        Mnemonic::Vrndscaleps if imm == 8 => x.round_ties_even().to_bits(),
        Mnemonic::Vcvtdq2ps => (a as i32 as f32).to_bits(),
        // What does not fit becomes the smallest number.
        Mnemonic::Vcvttps2dq if (-2_147_483_648.0..2_147_483_648.0).contains(&x) => x as i32 as u32,
        Mnemonic::Vcvttps2dq => 0x8000_0000,
        Mnemonic::Vpslld => a << imm,
        Mnemonic::Vpsrld => a >> imm,
        _ => panic!("{mnemonic:?} is not simulated"),
    }
}

fn two(mnemonic: Mnemonic, a: u32, b: u32) -> u32 {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    match mnemonic {
        Mnemonic::Vaddps => (x + y).to_bits(),
        Mnemonic::Vsubps => (x - y).to_bits(),
        Mnemonic::Vmulps => (x * y).to_bits(),
        Mnemonic::Vdivps => (x / y).to_bits(),
        // The second of two zeros, and where either is a NaN.
        Mnemonic::Vmaxps => {
            if x > y {
                a
            } else {
                b
            }
        }
        Mnemonic::Vpaddd => a.wrapping_add(b),
        Mnemonic::Vpsubd => a.wrapping_sub(b),
        Mnemonic::Vpmulld => a.wrapping_mul(b),
        Mnemonic::Vpandd => a & b,
        Mnemonic::Vpord => a | b,
        Mnemonic::Vpxord => a ^ b,
        Mnemonic::Vpsllvd => {
            if b < 32 {
                a << b
            } else {
                0
            }
        }
        Mnemonic::Vpsrlvd => {
            if b < 32 {
                a >> b
            } else {
                0
            }
        }
        Mnemonic::Vpsravd => ((a as i32) >> b.min(31)) as u32,
        Mnemonic::Vpminud => a.min(b),
        _ => panic!("{mnemonic:?} is not simulated"),
    }
}

fn mask_number(register: Register) -> usize {
    assert!(register.is_k() && register != Register::K0, "{register:?}");
    register as usize - Register::K0 as usize
}
