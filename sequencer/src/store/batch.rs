//! Writing one block.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    decode,
    tables::{self, StoredReceipt, Undo, UndoAccount, UndoSlot, slot_key},
    tries::{AccountNodes, StorageNodes},
};
use crate::{
    error::StoreError,
    pool::Blob,
    trie::{Kept, NodeStore, Trie, nibbles},
};

/// Blocks whose blobs are kept: as many as Ethereum has slots in the 4096 epochs of EIP-4844.
const BLOB_BLOCKS: u64 = 131_072;

/// What a block changed in the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateChanges {
    /// Changed accounts, each once.
    pub(crate) accounts: Vec<AccountChange>,
    /// New code by its hash.
    pub(crate) code: Vec<(B256, Bytes)>,
}

/// A changed account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountChange {
    /// Its address.
    pub(crate) address: Address,
    /// Nonce, balance and code hash; `None` if it is gone.
    pub(crate) info: Option<(u64, U256, B256)>,
    /// Whether its old storage is gone.
    pub(crate) wiped: bool,
    /// Changed slots with their new values.
    pub(crate) storage: Vec<(U256, U256)>,
}

/// A block to be written.
pub(crate) struct NewBlock<'a> {
    /// Its header with its hash.
    pub(crate) header: &'a Sealed<Header>,
    /// Its transactions as they were sent.
    pub(crate) transactions: &'a [Bytes],
    /// What became of them, in the same order.
    pub(crate) receipts: &'a [StoredReceipt],
    /// The blobs they carry, in order.
    pub(crate) blobs: &'a [Blob],
}

/// Trie nodes that may be in memory between changes: some 100 MB.
const KEPT_NODES: usize = 150_000;

/// The upper nodes of tries as they are stored; what a change that was dropped may have altered is forgotten.
#[derive(Debug, Default)]
pub(super) struct KeptTries {
    accounts: Kept,
    storage: HashMap<Address, Kept>,
}

impl KeptTries {
    fn nodes(&self) -> usize {
        self.accounts.nodes + self.storage.values().map(|trie| trie.nodes).sum::<usize>()
    }
}

/// A change in progress. Dropped, it leaves no trace.
pub(crate) struct Batch {
    pub(super) write: WriteTransaction,
    undo: Undo,
    kept: KeptTries,
    /// Where they go once the change is committed.
    keep: Arc<Mutex<KeptTries>>,
}

impl Batch {
    pub(super) fn new(write: WriteTransaction, keep: &Arc<Mutex<KeptTries>>) -> Self {
        let kept = mem::take(&mut *keep.lock().unwrap_or_else(PoisonError::into_inner));
        Self { write, undo: Undo::default(), kept, keep: keep.clone() }
    }

