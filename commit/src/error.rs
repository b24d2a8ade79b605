use alloy_primitives::B256;

/// What can be wrong with a tree, a proof or a tensor's bytes.
///
/// None of these goes away by trying again. An error about something another party sent (`WrongRoot`, `WrongCount`,
/// `WrongProofLength`, `WrongByteCount`) means that what it sent is not what was committed to: fetch it from someone else
/// or give up. The others are mistakes of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The index names nothing real at that height of the tree. Fix the index.
    #[error("index {index} at height {height} is outside the tree of {count} leaves")]
    IndexOutOfRange {
        /// The index asked for, counted in subtrees of `height`.
        index: u64,
        /// Levels between the leaves and the subtrees that `index` counts.
        height: u8,
        /// Leaves of the tree.
        count: u64,
    },
    /// A proof has one sibling per level between what it proves and the root.
    #[error("proof has {actual} hashes, the tree needs {expected}")]
    WrongProofLength {
        /// Levels between the proven hash and the root.
        expected: usize,
        /// Hashes in the proof.
        actual: usize,
    },
    /// Hashing up gave another root than the committed one.
    #[error("hashes to {actual}, committed is {expected}")]
    WrongRoot {
        /// The committed root.
        expected: B256,
        /// What the given hashes or bytes lead to.
        actual: B256,
    },
    /// A list of hashes is longer or shorter than the part of the tree that it stands for.
    #[error("{actual} hashes where the tree has {expected}")]
    WrongCount {
        /// Real subtrees there.
        expected: u64,
        /// Hashes given.
        actual: u64,
    },
    /// The bytes are not as many as the tensor's type and shape say.
    #[error("{actual} bytes, but type and shape say {expected}")]
    WrongByteCount {
        /// Elements × element size.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },
    /// The shape has a dimension of 0, more than 6 dimensions or more than 2^40 elements. Fix the program.
    #[error("shape {shape:?} is not a tensor's: at most 6 dimensions, none of them 0, at most 2^40 elements")]
    BadShape {
        /// The shape as given.
        shape: Vec<u32>,
    },
    /// No element type has this code. Fix the program.
    #[error("type code {code} is not one of 0 to 4")]
    UnknownType {
        /// The code as given.
        code: u8,
    },
}
