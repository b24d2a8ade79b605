//! The binary Merkle tree with its padding, whole or in parts.
//!
//! A tree over `n` leaves has `depth(n)` levels above the leaves. *Height* counts levels from the leaves: a subtree of
//! height `h` holds leaves `[index · 2^h, (index + 1) · 2^h)` and is *real* if at least one of them is. Only real hashes are
//! stored, posted or proven; what lies right of them is known to everybody.

use crate::error::Error;
use crate::keccak::{B256, hash_pair, hash_pairs, hash_some_pairs};
use std::sync::LazyLock;

/// Levels of the largest tree: leaves are counted in `u64`.
pub const MAX_DEPTH: u8 = 64;

static EMPTY: LazyLock<[B256; MAX_DEPTH as usize + 1]> = LazyLock::new(|| {
    let mut hashes = [B256::ZERO; MAX_DEPTH as usize + 1];
    for height in 1..hashes.len() {
        hashes[height] = hash_pair(&hashes[height - 1], &hashes[height - 1]);
    }
    hashes
});

/// Hash of a subtree of `height` ≤ 64 without a real leaf.
#[must_use]
pub fn empty(height: u8) -> B256 {
    EMPTY[usize::from(height)]
}

/// Levels above the leaves of a tree over `count` leaves: `ceil(log2 count)`, 0 for one leaf and for none.
#[must_use]
pub fn depth(count: u64) -> u8 {
    if count <= 1 { 0 } else { (64 - (count - 1).leading_zeros()) as u8 }
}

/// Real subtrees of `height` in a tree over `count` leaves.
#[must_use]
pub fn subtree_count(count: u64, height: u8) -> u64 {
    if height >= 64 { u64::from(count > 0) } else { count.div_ceil(1 << height) }
}

/// How many real subtrees lie `levels` below the subtree `index` of `height`; 0 if that one is not real.
#[must_use]
pub fn real_children(count: u64, height: u8, index: u64, levels: u8) -> u64 {
    let first = index.checked_shl(u32::from(levels)).unwrap_or(0);
    let width = 1u64.checked_shl(u32::from(levels)).unwrap_or(u64::MAX);
    subtree_count(count, height - levels).saturating_sub(first).min(width)
}

/// Root over leaves, 0 over none.
#[must_use]
pub fn root(leaves: &[B256]) -> B256 {
    if leaves.is_empty() { B256::ZERO } else { fold(leaves, 0, depth(leaves.len() as u64)) }
}

/// Hash of the subtree whose real descendants `levels` below, each of `height`, are `hashes`, leftmost first.
pub(crate) fn fold(hashes: &[B256], height: u8, levels: u8) -> B256 {
    if levels == 0 {
        return hashes[0];
    }
    let mut level = hash_pairs(hashes, &empty(height));
    for above in 1..levels {
        level = hash_pairs(&level, &empty(height + above));
    }
    level[0]
}

/// Hash of the subtree of `height` whose real descendants, `levels` below it, are `children`, leftmost first.
///
/// # Errors
/// `WrongCount` if there is no child, or more than `2^levels`.
pub fn subtree_hash(children: &[B256], height: u8, levels: u8) -> Result<B256, Error> {
    let most = 1u64.checked_shl(u32::from(levels)).unwrap_or(u64::MAX);
    let actual = children.len() as u64;
    if actual == 0 || actual > most || levels > height {
        return Err(Error::WrongCount { expected: most, actual });
    }
    Ok(fold(children, height - levels, levels))
}

/// Siblings of child `child` up to the subtree of `height` whose real descendants, `levels` below it, are `children`; lowest
/// first. With them a challenger shows what was posted at a place.
///
/// # Errors
/// `WrongCount` as for [`subtree_hash`], `IndexOutOfRange` if there is no such child.
pub fn prove_child(children: &[B256], height: u8, levels: u8, child: u64) -> Result<Vec<B256>, Error> {
    let most = 1u64.checked_shl(u32::from(levels)).unwrap_or(u64::MAX);
    let count = children.len() as u64;
    if count == 0 || count > most || levels > height {
        return Err(Error::WrongCount { expected: most, actual: count });
    }
    if child >= count {
        return Err(Error::IndexOutOfRange { index: child, height: height - levels, count });
    }
    let (mut level, mut at) = (children.to_vec(), child as usize);
    let mut proof = Vec::with_capacity(usize::from(levels));
    for below in height - levels..height {
        proof.push(level.get(at ^ 1).copied().unwrap_or_else(|| empty(below)));
        level = hash_pairs(&level, &empty(below));
        at /= 2;
    }
    Ok(proof)
}

