//! The one hash function, in the shapes the rest of the crate needs it.
//!
//! Everything above hashes in batches (all chunks of a buffer, all pairs of a level), so that several messages lie side by side in
//! vector registers: twice four with AVX2, eight with AVX-512. Every path gives the same digests.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod interleaved;
mod permutation;

use std::sync::LazyLock;

use crate::{
    CHUNK_BYTES,
    isa::Isa,
    parallel::{for_each, threads_for},
};
pub use alloy_primitives::{B256, keccak256};

/// Most messages that any path hashes side by side.
pub(crate) const MOST_LANES: usize = 8;
/// Chunks that a thread takes at a time.
const PIECE: usize = 256;

/// The path in use: what `LOCKSTEP_ISA` forces, or the best there is. A value that names no path, or one that is not there, is an error
/// for whoever can report it ([`Isa::detect`], which everything that runs a program asks); the bits are the same on every path.
static ISA: LazyLock<Isa> =
    LazyLock::new(|| Isa::detect().ok().or_else(|| Isa::available().last()).unwrap_or(Isa::Portable));

/// Hash of an inner node.
#[must_use]
pub fn hash_pair(left: &B256, right: &B256) -> B256 {
    let mut both = [0u8; 64];
    both[..32].copy_from_slice(left.as_slice());
    both[32..].copy_from_slice(right.as_slice());
    keccak256(both)
}

/// Leaf of one chunk of 1 to 1,024 real bytes; the rest counts as zeros. Bytes after the first 1,024 are not read.
#[must_use]
pub fn hash_chunk(bytes: &[u8]) -> B256 {
    if bytes.len() >= CHUNK_BYTES {
        return keccak256(&bytes[..CHUNK_BYTES]);
    }
    let mut padded = [0u8; CHUNK_BYTES];
    padded[..bytes.len()].copy_from_slice(bytes);
    keccak256(padded)
}

/// Leaves of all chunks of a buffer, in order; the last chunk is padded with zeros. No bytes, no leaves. A large buffer is hashed by
/// all threads of the machine.
#[must_use]
pub fn hash_chunks(bytes: &[u8]) -> Vec<B256> {
    let mut leaves = vec![B256::ZERO; bytes.len().div_ceil(CHUNK_BYTES)];
    let pieces = bytes.chunks(PIECE * CHUNK_BYTES).zip(leaves.chunks_mut(PIECE));
    for_each(threads_for(bytes.len()), pieces, |(bytes, leaves)| hash_chunks_into(*ISA, bytes, leaves));
    leaves
}

/// The level above `level`: hashes of neighbours; an odd last one is paired with `empty`. A long level is hashed by all threads of the
/// machine.
#[must_use]
pub fn hash_pairs(level: &[B256], empty: &B256) -> Vec<B256> {
    let mut above = vec![B256::ZERO; level.len().div_ceil(2)];
    // A node takes as long as 136 bytes of a chunk.
    let threads = threads_for(above.len() * 136);
    let pieces = level.chunks(16 * PIECE).zip(above.chunks_mut(8 * PIECE));
    for_each(threads, pieces, |(level, above)| hash_pairs_into(*ISA, level, empty, above));
    above
}

/// Leaves of the chunks of `bytes` with these numbers, all of them there; the numbers must not reach past the end.
pub(crate) fn hash_some_chunks(bytes: &[u8], numbers: &[u64]) -> Vec<B256> {
    let chunk = |number: u64| &bytes[number as usize * CHUNK_BYTES..];
    let mut leaves = vec![B256::ZERO; numbers.len()];
    let whole = |number: &&u64| chunk(**number).len() >= CHUNK_BYTES;
    let complete = numbers.iter().take_while(whole).count();
    batch(
        *ISA,
        numbers[..complete].iter().filter_map(|&n| chunk(n).first_chunk::<CHUNK_BYTES>()),
        &mut leaves[..complete],
    );
    for (leaf, &number) in leaves.iter_mut().zip(numbers).skip(complete) {
        *leaf = hash_chunk(chunk(number));
    }
    leaves
}

/// Hashes of pairs that lie anywhere.
pub(crate) fn hash_some_pairs(pairs: &[[B256; 2]]) -> Vec<B256> {
    let mut above = vec![B256::ZERO; pairs.len()];
    batch(*ISA, pairs.iter().map(joined), &mut above);
    above
}

/// Writes the leaves of all chunks of `bytes`.
fn hash_chunks_into(isa: Isa, bytes: &[u8], leaves: &mut [B256]) {
    let (whole, rest) = bytes.as_chunks::<CHUNK_BYTES>();
    let (first, last) = leaves.split_at_mut(whole.len());
    batch(isa, whole.iter(), first);
    if let (Some(slot), false) = (last.first_mut(), rest.is_empty()) {
        *slot = hash_chunk(rest);
    }
}

/// Writes the level above `level`.
fn hash_pairs_into(isa: Isa, level: &[B256], empty: &B256, above: &mut [B256]) {
    let (whole, rest) = level.as_chunks::<2>();
    let (first, last) = above.split_at_mut(whole.len());
    batch(isa, whole.iter().map(joined), first);
    if let (Some(slot), Some(left)) = (last.first_mut(), rest.first()) {
        *slot = hash_pair(left, empty);
    }
}

