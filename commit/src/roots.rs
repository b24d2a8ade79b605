//! Roots over many tensors, and over the states that a claim names.

use lockstep_ir::tensor::Tensor;

use crate::CHUNK_BYTES;
use crate::keccak::{B256, hash_chunk};
use crate::stream::RootStream;
use crate::tensor::{TensorTree, tensor_root};
use crate::tree::{Tree, root};

/// Root of one tensor, with no more memory than one hash per level of its tree.
#[must_use]
pub fn root_of_tensor(tensor: &Tensor) -> B256 {
    let mut tree = RootStream::new();
    for chunk in tensor.bytes().chunks(CHUNK_BYTES) {
        tree.push(hash_chunk(chunk));
    }
    tensor_root(tensor.decl(), tree.root())
}

/// State, data or trace root: the Merkle root over the roots of all tensors of a state, of all data tensors, or of the
/// outputs of all nodes of a step, in order.
#[must_use]
pub fn root_of_tensors<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> B256 {
    let mut tree = RootStream::new();
    for tensor in tensors {
        tree.push(root_of_tensor(tensor));
    }
    tree.root()
}

/// The tree under [`root_of_tensors`], for walks and proofs.
#[must_use]
pub fn tree_of_tensors<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Tree {
    Tree::new(tensors.into_iter().map(root_of_tensor).collect())
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
}
