//! Seeded randomness.

use alloy_primitives::B256;
use lockstep_ir::SplitMix64;

/// Random numbers: every game can be played again from its seed.
pub(crate) struct Rng(SplitMix64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn hash(&mut self) -> B256 {
        let mut hash = B256::ZERO;
        hash.as_mut_slice().chunks_mut(8).for_each(|part| part.copy_from_slice(&self.bits().to_le_bytes()));
        hash
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}
