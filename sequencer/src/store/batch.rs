//! Writing one block.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use redb::{Durability, WriteTransaction};

use super::{
    archive::Keep,
    decode,
    log::Log,
    recent::{Current, View, Working},
    record,
    snapshot::slot_value,
    tables::{
        self, ACCOUNT_NODES, StoredReceipt, Undo, UndoAccount, UndoSlot, account_key, slot_key, slots_prefix,
        storage_nodes,
    },
    tries::WorkingNodes,
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
    /// Puts them where the next batch finds them, unless they have become too many.
    fn keep(self, shared: &Shared) {
        if self.nodes() <= KEPT_NODES {
            *lock(&shared.kept) = self;
        }
    }

    fn nodes(&self) -> usize {
        self.accounts.nodes + self.storage.values().map(|trie| trie.nodes).sum::<usize>()
    }
}

/// What a store's batches share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) kept: Mutex<KeptTries>,
    pub(super) log: Mutex<Log>,
    pub(super) current: Mutex<Current>,
}

/// Locks; what a panic left is whole, as nothing here panics halfway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change in progress. Dropped, it leaves no trace.
pub(crate) struct Batch {
    pub(super) write: WriteTransaction,
    state: Working,
    undo: Undo,
    kept: KeptTries,
    shared: Arc<Shared>,
    /// What the log will say of this change; `None` if it is made durable by writing the whole database instead.
    pub(super) record: Option<Vec<u8>>,
}

impl Batch {
    /// A change to what `view` shows, which must be the newest state.
    pub(super) fn new(write: WriteTransaction, view: View, shared: Arc<Shared>) -> Self {
        let kept = mem::take(&mut *lock(&shared.kept));
        Self { write, state: Working::new(view), undo: Undo::default(), kept, shared, record: Some(Vec::new()) }
    }

