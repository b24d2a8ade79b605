//! The state trie and the storage tries over their tables.

use alloy::primitives::Address;
use redb::{ReadableTable, Table};

use crate::{
    error::StoreError,
    trie::{Node, NodeRef, NodeStore, opened},
};

/// Nodes of the state trie.
pub(super) struct AccountNodes<'a, 'txn>(pub(super) &'a mut Table<'txn, &'static [u8], &'static [u8]>);

impl NodeStore for AccountNodes<'_, '_> {
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
        self.0.get(path)?.map(|rlp| opened(path, rlp.value())).transpose()
    }

    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError> {
        self.0.insert(path, rlp)?;
        Ok(())
    }

    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError> {
        self.0.remove(path)?;
        Ok(())
    }
}

/// Nodes of one contract's storage trie.
pub(super) struct StorageNodes<'a, 'txn> {
    pub(super) table: &'a mut Table<'txn, &'static [u8], &'static [u8]>,
    pub(super) address: Address,
}

impl StorageNodes<'_, '_> {
    fn key(&self, path: &[u8]) -> Vec<u8> {
        [self.address.as_slice(), path].concat()
    }

    /// Removes the whole trie.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        // Nibbles are below 16, so this ends just after the last path of the address.
        let end = self.key(&[16]);
        self.table.retain_in(self.address.as_slice()..end.as_slice(), |_, _| false)?;
        Ok(())
    }
}

impl NodeStore for StorageNodes<'_, '_> {
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
        self.table.get(self.key(path).as_slice())?.map(|rlp| opened(path, rlp.value())).transpose()
    }

    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError> {
        let key = self.key(path);
        self.table.insert(key.as_slice(), rlp)?;
        Ok(())
    }

    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError> {
        let key = self.key(path);
        self.table.remove(key.as_slice())?;
        Ok(())
    }
}
