//! Which instructions are used, and the state of the floating-point unit.

use crate::Error;

/// A set of instructions that kernels are written for. Results do not depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// What every target has; fused multiply-add in integers.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// Environment variable that forces one path.
pub const ISA_VARIABLE: &str = "LOCKSTEP_ISA";

impl Isa {
    /// Every path, the plainest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The name that `LOCKSTEP_ISA` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The path that `LOCKSTEP_ISA` forces, or the best one there is.
    ///
    /// # Errors
    /// The variable names no path, or one that this machine does not have. Fix the environment.
    pub fn detect() -> Result<Self, Error> {
        match std::env::var_os(ISA_VARIABLE) {
            None => Ok(Self::ALL.into_iter().rev().find(|i| i.is_available()).unwrap_or(Self::Portable)),
            Some(name) => Self::forced(&name.to_string_lossy()),
        }
    }

    fn forced(name: &str) -> Result<Self, Error> {
        let isa = Self::ALL.into_iter().find(|i| i.name() == name);
        isa.ok_or_else(|| Error::UnknownIsa(name.to_owned()))?.require()
    }

    pub(crate) fn require(self) -> Result<Self, Error> {
        if self.is_available() { Ok(self) } else { Err(Error::IsaMissing(self.name())) }
    }
}

/// Checks that the calling thread rounds to nearest even and keeps subnormals (docs/protocol.md, section 1).
pub(crate) fn check_control_word() -> Result<(), Error> {
    let (word, wrong) = control_word();
    if word & wrong == 0 { Ok(()) } else { Err(Error::ControlWord(word)) }
}

/// The control word, and the bits of it that must be clear.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "reading MXCSR has no safe wrapper")]
fn control_word() -> (u64, u64) {
    let mut word = 0u32;
    // SAFETY: `stmxcsr` stores 4 bytes to the given address and changes nothing else.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
    // Flush to zero, rounding control, denormals are zero.
    (u64::from(word), 0x8000 | 0x6000 | 0x0040)
}

/// The control word, and the bits of it that must be clear.
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "reading FPCR has no safe wrapper")]
fn control_word() -> (u64, u64) {
    let word: u64;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
    // Flush to zero, rounding mode, and the bits of FEAT_AFP that flush inputs or change NaNs and multiplications.
    (word, 1 << 24 | 0b11 << 22 | 0b111)
}

/// Other targets have no control word that safe code could have changed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn control_word() -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused() {
        assert_eq!(Isa::forced("avx3"), Err(Error::UnknownIsa("avx3".into())));
        assert_eq!(Isa::forced("portable"), Ok(Isa::Portable));
        for isa in Isa::ALL {
            let expected = if isa.is_available() { Ok(isa) } else { Err(Error::IsaMissing(isa.name())) };
            assert_eq!(Isa::forced(isa.name()), expected);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "sets MXCSR to see that it is noticed")]
    fn a_changed_control_word_is_refused() {
        let set = |word: u32| {
            // SAFETY: only this thread's MXCSR changes, and it is restored below.
            unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags)) };
        };
        let default = 0x1f80;
        for bad in [0x8000, 0x0040, 0x2000, 0x4000, 0x6000] {
            set(default | bad);
            let found = check_control_word();
            set(default);
            assert_eq!(found, Err(Error::ControlWord(u64::from(default | bad))));
        }
        assert_eq!(check_control_word(), Ok(()));
    }
}
