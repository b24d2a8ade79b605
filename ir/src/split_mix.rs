//! Numbers from a seed, for tests and for whatever must be played again the same way. Nothing secret may come from it.

/// `SplitMix64` (Steele, Lea, Flood 2014): the same numbers on every machine.
///
/// ```
/// let mut numbers = lockstep_ir::SplitMix64::new(1_234_567);
/// assert_eq!(numbers.bits(), 6_457_827_717_110_365_317);
/// assert_eq!(numbers.bits(), 3_203_168_211_198_807_973);
/// ```
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Numbers that this seed gives.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
