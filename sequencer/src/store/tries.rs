//! The state trie and the storage tries in the state's table.

use alloy::primitives::Bytes;

use super::recent::{View, Working};
use crate::{
    error::StoreError,
    trie::{Node, NodeReader, NodeRef, NodeStore, opened},
};

/// Nodes of one trie that a batch changes, under a prefix of their keys.
pub(super) struct WorkingNodes<'a> {
    pub(super) state: &'a mut Working,
    pub(super) prefix: &'a [u8],
}

impl NodeStore for WorkingNodes<'_> {
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
        self.state.read(&[self.prefix, path].concat(), |rlp| opened(path, rlp))
    }

    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError> {
        self.state.set([self.prefix, path].concat(), Some(Bytes::copy_from_slice(rlp)));
        Ok(())
    }

    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError> {
        self.state.set([self.prefix, path].concat(), None);
        Ok(())
    }
}

/// Nodes of one trie as of a block.
pub(super) struct ViewNodes<'a> {
    pub(super) state: &'a View,
    pub(super) prefix: &'a [u8],
}

impl NodeReader for ViewNodes<'_> {
    fn rlp(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.read(&[self.prefix, path].concat(), |rlp| Ok(rlp.to_vec()))
    }
}
