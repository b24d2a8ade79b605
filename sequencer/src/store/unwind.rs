//! Taking back the newest blocks.

use std::collections::{HashMap, HashSet};

use alloy::{
    consensus::Header,
    primitives::{Address, B256, Bytes, U256},
};
use alloy_trie::TrieAccount;
use redb::{ReadableTable, WriteTransaction};

use super::{
    AccountChange, StateChanges, StoredReceipt,
    batch::Batch,
    decode, decode_all,
    tables::{self, Undo},
};
use crate::error::StoreError;

impl Batch {
    /// Takes back every block after `to`. Returns their transactions, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Pruned`] if what a block overwrote is not kept any more.
    pub(crate) fn unwind(&mut self, to: u64) -> Result<Vec<Bytes>, StoreError> {
        let write = self.begin_whole()?;
        let taken_back = self.unwind_in(&write, to)?;
        self.whole = Some(write);
        Ok(taken_back)
    }

    fn unwind_in(&mut self, write: &WriteTransaction, to: u64) -> Result<Vec<Bytes>, StoreError> {
        let head = self.facts.head.ok_or_else(|| StoreError::Corrupt("there is no block".into()))?;
        let mut transactions = Vec::new();
        for number in (to + 1..=head).rev() {
            let parent = header(write, number - 1)?;
            let changes = backwards(write, number)?;
            let root = self.apply_state(&changes)?;
            if root != parent.state_root {
                let cause = format!("without block {number} the state root is {root}, not {}", parent.state_root);
                return Err(StoreError::Corrupt(cause));
            }
            transactions.push(self.remove_block(write, number)?);
        }
        self.facts.head = Some(to.min(head));
        Ok(transactions.into_iter().rev().flatten().collect())
    }

    fn remove_block(&mut self, write: &WriteTransaction, number: u64) -> Result<Vec<Bytes>, StoreError> {
        write.open_table(tables::HEADERS)?.remove(number)?;
        let hash: Option<B256> = write.open_table(tables::HASHES)?.remove(number)?.map(|hash| B256::from(hash.value()));
        if let Some(hash) = hash {
            write.open_table(tables::NUMBERS)?.remove(&hash.0)?;
        }
        if let Some(record) = write.open_table(tables::UNDO)?.remove(number)? {
            self.unarchive(write, number, &decode("undo record", record.value())?)?;
        }
        let block = (number, 0)..=(number, u32::MAX);
        let mut locations = write.open_table(tables::LOCATIONS)?;
        let mut receipts = write.open_table(tables::RECEIPTS)?;
        for entry in receipts.extract_from_if(block.clone(), |_, _| true)? {
            for receipt in decode_all::<StoredReceipt>("receipts", entry?.1.value())? {
                locations.remove(&receipt.hash.0)?;
            }
        }
        write.open_table(tables::BLOBS)?.retain_in(block.clone(), |_, _| false)?;
        let mut transactions = write.open_table(tables::TRANSACTIONS)?;
        let mut removed = Vec::new();
        for entry in transactions.extract_from_if(block, |_, _| true)? {
            removed.append(&mut decode_all("transactions", entry?.1.value())?);
        }
        Ok(removed)
    }
}

fn header(write: &WriteTransaction, number: u64) -> Result<Header, StoreError> {
    let headers = write.open_table(tables::HEADERS)?;
    let header = headers.get(number)?;
    decode("header", header.ok_or_else(|| StoreError::Corrupt(format!("block {number} has no header")))?.value())
}

/// The changes that lead from a block's state to its parent's.
fn backwards(write: &WriteTransaction, number: u64) -> Result<StateChanges, StoreError> {
    let undo = write.open_table(tables::UNDO)?;
    let record = undo.get(number)?.ok_or(StoreError::Pruned { block: number - 1, oldest: number })?;
    let undo: Undo = decode("undo record", record.value())?;
    let mut slots: HashMap<Address, Vec<(U256, U256)>> = HashMap::new();
    let mut seen = HashSet::new();
    for slot in undo.slots {
        // A slot that was wiped and set again is listed twice; the first is what it was before the block.
        if seen.insert((slot.address, slot.slot)) {
            slots.entry(slot.address).or_default().push((slot.slot, slot.before));
        }
    }
    let mut changes = StateChanges::default();
    for account in undo.accounts {
        let before = match account.before.is_empty() {
            true => None,
            false => Some(decode::<TrieAccount>("account", &account.before)?),
        };
        changes.accounts.push(AccountChange {
            address: account.address,
            info: before.map(|account| (account.nonce, account.balance, account.code_hash)),
            wiped: false,
            storage: slots.remove(&account.address).filter(|_| before.is_some()).unwrap_or_default(),
        });
    }
    // Changed storage changes its account, so no slots are left over.
    Ok(changes)
}
