//! Which instructions are used, and the state of the floating-point unit.

use crate::Error;
pub use lockstep_commit::isa::{ISA_VARIABLE, Isa, IsaError};

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
