//! Proofs that a key has a value, or none.

use std::collections::HashMap;

use alloy::primitives::Bytes;

use super::{
    Key, Node, NodeRef,
    node::{self, Leaf, Slot},
    update::{NodeStore, opened},
};
use crate::error::StoreError;

/// Where a trie's nodes can be read, by path.
pub(crate) trait NodeReader {
    /// The encoding of the node at a path; a leaf may be small enough to be in its parent, too.
    fn rlp(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A stored trie with changes that are never written: what it was at an earlier block. It has the leaves that it changes with their
/// values, which are not those of the newest state.
pub(crate) struct Overlay<R> {
    below: R,
    changed: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<R: NodeReader> Overlay<R> {
    /// The trie as it is stored.
    pub(crate) fn new(below: R) -> Self {
        Self { below, changed: HashMap::new() }
    }

    /// The nodes on a key's path, from the root. They prove the key's value, or that it has none, against the root.
    pub(crate) fn prove(&self, key: &Key) -> Result<Vec<Bytes>, StoreError> {
        let mut proof = Vec::new();
        let Some(root) = self.rlp(&[])? else { return Ok(proof) };
        let mut node = node::decode(&root)?;
        proof.push(root.into());
        let mut depth = 0;
        loop {
            let child = match node {
                Node::Leaf(_) => return Ok(proof),
                Node::Extension { prefix, child } => {
                    if !key[depth..].starts_with(&prefix) {
                        return Ok(proof);
                    }
                    depth += prefix.len();
                    child
                }
                Node::Branch { mut children } => {
                    depth += 1;
                    std::mem::take(&mut children[usize::from(key[depth - 1])])
                }
            };
            let Slot::Closed(reference) = child else { return Ok(proof) };
            node = if reference.is_inline() {
                node::decode(reference.as_slice())?
            } else {
                let path = &key[..depth];
                let missing = || StoreError::Corrupt(format!("trie node {} is missing", alloy::hex::encode(path)));
                let rlp = self.rlp(path)?.ok_or_else(missing)?;
                let node = node::decode(&rlp)?;
                proof.push(rlp.into());
                node
            };
        }
    }

    fn rlp(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changed.get(path) {
            Some(changed) => Ok(changed.clone()),
            None => self.below.rlp(path),
        }
    }
}

impl<R: NodeReader> NodeStore for &mut Overlay<R> {
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
        self.rlp(path)?.map(|rlp| opened(path, &rlp)).transpose()
    }

    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError> {
        self.changed.insert(path.to_vec(), Some(rlp.to_vec()));
        Ok(())
    }

    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError> {
        self.changed.insert(path.to_vec(), None);
        Ok(())
    }

    fn put_leaf(&mut self, path: &[u8], leaf: &Leaf, _came: bool) -> Result<(), StoreError> {
        self.put_node(path, &leaf.rlp())
    }

    fn drop_leaf(&mut self, path: &[u8]) -> Result<(), StoreError> {
        self.drop_node(path)
    }
}
