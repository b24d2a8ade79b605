//! Roots of what does not lie in memory as a whole: leaves or bytes come in order, in pieces of any size.

use crate::CHUNK_BYTES;
use crate::keccak::{B256, hash_chunk, hash_pair};
use crate::tree::{depth, empty};

/// Merkle root over leaves that come one by one; keeps one hash per level.
#[derive(Clone, Debug, Default)]
pub struct RootStream {
    count: u64,
    /// Complete subtrees still without their right neighbour: `pending[h]` is of height `h` if bit `h` of `count` is set.
    pending: Vec<B256>,
}

impl RootStream {
    /// A stream without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next leaf.
    pub fn push(&mut self, leaf: B256) {
        let mut hash = leaf;
        let mut height = 0;
        while (self.count >> height) & 1 == 1 {
            hash = hash_pair(&self.pending[height], &hash);
            height += 1;
        }
        if height == self.pending.len() {
            self.pending.push(hash);
        } else {
            self.pending[height] = hash;
        }
        self.count += 1;
    }

    /// Root over all leaves so far; 0 over none.
    #[must_use]
    pub fn root(&self) -> B256 {
        let depth = depth(self.count);
        if self.count == 1 << depth {
            return self.pending[usize::from(depth)];
        }
        let mut hash = B256::ZERO;
        for height in 0..depth {
            let complete = (self.count >> height) & 1 == 1;
            hash = if complete {
                hash_pair(&self.pending[usize::from(height)], &hash)
            } else {
                hash_pair(&hash, &empty(height))
            };
        }
        hash
    }
}

/// Leaves of bytes that come in pieces; keeps less than one chunk.
#[derive(Clone, Debug, Default)]
pub struct ChunkStream {
    rest: Vec<u8>,
    byte_count: u64,
}

impl ChunkStream {
    /// A stream without bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes so far.
    #[must_use]
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Takes the next bytes and hands the leaf of every chunk that they complete to `leaf`.
    pub fn push(&mut self, mut bytes: &[u8], mut leaf: impl FnMut(B256)) {
        self.byte_count += bytes.len() as u64;
        if !self.rest.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.rest.len()));
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < CHUNK_BYTES {
                return;
            }
            leaf(hash_chunk(&self.rest));
            self.rest.clear();
        }
        let mut chunks = bytes.chunks_exact(CHUNK_BYTES);
        for chunk in &mut chunks {
            leaf(hash_chunk(chunk));
        }
        self.rest.extend_from_slice(chunks.remainder());
    }

    /// The leaf of the last chunk, if bytes are left that fill none.
    #[must_use]
    pub fn finish(self) -> Option<B256> {
        if self.rest.is_empty() { None } else { Some(hash_chunk(&self.rest)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keccak::{hash_chunks, keccak256};
    use crate::tree::root;
    use proptest::prelude::*;

    #[test]
    fn streamed_root_is_the_root_of_the_list() {
        let mut stream = RootStream::new();
        let mut leaves = vec![];
        assert_eq!(stream.root(), root(&leaves));
        for index in 0u64..1100 {
            // Zero leaves must not be mistaken for padding.
            let leaf = if index % 3 == 0 { B256::ZERO } else { keccak256(index.to_be_bytes()) };
            stream.push(leaf);
            leaves.push(leaf);
            assert_eq!(stream.root(), root(&leaves), "{index}");
        }
    }

    proptest! {
        #[test]
        fn streamed_leaves_are_those_of_the_buffer(bytes in prop::collection::vec(any::<u8>(), 0..5000), cuts in prop::collection::vec(0usize..5000, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut stream = ChunkStream::new();
            let mut leaves = vec![];
            for piece in cuts.windows(2) {
                stream.push(&bytes[piece[0]..piece[1]], |leaf| leaves.push(leaf));
            }
            prop_assert_eq!(stream.byte_count(), bytes.len() as u64);
            leaves.extend(stream.finish());
            prop_assert_eq!(leaves, hash_chunks(&bytes));
        }
    }
}
