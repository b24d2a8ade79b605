//! The one hash function, in the shapes the rest of the crate needs it.
//!
//! Everything above hashes in batches (all chunks of a buffer, all pairs of a level), so that versions that hash
//! several messages at once can take the place of the loops here without touching a caller.

use crate::CHUNK_BYTES;
pub use alloy_primitives::{B256, keccak256};

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

/// Leaves of all chunks of a buffer, in order; the last chunk is padded with zeros. No bytes, no leaves.
#[must_use]
pub fn hash_chunks(bytes: &[u8]) -> Vec<B256> {
    bytes.chunks(CHUNK_BYTES).map(hash_chunk).collect()
}

/// The level above `level`: hashes of neighbours; an odd last one is paired with `empty`.
#[must_use]
pub fn hash_pairs(level: &[B256], empty: &B256) -> Vec<B256> {
    level.chunks(2).map(|pair| hash_pair(&pair[0], pair.get(1).unwrap_or(empty))).collect()
}
