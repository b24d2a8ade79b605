//! Roots over many tensors, and over the states that a claim names.

use std::num::NonZeroUsize;

use lockstep_ir::tensor::Tensor;

use crate::CHUNK_BYTES;
use crate::keccak::{B256, hash_chunks};
use crate::parallel::{for_each, threads_for};
use crate::tensor::{TensorTree, tensor_root};
use crate::tree::{Tree, depth, fold, root};

/// Levels of the part of a chunk tree that is hashed at a time, while its leaves are in the nearest cache.
const SEGMENT_LEVELS: u8 = 8;
const SEGMENT_BYTES: usize = CHUNK_BYTES << SEGMENT_LEVELS;

/// Root of one tensor. Keeps one hash for every 256 chunks; large tensors are hashed by all threads of the machine.
#[must_use]
pub fn root_of_tensor(tensor: &Tensor) -> B256 {
    tensor_roots(&[tensor], None)[0]
}

/// State, data or trace root: the Merkle root over the roots of all tensors of a state, of all data tensors, or of the
/// outputs of all nodes of a step, in order.
#[must_use]
pub fn root_of_tensors<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> B256 {
    tree_of_tensors(tensors).root()
}

/// [`root_of_tensors`] on so many threads, even where fewer would be faster.
#[must_use]
pub fn root_of_tensors_on<'a>(threads: NonZeroUsize, tensors: impl IntoIterator<Item = &'a Tensor>) -> B256 {
    root(&tensor_roots(&tensors.into_iter().collect::<Vec<_>>(), Some(threads)))
}

/// Roots of tensors, all of them cut into segments that threads take one by one.
fn tensor_roots(tensors: &[&Tensor], threads: Option<NonZeroUsize>) -> Vec<B256> {
    let mut parts: Vec<Vec<B256>> =
        tensors.iter().map(|t| vec![B256::ZERO; t.bytes().len().div_ceil(SEGMENT_BYTES)]).collect();
    let threads = threads.map_or_else(|| threads_for(tensors.iter().map(|t| t.bytes().len()).sum()), NonZeroUsize::get);
    let segments = tensors.iter().zip(&mut parts).flat_map(|(tensor, parts)| {
        let alone = parts.len() == 1;
        tensor.bytes().chunks(SEGMENT_BYTES).zip(parts).map(move |(bytes, part)| (alone, bytes, part))
    });
    for_each(threads, segments, |(alone, bytes, part)| {
        let leaves = hash_chunks(bytes);
        let levels = if alone { depth(leaves.len() as u64) } else { SEGMENT_LEVELS };
        *part = fold(&leaves, 0, levels);
    });
    let merkle_root = |parts: &[B256]| fold(parts, SEGMENT_LEVELS, depth(parts.len() as u64));
    tensors.iter().zip(&parts).map(|(tensor, parts)| tensor_root(tensor.decl(), merkle_root(parts))).collect()
}

/// The tree under [`root_of_tensors`], for walks and proofs.
#[must_use]
pub fn tree_of_tensors<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Tree {
    Tree::new(tensor_roots(&tensors.into_iter().collect::<Vec<_>>(), None))
}

/// The tree over tensors that are hashed already.
#[must_use]
pub fn tree_of_trees<'a>(trees: impl IntoIterator<Item = &'a TensorTree>) -> Tree {
    Tree::new(trees.into_iter().map(TensorTree::root).collect())
}

/// Root of a claim: over the state roots at the checkpoints of one milestone, in order.
#[must_use]
pub fn claim_root(state_roots: &[B256]) -> B256 {
    root(state_roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_ir::program::TensorDecl;
    use lockstep_ir::types::DType;

    #[test]
    fn all_ways_to_a_root_agree() {
        let tensors: Vec<Tensor> =
            (1..20u32).map(|n| Tensor::from_u32(&[n, 37], &(0..n * 37).collect::<Vec<_>>()).unwrap()).collect();
        let trees: Vec<TensorTree> = tensors.iter().map(TensorTree::new).collect();
        assert_eq!(root_of_tensors(&tensors), tree_of_tensors(&tensors).root());
        assert_eq!(tree_of_tensors(&tensors), tree_of_trees(&trees));
        assert_eq!(claim_root(tree_of_trees(&trees).leaves()), root_of_tensors(&tensors));
        assert_eq!(root_of_tensors([]), B256::ZERO);
    }

    #[test]
    fn segments_and_threads_do_not_show() {
        let segment = SEGMENT_BYTES as u32;
        for bytes in [1, 1024, segment - 1, segment, segment + 1, 2 * segment, 3 * segment + 1025, 5 * segment - 7] {
            let decl = TensorDecl { dtype: DType::I8, shape: vec![bytes] };
            let values = (0..bytes).map(|at| (at % 251 + at / 1024) as u8).collect();
            let tensor = Tensor::from_bytes(decl, values).unwrap();
            let expected = TensorTree::new(&tensor).root();
            assert_eq!(root_of_tensor(&tensor), expected, "{bytes} bytes");
            for threads in [1, 2, 3] {
                let threads = NonZeroUsize::new(threads).unwrap();
                assert_eq!(
                    root_of_tensors_on(threads, [&tensor, &tensor]),
                    root(&[expected, expected]),
                    "{bytes} bytes"
                );
            }
        }
    }
}
