//! Tensors too large to hold. Their numbers follow from their place, and of their trees only what somebody looks at is hashed; the rest
//! is random hashes, at the heights at which a defender posts.

use std::collections::BTreeMap;

use lockstep_commit::{
    B256, CHUNK_BYTES, keccak, tensor,
    tree::{depth, empty, subtree_count},
};
use lockstep_ir::{DType, Node, Source, TensorDecl, eval::Operands};

/// Levels of a tree that are posted at once.
const LEVELS: u8 = 8;

/// A tree of which few leaves are known.
pub(crate) struct SparseTree {
    count: u64,
    salt: u64,
    leaves: BTreeMap<u64, B256>,
}

impl SparseTree {
    /// A tree over `count` leaves; `salt` makes its random hashes its own.
    pub(crate) fn new(count: u64, salt: u64, leaves: impl IntoIterator<Item = (u64, B256)>) -> Self {
        Self { count, salt, leaves: leaves.into_iter().collect() }
    }

    pub(crate) fn root(&self) -> B256 {
        self.node(depth(self.count), 0)
    }

    /// Hash of the subtree `index` of `height`.
    pub(crate) fn node(&self, height: u8, index: u64) -> B256 {
        if index >= subtree_count(self.count, height) {
            return empty(height);
        }
        if let (0, Some(leaf)) = (height, self.leaves.get(&index)) {
            return *leaf;
        }
        let known = self.leaves.range(index << height..(index + 1) << height).next().is_some();
        let posted = (depth(self.count) - height).is_multiple_of(LEVELS) && height != depth(self.count);
        if height == 0 || (posted && !known) {
            return keccak::keccak256(
                [self.salt.to_be_bytes(), u64::from(height).to_be_bytes(), index.to_be_bytes()].concat(),
            );
        }
        keccak::hash_pair(&self.node(height - 1, 2 * index), &self.node(height - 1, 2 * index + 1))
    }

    /// Siblings of a leaf, lowest first.
    pub(crate) fn prove(&self, index: u64) -> Vec<B256> {
        (0..depth(self.count)).map(|height| self.node(height, (index >> height) ^ 1)).collect()
    }
}

fn kind(source: Source) -> (u64, u32) {
    match source {
        Source::State(index) => (0, index),
        Source::Data(index) => (1, index),
        Source::Node(index) => (2, index),
    }
}

/// SplitMix64 of a place.
fn mixed(x: u64) -> u64 {
    let z = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Stored bits of an element: numbers between -1 and 1, bytes, or indices below 1,000.
pub(crate) fn stored(decl: &TensorDecl, source: Source, index: u64) -> u32 {
    let (set, number) = kind(source);
    let random = mixed(index ^ mixed(set << 32 | u64::from(number)));
    let float = ((random >> 40) as f32 / (1 << 23) as f32 - 1.0).to_bits();
    match decl.dtype {
        DType::F32 => float,
        DType::Bf16 => float >> 16,
        DType::I8 => random as u8 as u32,
        DType::I32 | DType::U32 => (random >> 32) as u32 % 1_000,
    }
}

/// The numbers of a node's operands.
pub(crate) struct Numbers<'a>(pub(crate) &'a Node);

impl Operands for Numbers<'_> {
    fn stored(&mut self, operand: usize, index: u64) -> u32 {
        let operand = &self.0.operands[operand];
        stored(&operand.decl, operand.source, index)
    }
}

/// The real bytes of a chunk.
pub(crate) fn chunk(decl: &TensorDecl, source: Source, chunk: u64) -> Vec<u8> {
    let size = decl.dtype.size() as u64;
    let bytes = tensor::chunk_len(tensor::byte_count(decl).unwrap(), chunk) as u64;
    let first = chunk * CHUNK_BYTES as u64 / size;
    let element = |index| stored(decl, source, index).to_le_bytes()[..size as usize].to_vec();
    (first..first + bytes / size).flat_map(element).collect()
}

/// The tree of a tensor of which these chunks are looked at.
pub(crate) fn tensor_tree(decl: &TensorDecl, source: Source, chunks: impl IntoIterator<Item = u64>) -> SparseTree {
    let count = tensor::chunk_count(tensor::byte_count(decl).unwrap());
    let (set, number) = kind(source);
    let leaves = chunks.into_iter().map(|index| (index, keccak::hash_chunk(&chunk(decl, source, index))));
    SparseTree::new(count, set << 32 | u64::from(number), leaves)
}
