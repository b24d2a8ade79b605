//! Reading the chain as of one head.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256},
};
use alloy_trie::TrieAccount;
use redb::{ReadOnlyTable, ReadTransaction};
use revm::{DatabaseRef, bytecode::Bytecode, state::AccountInfo};

use super::{
    archive::Archive,
    decode, decode_all,
    recent::{Entries, View},
    rows::{Facts, Waiting},
    tables::{self, StoredReceipt, Undo, account_key, slot_key},
};
use crate::{error::StoreError, pool::Blob};

/// How many overwritten accounts and slots a look into the past may gather.
const PAST_ENTRIES: usize = 500_000;

/// The chain and its state as of one head. Later blocks do not show.
pub(crate) struct Snapshot {
    pub(super) view: View,
    /// Rows that are over those of the tables.
    waiting: Waiting,
    code: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    headers: ReadOnlyTable<u64, &'static [u8]>,
    hashes: ReadOnlyTable<u64, &'static [u8; 32]>,
    numbers: ReadOnlyTable<&'static [u8; 32], u64>,
    transactions: ReadOnlyTable<(u64, u32), &'static [u8]>,
    receipts: ReadOnlyTable<(u64, u32), &'static [u8]>,
    locations: ReadOnlyTable<&'static [u8; 32], (u64, u32)>,
    undo: ReadOnlyTable<u64, &'static [u8]>,
    blobs: ReadOnlyTable<(u64, u32), &'static [u8]>,
    archive: Archive,
}

/// State as of a block: a snapshot's, seen through what younger blocks overwrote.
#[derive(Clone)]
pub(crate) struct State<'a> {
    pub(super) snapshot: &'a Snapshot,
    past: Option<Past>,
}

/// How a state that is not the newest is read.
#[derive(Clone)]
enum Past {
    /// In the archive: the state of `block`, seen from `head`.
    Archived { block: u64, head: u64 },
    /// What later blocks overwrote, gathered.
    Gathered(Arc<Overwritten>),
}

/// What later blocks overwrote.
#[derive(Default)]
pub(super) struct Overwritten {
    /// Accounts as stored, empty where there was none.
    pub(super) accounts: HashMap<Address, Bytes>,
    /// Slots, zero where there was none.
    pub(super) slots: HashMap<(Address, U256), U256>,
}

impl Snapshot {
    pub(super) fn new(read: &ReadTransaction, view: View, waiting: Waiting, facts: &Facts) -> Result<Self, StoreError> {
        Ok(Self {
            view,
            waiting,
            code: read.open_table(tables::CODE)?,
            headers: read.open_table(tables::HEADERS)?,
            hashes: read.open_table(tables::HASHES)?,
            numbers: read.open_table(tables::NUMBERS)?,
            transactions: read.open_table(tables::TRANSACTIONS)?,
            receipts: read.open_table(tables::RECEIPTS)?,
            locations: read.open_table(tables::LOCATIONS)?,
            undo: read.open_table(tables::UNDO)?,
            blobs: read.open_table(tables::BLOBS)?,
            archive: Archive::new(read, facts.archive)?,
        })
    }

