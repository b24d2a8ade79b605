//! Roots of what does not lie in memory as a whole: leaves or bytes come in order, in pieces of any size.

use crate::CHUNK_BYTES;
use crate::keccak::{B256, MOST_LANES, hash_chunks, hash_pair};
use crate::tree::{depth, empty, fold};

/// Levels that are hashed together, for many nodes side by side are hashed faster than one after the other.
const GROUP_LEVELS: u8 = 8;

/// Merkle root over leaves that come one by one; keeps at most 256 leaves and one hash per level.
#[derive(Clone, Debug, Default)]
pub struct RootStream {
    /// Leaves of the group that is not complete yet.
    leaves: Vec<B256>,
    /// Complete groups.
    groups: u64,
    /// Complete subtrees still without their right neighbour: `pending[h]` is of height `8 + h` if bit `h` of `groups` is set.
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
        (self.groups << GROUP_LEVELS) + self.leaves.len() as u64
    }

    /// Takes the next leaf.
    pub fn push(&mut self, leaf: B256) {
        self.leaves.push(leaf);
        if self.leaves.len() < 1 << GROUP_LEVELS {
            return;
        }
        let mut hash = fold(&self.leaves, 0, GROUP_LEVELS);
        self.leaves.clear();
        let mut height = 0;
        while (self.groups >> height) & 1 == 1 {
            hash = hash_pair(&self.pending[height], &hash);
            height += 1;
        }
        if height == self.pending.len() {
            self.pending.push(hash);
        } else {
            self.pending[height] = hash;
        }
        self.groups += 1;
    }

    /// Root over all leaves so far; 0 over none.
    #[must_use]
    pub fn root(&self) -> B256 {
        if self.groups == 0 {
            return crate::tree::root(&self.leaves);
        }
        let rest = (!self.leaves.is_empty()).then(|| fold(&self.leaves, 0, GROUP_LEVELS));
        let above = depth(self.groups + u64::from(rest.is_some()));
        if rest.is_none() && self.groups == 1 << above {
            return self.pending[usize::from(above)];
        }
        let mut hash = rest.unwrap_or_else(|| empty(GROUP_LEVELS));
        for height in 0..above {
            let complete = (self.groups >> height) & 1 == 1;
            hash = if complete {
                hash_pair(&self.pending[usize::from(height)], &hash)
            } else {
                hash_pair(&hash, &empty(GROUP_LEVELS + height))
            };
        }
        hash
    }
}

/// Bytes that are kept until there are enough chunks to hash side by side.
const KEPT_BYTES: usize = MOST_LANES * CHUNK_BYTES;

/// Leaves of bytes that come in pieces; keeps less than eight chunks.
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

    /// Takes the next bytes and hands leaves that are ready to `leaf`, in order: those of every eight chunks that are complete.
    pub fn push(&mut self, mut bytes: &[u8], mut leaf: impl FnMut(B256)) {
        self.byte_count += bytes.len() as u64;
        if !self.rest.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(KEPT_BYTES - self.rest.len()));
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < KEPT_BYTES {
                return;
            }
            hash_chunks(&self.rest).into_iter().for_each(&mut leaf);
            self.rest.clear();
        }
        let whole = bytes.len() / KEPT_BYTES * KEPT_BYTES;
        // No more at a time than leaves the first of them in the nearest cache.
        for group in bytes[..whole].chunks(32 * KEPT_BYTES) {
            hash_chunks(group).into_iter().for_each(&mut leaf);
        }
        self.rest.extend_from_slice(&bytes[whole..]);
    }

    /// The leaves of the last chunks; the very last one is padded with zeros.
    #[must_use]
    pub fn finish(self) -> Vec<B256> {
        hash_chunks(&self.rest)
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
