//! The permutation and the sponge, written once over [`Lanes`]: as many messages side by side as a register holds words.

use crate::B256;

/// Words of 8 bytes that one block of the sponge takes in.
pub(super) const RATE: usize = 17;

/// A register with one 64-bit word of each of [`Self::COUNT`] messages.
pub(super) trait Lanes: Copy {
    /// Messages side by side.
    const COUNT: usize;
    /// The same word for every message.
    fn splat(word: u64) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Word `at` of every message.
    fn word<const BYTES: usize>(messages: &[&[u8; BYTES]], at: usize) -> Self;
    /// Words `at` to `at + 3` of every message.
    fn four_words<const BYTES: usize>(messages: &[&[u8; BYTES]], at: usize) -> [Self; 4];
    /// Keccak-f[1600] on the states of several groups of messages.
    fn permute<const GROUPS: usize>(states: &mut [[Self; 25]; GROUPS]);
    /// Has the processor load the line of this byte while it does other things.
    fn fetch(byte: &u8);
    /// The digests whose words are `words`.
    fn store(words: [Self; 4], digests: &mut [B256]);
}

/// What [`permute`] needs of a register besides.
pub(super) trait Rounds: Lanes {
    /// `self ^ (!b & c)`.
    fn chi(self, b: Self, c: Self) -> Self;
    /// Rotates left by `L`; `R` is `64 − L`.
    fn rotate<const L: i32, const R: i32>(self) -> Self;
}

/// What the rounds add to the first lane. One place, whose end the assembly knows.
pub(super) static ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Row `y` of the next state from its five sources, and its share of the next column parities.
macro_rules! row {
    ($to:ident, $parity:ident, $from:ident, $theta:ident, $y:literal, $(($x:literal, $source:literal, $left:literal)),*) => {
        let row = [$($from[$source].xor($theta[$x]).rotate::<$left, { 64 - $left }>()),*];
        for x in 0..5 {
            let value = row[x].chi(row[(x + 1) % 5], row[(x + 2) % 5]);
            $to[5 * $y + x] = value;
            $parity[x] = $parity[x].xor(value);
        }
    };
}

/// One round, from `from` to `to`; `parity` holds the xor of each column before it and is left with that after it.
#[inline(always)]
fn round<V: Rounds>(from: &[V; 25], to: &mut [V; 25], parity: &mut [V; 5], constant: u64) {
    // Written out, for a closure would be compiled without the vector instructions.
    let [a, b, c, d, e] = *parity;
    let theta = [
        e.xor(b.rotate::<1, 63>()),
        a.xor(c.rotate::<1, 63>()),
        b.xor(d.rotate::<1, 63>()),
        c.xor(e.rotate::<1, 63>()),
        d.xor(a.rotate::<1, 63>()),
    ];
    // The first row: its first source is not rotated.
    let row = [
        from[0].xor(theta[0]),
        from[6].xor(theta[1]).rotate::<44, 20>(),
        from[12].xor(theta[2]).rotate::<43, 21>(),
        from[18].xor(theta[3]).rotate::<21, 43>(),
        from[24].xor(theta[4]).rotate::<14, 50>(),
    ];
    for x in 0..5 {
        to[x] = row[x].chi(row[(x + 1) % 5], row[(x + 2) % 5]);
    }
    to[0] = to[0].xor(V::splat(constant));
    parity.copy_from_slice(&to[..5]);
    row!(to, parity, from, theta, 1, (3, 3, 28), (4, 9, 20), (0, 10, 3), (1, 16, 45), (2, 22, 61));
    row!(to, parity, from, theta, 2, (1, 1, 1), (2, 7, 6), (3, 13, 25), (4, 19, 8), (0, 20, 18));
    row!(to, parity, from, theta, 3, (4, 4, 27), (0, 5, 36), (1, 11, 10), (2, 17, 15), (3, 23, 56));
    row!(to, parity, from, theta, 4, (2, 2, 62), (3, 8, 55), (4, 14, 39), (0, 15, 41), (1, 21, 2));
}

