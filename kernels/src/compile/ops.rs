//! Vector operations, and the machine instruction that each of them is on AVX2 and on AVX-512.

use iced_x86::{Code, Register};

/// What code is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Target {
    /// Registers of 8 lanes.
    Avx2,
    /// Registers of 16 lanes.
    Avx512,
}

impl Target {
    /// 32-bit lanes of a register.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Vector registers there are.
    pub(crate) const fn registers(self) -> usize {
        match self {
            Self::Avx2 => 16,
            Self::Avx512 => 32,
        }
    }

    /// A vector register by number.
    pub(crate) fn register(self, number: u8) -> Register {
        let first = match self {
            Self::Avx2 => Register::YMM0,
            Self::Avx512 => Register::ZMM0,
        };
        first + u32::from(number)
    }

    const fn pick(self, codes: [Code; 2]) -> Code {
        codes[self as usize]
    }

    /// A whole register from memory.
    pub(crate) const fn load(self) -> Code {
        self.pick([Code::VEX_Vmovups_ymm_ymmm256, Code::EVEX_Vmovups_zmm_k1z_zmmm512])
    }

    /// A whole register to memory.
    pub(crate) const fn store(self) -> Code {
        self.pick([Code::VEX_Vmovups_ymmm256_ymm, Code::EVEX_Vmovups_zmmm512_k1z_zmm])
    }

    /// From register to register.
    pub(crate) const fn copy(self) -> Code {
        self.pick([Code::VEX_Vmovaps_ymm_ymmm256, Code::EVEX_Vmovaps_zmm_k1z_zmmm512])
    }

    /// One 32-bit value from memory in every lane.
    pub(crate) const fn broadcast(self) -> Code {
        self.pick([Code::VEX_Vbroadcastss_ymm_m32, Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32])
    }

    /// Bytes from memory, sign-extended.
    pub(crate) const fn widen_bytes(self) -> Code {
        self.pick([Code::VEX_Vpmovsxbd_ymm_xmmm64, Code::EVEX_Vpmovsxbd_zmm_k1z_xmmm128])
    }

    /// 16-bit words from memory, zero-extended.
    pub(crate) const fn widen_halves(self) -> Code {
        self.pick([Code::VEX_Vpmovzxwd_ymm_xmmm128, Code::EVEX_Vpmovzxwd_zmm_k1z_ymmm256])
    }
}

/// One vector operation. Comparisons give masks: all bits of a lane, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Vop {
    /// From two vectors; the second may lie in memory.
    Two(Two),
    /// From one vector, which may lie in memory.
    One(One),
    /// From one vector and a number in the instruction.
    Imm(Imm, u8),
    /// Comparison of floats with this predicate.
    FCompare(FPredicate),
    /// Equal bits.
    Equal,
    /// Greater as signed integers.
    Greater,
    /// Mask, value where it is set, value elsewhere.
    Select,
    /// `a·b + c`, rounded once.
    Fma,
}

impl Vop {
    /// How many vectors it takes.
    pub(crate) const fn arity(self) -> usize {
        match self {
            Self::One(_) | Self::Imm(..) => 1,
            Self::Two(_) | Self::FCompare(_) | Self::Equal | Self::Greater => 2,
            Self::Select | Self::Fma => 3,
        }
    }

    /// Whether its two arguments can change places.
    pub(crate) const fn commutes(self) -> bool {
        match self {
            Self::Two(two) => two.commutes(),
            Self::Equal => true,
            _ => false,
        }
    }
}

/// Predicates of float comparisons, as the instructions number them (none of them signals).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub(crate) enum FPredicate {
    Equal = 0x00,
    Unordered = 0x03,
    NotEqual = 0x04,
    Ordered = 0x07,
    Less = 0x11,
    LessOrEqual = 0x12,
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($op:ident: $vex:ident, $evex:ident;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub(crate) enum $name { $($op,)* }

        impl $name {
            /// The instruction.
            pub(crate) const fn code(self, target: Target) -> Code {
                match self { $(Self::$op => target.pick([Code::$vex, Code::$evex]),)* }
            }
        }
    };
}

