//! What a record of the log says: the calls that a change consists of, in order, each a byte and its arguments.

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable, encode_list};

use super::{
    archive::Keep,
    batch::{AccountChange, Batch, NewBlock, StateChanges},
};
use crate::{error::StoreError, pool::Blob, store::StoredReceipt};

const STATE: u8 = 0;
const BLOCK: u8 = 1;
const LABELS: u8 = 2;

/// An [`AccountChange`] as it is written.
#[derive(RlpEncodable, RlpDecodable)]
struct Account {
    address: Address,
    exists: bool,
    nonce: u64,
    balance_wei: U256,
    code_hash: B256,
    wiped: bool,
    /// Slot, value, slot, value, and so on.
    storage: Vec<U256>,
}

impl From<&AccountChange> for Account {
    fn from(change: &AccountChange) -> Self {
        let (nonce, balance_wei, code_hash) = change.info.unwrap_or_default();
        let storage = change.storage.iter().flat_map(|(slot, value)| [*slot, *value]).collect();
        let (address, exists, wiped) = (change.address, change.info.is_some(), change.wiped);
        Self { address, exists, nonce, balance_wei, code_hash, wiped, storage }
    }
}

impl From<Account> for AccountChange {
    fn from(account: Account) -> Self {
        Self {
            address: account.address,
            info: account.exists.then_some((account.nonce, account.balance_wei, account.code_hash)),
            wiped: account.wiped,
            storage: account.storage.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
        }
    }
}

/// Notes a call of [`Batch::apply_state`].
pub(super) fn state(out: &mut Vec<u8>, changes: &StateChanges) {
    out.push(STATE);
    let accounts: Vec<Account> = changes.accounts.iter().map(Account::from).collect();
    encode_list(&accounts, out);
    let code: Vec<&Bytes> = changes.code.iter().map(|(_, code)| code).collect();
    encode_list::<_, Bytes>(&code, out);
}

/// Notes a call of [`Batch::put_block`].
pub(super) fn block(out: &mut Vec<u8>, block: &NewBlock<'_>, keep: Keep) {
    out.push(BLOCK);
    block.header.inner().encode(out);
    encode_list::<_, Bytes>(block.transactions, out);
    encode_list(block.receipts, out);
    encode_list(block.blobs, out);
    keep.encode(out);
}

/// Notes a call of [`Batch::put_labels`].
pub(super) fn labels(out: &mut Vec<u8>, safe: u64, finalized: u64) {
    out.push(LABELS);
    safe.encode(out);
    finalized.encode(out);
}

impl Batch {
    /// Makes the calls of a record again.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they do not lead to the block's state root.
    pub(super) fn replay(&mut self, mut record: &[u8]) -> Result<(), StoreError> {
        let mut root = None;
        while let Some((kind, mut rest)) = record.split_first() {
            let from = &mut rest;
            match *kind {
                STATE => root = Some(self.apply_state(&take_state(from)?)?),
                BLOCK => self.replay_block(from, root)?,
                LABELS => self.put_labels(take(from)?, take(from)?),
                other => return Err(StoreError::Corrupt(format!("the log has a record of kind {other}"))),
            }
            record = rest;
        }
        Ok(())
    }

    fn replay_block(&mut self, from: &mut &[u8], root: Option<B256>) -> Result<(), StoreError> {
        let header = Sealed::new(take::<Header>(from)?);
        if root != Some(header.state_root) {
            let (number, wanted) = (header.number, header.state_root);
            let cause = format!("block {number} has state root {wanted}, the log leads to {root:?}");
            return Err(StoreError::Corrupt(cause));
        }
        let transactions: Vec<Bytes> = take(from)?;
        let receipts: Vec<StoredReceipt> = take(from)?;
        let blobs: Vec<Blob> = take(from)?;
        let block = NewBlock { header: &header, transactions: &transactions, receipts: &receipts, blobs: &blobs };
        self.put_block(&block, take(from)?)
    }
}

fn take_state(from: &mut &[u8]) -> Result<StateChanges, StoreError> {
    let accounts: Vec<Account> = take(from)?;
    let code: Vec<Bytes> = take(from)?;
    Ok(StateChanges {
        accounts: accounts.into_iter().map(AccountChange::from).collect(),
        code: code.into_iter().map(|code| (keccak256(&code), code)).collect(),
    })
}

fn take<T: Decodable>(from: &mut &[u8]) -> Result<T, StoreError> {
    T::decode(from).map_err(|error| StoreError::Corrupt(format!("a record of the log cannot be decoded: {error}")))
}
