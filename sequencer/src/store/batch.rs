//! Writing one block.

use std::{collections::HashMap, mem, sync::Arc, time::Instant};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use redb::{ReadableDatabase, WriteTransaction};

use super::{
    archive::{self, Keep},
    current::{Shared, Turn, lock},
    decode,
    recent::{Entries, Working},
    record,
    rows::{Block, Facts, Rows},
    snapshot::slot_value,
    tables::{
        self, StoredReceipt, Undo, UndoAccount, UndoSlot, account_key, slot_key, slots_prefix, storage_leaves,
        storage_nodes,
    },
    tries::{Which, WorkingNodes},
    writer,
};
use crate::{
    error::StoreError,
    pool::Blob,
    trie::{Change, Kept, Trie},
};

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
    /// Changed slots with their new values, each once.
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

/// A change in progress. Dropped, it leaves no trace.
pub(crate) struct Batch {
    state: Working,
    undo: Undo,
    rows: Rows,
    pub(super) facts: Facts,
    kept: KeptTries,
    /// What the log will say of this change; `None` if it is made durable by writing the whole database instead.
    record: Option<Vec<u8>>,
    /// The transaction that writes the whole database.
    pub(super) whole: Option<WriteTransaction>,
    shared: Arc<Shared>,
    _turn: Turn,
}

impl Batch {
    /// Begins a change to the newest state as soon as no other is in progress.
    pub(super) fn begin(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let turn = Turn::take(shared);
        let current = shared.current();
        let (view, facts) = (current.view(&shared.database.begin_read()?)?, current.facts);
        drop(current);
        let kept = mem::take(&mut *lock(&shared.kept));
        Ok(Self {
            state: Working::new(view),
            undo: Undo::default(),
            rows: Rows::default(),
            facts,
            kept,
            record: Some(Vec::new()),
            whole: None,
            shared: shared.clone(),
            _turn: turn,
        })
    }

    /// From now on the change goes into the database, not into the log. Waits until that has all that is committed.
    pub(super) fn begin_whole(&mut self) -> Result<WriteTransaction, StoreError> {
        self.record = None;
        match self.whole.take() {
            Some(write) => Ok(write),
            None => {
                self.shared.settle()?;
                Ok(self.shared.database.begin_write()?)
            }
        }
    }

    /// Makes it a change of the whole database.
    pub(super) fn make_whole(&mut self) -> Result<(), StoreError> {
        self.whole = Some(self.begin_whole()?);
        Ok(())
    }