table! {
    /// `dst = a op b`. A permutation takes lane numbers, then the vector.
    Two {
        FAdd: VEX_Vaddps_ymm_ymm_ymmm256, EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er;
        FSub: VEX_Vsubps_ymm_ymm_ymmm256, EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er;
        FMul: VEX_Vmulps_ymm_ymm_ymmm256, EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er;
        FDiv: VEX_Vdivps_ymm_ymm_ymmm256, EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er;
        FMax: VEX_Vmaxps_ymm_ymm_ymmm256, EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae;
        Add: VEX_Vpaddd_ymm_ymm_ymmm256, EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32;
        Sub: VEX_Vpsubd_ymm_ymm_ymmm256, EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32;
        Mul: VEX_Vpmulld_ymm_ymm_ymmm256, EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32;
        MulEvenS: VEX_Vpmuldq_ymm_ymm_ymmm256, EVEX_Vpmuldq_zmm_k1z_zmm_zmmm512b64;
        MulEvenU: VEX_Vpmuludq_ymm_ymm_ymmm256, EVEX_Vpmuludq_zmm_k1z_zmm_zmmm512b64;
        And: VEX_Vpand_ymm_ymm_ymmm256, EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32;
        Or: VEX_Vpor_ymm_ymm_ymmm256, EVEX_Vpord_zmm_k1z_zmm_zmmm512b32;
        Xor: VEX_Vpxor_ymm_ymm_ymmm256, EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32;
        Shl: VEX_Vpsllvd_ymm_ymm_ymmm256, EVEX_Vpsllvd_zmm_k1z_zmm_zmmm512b32;
        ShrU: VEX_Vpsrlvd_ymm_ymm_ymmm256, EVEX_Vpsrlvd_zmm_k1z_zmm_zmmm512b32;
        ShrS: VEX_Vpsravd_ymm_ymm_ymmm256, EVEX_Vpsravd_zmm_k1z_zmm_zmmm512b32;
        MinU: VEX_Vpminud_ymm_ymm_ymmm256, EVEX_Vpminud_zmm_k1z_zmm_zmmm512b32;
        Permute: VEX_Vpermd_ymm_ymm_ymmm256, EVEX_Vpermd_zmm_k1z_zmm_zmmm512b32;
        PackHalves: VEX_Vpackusdw_ymm_ymm_ymmm256, EVEX_Vpackusdw_zmm_k1z_zmm_zmmm512b32;
        PackSigned: VEX_Vpackssdw_ymm_ymm_ymmm256, EVEX_Vpackssdw_zmm_k1z_zmm_zmmm512b32;
        PackBytes: VEX_Vpacksswb_ymm_ymm_ymmm256, EVEX_Vpacksswb_zmm_k1z_zmm_zmmm512;
    }
}

impl Two {
    const fn commutes(self) -> bool {
        use Two::{Add, And, FAdd, FMul, MinU, Mul, MulEvenS, MulEvenU, Or, Xor};
        matches!(self, FAdd | FMul | Add | Mul | MulEvenS | MulEvenU | And | Or | Xor | MinU)
    }
}

table! {
    /// `dst = op a`.
    One {
        Sqrt: VEX_Vsqrtps_ymm_ymmm256, EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er;
        Truncate: VEX_Vcvttps2dq_ymm_ymmm256, EVEX_Vcvttps2dq_zmm_k1z_zmmm512b32_sae;
        ToFloat: VEX_Vcvtdq2ps_ymm_ymmm256, EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er;
    }
}

table! {
    /// `dst = a op number`.
    Imm {
        Round: VEX_Vroundps_ymm_ymmm256_imm8, EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae;
        Shl: VEX_Vpslld_ymm_ymm_imm8, EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8;
        ShrU: VEX_Vpsrld_ymm_ymm_imm8, EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8;
        ShrWide: VEX_Vpsrlq_ymm_ymm_imm8, EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8;
    }
}

/// Rounding downwards, as `Imm::Round` takes it; inexact results are not reported.
pub(crate) const ROUND_DOWN: u8 = 9;
/// Rounding to nearest even.
pub(crate) const ROUND_EVEN: u8 = 8;