    /// The state as of the newest block.
    pub(crate) fn state(&self) -> State<'_> {
        State { snapshot: self, past: None }
    }

    /// The state as of `block`, if `head` is the newest block.
    pub(crate) fn state_at(&self, block: u64, head: u64) -> Result<State<'_>, StoreError> {
        if block >= head {
            return Ok(self.state());
        }
        let past = match self.archive.has(block, head) {
            true => Past::Archived { block, head },
            false => Past::Gathered(Arc::new(self.overwritten(block, head)?)),
        };
        Ok(State { snapshot: self, past: Some(past) })
    }

    /// Gathers what the blocks after `block` overwrote, up to `head`, the newest.
    fn overwritten(&self, block: u64, head: u64) -> Result<Overwritten, StoreError> {
        let mut past = Overwritten::default();
        for number in block + 1..=head {
            let Some(undo) = self.undo(number)? else {
                return Err(StoreError::Pruned { block, oldest: self.oldest_state(head)? });
            };
            for account in undo.accounts {
                past.accounts.entry(account.address).or_insert(account.before);
            }
            for slot in undo.slots {
                past.slots.entry((slot.address, slot.slot)).or_insert(slot.before);
            }
            if past.accounts.len() + past.slots.len() > PAST_ENTRIES {
                return Err(StoreError::Pruned { block, oldest: head - (number - block) + 1 });
            }
        }
        Ok(past)
    }

    /// What a block overwrote, if it is kept.
    fn undo(&self, number: u64) -> Result<Option<Undo>, StoreError> {
        if self.waiting.forgets().is_some_and(|last| number <= last) {
            return Ok(None);
        }
        if let Some(block) = self.waiting.block(number) {
            return Ok(Some(block.undo.clone()));
        }
        self.undo.get(number)?.map(|record| decode("undo record", record.value())).transpose()
    }

    fn oldest_state(&self, head: u64) -> Result<u64, StoreError> {
        let kept = self.waiting.forgets().map_or(0, |last| last + 1);
        let stored = self.undo.range(kept..)?.next().transpose()?.map(|(number, _)| number.value());
        let waiting = self.waiting.blocks().map(|block| block.header.number).filter(|number| *number >= kept);
        let first = waiting.chain(stored).min();
        Ok(first.map_or(head, |number| number.saturating_sub(1)))
    }

    /// A header with its hash.
    pub(crate) fn header(&self, number: u64) -> Result<Option<Sealed<Header>>, StoreError> {
        if let Some(block) = self.waiting.block(number) {
            return Ok(Some(block.header.clone()));
        }
        let Some(rlp) = self.headers.get(number)? else { return Ok(None) };
        let header: Header = decode("header", rlp.value())?;
        let hash = self.hash(number)?.ok_or_else(|| StoreError::Corrupt(format!("block {number} has no hash")))?;
        Ok(Some(Sealed::new_unchecked(header, hash)))
    }

    /// A block's hash.
    pub(crate) fn hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        match self.waiting.block(number) {
            Some(block) => Ok(Some(block.header.hash())),
            None => Ok(self.hashes.get(number)?.map(|hash| B256::from(hash.value()))),
        }
    }

    /// The number of the block with a hash.
    pub(crate) fn number(&self, hash: B256) -> Result<Option<u64>, StoreError> {
        match self.waiting.blocks().find(|block| block.header.hash() == hash) {
            Some(block) => Ok(Some(block.header.number)),
            None => Ok(self.numbers.get(&hash.0)?.map(|number| number.value())),
        }
    }

    /// A block's transactions in order.
    pub(crate) fn transactions(&self, number: u64) -> Result<Vec<Bytes>, StoreError> {
        match self.waiting.block(number) {
            Some(block) => Ok(block.transactions.clone()),
            None => list("transactions", &self.transactions, number),
        }
    }

    /// One transaction.
    pub(crate) fn transaction(&self, number: u64, index: u32) -> Result<Option<Bytes>, StoreError> {
        match self.waiting.block(number) {
            Some(block) => Ok(block.transactions.get(index as usize).cloned()),
            None => entry("transactions", &self.transactions, number, index),
        }
    }

    /// A block's receipts in order.
    pub(crate) fn receipts(&self, number: u64) -> Result<Vec<StoredReceipt>, StoreError> {
        match self.waiting.block(number) {
            Some(block) => Ok(block.receipts.clone()),
            None => list("receipts", &self.receipts, number),
        }
    }

    /// One receipt.
    pub(crate) fn receipt(&self, number: u64, index: u32) -> Result<Option<StoredReceipt>, StoreError> {
        match self.waiting.block(number) {
            Some(block) => Ok(block.receipts.get(index as usize).cloned()),
            None => entry("receipts", &self.receipts, number, index),
        }
    }

    /// The blobs that a block carries.
    pub(crate) fn blobs(&self, number: u64) -> Result<Vec<Blob>, StoreError> {
        match self.waiting.block(number) {
            Some(block) => Ok(block.blobs.clone()),
            None => self.blobs.range(in_block(number))?.map(|entry| decode("blob", entry?.1.value())).collect(),
        }
    }

    /// Every trie node and every contract's code as of the newest block.
    #[cfg(test)]
    pub(crate) fn preimages(&self) -> Result<Vec<Bytes>, StoreError> {
        use redb::ReadableTable as _;

        use super::{
            tables::{ACCOUNT_LEAVES, ACCOUNT_NODES, STORAGE_LEAVES, STORAGE_NODES},
            tries::{ViewNodes, Which},
        };
        use crate::trie::NodeReader;
        let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let mut all = Vec::new();
        for prefix in [ACCOUNT_NODES, STORAGE_NODES] {
            all.extend(self.view.scan(&prefix)?.into_values());
        }
        for key in self.view.scan(&ACCOUNT_LEAVES)?.keys() {
            let nodes = ViewNodes { state: &self.view, which: Which::Accounts };
            all.extend(nodes.rlp(&key[1..])?.map(Bytes::from));
        }
        for key in self.view.scan(&STORAGE_LEAVES)?.keys() {
            let nodes = ViewNodes { state: &self.view, which: Which::Slots(Address::from_slice(&key[1..21])) };
            all.extend(nodes.rlp(&key[21..])?.map(Bytes::from));
        }
        for entry in self.code.iter()? {
            all.push(copy(entry?.1.value()));
        }
        all.extend(self.waiting.0.iter().flat_map(|rows| rows.code.values().cloned()));
        Ok(all)
    }

    /// Block and index of a transaction.
    pub(crate) fn location(&self, hash: B256) -> Result<Option<(u64, u32)>, StoreError> {
        match self.waiting.location(hash) {
            Some(location) => Ok(Some(location)),
            None => Ok(self.locations.get(&hash.0)?.map(|location| location.value())),
        }
    }
}