    /// Applies a block's changes to the state and returns the new state root.
    pub(crate) fn apply_state(&mut self, changes: &StateChanges) -> Result<B256, StoreError> {
        let mut code = self.write.open_table(tables::CODE)?;
        for (hash, bytes) in &changes.code {
            code.insert(&hash.0, bytes.as_ref())?;
        }
        let mut accounts = self.write.open_table(tables::ACCOUNTS)?;
        let mut nodes = self.write.open_table(tables::ACCOUNT_TRIE)?;
        let mut slots = self.write.open_table(tables::STORAGE)?;
        let mut slot_nodes = self.write.open_table(tables::STORAGE_TRIE)?;
        let mut leaves = Vec::with_capacity(changes.accounts.len());
        for change in &changes.accounts {
            let old = accounts.get(&change.address.0.0)?.map(|value| value.value().to_vec()).unwrap_or_default();
            let old_root = match old.as_slice() {
                [] => EMPTY_ROOT_HASH,
                old => decode::<TrieAccount>("account", old)?.storage_root,
            };
            let nodes = StorageNodes { table: &mut slot_nodes, address: change.address };
            let storage_root = apply_storage(&mut slots, nodes, &mut self.undo, change, old_root, &mut self.kept)?;
            let new = change.info.map(|(nonce, balance, code_hash)| {
                alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash })
            });
            let new = new.unwrap_or_default();
            if new == old {
                continue;
            }
            if new.is_empty() {
                accounts.remove(&change.address.0.0)?;
            } else {
                accounts.insert(&change.address.0.0, new.as_slice())?;
            }
            leaves.push((keccak256(change.address), new));
            self.undo.accounts.push(UndoAccount { address: change.address, before: old.into() });
        }
        update(AccountNodes(&mut nodes), leaves, &mut self.kept.accounts)
    }

    /// Writes a block as the new head, and forgets how to undo blocks that are `history` or more behind it.
    pub(crate) fn put_block(&mut self, block: &NewBlock<'_>, history: u64) -> Result<(), StoreError> {
        let number = block.header.number;
        let hash = block.header.hash();
        self.write.open_table(tables::HEADERS)?.insert(number, alloy_rlp::encode(block.header.inner()).as_slice())?;
        self.write.open_table(tables::HASHES)?.insert(number, &hash.0)?;
        self.write.open_table(tables::NUMBERS)?.insert(&hash.0, number)?;
        let mut transactions = self.write.open_table(tables::TRANSACTIONS)?;
        let mut receipts = self.write.open_table(tables::RECEIPTS)?;
        let mut locations = self.write.open_table(tables::LOCATIONS)?;
        pieces(block.transactions, |first, list| Ok(transactions.insert((number, first), list).map(drop)?))?;
        pieces(block.receipts, |first, list| Ok(receipts.insert((number, first), list).map(drop)?))?;
        let mut placed: Vec<_> = block.receipts.iter().map(|receipt| receipt.hash).zip(0u32..).collect();
        // In the order of the table, so that each of its pages is visited once.
        placed.sort_unstable();
        for (hash, index) in placed {
            locations.insert(&hash.0, (number, index))?;
        }
        self.put_blobs(number, block.blobs)?;
        let mut undo = self.write.open_table(tables::UNDO)?;
        undo.insert(number, alloy_rlp::encode(&self.undo).as_slice())?;
        // The window only shrinks by configuration, so this usually removes one record.
        if let Some(last) = number.checked_sub(history) {
            undo.retain_in(..=last, |_, _| false)?;
        }
        self.put_number(tables::META_HEAD, number)
    }

    fn put_blobs(&self, number: u64, blobs: &[Blob]) -> Result<(), StoreError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let mut table = self.write.open_table(tables::BLOBS)?;
        for (index, blob) in (0u32..).zip(blobs) {
            let parts = [blob.hash.as_slice(), blob.commitment.as_slice(), blob.proof.as_slice(), &blob.data];
            table.insert((number, index), parts.concat().as_slice())?;
        }
        if let Some(last) = number.checked_sub(BLOB_BLOCKS) {
            table.retain_in(..=(last, u32::MAX), |_, _| false)?;
        }
        Ok(())
    }

    /// Notes the chain id of a new store.
    pub(crate) fn put_chain_id(&mut self, chain_id: u64) -> Result<(), StoreError> {
        self.put_number(tables::META_CHAIN_ID, chain_id)
    }

    /// Notes which blocks L1 holds, and which for good.
    pub(crate) fn put_labels(&mut self, safe: u64, finalized: u64) -> Result<(), StoreError> {
        self.put_number(tables::META_SAFE, safe)?;
        self.put_number(tables::META_FINALIZED, finalized)
    }

    pub(super) fn put_number(&self, key: &str, number: u64) -> Result<(), StoreError> {
        let mut meta = self.write.open_table(tables::META)?;
        meta.insert(key, number.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Makes it durable.
    pub(crate) fn commit(self) -> Result<(), StoreError> {
        self.write.commit()?;
        if self.kept.nodes() <= KEPT_NODES {
            *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = self.kept;
        }
        Ok(())
    }
}

/// Size in bytes from which a piece of a list is full: a few pieces share a page, and most entries are smaller.
const PIECE_BYTES: usize = 1300;

/// Hands out a list in pieces: the index of the first entry, and the encoded entries one after the other.
fn pieces<T: alloy_rlp::Encodable>(
    list: &[T],
    mut put: impl FnMut(u32, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (mut piece, mut first) = (Vec::with_capacity(2 * PIECE_BYTES), 0);
    for (next, entry) in (1u32..).zip(list) {
        entry.encode(&mut piece);
        if piece.len() >= PIECE_BYTES || next as usize == list.len() {
            put(first, &piece)?;
            piece.clear();
            first = next;
        }
    }
    Ok(())
}

/// Applies an account's storage changes and returns its new storage root.
fn apply_storage(
    slots: &mut Table<'_, &'static [u8; 52], &'static [u8; 32]>,
    mut nodes: StorageNodes<'_, '_>,
    undo: &mut Undo,
    change: &AccountChange,
    old_root: B256,
    kept: &mut KeptTries,
) -> Result<B256, StoreError> {
    let gone = change.wiped || change.info.is_none();
    if change.storage.is_empty() && (!gone || old_root == EMPTY_ROOT_HASH) {
        return Ok(old_root);
    }
    let address = change.address;
    if gone && old_root != EMPTY_ROOT_HASH {
        let (first, last) = (slot_key(&address, &U256::ZERO), slot_key(&address, &U256::MAX));
        for entry in slots.extract_from_if::<&[u8; 52], _>(&first..=&last, |_, _| true)? {
            let (key, value) = entry?;
            let slot = U256::from_be_slice(&key.value()[20..]);
            undo.slots.push(UndoSlot { address, slot, before: U256::from_be_bytes(*value.value()) });
        }
        nodes.clear()?;
        kept.storage.remove(&address);
    }
    let mut leaves = Vec::with_capacity(change.storage.len());
    for (slot, value) in &change.storage {
        let key = slot_key(&address, slot);
        let old = if value.is_zero() {
            slots.remove(&key)?.map(|old| *old.value())
        } else {
            slots.insert(&key, &value.to_be_bytes::<32>())?.map(|old| *old.value())
        };
        let before = U256::from_be_bytes(old.unwrap_or_default());
        if before == *value {
            continue;
        }
        undo.slots.push(UndoSlot { address, slot: *slot, before });
        let encoded = if value.is_zero() { Vec::new() } else { alloy_rlp::encode(value) };
        leaves.push((keccak256(slot.to_be_bytes::<32>()), encoded));
    }
    update(nodes, leaves, kept.storage.entry(address).or_default())
}

/// Changes leaves of a trie, given by hashed key, and returns its new root. Empty values are removed.
fn update(nodes: impl NodeStore, mut leaves: Vec<(B256, Vec<u8>)>, kept: &mut Kept) -> Result<B256, StoreError> {
    // In the order in which the store keeps them, so that each page is visited once.
    leaves.sort_unstable_by_key(|(key, _)| *key);
    let mut trie = Trie::open_kept(nodes, mem::take(kept))?;
    for (key, value) in leaves {
        trie.set(&nibbles(&key), value)?;
    }
    let root;
    (root, *kept) = trie.seal_kept()?;
    Ok(root)
}
