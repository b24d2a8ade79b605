//! Scalar programs: straight-line code over 32-bit values, packed into 8-byte words (docs/protocol.md, section 2.1).

use alloc::vec::Vec;

use crate::types::Ty;

/// Most instructions of one scalar program.
pub const MAX_INSTRUCTIONS: usize = 512;

macro_rules! ops {
    ($($name:ident = $code:literal, $sol:literal, $text:literal, $args:literal, $gas:literal;)*) => {
        /// What an instruction does. Codes are those of `ir/sol/Op.sol`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "ir/sol/Op.sol and docs/protocol.md say what each code means")]
        pub enum Op { $($name = $code,)* }

        impl Op {
            /// Every operation, by code.
            pub const ALL: &'static [Op] = &[$(Op::$name,)*];

            /// The operation with this code.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The constant's name in `ir/sol/Op.sol`.
            #[must_use]
            pub const fn solidity_name(self) -> &'static str { match self { $(Self::$name => $sol,)* } }

            /// The name in the text form.
            #[must_use]
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* } }

            /// How many earlier values it takes (in `a`, `b`, `c`).
            #[must_use]
            pub const fn arity(self) -> usize { match self { $(Self::$name => $args,)* } }

            /// Gas the referee needs to run it at worst, dispatch included; inputs and reinterpretations are only names. What
            /// laying it out takes is counted apart, in [`crate::judge`].
            #[must_use]
            pub const fn gas(self) -> u64 { match self { $(Self::$name => $gas,)* } }
        }
    };
}

ops! {
    Const = 0x01, "CONST", "const", 0, 0;
    Acc = 0x02, "ACC", "acc", 0, 0;
    Rhs = 0x03, "RHS", "rhs", 0, 0;
    Load = 0x04, "LOAD", "load", 0, 0;
    Coord = 0x05, "COORD", "coord", 0, 0;
    K = 0x06, "K", "k", 0, 0;
    Kf = 0x07, "KF", "kf", 0, 0;
    FAdd = 0x10, "FADD", "fadd", 2, 1000;
    FSub = 0x11, "FSUB", "fsub", 2, 1050;
    FMul = 0x12, "FMUL", "fmul", 2, 920;
    FDiv = 0x13, "FDIV", "fdiv", 2, 960;
    FSqrt = 0x14, "FSQRT", "fsqrt", 1, 870;
    Fma = 0x15, "FMA", "fma", 3, 1320;
    FNeg = 0x16, "FNEG", "fneg", 1, 240;
    FAbs = 0x17, "FABS", "fabs", 1, 240;
    FFloor = 0x18, "FFLOOR", "ffloor", 1, 340;
    FRint = 0x19, "FRINT", "frint", 1, 370;
    FEq = 0x1a, "FEQ", "feq", 2, 310;
    FNe = 0x1b, "FNE", "fne", 2, 320;
    FLt = 0x1c, "FLT", "flt", 2, 370;
    FLe = 0x1d, "FLE", "fle", 2, 360;
    Add = 0x20, "ADD", "add", 2, 180;
    Sub = 0x21, "SUB", "sub", 2, 180;
    Mul = 0x22, "MUL", "mul", 2, 180;
    MulHiS = 0x23, "MULHI_S", "mulhi_s", 2, 200;
    MulHiU = 0x24, "MULHI_U", "mulhi_u", 2, 180;
    And = 0x25, "AND", "and", 2, 170;
    Or = 0x26, "OR", "or", 2, 170;
    Xor = 0x27, "XOR", "xor", 2, 170;
    Shl = 0x28, "SHL", "shl", 2, 180;
    ShrU = 0x29, "SHR_U", "shr_u", 2, 170;
    ShrS = 0x2a, "SHR_S", "shr_s", 2, 190;
    Eq = 0x2b, "EQ", "eq", 2, 170;
    Ne = 0x2c, "NE", "ne", 2, 170;
    LtS = 0x2d, "LT_S", "lt_s", 2, 190;
    LeS = 0x2e, "LE_S", "le_s", 2, 190;
    LtU = 0x2f, "LT_U", "lt_u", 2, 170;
    LeU = 0x30, "LE_U", "le_u", 2, 170;
    Select = 0x38, "SELECT", "select", 3, 170;
    FToI = 0x40, "F_TO_I", "f_to_i", 1, 340;
    FToU = 0x41, "F_TO_U", "f_to_u", 1, 330;
    IToF = 0x42, "I_TO_F", "i_to_f", 1, 470;
    UToF = 0x43, "U_TO_F", "u_to_f", 1, 390;
    BitsToF = 0x44, "BITS_TO_F", "bits_to_f", 1, 230;
    FToBits = 0x45, "F_TO_BITS", "f_to_bits", 1, 0;
    AsI = 0x46, "AS_I", "as_i", 1, 0;
    AsU = 0x47, "AS_U", "as_u", 1, 0;
}

