//! The state trie and the storage tries in the state's table.
//!
//! Branches and extensions are there as encoded, by their paths. Where a leaf is, there is only of which account or slot it is:
//! its value is that one's own entry, and its suffix the rest of the hash. So a new value of an account or a slot changes nothing
//! here but the branches above.
//!
//! ```text
//!   path of a branch or an extension --> its encoding
//!   path of a leaf -------------------> address, or slot --> the account's, or the slot's, entry
//! ```

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256, keccak256},
};

use super::{
    recent::{Entries, View, Working},
    snapshot::slot_value,
    tables::{ACCOUNT_LEAVES, ACCOUNT_NODES, account_key, slot_key, storage_leaves, storage_nodes},
};
use crate::{
    error::StoreError,
    trie::{Leaf, Node, NodeReader, NodeRef, NodeStore, nibbles, opened, opened_leaf},
};

/// One of the tries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// The state trie: its leaves are of addresses, with zeros before them.
    Accounts,
    /// An account's storage trie: its leaves are of slots.
    Slots(Address),
}

impl Which {
    fn node_key(self, path: &[u8]) -> Vec<u8> {
        match self {
            Self::Accounts => [&ACCOUNT_NODES, path].concat(),
            Self::Slots(address) => [&storage_nodes(&address), path].concat(),
        }
    }

    fn leaf_key(self, path: &[u8]) -> Vec<u8> {
        match self {
            Self::Accounts => [&ACCOUNT_LEAVES, path].concat(),
            Self::Slots(address) => [&storage_leaves(&address), path].concat(),
        }
    }

    /// What is stored at a leaf's path.
    fn pointer(self, of: B256) -> Bytes {
        match self {
            Self::Accounts => Bytes::copy_from_slice(Address::from_word(of).as_slice()),
            Self::Slots(_) => of.into(),
        }
    }

    /// What a leaf is of, from what is stored at its path.
    fn pointed(self, pointer: &[u8]) -> Option<B256> {
        match self {
            Self::Accounts => Address::try_from(pointer).ok().map(|address| address.into_word()),
            Self::Slots(_) => B256::try_from(pointer).ok(),
        }
    }

    /// The key of a leaf.
    fn hash(self, of: B256) -> B256 {
        match self {
            Self::Accounts => keccak256(Address::from_word(of)),
            Self::Slots(_) => keccak256(of),
        }
    }

    /// The value of a leaf, from the entry of what it is of.
    fn value(self, state: &impl Entries, of: B256) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Accounts => state.read(&account_key(&Address::from_word(of)), |rlp| Ok(rlp.to_vec())),
            Self::Slots(address) => {
                let encoded = |value: &[u8]| Ok(alloy_rlp::encode(slot_value(value)?));
                state.read(&slot_key(&address, &U256::from_be_bytes(of.0)), encoded)
            }
        }
    }

    /// The leaf at a path.
    fn leaf(self, state: &impl Entries, path: &[u8]) -> Result<Option<Leaf>, StoreError> {
        let corrupt = |what: String| StoreError::Corrupt(format!("trie leaf {} of {self:?} {what}", hex::encode(path)));
        let read = |pointer: &[u8]| {
            let malformed = || corrupt(format!("is of {}", hex::encode(pointer)));
            self.pointed(pointer).ok_or_else(malformed)
        };
        let Some(of) = state.read(&self.leaf_key(path), read)? else { return Ok(None) };
        let key = nibbles(&self.hash(of));
        let suffix = key.strip_prefix(path).ok_or_else(|| corrupt(format!("is of {of}, whose leaf is elsewhere")))?;
        let value = self.value(state, of)?.ok_or_else(|| corrupt(format!("is of {of}, which has no value")))?;
        Ok(Some(Leaf { suffix: suffix.to_vec(), value, of: Some(of) }))
    }
}

/// Nodes of one trie that a batch changes. The entries of accounts and slots must be those of before it until it is done.
pub(super) struct WorkingNodes<'a> {
    pub(super) state: &'a mut Working,
    pub(super) which: Which,
}

impl NodeStore for WorkingNodes<'_> {
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
        match self.state.read(&self.which.node_key(path), |rlp| opened(path, rlp))? {
            Some(node) => Ok(Some(node)),
            None => Ok(self.which.leaf(self.state, path)?.map(|leaf| opened_leaf(path, leaf))),
        }
    }

    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError> {
        self.state.set(self.which.node_key(path), Some(Bytes::copy_from_slice(rlp)));
        Ok(())
    }

    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError> {
        self.state.set(self.which.node_key(path), None);
        Ok(())
    }

    fn put_leaf(&mut self, path: &[u8], leaf: &Leaf, came: bool) -> Result<(), StoreError> {
        if came {
            let unknown = || StoreError::Corrupt(format!("nobody knows of what trie leaf {} is", hex::encode(path)));
            let of = leaf.of.ok_or_else(unknown)?;
            self.state.set(self.which.leaf_key(path), Some(self.which.pointer(of)));
        }
        Ok(())
    }

    fn drop_leaf(&mut self, path: &[u8]) -> Result<(), StoreError> {
        self.state.set(self.which.leaf_key(path), None);
        Ok(())
    }
}

/// Nodes of one trie as of a block.
pub(super) struct ViewNodes<'a> {
    pub(super) state: &'a View,
    pub(super) which: Which,
}

impl NodeReader for ViewNodes<'_> {
    fn rlp(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.state.read(&self.which.node_key(path), |rlp| Ok(rlp.to_vec()))? {
            Some(rlp) => Ok(Some(rlp)),
            None => Ok(self.which.leaf(self.state, path)?.map(|leaf| leaf.rlp())),
        }
    }
}
