//! Mask registers of AVX-512: where the results of comparisons are until someone wants them as vectors.

use iced_x86::Register;

use super::draft::Val;

/// For the emitter's own use, from one instruction to the next.
pub(super) const SCRATCH: Register = Register::K1;

/// Mask registers and what they hold.
#[derive(Default)]
pub(super) struct Masks([Option<Val>; 6]);

impl Masks {
    /// The register that holds this value.
    pub(super) fn of(&self, val: Val) -> Option<Register> {
        self.0.iter().position(|&held| held == Some(val)).map(register)
    }

    /// A register for another value: one that holds nothing, or the one whose value is worth least, as `next_use` (of a value) says.
    pub(super) fn room(&self, next_use: impl Fn(Val) -> usize) -> Register {
        let least = (0..self.0.len()).max_by_key(|&i| self.0[i].map_or(usize::MAX, &next_use));
        register(least.unwrap_or(0))
    }

    /// What a register holds.
    pub(super) fn held(&self, mask: Register) -> Option<Val> {
        self.0[mask as usize - Register::K2 as usize]
    }

    /// From now on the register holds this value, and no other.
    pub(super) fn hold(&mut self, mask: Register, val: Val) {
        self.0[mask as usize - Register::K2 as usize] = Some(val);
    }

    /// Nobody needs the value any more.
    pub(super) fn forget(&mut self, val: Val) {
        self.0.iter_mut().filter(|held| **held == Some(val)).for_each(|held| *held = None);
    }
}

fn register(i: usize) -> Register {
    Register::K2 + i as u32
}
