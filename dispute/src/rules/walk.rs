//! Phases `Trace`, `Nodes`, `States`, `Tensor` and `Chunks`: down the hash trees, at most 256 subtrees a move.

use alloy_primitives::{B256, keccak256};
use lockstep_commit::{tensor, tree};
use lockstep_ir::program::Node;

use super::{check_count, check_hash};
use crate::illegal::Illegal;
use crate::state::{Phase, Side, State, Terms};

impl State {
    pub(super) fn post_trace(&mut self, terms: &Terms, trace_root: B256, children: &[B256]) -> Result<(), Illegal> {
        self.trace_root = trace_root;
        self.enter_tree(trace_root, u64::from(terms.header.nodeCount));
        self.check_first_level(children)?;
        self.to(Phase::Nodes, Side::Challenger);
        Ok(())
    }

    pub(super) fn post_children(&mut self, children: &[B256]) -> Result<(), Illegal> {
        self.check_level(children)?;
        match children {
            [only] => self.descend(0, *only),
            _ => self.to(self.phase, Side::Challenger),
        }
        Ok(())
    }

    pub(super) fn post_tensor(
        &mut self,
        terms: &Terms,
        node: &[u8],
        node_proof: &[B256],
        merkle_root: B256,
        children: &[B256],
    ) -> Result<(), Illegal> {
        let header = &terms.header;
        self.node_hash = keccak256(node);
        let (count, index) = (u64::from(header.nodeCount), u64::from(self.node));
        tree::verify(header.nodesRoot, count, index, self.node_hash, node_proof)?;
        let node = Node::decode(node)?;
        check_hash(self.cursor, tensor::tensor_root(&node.out, merkle_root))?;
        let bytes = tensor::byte_count(&node.out)?;
        self.element_size = node.out.dtype.size() as u8;
        self.element_count = bytes / u64::from(self.element_size);
        self.fold_length = node.fold_length();
        let chunks = tensor::chunk_count(bytes);
        self.enter_tree(merkle_root, chunks);
        self.check_first_level(children)?;
        match chunks {
            1 => self.to(Phase::Chunk, Side::Defender),
            _ => self.to(Phase::Chunks, Side::Challenger),
        }
        Ok(())
    }

    pub(super) fn point_child(&mut self, child: u64, hash: B256, proof: &[B256]) -> Result<(), Illegal> {
        let level = self.level();
        if child >= level.real {
            return Err(Illegal::PastTheEnd { count: level.real, given: child });
        }
        check_count(u64::from(level.levels), proof.len())?;
        check_hash(self.cursor, tree::climb(hash, child, proof))?;
        self.descend(child, hash);
        Ok(())
    }

    pub(super) fn point_state(&mut self, terms: &Terms) -> Result<(), Illegal> {
        if self.depth != tree::depth(self.count) {
            return Err(Illegal::NotAtRoot { index: self.index, depth: self.depth });
        }
        self.enter_tree(self.after_root, u64::from(terms.header.stateCount));
        match self.count {
            1 => self.to(Phase::JudgeState, Side::Challenger),
            _ => self.to(Phase::States, Side::Defender),
        }
        Ok(())
    }

    fn enter_tree(&mut self, root: B256, count: u64) {
        self.cursor = root;
        self.depth = tree::depth(count);
        self.index = 0;
        self.count = count;
    }

    fn check_level(&self, children: &[B256]) -> Result<(), Illegal> {
        let level = self.level();
        check_count(level.real, children.len())?;
        check_hash(self.cursor, tree::subtree_hash(children, self.depth, level.levels)?)
    }

    /// A tree of one leaf has no level to post.
    fn check_first_level(&self, children: &[B256]) -> Result<(), Illegal> {
        if self.depth == 0 { check_count(0, children.len()) } else { self.check_level(children) }
    }

    /// Goes down to subtree `child` of the level under the cursor, and into the next phase if that is a leaf.
    fn descend(&mut self, child: u64, hash: B256) {
        let level = self.level();
        self.cursor = hash;
        self.depth = level.below;
        self.index = (self.index << level.levels) + child;
        match self.phase {
            _ if self.depth != 0 => self.to(self.phase, Side::Defender),
            Phase::Nodes => {
                self.node = self.index as u32;
                self.to(Phase::Tensor, Side::Defender);
            }
            Phase::States => self.to(Phase::JudgeState, Side::Challenger),
            _ => self.to(Phase::Chunk, Side::Defender),
        }
    }
}
