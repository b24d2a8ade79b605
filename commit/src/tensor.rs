//! Roots and chunk proofs of tensors.

use alloy_sol_types::{SolType, sol_data};
use lockstep_ir::program::TensorDecl;
use lockstep_ir::tensor::Tensor;
use lockstep_ir::types::MAX_RANK;

use crate::CHUNK_BYTES;
use crate::error::Error;
use crate::keccak::{B256, hash_chunk, hash_chunks, hash_some_chunks, keccak256};
use crate::stream::{ChunkStream, RootStream};
use crate::tree::{Tree, verify};

type RootPreimage = (sol_data::Uint<8>, sol_data::Array<sol_data::Uint<32>>, sol_data::FixedBytes<32>);

/// Root of a tensor: type, shape and the Merkle root over its chunks, bound together.
#[must_use]
pub fn tensor_root(decl: &TensorDecl, merkle_root: B256) -> B256 {
    keccak256(RootPreimage::abi_encode_params(&(decl.dtype.code(), decl.shape.clone(), merkle_root)))
}

/// Stored bytes of a tensor.
///
/// # Errors
/// `BadShape`.
pub fn byte_count(decl: &TensorDecl) -> Result<u64, Error> {
    let elements = if decl.shape.len() > MAX_RANK { None } else { decl.elements() };
    let elements = elements.ok_or_else(|| Error::BadShape { shape: decl.shape.clone() })?;
    Ok(elements * decl.dtype.size() as u64)
}

/// Chunks of a tensor of `bytes` stored bytes.
#[must_use]
pub fn chunk_count(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK_BYTES as u64)
}

/// Real bytes in chunk `index` of a tensor of `bytes` stored bytes: 1,024 but in the last one; 0 past the end.
#[must_use]
pub fn chunk_len(bytes: u64, index: u64) -> usize {
    let start = index.saturating_mul(CHUNK_BYTES as u64);
    bytes.saturating_sub(start).min(CHUNK_BYTES as u64) as usize
}

/// Checks that `data` are the real bytes of chunk `index` of a tensor of `bytes` stored bytes.
///
/// # Errors
/// `IndexOutOfRange`, `WrongByteCount`, `WrongProofLength` or `WrongRoot`.
pub fn verify_chunk(merkle_root: B256, bytes: u64, index: u64, data: &[u8], proof: &[B256]) -> Result<(), Error> {
    let (expected, actual) = (chunk_len(bytes, index) as u64, data.len() as u64);
    if expected != 0 && expected != actual {
        return Err(Error::WrongByteCount { expected, actual });
    }
    verify(merkle_root, chunk_count(bytes), index, hash_chunk(data), proof)
}

/// A tensor's root from bytes that come in order, in pieces of any size; keeps a few chunks, 256 leaves and one hash per level.
#[derive(Clone, Debug)]
pub struct TensorStream {
    decl: TensorDecl,
    byte_count: u64,
    chunks: ChunkStream,
    tree: RootStream,
}

impl TensorStream {
    /// A tensor of which no byte came yet.
    ///
    /// # Errors
    /// `BadShape`.
    pub fn new(decl: TensorDecl) -> Result<Self, Error> {
        let byte_count = byte_count(&decl)?;
        Ok(Self { decl, byte_count, chunks: ChunkStream::new(), tree: RootStream::new() })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `WrongByteCount` if there are more than type and shape say; nothing of `bytes` is taken then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let actual = self.chunks.byte_count() + bytes.len() as u64;
        if actual > self.byte_count {
            return Err(Error::WrongByteCount { expected: self.byte_count, actual });
        }
        let tree = &mut self.tree;
        self.chunks.push(bytes, |leaf| tree.push(leaf));
        Ok(())
    }

    /// The tensor root.
    ///
    /// # Errors
    /// `WrongByteCount` if bytes are missing.
    pub fn finish(mut self) -> Result<B256, Error> {
        let actual = self.chunks.byte_count();
        if actual != self.byte_count {
            return Err(Error::WrongByteCount { expected: self.byte_count, actual });
        }
        for leaf in self.chunks.finish() {
            self.tree.push(leaf);
        }
        Ok(tensor_root(&self.decl, self.tree.root()))
    }
}

/// All hashes of a tensor's chunk tree, without its bytes (about 1/16 of them in size).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorTree {
    decl: TensorDecl,
    tree: Tree,
    root: B256,
}

impl TensorTree {
    /// Hashes a tensor.
    #[must_use]
    pub fn new(tensor: &Tensor) -> Self {
        let tree = Tree::new(hash_chunks(tensor.bytes()));
        let root = tensor_root(tensor.decl(), tree.root());
        Self { decl: tensor.decl().clone(), tree, root }
    }

    /// Brings the tree up to date with `tensor`, in which only the chunks with these numbers, in ascending order, have changed. Which
    /// they are is the caller's word: other chunks are not looked at.
    ///
    /// # Errors
    /// `WrongByteCount` if the tensor has another type or shape, `IndexOutOfRange` if there is no such chunk or the numbers do not
    /// ascend; the tree is as it was then.
    pub fn update(&mut self, tensor: &Tensor, changed: &[u64]) -> Result<(), Error> {
        let (bytes, count) = (tensor.bytes(), self.tree.count());
        if tensor.decl() != &self.decl {
            return Err(Error::WrongByteCount { expected: byte_count(&self.decl)?, actual: bytes.len() as u64 });
        }
        if let Some(&index) = changed.iter().find(|&&index| index >= count) {
            return Err(Error::IndexOutOfRange { index, height: 0, count });
        }
        let leaves = hash_some_chunks(bytes, changed);
        self.tree.set_leaves(&changed.iter().copied().zip(leaves).collect::<Vec<_>>())?;
        self.root = tensor_root(&self.decl, self.tree.root());
        Ok(())
    }

