//! The persistent store: one `redb` file and a log before it.
//!
//! ```text
//!   StateChanges --> Batch::apply_state --> state root --> Batch::put_block --> Batch::commit (durable or nothing)
//!                                                                                  |           |
//!                                  log: a record, one sequential write, one sync <-+           +--> memory
//!                                                                                                     |
//!        database: blocks and receipts soon after, the state of many blocks at once <-- the writer <--+
//!
//!   Snapshot (accounts, slots, code, blocks, receipts as of one head) = database, and what is recent over it
//!      \-- Snapshot::state_at(block): the same, seen through the undo records of younger blocks,
//!                                      or through an archive's index of them
//! ```

mod archive;
mod batch;
mod current;
mod log;
mod open;
mod proof;
mod recent;
mod record;
mod rows;
mod snapshot;
mod tables;
mod tries;
mod unwind;
mod writer;

pub(crate) use archive::Keep;
pub(crate) use batch::{AccountChange, NewBlock, StateChanges};
pub(crate) use open::Store;
pub(crate) use snapshot::{Snapshot, State};
pub(crate) use tables::StoredReceipt;

use crate::error::StoreError;

/// Decodes what this crate encoded; anything else means that the file was damaged.
fn decode<T: alloy_rlp::Decodable>(what: &str, mut bytes: &[u8]) -> Result<T, StoreError> {
    T::decode(&mut bytes).map_err(|error| StoreError::Corrupt(format!("{what} cannot be decoded: {error}")))
}

/// Decodes entries that follow each other.
fn decode_all<T: alloy_rlp::Decodable>(what: &str, mut bytes: &[u8]) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let entry = T::decode(&mut bytes);
        all.push(entry.map_err(|error| StoreError::Corrupt(format!("{what} cannot be decoded: {error}")))?);
    }
    Ok(all)
}

#[cfg(test)]
mod freeze_tests;
#[cfg(test)]
mod leaf_tests;
#[cfg(test)]
pub(crate) mod tests;