    /// Applies a block's changes to the state and returns the new state root.
    pub(crate) fn apply_state(&mut self, changes: &StateChanges) -> Result<B256, StoreError> {
        self.undo = Undo::default();
        if let Some(out) = &mut self.record {
            record::state(out, changes);
        }
        self.rows.code.extend(changes.code.iter().cloned());
        let mut leaves = Vec::with_capacity(changes.accounts.len());
        let mut entries = Vec::with_capacity(changes.accounts.len());
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
            entries.push((key.to_vec(), (!new.is_empty()).then(|| new.clone().into())));
            self.undo.accounts.push(UndoAccount { address: change.address, before: old.clone().into() });
            leaves.push(Change { key: keccak256(change.address), of: change.address.into_word(), old, new });
        }
        update(&mut self.state, Which::Accounts, leaves, entries, &mut self.kept.accounts)
    }

    /// The storage root of an account as it now is.
    pub(crate) fn storage_root(&self, address: Address) -> Result<B256, StoreError> {
        let account = self.state.read(&account_key(&address), |value| Ok(value.to_vec()))?;
        let account = account.map(|account| decode::<TrieAccount>("account", &account)).transpose()?;
        Ok(account.map_or(EMPTY_ROOT_HASH, |account| account.storage_root))
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
            self.state.clear(&storage_leaves(&address))?;
            self.kept.storage.remove(&address);
        }
        let mut leaves = Vec::with_capacity(change.storage.len());
        let mut entries = Vec::with_capacity(change.storage.len());
        for (slot, value) in &change.storage {
            let key = slot_key(&address, slot);
            let before = self.state.read(&key, slot_value)?.unwrap_or_default();
            if before == *value {
                continue;
            }
            self.undo.slots.push(UndoSlot { address, slot: *slot, before });
            entries.push((key.to_vec(), (!value.is_zero()).then(|| value.to_be_bytes::<32>().into())));
            let leaf = |value: &U256| if value.is_zero() { Vec::new() } else { alloy_rlp::encode(value) };
            let of = B256::from(*slot);
            leaves.push(Change { key: keccak256(of), of, old: leaf(&before), new: leaf(value) });
        }
        let kept = self.kept.storage.entry(address).or_default();
        update(&mut self.state, Which::Slots(address), leaves, entries, kept)
    }

    /// Adds a block as the new head, and forgets how to undo blocks that are further behind it than `keep` says.
    pub(crate) fn put_block(&mut self, block: &NewBlock<'_>, keep: Keep) -> Result<(), StoreError> {
        if let Some(out) = &mut self.record {
            record::block(out, block, keep);
        }
        let number = block.header.number;
        let undo = mem::take(&mut self.undo);
        let mut locations: Vec<_> = block.receipts.iter().map(|receipt| receipt.hash).zip(0u32..).collect();
        // In the order of the table, so that each of its pages is visited once.
        locations.sort_unstable();
        let mut history = Vec::new();
        if keep.archive {
            self.facts.archive = Some(archive::grown(self.facts.archive, number));
            history = if number > 0 { archive::entries(&undo) } else { history };
        }
        self.facts.head = Some(number);
        self.rows.blocks.push(Block {
            header: block.header.clone(),
            transactions: block.transactions.to_vec(),
            receipts: block.receipts.to_vec(),
            blobs: block.blobs.to_vec(),
            locations,
            undo,
            history,
            keep,
        });
        match &self.whole {
            // Many blocks may follow.
            Some(write) => mem::take(&mut self.rows).write(write),
            None => Ok(()),
        }
    }

    /// Accounts, slots and trie nodes that it sets or removes.
    pub(crate) fn changed_entries(&self) -> usize {
        self.state.changed()
    }

    /// Notes the chain id of a new store.
    pub(crate) fn put_chain_id(&mut self, chain_id: u64) -> Result<(), StoreError> {
        self.make_whole()?;
        self.facts.chain_id = Some(chain_id);
        Ok(())
    }

    /// Notes which blocks L1 holds, and which for good.
    pub(crate) fn put_labels(&mut self, safe: u64, finalized: u64) {
        if let Some(out) = &mut self.record {
            record::labels(out, safe, finalized);
        }
        self.facts.labels = Some((safe, finalized));
    }

    /// Makes it durable.
    pub(crate) fn commit(mut self) -> Result<(), StoreError> {
        self.rows.facts = self.facts;
        match (self.record.take(), self.whole.take()) {
            (Some(record), None) => self.commit_logged(&record),
            (_, Some(write)) => self.commit_whole(write),
            (None, None) => Err(StoreError::Corrupt("a change that failed was committed".into())),
        }
    }

    /// Makes it durable in the log; the database follows.
    fn commit_logged(mut self, record: &[u8]) -> Result<(), StoreError> {
        let mut log = lock(&self.shared.log);
        self.shared.make_room(&mut log)?;
        let end = log.append(record)?;
        self.rows.bytes = record.len();
        self.shared.current().add(self.state.into_changes(), self.rows);
        log.keep(end);
        self.shared.notify();
        self.kept.keep(&self.shared);
        Ok(())
    }

    /// Makes it durable with all that was recent, in the database.
    fn commit_whole(self, mut write: WriteTransaction) -> Result<(), StoreError> {
        let start = Instant::now();
        self.rows.write(&write)?;
        let mut log = lock(&self.shared.log);
        writer::set_generation(&mut write, log.next_generation())?;
        // Whoever takes a snapshot sees all of the change or nothing.
        let mut current = self.shared.current();
        current.layers().write(&self.state.into_changes(), &mut write.open_table(tables::STATE)?)?;
        write.commit()?;
        current.written_whole(self.facts, start.elapsed());
        log.begin_segment();
        self.kept.keep(&self.shared);
        Ok(())
    }

    /// The keys of these.
    #[cfg(test)]
    pub(super) fn changed_keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.state.changed_keys()
    }

    /// Sets an entry of the state, as whoever damages a store would.
    #[cfg(test)]
    pub(super) fn set_entry(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        self.state.set(key, value);
    }

    /// Ends as if the database had refused the change that the log has taken, as on a full disk.
    #[cfg(test)]
    pub(super) fn commit_refused(mut self) {
        let record = self.record.take().unwrap_or_default();
        let _not_kept = lock(&self.shared.log).append(&record).map(drop);
    }
}

/// Changes leaves of a trie, and the entries of what they are of, and returns its new root.
fn update(
    state: &mut Working,
    which: Which,
    mut leaves: Vec<Change>,
    entries: Vec<(Vec<u8>, Option<Bytes>)>,
    kept: &mut Kept,
) -> Result<B256, StoreError> {
    // In the order in which the store keeps them, so that each page is visited once.
    leaves.sort_unstable_by_key(|leaf| leaf.key);
    let mut trie = Trie::open_kept(WorkingNodes { state, which }, mem::take(kept))?;
    for leaf in leaves {
        trie.apply(leaf)?;
    }
    let root;
    (root, *kept) = trie.seal_kept()?;
    // Only now: leaves that were read on the way have the values of before.
    for (key, value) in entries {
        state.set(key, value);
    }
    Ok(root)
}
