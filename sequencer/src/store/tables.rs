//! The tables of the database, their keys and what their values hold.

use alloy::primitives::{Address, B256, Bytes, Log, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use redb::{ReadableTable, TableDefinition};

use crate::error::StoreError;

/// Facts about the database: see the `META_` keys.
pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Accounts, slots, the branches and extensions of their tries and of what their leaves are: see the functions that make the keys.
pub(crate) const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
/// Code hash to code.
pub(crate) const CODE: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("code");
/// Block number to the RLP of its header.
pub(crate) const HEADERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("headers");
/// Block number to hash.
pub(crate) const HASHES: TableDefinition<'_, u64, &[u8; 32]> = TableDefinition::new("hashes");
/// Block hash to number.
pub(crate) const NUMBERS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("numbers");
/// Block number and index to some transactions from there on as they were sent (EIP-2718), each as an RLP string.
pub(crate) const TRANSACTIONS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("transactions");
/// Block number and index to the RLP of some [`StoredReceipt`]s from there on.
pub(crate) const RECEIPTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("receipts");
/// Transaction hash to block number and index.
pub(crate) const LOCATIONS: TableDefinition<'_, &[u8; 32], (u64, u32)> = TableDefinition::new("locations");
/// Block number to the RLP of the [`Undo`] that leads to its parent's state.
pub(crate) const UNDO: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("undo");

/// A key of [`STATE`] and the number of a block that overwrote it, to what it held before, empty if nothing. In archives only.
pub(crate) const HISTORY: TableDefinition<'_, (&[u8], u64), &[u8]> = TableDefinition::new("history");
/// Block number and index to the RLP of a [`crate::pool::Blob`]. On Ethereum chains only.
pub(crate) const BLOBS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("blobs");

/// Version of this layout, one byte.
pub(crate) const META_LAYOUT: &str = "layout";
/// The layout that this code reads and writes.
pub(crate) const LAYOUT: u8 = 7;
/// Number of the newest block that L1 holds, eight bytes, big endian.
pub(crate) const META_SAFE: &str = "safe";
/// Number of the newest block that a final L1 block holds, eight bytes, big endian.
pub(crate) const META_FINALIZED: &str = "finalized";
/// Chain id, eight bytes, big endian.
pub(crate) const META_CHAIN_ID: &str = "chain_id";
/// How often the database was written to disk as a whole, eight bytes, big endian; the log builds on that.
pub(crate) const META_GENERATION: &str = "generation";
/// Number of the newest block, eight bytes, big endian.
pub(crate) const META_HEAD: &str = "head";
/// Number of the oldest block whose state the archive has, eight bytes, big endian.
pub(crate) const META_ARCHIVE_FIRST: &str = "archive_first";
/// Number of the newest block whose state the archive has, eight bytes, big endian.
pub(crate) const META_ARCHIVE_LAST: &str = "archive_last";

/// Reads one of the numbers in [`META`].
pub(crate) fn number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Option<u64>, StoreError> {
    let Some(value) = meta.get(key)? else { return Ok(None) };
    let bytes = value.value().try_into();
    let bytes = bytes.map_err(|_| StoreError::Corrupt(format!("meta value {key} is malformed")))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

/// What is kept of a transaction's outcome.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct StoredReceipt {
    /// Transaction hash.
    pub(crate) hash: B256,
    /// Who sent it.
    pub(crate) sender: Address,
    /// Its EIP-2718 type.
    pub(crate) tx_type: u8,
    /// Whether it succeeded.
    pub(crate) success: bool,
    /// Gas it used.
    pub(crate) gas_used: u64,
    /// Gas used in the block up to and including it.
    pub(crate) cumulative_gas_used: u64,
    /// Wei per gas it paid.
    pub(crate) effective_gas_price: u128,
    /// Index within the block of its first log.
    pub(crate) first_log: u64,
    /// Address of the contract it created, or empty.
    pub(crate) created: Bytes,
    /// Its logs.
    pub(crate) logs: Vec<Log>,
    /// For a deposit the nonce that its sender had, otherwise zero.
    pub(crate) deposit_nonce: u64,
}

/// What a block overwrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Undo {
    /// Accounts as they were before.
    pub(crate) accounts: Vec<UndoAccount>,
    /// Slots as they were before.
    pub(crate) slots: Vec<UndoSlot>,
}

/// An account before a block.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct UndoAccount {
    /// Its address.
    pub(crate) address: Address,
    /// Its value in [`STATE`], empty if it did not exist.
    pub(crate) before: Bytes,
}

/// A storage slot before a block.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct UndoSlot {
    /// The contract.
    pub(crate) address: Address,
    /// The slot.
    pub(crate) slot: U256,
    /// Its value, zero if it was not set.
    pub(crate) before: U256,
}

/// Key in [`STATE`] of an account as the state trie holds it: RLP of nonce, balance, storage root, code hash.
pub(crate) fn account_key(address: &Address) -> [u8; 21] {
    let mut key = [b'a'; 21];
    key[1..].copy_from_slice(address.as_slice());
    key
}

/// Prefix of the keys in [`STATE`] of an account's slots.
pub(crate) fn slots_prefix(address: &Address) -> [u8; 21] {
    let mut key = account_key(address);
    key[0] = b's';
    key
}

/// Key in [`STATE`] of a slot: a value that is not zero, 32 bytes, big endian.
pub(crate) fn slot_key(address: &Address, slot: &U256) -> [u8; 53] {
    let mut key = [0; 53];
    key[..21].copy_from_slice(&slots_prefix(address));
    key[21..].copy_from_slice(&slot.to_be_bytes::<32>());
    key
}

/// Prefix of the keys in [`STATE`] of the state trie's branches and extensions; their paths follow, one nibble per byte.
pub(crate) const ACCOUNT_NODES: [u8; 1] = [b't'];

/// First byte of the keys in [`STATE`] of all storage tries' branches and extensions.
pub(crate) const STORAGE_NODES: [u8; 1] = [b'u'];

/// Prefix of the keys in [`STATE`] of the branches and extensions of an account's storage trie; their paths follow.
pub(crate) fn storage_nodes(address: &Address) -> [u8; 21] {
    let mut key = account_key(address);
    [key[0]] = STORAGE_NODES;
    key
}

/// Prefix of the keys in [`STATE`] of the state trie's leaves; their paths follow, one nibble per byte. Each has an address.
///
/// Apart from the branches, whose pages are changed by every block.
pub(crate) const ACCOUNT_LEAVES: [u8; 1] = [b'v'];

/// First byte of the keys in [`STATE`] of all storage tries' leaves.
pub(crate) const STORAGE_LEAVES: [u8; 1] = [b'w'];

/// Prefix of the keys in [`STATE`] of the leaves of an account's storage trie; their paths follow. Each has a slot, 32 bytes.
pub(crate) fn storage_leaves(address: &Address) -> [u8; 21] {
    let mut key = account_key(address);
    [key[0]] = STORAGE_LEAVES;
    key
}