/// One instruction. Arguments name earlier values of the same program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Instr {
    /// A constant of this type with these bits.
    Const(Ty, u32),
    /// An operation; fields beyond its arity are 0, except `a` of `Load`, `Coord` and `Kf`, which is the index.
    Op {
        /// What it does; never [`Op::Const`].
        op: Op,
        /// First argument, or index.
        a: u16,
        /// Second argument.
        b: u16,
        /// Third argument.
        c: u16,
    },
}

/// Why a packed word is not an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WordError {
    /// The program's length is not a multiple of 8.
    #[error("a scalar program is {0} bytes long, which is not a multiple of 8")]
    Length(usize),
    /// No operation has this code.
    #[error("instruction {at}: unknown operation code {code:#04x}")]
    UnknownOp {
        /// Which instruction.
        at: usize,
        /// The code found.
        code: u8,
    },
    /// A field that must be zero is not, or a constant's type is unknown.
    #[error("instruction {at}: `{op}` has a field set that it does not use, or an unknown type tag")]
    UnusedField {
        /// Which instruction.
        at: usize,
        /// The operation's name.
        op: &'static str,
    },
    /// More than [`MAX_INSTRUCTIONS`].
    #[error("a scalar program has {0} instructions, more than {MAX_INSTRUCTIONS}")]
    TooLong(usize),
}

impl Instr {
    /// An operation with up to three arguments.
    #[must_use]
    pub const fn op(op: Op, a: u16, b: u16, c: u16) -> Self {
        Self::Op { op, a, b, c }
    }

    /// The packed word.
    #[must_use]
    pub fn word(self) -> [u8; 8] {
        let mut w = [0; 8];
        match self {
            Self::Const(ty, bits) => {
                w[0] = Op::Const as u8;
                w[1] = ty.code();
                w[4..].copy_from_slice(&bits.to_be_bytes());
            }
            Self::Op { op, a, b, c } => {
                w[0] = op as u8;
                w[2..4].copy_from_slice(&a.to_be_bytes());
                w[4..6].copy_from_slice(&b.to_be_bytes());
                w[6..].copy_from_slice(&c.to_be_bytes());
            }
        }
        w
    }

    fn from_word(at: usize, w: [u8; 8]) -> Result<Self, WordError> {
        let op = Op::from_code(w[0]).ok_or(WordError::UnknownOp { at, code: w[0] })?;
        let unused = WordError::UnusedField { at, op: op.text() };
        let [a, b, c] = [2, 4, 6].map(|i| u16::from_be_bytes([w[i], w[i + 1]]));
        if op == Op::Const {
            let ty = Ty::from_code(w[1]).filter(|_| a == 0).ok_or(unused)?;
            return Ok(Self::Const(ty, u32::from_be_bytes([w[4], w[5], w[6], w[7]])));
        }
        let instr = Self::op(op, a, b, c);
        if w[1] == 0 && instr.is_packable() { Ok(instr) } else { Err(unused) }
    }

    /// Whether every field that its operation does not use is 0, so that its word unpacks to itself.
    #[must_use]
    pub const fn is_packable(self) -> bool {
        match self {
            Self::Const(..) => true,
            Self::Op { op: Op::Const, .. } => false,
            Self::Op { op, a, b, c } => {
                let used = if matches!(op, Op::Load | Op::Coord | Op::Kf) { 1 } else { op.arity() };
                (used > 2 || c == 0) && (used > 1 || b == 0) && (used > 0 || a == 0)
            }
        }
    }

    /// The values it takes.
    pub fn args(self) -> impl Iterator<Item = u16> {
        let (n, abc) = match self {
            Self::Const(..) => (0, [0; 3]),
            Self::Op { op, a, b, c } => (op.arity(), [a, b, c]),
        };
        abc.into_iter().take(n)
    }

    /// Gas the referee needs for it at worst.
    #[must_use]
    pub const fn gas(self) -> u64 {
        match self {
            Self::Const(..) => Op::Const.gas(),
            Self::Op { op, .. } => op.gas(),
        }
    }
}

/// Packs a scalar program.
#[must_use]
pub fn encode(code: &[Instr]) -> Vec<u8> {
    code.iter().flat_map(|i| i.word()).collect()
}

/// Unpacks a scalar program; refuses what would not pack to the same bytes.
///
/// # Errors
/// The first word that is not an instruction. Give up on the program: it is malformed.
pub fn decode(bytes: &[u8]) -> Result<Vec<Instr>, WordError> {
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(WordError::Length(bytes.len()));
    }
    if words.len() > MAX_INSTRUCTIONS {
        return Err(WordError::TooLong(words.len()));
    }
    words.iter().enumerate().map(|(at, &w)| Instr::from_word(at, w)).collect()
}