/// What `hash` at `index` leads to with the siblings `proof`, lowest first. The lowest bits of `index` give the directions.
#[must_use]
pub fn climb(hash: B256, index: u64, proof: &[B256]) -> B256 {
    proof.iter().enumerate().fold(hash, |below, (level, sibling)| {
        let on_the_right = level < 64 && (index >> level) & 1 == 1;
        if on_the_right { hash_pair(sibling, &below) } else { hash_pair(&below, sibling) }
    })
}

/// Checks that `leaf` is leaf `index` of the tree of `count` leaves under `root`. `count` must not come from whoever
/// sent the proof.
///
/// # Errors
/// `IndexOutOfRange`, `WrongProofLength` or `WrongRoot`.
pub fn verify(root: B256, count: u64, index: u64, leaf: B256, proof: &[B256]) -> Result<(), Error> {
    if index >= count {
        return Err(Error::IndexOutOfRange { index, height: 0, count });
    }
    let expected = usize::from(depth(count));
    if proof.len() != expected {
        return Err(Error::WrongProofLength { expected, actual: proof.len() });
    }
    let actual = climb(leaf, index, proof);
    if actual == root { Ok(()) } else { Err(Error::WrongRoot { expected: root, actual }) }
}

/// A tree with all its real hashes, so that walks and proofs cost look-ups only: twice the leaves in memory.
///
/// ```text
///  height 2            root                 subtrees(2) = [root]
///  height 1       a            b            subtrees(1) = [a, b]
///  height 0    l0   l1      l2   (empty)    subtrees(0) = [l0, l1, l2]
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Real hashes by height; the last holds the root alone (nothing, for a tree without leaves).
    heights: Vec<Vec<B256>>,
}

impl Tree {
    /// Hashes a tree over `leaves`.
    #[must_use]
    pub fn new(leaves: Vec<B256>) -> Self {
        let mut heights = vec![leaves];
        let mut height = 0;
        while heights[usize::from(height)].len() > 1 {
            let above = hash_pairs(&heights[usize::from(height)], &empty(height));
            heights.push(above);
            height += 1;
        }
        Self { heights }
    }