#[allow(unsafe_code, reason = "two hashes side by side are 64 bytes")]
fn joined(pair: &[B256; 2]) -> &[u8; 64] {
    // SAFETY: `B256` is a transparent wrapper of `[u8; 32]`, so two of them lie in 64 bytes without gaps.
    unsafe { &*std::ptr::from_ref(pair).cast() }
}

/// Hashes messages that are whole, as many at a time as the path takes; a last group repeats its first message to be full.
fn batch<'a, const BYTES: usize>(isa: Isa, mut messages: impl Iterator<Item = &'a [u8; BYTES]>, digests: &mut [B256]) {
    let most = if isa == Isa::Portable { 1 } else { MOST_LANES };
    let Some(mut group) = group_of(&mut messages, most) else { return };
    for slots in digests.chunks_mut(most) {
        let next = group_of(&mut messages, most).unwrap_or(group);
        let lanes = lanes(isa, slots.len());
        if slots.len() == lanes {
            side_by_side(isa, &group[..lanes], &next[..lanes], slots);
        } else {
            let mut padded = [B256::ZERO; MOST_LANES];
            side_by_side(isa, &group[..lanes], &next[..lanes], &mut padded[..lanes]);
            slots.copy_from_slice(&padded[..slots.len()]);
        }
        group = next;
    }
}

/// The next `most` messages, or as many as there are and the first of them again and again; nothing if there is none.
fn group_of<'a, const BYTES: usize>(
    messages: &mut impl Iterator<Item = &'a [u8; BYTES]>,
    most: usize,
) -> Option<[&'a [u8; BYTES]; MOST_LANES]> {
    let mut group = [messages.next()?; MOST_LANES];
    group[1..most].iter_mut().zip(messages).for_each(|(slot, message)| *slot = message);
    Some(group)
}

/// The fewest messages side by side that a path can hash at once and that are `count` or more.
fn lanes(isa: Isa, count: usize) -> usize {
    match isa {
        _ if count == 1 => 1,
        Isa::Portable => 1,
        Isa::Avx2 if count <= 4 => 4,
        Isa::Avx2 | Isa::Avx512 => MOST_LANES,
    }
}

/// Hashes as many messages at once as [`lanes`] says, while what is `next` is fetched.
#[allow(unsafe_code, reason = "calls what needs instructions that were found to be there")]
fn side_by_side<const BYTES: usize>(isa: Isa, messages: &[&[u8; BYTES]], next: &[&[u8; BYTES]], digests: &mut [B256]) {
    match (isa, messages.len()) {
        (_, 1) | (Isa::Portable, _) => permutation::hash::<u64, 1, BYTES>(messages, next, digests),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: callers only pass an `Isa` that is available.
        (Isa::Avx2, 4) => unsafe { avx2::fours::<1, BYTES>(messages, next, digests) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx2, _) => unsafe { avx2::fours::<2, BYTES>(messages, next, digests) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx512, _) => unsafe { avx512::eight(messages, next, digests) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("only available on x86-64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Message `i`, different from all others in every word.
    fn message<const BYTES: usize>(seed: u64, i: usize) -> [u8; BYTES] {
        std::array::from_fn(|at| (seed.wrapping_mul(0x9e37_79b9) + (i * 131 + at * 7 + at / 8) as u64 * 0x1_0001) as u8)
    }

    fn every_path<const BYTES: usize>(seed: u64, count: usize) {
        let messages: Vec<[u8; BYTES]> = (0..count).map(|i| message(seed, i)).collect();
        let expected: Vec<B256> = messages.iter().map(keccak256).collect();
        for isa in Isa::available() {
            let mut digests = vec![B256::ZERO; count];
            batch(isa, messages.iter(), &mut digests);
            assert_eq!(digests, expected, "{isa:?}, {count} messages of {BYTES} bytes");
        }
    }

    /// Lengths around the ends of blocks, where padding is one byte, or a block of its own.
    #[test]
    fn every_path_hashes_messages_of_every_length_class() {
        for count in 0..20 {
            every_path::<0>(1, count);
            every_path::<8>(2, count);
            every_path::<128>(3, count);
            every_path::<136>(4, count);
            every_path::<144>(5, count);
            every_path::<264>(6, count);
            every_path::<272>(7, count);
        }
    }

    #[test]
    fn lanes_do_not_mix() {
        for isa in Isa::available() {
            for odd in 0..MOST_LANES {
                let messages: [[u8; 64]; MOST_LANES] = std::array::from_fn(|i| [u8::from(i == odd); 64]);
                let mut digests = [B256::ZERO; MOST_LANES];
                batch(isa, messages.iter(), &mut digests);
                assert_eq!(digests, messages.map(keccak256), "{isa:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_hashes_chunks_and_pairs(bytes in prop::collection::vec(any::<u8>(), 0..12_000)) {
            let leaves: Vec<B256> = bytes.chunks(CHUNK_BYTES).map(hash_chunk).collect();
            let empty = B256::repeat_byte(7);
            let above: Vec<B256> = leaves.chunks(2).map(|p| hash_pair(&p[0], p.get(1).unwrap_or(&empty))).collect();
            for isa in Isa::available() {
                let mut out = vec![B256::ZERO; leaves.len()];
                hash_chunks_into(isa, &bytes, &mut out);
                prop_assert_eq!(&out, &leaves);
                let mut out = vec![B256::ZERO; above.len()];
                hash_pairs_into(isa, &leaves, &empty, &mut out);
                prop_assert_eq!(&out, &above);
            }
            prop_assert_eq!(hash_chunks(&bytes), leaves);
        }
    }
}