    /// Applies a block's changes to the state and returns the new state root.
    pub(crate) fn apply_state(&mut self, changes: &StateChanges) -> Result<B256, StoreError> {
        self.undo = Undo::default();
        if let Some(out) = &mut self.record {
            record::state(out, changes);
        }
        self.put_code(&changes.code)?;
        let mut leaves = Vec::with_capacity(changes.accounts.len());
        for change in &changes.accounts {
            let key = account_key(&change.address);
            let old = self.state.read(&key, |value| Ok(value.to_vec()))?.unwrap_or_default();
            let old_root = match old.as_slice() {
                [] => EMPTY_ROOT_HASH,
                old => decode::<TrieAccount>("account", old)?.storage_root,
            };
            let storage_root = self.apply_storage(change, old_root)?;
            let new = change.info.map(|(nonce, balance, code_hash)| {
                alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash })
            });
            let new = new.unwrap_or_default();
            if new == old {
                continue;
            }
            self.state.set(key.to_vec(), (!new.is_empty()).then(|| new.clone().into()));
            leaves.push(Leaf { key: keccak256(change.address), old: old.clone(), new });
            self.undo.accounts.push(UndoAccount { address: change.address, before: old.into() });
        }
        let nodes = WorkingNodes { state: &mut self.state, prefix: &ACCOUNT_NODES };
        update(nodes, leaves, &mut self.kept.accounts)
    }

    /// The storage root of an account as it now is.
    pub(crate) fn storage_root(&self, address: Address) -> Result<B256, StoreError> {
        let account = self.state.read(&account_key(&address), |value| Ok(value.to_vec()))?;
        let account = account.map(|account| decode::<TrieAccount>("account", &account)).transpose()?;
        Ok(account.map_or(EMPTY_ROOT_HASH, |account| account.storage_root))
    }

    fn put_code(&self, code: &[(B256, Bytes)]) -> Result<(), StoreError> {
        let mut table = self.write.open_table(tables::CODE)?;
        for (hash, bytes) in code {
            table.insert(&hash.0, bytes.as_ref())?;
        }
        Ok(())
    }

    /// Applies an account's storage changes and returns its new storage root.
    fn apply_storage(&mut self, change: &AccountChange, old_root: B256) -> Result<B256, StoreError> {
        let gone = change.wiped || change.info.is_none();
        if change.storage.is_empty() && (!gone || old_root == EMPTY_ROOT_HASH) {
            return Ok(old_root);
        }
        let address = change.address;
        if gone && old_root != EMPTY_ROOT_HASH {
            for (key, value) in self.state.clear(&slots_prefix(&address))? {
                let slot = U256::from_be_slice(&key[21..]);
                self.undo.slots.push(UndoSlot { address, slot, before: U256::from_be_slice(&value) });
            }
            self.state.clear(&storage_nodes(&address))?;
            self.kept.storage.remove(&address);
        }
        let mut leaves = Vec::with_capacity(change.storage.len());
        for (slot, value) in &change.storage {
            let key = slot_key(&address, slot);
            let before = self.state.read(&key, slot_value)?.unwrap_or_default();
            if before == *value {
                continue;
            }
            self.undo.slots.push(UndoSlot { address, slot: *slot, before });
            let stored = (!value.is_zero()).then(|| value.to_be_bytes::<32>().into());
            self.state.set(key.to_vec(), stored);
            let leaf = |value: &U256| if value.is_zero() { Vec::new() } else { alloy_rlp::encode(value) };
            leaves.push(Leaf { key: keccak256(slot.to_be_bytes::<32>()), old: leaf(&before), new: leaf(value) });
        }
        let nodes = WorkingNodes { state: &mut self.state, prefix: &storage_nodes(&address) };
        update(nodes, leaves, self.kept.storage.entry(address).or_default())
    }

    /// Writes a block as the new head, and forgets how to undo blocks that are further behind it than `keep` says.
    pub(crate) fn put_block(&mut self, block: &NewBlock<'_>, keep: Keep) -> Result<(), StoreError> {
        if let Some(out) = &mut self.record {
            record::block(out, block, keep);
        }
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
        if let Some(last) = number.checked_sub(keep.undo_blocks) {
            undo.retain_in(..=last, |_, _| false)?;
        }
        drop(undo);
        if keep.archive {
            self.archive(number, &self.undo)?;
        }
        self.put_number(tables::META_HEAD, number)
    }

    /// Accounts, slots and trie nodes that it sets or removes.
    pub(crate) fn changed_entries(&self) -> usize {
        self.state.changed()
    }

    fn put_blobs(&self, number: u64, blobs: &[Blob]) -> Result<(), StoreError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let mut table = self.write.open_table(tables::BLOBS)?;
        for (index, blob) in (0u32..).zip(blobs) {
            table.insert((number, index), alloy_rlp::encode(blob).as_slice())?;
        }
        if let Some(last) = number.checked_sub(BLOB_BLOCKS) {
            table.retain_in(..=(last, u32::MAX), |_, _| false)?;
        }
        Ok(())
    }

    /// Notes the chain id of a new store.
    pub(crate) fn put_chain_id(&mut self, chain_id: u64) -> Result<(), StoreError> {
        self.record = None;
        self.put_number(tables::META_CHAIN_ID, chain_id)
    }

    /// Notes which blocks L1 holds, and which for good.
    pub(crate) fn put_labels(&mut self, safe: u64, finalized: u64) -> Result<(), StoreError> {
        if let Some(out) = &mut self.record {
            record::labels(out, safe, finalized);
        }
        self.put_number(tables::META_SAFE, safe)?;
        self.put_number(tables::META_FINALIZED, finalized)
    }

    pub(super) fn put_number(&self, key: &str, number: u64) -> Result<(), StoreError> {
        let mut meta = self.write.open_table(tables::META)?;
        meta.insert(key, number.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Makes it durable.
    pub(crate) fn commit(mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let mut log = lock(&shared.log);
        let full = log.is_full() || lock(&shared.current).is_full();
        match self.record.take() {
            Some(record) if !full => self.commit_logged(&mut log, &record)?,
            _ => self.commit_whole(&mut log)?,
        }
        Ok(())
    }

    /// Makes it durable in the log; the database follows in memory.
    fn commit_logged(mut self, log: &mut Log, record: &[u8]) -> Result<(), StoreError> {
        let end = log.append(record)?;
        self.set_durability(Durability::None)?;
        // Whoever takes a snapshot sees all of the change or nothing.
        let mut current = lock(&self.shared.current);
        self.write.commit()?;
        current.add(self.state.into_changes());
        log.keep(end);
        self.kept.keep(&self.shared);
        Ok(())
    }

    /// Makes it durable with all that was recent, in the database.
    fn commit_whole(mut self, log: &mut Log) -> Result<(), StoreError> {
        let generation = log.generation() + 1;
        self.put_number(tables::META_GENERATION, generation)?;
        self.set_durability(Durability::Immediate)?;
        // Restarting after a kill must not walk the whole file.
        self.write.set_quick_repair(true);
        let mut current = lock(&self.shared.current);
        let mut table = self.write.open_table(tables::STATE)?;
        current.write(&self.state.into_changes(), &mut table)?;
        drop(table);
        self.write.commit()?;
        *current = Current::default();
        log.restart(generation);
        self.kept.keep(&self.shared);
        Ok(())
    }

    /// Ends as if the database had refused the change that the log has taken, as on a full disk.
    #[cfg(test)]
    pub(super) fn commit_refused(mut self) {
        let record = self.record.take().unwrap_or_default();
        let _not_kept = lock(&self.shared.log).append(&record).map(drop);
    }

    fn set_durability(&mut self, durability: Durability) -> Result<(), StoreError> {
        let refused = |error| StoreError::Corrupt(format!("durability was refused: {error}"));
        self.write.set_durability(durability).map_err(refused)
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

/// A leaf of a trie that changes. An empty value is none.
struct Leaf {
    /// Its hashed key.
    key: B256,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Changes leaves of a trie and returns its new root.
fn update(nodes: impl NodeStore, mut leaves: Vec<Leaf>, kept: &mut Kept) -> Result<B256, StoreError> {
    // In the order in which the store keeps them, so that each page is visited once.
    leaves.sort_unstable_by_key(|leaf| leaf.key);
    let mut trie = Trie::open_kept(nodes, mem::take(kept))?;
    for leaf in leaves {
        trie.replace(&nibbles(&leaf.key), &leaf.old, leaf.new)?;
    }
    let root;
    (root, *kept) = trie.seal_kept()?;
    Ok(root)
}
