//! Philox4x32-10 on the host, for what is random before the first step (docs/protocol.md, section 1).

/// What a random number is for: the third word of the counter, so that no two uses share one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Choosing the batch of a step.
    Batch,
    /// Splitting a data set.
    Split,
    /// Initial weights of the layer with this number, below 2^31.
    Weights(u32),
}

impl Stream {
    /// The third word of the counter.
    #[must_use]
    pub const fn word(self) -> u32 {
        match self {
            Self::Batch => 0,
            Self::Split => 1,
            Self::Weights(i) => 0x8000_0000 | i,
        }
    }
}

/// Four random words for this counter and key.
#[must_use]
pub fn philox(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let (a, b) = (0xD251_1F53 * u64::from(c[0]), 0xCD9E_8D57 * u64::from(c[2]));
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
    }
    c
}

/// Word `i` of a stream: word `i mod 4` for counter `(i / 4, 0, stream, 0)`.
#[must_use]
pub fn word(key: [u32; 2], stream: Stream, i: u32) -> u32 {
    philox([i / 4, 0, stream.word(), 0], key)[i as usize % 4]
}

/// The key for a seed: its lower half, then its upper half.
#[must_use]
pub const fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// A number below `n` from a random word.
#[must_use]
pub const fn below(word: u32, n: u32) -> u32 {
    ((word as u64 * n as u64) >> 32) as u32
}

/// A number in [0, 1), a multiple of 2^-24, from a random word.
#[must_use]
pub fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 / 16_777_216.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with Random123, the authors' library.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn ranges() {
        assert_eq!((below(0, 7), below(u32::MAX, 7)), (0, 6));
        assert_eq!(uniform(0), 0.0);
        assert!(uniform(u32::MAX) < 1.0);
    }
}