    /// Type and shape.
    #[must_use]
    pub fn decl(&self) -> &TensorDecl {
        &self.decl
    }

    /// The tensor root.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.root
    }

    /// Root of the chunk tree, inside the tensor root.
    #[must_use]
    pub fn merkle_root(&self) -> B256 {
        self.tree.root()
    }

    /// The chunk tree: subtree hashes of any height, proofs.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// The real bytes of chunk `index`; `None` past the end.
#[must_use]
pub fn chunk(bytes: &[u8], index: u64) -> Option<&[u8]> {
    let start = usize::try_from(index).ok()?.checked_mul(CHUNK_BYTES)?;
    let chunk = bytes.get(start..)?;
    (!chunk.is_empty()).then(|| &chunk[..chunk.len().min(CHUNK_BYTES)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_ir::types::DType;

    fn decl(dtype: DType, shape: &[u32]) -> TensorDecl {
        TensorDecl { dtype, shape: shape.to_vec() }
    }

    fn tensor(dtype: DType, shape: &[u32]) -> Tensor {
        let decl = decl(dtype, shape);
        let bytes = (0..byte_count(&decl).unwrap()).map(|at| (at * 7 % 251) as u8).collect();
        Tensor::from_bytes(decl, bytes).unwrap()
    }

    #[test]
    fn preimage_is_laid_out_as_solidity_does() {
        let merkle_root = B256::repeat_byte(0xab);
        let mut expected = vec![0u8; 6 * 32];
        expected[31] = 4; // type
        expected[63] = 96; // offset of the shape
        expected[64..96].fill(0xab);
        expected[127] = 2; // rank
        expected[159] = 3;
        expected[190..192].copy_from_slice(&300u16.to_be_bytes());
        assert_eq!(tensor_root(&decl(DType::Bf16, &[3, 300]), merkle_root), keccak256(expected));
    }

    #[test]
    fn every_chunk_of_every_type_is_proven() {
        for dtype in DType::ALL {
            for shape in [&[][..], &[1], &[255], &[256], &[257], &[17, 131], &[3, 1024]] {
                let tensor = tensor(dtype, shape);
                let tree = TensorTree::new(&tensor);
                let bytes = tensor.bytes().len() as u64;
                assert_eq!(tree.tree().count(), chunk_count(bytes));
                for index in 0..chunk_count(bytes) {
                    let data = chunk(tensor.bytes(), index).unwrap();
                    let proof = tree.tree().prove(index).unwrap();
                    assert_eq!(verify_chunk(tree.merkle_root(), bytes, index, data, &proof), Ok(()));
                }
                assert_eq!(chunk(tensor.bytes(), chunk_count(bytes)), None);
            }
        }
    }

    #[test]
    fn an_updated_tree_is_the_tree_of_the_changed_tensor() {
        let before = tensor(DType::I8, &[20_000]);
        for changed in [&[][..], &[0], &[19], &[3, 4, 19], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 18, 19]] {
            let mut bytes = before.bytes().to_vec();
            changed.iter().for_each(|&chunk| bytes[chunk as usize * CHUNK_BYTES + 5] ^= 1);
            let after = Tensor::from_bytes(before.decl().clone(), bytes).unwrap();
            let mut tree = TensorTree::new(&before);
            tree.update(&after, changed).unwrap();
            assert_eq!(tree, TensorTree::new(&after), "{changed:?}");
            assert!(matches!(tree.update(&after, &[20]), Err(Error::IndexOutOfRange { index: 20, .. })));
            assert!(matches!(tree.update(&after, &[2, 1]), Err(Error::IndexOutOfRange { index: 1, .. })));
            assert!(tree.update(&tensor(DType::I8, &[20, 1000]), &[]).is_err());
            assert_eq!(tree, TensorTree::new(&after));
        }
    }

    #[test]
    fn padding_is_never_taken_for_bytes() {
        let tensor = tensor(DType::U32, &[300]);
        let tree = TensorTree::new(&tensor);
        let proof = tree.tree().prove(1).unwrap();
        let mut padded = chunk(tensor.bytes(), 1).unwrap().to_vec();
        padded.resize(CHUNK_BYTES, 0);
        let refused = verify_chunk(tree.merkle_root(), 1200, 1, &padded, &proof);
        assert_eq!(refused, Err(Error::WrongByteCount { expected: 176, actual: 1024 }));
        assert!(verify_chunk(tree.merkle_root(), 1200, 2, &[], &proof).is_err());
        assert!(verify_chunk(tree.merkle_root(), 1200, u64::MAX, &[], &proof).is_err());
    }

    #[test]
    fn streamed_root_is_the_root() {
        let tensor = tensor(DType::I8, &[5000]);
        for piece in [1, 7, 1023, 1024, 1025, 4999, 5000] {
            let mut stream = TensorStream::new(tensor.decl().clone()).unwrap();
            for bytes in tensor.bytes().chunks(piece) {
                stream.push(bytes).unwrap();
            }
            assert_eq!(stream.push(&[0]), Err(Error::WrongByteCount { expected: 5000, actual: 5001 }));
            assert_eq!(stream.finish(), Ok(TensorTree::new(&tensor).root()));
        }
    }

    #[test]
    fn missing_bytes_and_bad_shapes_are_refused() {
        let stream = TensorStream::new(decl(DType::F32, &[3])).unwrap();
        assert_eq!(stream.finish(), Err(Error::WrongByteCount { expected: 12, actual: 0 }));
        for shape in [&[0][..], &[1; 7], &[u32::MAX, u32::MAX, u32::MAX]] {
            assert!(matches!(TensorStream::new(decl(DType::F32, shape)), Err(Error::BadShape { .. })), "{shape:?}");
        }
    }
}
