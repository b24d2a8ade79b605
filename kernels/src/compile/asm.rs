//! A list of machine instructions with labels, and its bytes.

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, IcedError, Instruction, InstructionBlock, MemoryOperand, Register,
};

/// Bytes of a constant: a whole register, of the widest kind.
pub(crate) const CONSTANT_BYTES: usize = 64;

/// A place in the code that can be jumped to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label(usize);

/// Instructions in order.
#[derive(Default)]
pub(crate) struct Asm {
    code: Vec<Instruction>,
    /// Index of the instruction that each label stands before.
    labels: Vec<Option<usize>>,
    /// `(instruction, label)` of every jump.
    jumps: Vec<(usize, usize)>,
    error: Option<IcedError>,
}

/// Where the n-th instruction seems to be while jumps have no distances yet; far from the constants.
fn address(index: usize) -> u64 {
    (1 << 40) + index as u64
}

impl Asm {
    /// Appends an instruction.
    pub(crate) fn push(&mut self, instruction: Result<Instruction, IcedError>) {
        match instruction {
            Ok(mut i) => {
                i.set_ip(address(self.code.len()));
                self.code.push(i);
            }
            Err(e) => _ = self.error.get_or_insert(e),
        }
    }

    /// A label to be bound later.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label stands before the next instruction.
    pub(crate) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// A jump with this code (of a 32-bit distance; shortened where it can be).
    pub(crate) fn jump(&mut self, code: Code, to: Label) {
        self.jumps.push((self.code.len(), to.0));
        self.push(Instruction::with_branch(code, 0));
    }

    /// `op dst, src`.
    pub(crate) fn two(&mut self, code: Code, dst: Register, src: Register) {
        self.push(Instruction::with2(code, dst, src));
    }

    /// `op dst, number`.
    pub(crate) fn imm(&mut self, code: Code, dst: Register, number: usize) {
        self.push(Instruction::with2(code, dst, number as i32));
    }

    /// `op dst, [memory]`.
    pub(crate) fn load(&mut self, code: Code, dst: Register, from: MemoryOperand) {
        self.push(Instruction::with2(code, dst, from));
    }

    /// `op [memory], src`.
    pub(crate) fn store(&mut self, code: Code, to: MemoryOperand, src: Register) {
        self.push(Instruction::with2(code, to, src));
    }

    /// Constants, then code. Runs wherever it is put, if constants are aligned there.
    pub(crate) fn finish(mut self, constants: &[[u32; 16]]) -> Result<Vec<u8>, IcedError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        for &(at, label) in &self.jumps {
            self.code[at].set_near_branch64(address(self.labels[label].unwrap_or(0)));
        }
        let start = constants.len() * CONSTANT_BYTES;
        let block = InstructionBlock::new(&self.code, start as u64);
        let encoded = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE)?;
        let mut bytes: Vec<u8> = constants.iter().flatten().flat_map(|w| w.to_le_bytes()).collect();
        bytes.extend(encoded.code_buffer);
        Ok(bytes)
    }
}

/// `[base + displacement]`.
pub(crate) fn at(base: Register, displacement: usize) -> MemoryOperand {
    MemoryOperand::with_base_displ(base, displacement as i64)
}

/// `[base + index·scale + displacement]`.
pub(crate) fn at_index(base: Register, index: Register, scale: usize, displacement: usize) -> MemoryOperand {
    MemoryOperand::with_base_index_scale_displ_size(base, index, scale as u32, displacement as i64, 1)
}

/// The n-th constant.
pub(crate) fn constant(number: u32) -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RIP, i64::from(number) * CONSTANT_BYTES as i64)
}