/// Keccak-f[1600] on every message's state.
#[inline(always)]
pub(super) fn permute<V: Rounds>(state: &mut [V; 25]) {
    let mut parity = [state[0], state[1], state[2], state[3], state[4]];
    for y in 1..5 {
        for x in 0..5 {
            parity[x] = parity[x].xor(state[5 * y + x]);
        }
    }
    let mut other = *state;
    for pair in ROUND_CONSTANTS.as_chunks::<2>().0 {
        round(state, &mut other, &mut parity, pair[0]);
        round(&other, state, &mut parity, pair[1]);
    }
}

/// keccak256 of `GROUPS` times `V::COUNT` messages of `BYTES` bytes, a multiple of 8. What is `next` is fetched meanwhile: a chunk is too
/// short for the processor to see a stream in it.
#[inline(always)]
pub(super) fn hash<V: Lanes, const GROUPS: usize, const BYTES: usize>(
    messages: &[&[u8; BYTES]],
    next: &[&[u8; BYTES]],
    digests: &mut [B256],
) {
    const { assert!(BYTES.is_multiple_of(8)) };
    assert!(messages.len() == GROUPS * V::COUNT && digests.len() == messages.len());
    let mut states = [[V::splat(0); 25]; GROUPS];
    let (blocks, rest) = (BYTES / 8 / RATE, BYTES / 8 % RATE);
    // How much is taken is a constant in both places, so both are straight-line code.
    for block in 0..blocks {
        take::<V, GROUPS, BYTES>(&mut states, messages, next, block * RATE, RATE);
        V::permute(&mut states);
    }
    take::<V, GROUPS, BYTES>(&mut states, messages, next, blocks * RATE, rest);
    for state in &mut states {
        // One byte ends the message, the last bit of the block ends the padding.
        state[rest] = state[rest].xor(V::splat(1));
        state[RATE - 1] = state[RATE - 1].xor(V::splat(1 << 63));
    }
    V::permute(&mut states);
    for (state, digests) in states.iter().zip(digests.chunks_exact_mut(V::COUNT)) {
        V::store([state[0], state[1], state[2], state[3]], digests);
    }
}

/// Takes in `count` words from word `at` on of every message, and has the same ones of what is next fetched.
#[inline(always)]
fn take<V: Lanes, const GROUPS: usize, const BYTES: usize>(
    states: &mut [[V; 25]; GROUPS],
    messages: &[&[u8; BYTES]],
    next: &[&[u8; BYTES]],
    at: usize,
    count: usize,
) {
    for (state, messages) in states.iter_mut().zip(messages.chunks_exact(V::COUNT)) {
        absorb(state, messages, at, count);
    }
    for message in next {
        for word in (at..at + count).step_by(8) {
            V::fetch(&message[8 * word]);
        }
    }
}

#[inline(always)]
fn absorb<V: Lanes, const BYTES: usize>(state: &mut [V; 25], messages: &[&[u8; BYTES]], from: usize, count: usize) {
    let mut i = 0;
    while i + 4 <= count {
        let words = V::four_words(messages, from + i);
        for (slot, word) in state[i..i + 4].iter_mut().zip(words) {
            *slot = slot.xor(word);
        }
        i += 4;
    }
    while i < count {
        state[i] = state[i].xor(V::word(messages, from + i));
        i += 1;
    }
}

/// Word `at` of a message.
#[inline(always)]
pub(super) fn word(message: &[u8], at: usize) -> u64 {
    message[8 * at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Lanes for u64 {
    const COUNT: usize = 1;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        word
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    fn word<const BYTES: usize>(messages: &[&[u8; BYTES]], at: usize) -> Self {
        word(messages[0], at)
    }

    #[inline(always)]
    fn four_words<const BYTES: usize>(messages: &[&[u8; BYTES]], at: usize) -> [Self; 4] {
        let m = messages[0];
        [word(m, at), word(m, at + 1), word(m, at + 2), word(m, at + 3)]
    }

    #[inline(always)]
    fn permute<const GROUPS: usize>(states: &mut [[Self; 25]; GROUPS]) {
        for state in states {
            permute(state);
        }
    }

    #[inline(always)]
    fn fetch(_: &u8) {}

    #[inline(always)]
    fn store(words: [Self; 4], digests: &mut [B256]) {
        for (bytes, word) in digests[0].0.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
    }
}

impl Rounds for u64 {
    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        self ^ (!b & c)
    }

    #[inline(always)]
    fn rotate<const L: i32, const R: i32>(self) -> Self {
        self.rotate_left(L as u32)
    }
}