    /// Number of leaves.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.heights[0].len() as u64
    }

    /// Levels above the leaves.
    #[must_use]
    pub fn depth(&self) -> u8 {
        (self.heights.len() - 1) as u8
    }

    /// The root; 0 if there are no leaves.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.heights.last().and_then(|top| top.first()).copied().unwrap_or_default()
    }

    /// All leaves.
    #[must_use]
    pub fn leaves(&self) -> &[B256] {
        &self.heights[0]
    }

    /// The real hashes at `height`, from the left; nothing above the root.
    #[must_use]
    pub fn subtrees(&self, height: u8) -> &[B256] {
        self.heights.get(usize::from(height)).map_or(&[], Vec::as_slice)
    }

    /// Hash of the subtree `index` of `height`, real or empty. Above the root's height there is none.
    #[must_use]
    pub fn node(&self, height: u8, index: u64) -> Option<B256> {
        let level = self.heights.get(usize::from(height))?;
        if index >> (self.depth() - height) != 0 {
            return None;
        }
        Some(usize::try_from(index).ok().and_then(|index| level.get(index)).copied().unwrap_or_else(|| empty(height)))
    }

    /// The real subtrees `levels` below the subtree `index` of `height`: what a defender posts under a cursor.
    ///
    /// # Errors
    /// `IndexOutOfRange` if that subtree is not real or not so high.
    pub fn children(&self, height: u8, index: u64, levels: u8) -> Result<&[B256], Error> {
        let out_of_range = Error::IndexOutOfRange { index, height, count: self.count() };
        if levels > height || height > self.depth() || index >= subtree_count(self.count(), height) {
            return Err(out_of_range);
        }
        // Both fit: a real subtree starts at a leaf that is in memory.
        let first = (index << levels) as usize;
        let count = real_children(self.count(), height, index, levels) as usize;
        Ok(&self.heights[usize::from(height - levels)][first..first + count])
    }

    /// The siblings from leaf `index` to the root, lowest first.
    ///
    /// # Errors
    /// `IndexOutOfRange`.
    pub fn prove(&self, index: u64) -> Result<Vec<B256>, Error> {
        if index >= self.count() {
            return Err(Error::IndexOutOfRange { index, height: 0, count: self.count() });
        }
        let sibling = |height: u8| {
            let level = &self.heights[usize::from(height)];
            level.get(((index >> height) ^ 1) as usize).copied().unwrap_or_else(|| empty(height))
        };
        Ok((0..self.depth()).map(sibling).collect())
    }

    /// Replaces one leaf and rehashes its path.
    ///
    /// # Errors
    /// `IndexOutOfRange`.
    pub fn set_leaf(&mut self, index: u64, leaf: B256) -> Result<(), Error> {
        self.set_leaves(&[(index, leaf)])
    }

    /// Replaces leaves, in ascending order, and rehashes what is above them, every node once.
    ///
    /// # Errors
    /// `IndexOutOfRange` if there is no such leaf, or one does not come after the one before it; nothing is changed then.
    pub fn set_leaves(&mut self, leaves: &[(u64, B256)]) -> Result<(), Error> {
        let count = self.count();
        let disorder = leaves.windows(2).find(|two| two[0].0 >= two[1].0).map(|two| two[1].0);
        let outside = leaves.last().map(|last| last.0).filter(|&index| index >= count);
        if let Some(index) = outside.or(disorder) {
            return Err(Error::IndexOutOfRange { index, height: 0, count });
        }
        let mut changed: Vec<u64> = leaves.iter().map(|&(index, _)| index).collect();
        let mut hashes: Vec<B256> = leaves.iter().map(|&(_, leaf)| leaf).collect();
        for height in 0..=self.depth() {
            let level = &mut self.heights[usize::from(height)];
            // Real subtrees are in memory, so their numbers fit.
            changed.iter().zip(&hashes).for_each(|(&index, &hash)| level[index as usize] = hash);
            changed.iter_mut().for_each(|index| *index /= 2);
            changed.dedup();
            let child = |index: u64| level.get(index as usize).copied().unwrap_or_else(|| empty(height));
            let pairs: Vec<[B256; 2]> = changed.iter().map(|&i| [child(2 * i), child(2 * i + 1)]).collect();
            hashes = if height < self.depth() { hash_some_pairs(&pairs) } else { Vec::new() };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keccak::keccak256;
    use proptest::prelude::*;

    fn leaves(count: u64) -> Vec<B256> {
        (0..count).map(|index| keccak256(index.to_be_bytes())).collect()
    }

    /// Protocol, section 3, word by word: pad with zeros to a power of two, hash in halves.
    fn naive(leaves: &[B256]) -> B256 {
        fn of(padded: &[B256]) -> B256 {
            match padded {
                [one] => *one,
                _ => {
                    let (left, right) = padded.split_at(padded.len() / 2);
                    hash_pair(&of(left), &of(right))
                }
            }
        }
        if leaves.is_empty() {
            return B256::ZERO;
        }
        let mut padded = leaves.to_vec();
        padded.resize(leaves.len().next_power_of_two(), B256::ZERO);
        of(&padded)
    }

    #[test]
    fn depth_is_the_ceiling_of_the_binary_logarithm() {
        for (count, expected) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9), (1 << 40, 40)] {
            assert_eq!(depth(count), expected, "{count} leaves");
        }
        assert_eq!(depth(u64::MAX), 64);
    }

    #[test]
    fn no_leaves_is_zero_and_one_leaf_is_itself() {
        assert_eq!(root(&[]), B256::ZERO);
        assert_eq!(Tree::new(vec![]).root(), B256::ZERO);
        assert!(Tree::new(vec![]).prove(0).is_err());
        let one = keccak256("one");
        assert_eq!(root(&[one]), one);
        assert_eq!(Tree::new(vec![one]).prove(0), Ok(vec![]));
    }

    #[test]
    fn a_proof_is_refused_when_anything_about_it_is_wrong() {
        let tree = Tree::new(leaves(5));
        let proof = tree.prove(2).unwrap();
        let leaf = tree.leaves()[2];
        assert_eq!(verify(tree.root(), 5, 2, leaf, &proof), Ok(()));
        assert!(matches!(verify(tree.root(), 5, 3, leaf, &proof), Err(Error::WrongRoot { .. })));
        assert!(matches!(verify(tree.root(), 5, 2, B256::ZERO, &proof), Err(Error::WrongRoot { .. })));
        assert!(matches!(verify(tree.root(), 5, 2, leaf, &proof[1..]), Err(Error::WrongProofLength { .. })));
        assert!(matches!(verify(tree.root(), 5, 5, B256::ZERO, &proof), Err(Error::IndexOutOfRange { .. })));
        assert!(matches!(verify(tree.root(), 4, 2, leaf, &proof), Err(Error::WrongProofLength { .. })));
    }

    proptest! {
        #[test]
        fn root_is_the_naive_one(count in 0u64..600) {
            let leaves = leaves(count);
            prop_assert_eq!(root(&leaves), naive(&leaves));
            prop_assert_eq!(Tree::new(leaves.clone()).root(), naive(&leaves));
        }

        #[test]
        fn every_proof_verifies_and_no_other_leaf_does(count in 1u64..600, at in any::<u64>(), other in any::<u64>()) {
            let tree = Tree::new(leaves(count));
            let (index, other) = (at % count, other % count);
            let proof = tree.prove(index).unwrap();
            prop_assert_eq!(verify(tree.root(), count, index, tree.leaves()[index as usize], &proof), Ok(()));
            let wrong = verify(tree.root(), count, index, tree.leaves()[other as usize], &proof);
            prop_assert_eq!(wrong.is_ok(), index == other);
        }

        #[test]
        fn children_hash_to_their_parent(count in 1u64..600, at in any::<u64>(), height in 0u8..=10, levels in 0u8..=8) {
            let tree = Tree::new(leaves(count));
            let height = height.min(tree.depth());
            let levels = levels.min(height);
            let index = at % subtree_count(count, height);
            let children = tree.children(height, index, levels).unwrap();
            prop_assert_eq!(children.len() as u64, real_children(count, height, index, levels));
            prop_assert_eq!(Some(subtree_hash(children, height, levels).unwrap()), tree.node(height, index));
            prop_assert!(tree.children(height, subtree_count(count, height), levels).is_err());
            let child = at % children.len() as u64;
            let proof = prove_child(children, height, levels, child).unwrap();
            let below = index << levels | child;
            prop_assert_eq!(&tree.prove(below << (height - levels)).unwrap()[usize::from(height - levels)..][..proof.len()], &proof[..]);
            prop_assert_eq!(Some(climb(children[child as usize], child, &proof)), tree.node(height, index));
            prop_assert!(prove_child(children, height, levels, children.len() as u64).is_err());
        }

        #[test]
        fn a_changed_leaf_gives_the_tree_over_the_changed_leaves(count in 1u64..300, at in any::<u64>()) {
            let index = at % count;
            let mut tree = Tree::new(leaves(count));
            tree.set_leaf(index, keccak256("changed")).unwrap();
            let mut changed = leaves(count);
            changed[index as usize] = keccak256("changed");
            prop_assert_eq!(tree, Tree::new(changed));
        }

        #[test]
        fn changed_leaves_give_the_tree_over_the_changed_leaves(count in 1u64..300, at in prop::collection::btree_set(0u64..300, 0..40)) {
            let mut tree = Tree::new(leaves(count));
            let new: Vec<(u64, B256)> = at.iter().filter(|&&i| i < count).map(|&i| (i, keccak256([i as u8]))).collect();
            tree.set_leaves(&new).unwrap();
            let mut changed = leaves(count);
            new.iter().for_each(|&(index, leaf)| changed[index as usize] = leaf);
            prop_assert_eq!(&tree, &Tree::new(changed));
            let before = tree.clone();
            prop_assert!(tree.set_leaves(&[(0, B256::ZERO), (count, B256::ZERO)]).is_err());
            prop_assert!(tree.set_leaves(&[(0, B256::ZERO), (0, B256::ZERO)]).is_err());
            prop_assert_eq!(tree, before);
        }
    }
}