/// A list of a block that is stored in pieces.
type Pieces = ReadOnlyTable<(u64, u32), &'static [u8]>;

fn list<T: alloy_rlp::Decodable>(what: &str, table: &Pieces, number: u64) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    for piece in table.range(in_block(number))? {
        all.append(&mut decode_all(what, piece?.1.value())?);
    }
    Ok(all)
}

fn entry<T: alloy_rlp::Decodable>(
    what: &str,
    table: &Pieces,
    number: u64,
    index: u32,
) -> Result<Option<T>, StoreError> {
    let Some(piece) = table.range((number, 0)..=(number, index))?.next_back().transpose()? else { return Ok(None) };
    let at = index - piece.0.value().1;
    Ok(decode_all(what, piece.1.value())?.into_iter().nth(at as usize))
}

fn in_block(number: u64) -> RangeInclusive<(u64, u32)> {
    (number, 0)..=(number, u32::MAX)
}

impl State<'_> {
    /// An account, `None` if it does not exist.
    pub(crate) fn account(&self, address: Address) -> Result<Option<TrieAccount>, StoreError> {
        let key = account_key(&address);
        let stored = |rlp: &[u8]| if rlp.is_empty() { Ok(None) } else { decode("account", rlp).map(Some) };
        let before = match &self.past {
            None => None,
            Some(Past::Archived { block, .. }) => {
                self.snapshot.archive.value(&self.snapshot.waiting, &key, *block, stored)?
            }
            Some(Past::Gathered(past)) => past.accounts.get(&address).map(|before| stored(before)).transpose()?,
        };
        match before {
            Some(before) => Ok(before),
            None => self.snapshot.view.read(&key, |rlp| decode("account", rlp)),
        }
    }

    /// A storage slot's value.
    pub(crate) fn slot(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        let key = slot_key(&address, &slot);
        let stored = |bytes: &[u8]| if bytes.is_empty() { Ok(U256::ZERO) } else { slot_value(bytes) };
        let before = match &self.past {
            None => None,
            Some(Past::Archived { block, .. }) => {
                self.snapshot.archive.value(&self.snapshot.waiting, &key, *block, stored)?
            }
            Some(Past::Gathered(past)) => past.slots.get(&(address, slot)).copied(),
        };
        match before {
            Some(before) => Ok(before),
            None => Ok(self.snapshot.view.read(&key, slot_value)?.unwrap_or_default()),
        }
    }

    /// What later blocks overwrote; nothing for the newest state.
    ///
    /// # Errors
    /// [`StoreError::Pruned`] if it is not kept block by block, though an archive may answer for single accounts and slots.
    pub(super) fn overwritten(&self) -> Result<Arc<Overwritten>, StoreError> {
        match &self.past {
            None => Ok(Arc::default()),
            Some(Past::Archived { block, head }) => Ok(Arc::new(self.snapshot.overwritten(*block, *head)?)),
            Some(Past::Gathered(past)) => Ok(past.clone()),
        }
    }

    /// Every slot of an account that is not zero.
    #[cfg(test)]
    pub(crate) fn slots(&self, address: Address) -> Result<Vec<(U256, U256)>, StoreError> {
        let mut slots = std::collections::BTreeMap::new();
        for (key, value) in self.snapshot.view.scan(&tables::slots_prefix(&address))? {
            slots.insert(U256::from_be_slice(&key[21..]), slot_value(&value)?);
        }
        let past = self.overwritten()?;
        let changed = past.slots.iter().filter(|((account, _), _)| *account == address);
        slots.extend(changed.map(|((_, slot), before)| (*slot, *before)));
        Ok(slots.into_iter().filter(|(_, value)| !value.is_zero()).collect())
    }

    /// Code by its hash.
    pub(crate) fn code(&self, hash: B256) -> Result<Bytes, StoreError> {
        if hash == KECCAK256_EMPTY || hash.is_zero() {
            return Ok(Bytes::new());
        }
        if let Some(code) = self.snapshot.waiting.code(hash) {
            return Ok(code.clone());
        }
        let code = self.snapshot.code.get(&hash.0)?;
        code.map(|code| Bytes::copy_from_slice(code.value()))
            .ok_or_else(|| StoreError::Corrupt(format!("code {hash} is missing")))
    }
}

/// A slot's value as stored.
pub(super) fn slot_value(bytes: &[u8]) -> Result<U256, StoreError> {
    let malformed = || StoreError::Corrupt(format!("a slot's value has {} bytes", bytes.len()));
    Ok(U256::from_be_bytes::<32>(bytes.try_into().map_err(|_| malformed())?))
}

impl DatabaseRef for State<'_> {
    type Error = StoreError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        Ok(self.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: None,
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, StoreError> {
        Bytecode::new_raw_checked(self.code(code_hash)?)
            .map_err(|error| StoreError::Corrupt(format!("code {code_hash}: {error}")))
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, StoreError> {
        self.slot(address, index)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, StoreError> {
        Ok(self.snapshot.hash(number)?.unwrap_or_default())
    }
}
