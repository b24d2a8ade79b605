//! What a change adds beside the state: blocks, receipts, code, indexes. Rows wait in memory until the database takes them.

use std::{collections::VecDeque, sync::Arc};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{B256, Bytes, map::HashMap},
};
use redb::{ReadableTable, WriteTransaction};

use super::{
    archive::{Keep, Span},
    tables::{
        self, META_ARCHIVE_FIRST, META_ARCHIVE_LAST, META_CHAIN_ID, META_FINALIZED, META_HEAD, META_SAFE,
        StoredReceipt, Undo,
    },
};
use crate::{error::StoreError, pool::Blob};

/// Blocks whose blobs are kept: as many as Ethereum has slots in the 4096 epochs of EIP-4844.
const BLOB_BLOCKS: u64 = 131_072;

/// What is known about the chain as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) chain_id: Option<u64>,
    /// The newest block.
    pub(super) head: Option<u64>,
    /// The newest blocks that L1 holds, and holds for good, if they were ever noted.
    pub(super) labels: Option<(u64, u64)>,
    /// The blocks whose state the archive has.
    pub(super) archive: Option<Span>,
}

impl Facts {
    pub(super) fn read(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Self, StoreError> {
        let number = |key| tables::number(meta, key);
        Ok(Self {
            chain_id: number(META_CHAIN_ID)?,
            head: number(META_HEAD)?,
            labels: number(META_SAFE)?.zip(number(META_FINALIZED)?),
            archive: number(META_ARCHIVE_FIRST)?.zip(number(META_ARCHIVE_LAST)?),
        })
    }

    fn write(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        let (safe, finalized) = self.labels.unzip();
        let (first, last) = self.archive.unzip();
        let numbers = [
            (META_CHAIN_ID, self.chain_id),
            (META_HEAD, self.head),
            (META_SAFE, safe),
            (META_FINALIZED, finalized),
            (META_ARCHIVE_FIRST, first),
            (META_ARCHIVE_LAST, last),
        ];
        let mut meta = write.open_table(tables::META)?;
        for (key, number) in numbers {
            if let Some(number) = number {
                meta.insert(key, number.to_be_bytes().as_slice())?;
            }
        }
        Ok(())
    }
}

/// The rows of one change.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// New code by its hash.
    pub(super) code: HashMap<B256, Bytes>,
    /// New blocks, oldest first.
    pub(super) blocks: Vec<Block>,
    /// As they are after it.
    pub(super) facts: Facts,
    /// Its size in the log.
    pub(super) bytes: usize,
}

/// A block with what it leaves behind.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) header: Sealed<Header>,
    /// As they were sent.
    pub(super) transactions: Vec<Bytes>,
    pub(super) receipts: Vec<StoredReceipt>,
    pub(super) blobs: Vec<Blob>,
    /// Hashes of the transactions with their index, by hash.
    pub(super) locations: Vec<(B256, u32)>,
    pub(super) undo: Undo,
    /// What it overwrote, by key of the state, for the archive; empty if there is none.
    pub(super) history: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) keep: Keep,
}

impl Rows {
    /// Writes them.
    pub(super) fn write(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        if !self.code.is_empty() {
            let mut table = write.open_table(tables::CODE)?;
            for (hash, bytes) in &self.code {
                table.insert(&hash.0, bytes.as_ref())?;
            }
        }
        for block in &self.blocks {
            block.write(write)?;
        }
        self.facts.write(write)
    }
}

impl Block {
    /// The newest block that its coming makes impossible to take back.
    fn forgets(&self) -> Option<u64> {
        self.header.number.checked_sub(self.keep.undo_blocks)
    }

    fn write(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        let number = self.header.number;
        let hash = self.header.hash();
        write.open_table(tables::HEADERS)?.insert(number, alloy_rlp::encode(self.header.inner()).as_slice())?;
        write.open_table(tables::HASHES)?.insert(number, &hash.0)?;
        write.open_table(tables::NUMBERS)?.insert(&hash.0, number)?;
        let mut transactions = write.open_table(tables::TRANSACTIONS)?;
        pieces(&self.transactions, |first, list| Ok(transactions.insert((number, first), list).map(drop)?))?;
        let mut receipts = write.open_table(tables::RECEIPTS)?;
        pieces(&self.receipts, |first, list| Ok(receipts.insert((number, first), list).map(drop)?))?;
        let mut locations = write.open_table(tables::LOCATIONS)?;
        for (hash, index) in &self.locations {
            locations.insert(&hash.0, (number, *index))?;
        }
        self.write_blobs(write)?;
        let mut undo = write.open_table(tables::UNDO)?;
        undo.insert(number, alloy_rlp::encode(&self.undo).as_slice())?;
        // The window only shrinks by configuration, so this usually removes one record.
        if let Some(last) = self.forgets() {
            undo.retain_in(..=last, |_, _| false)?;
        }
        if !self.history.is_empty() {
            let mut history = write.open_table(tables::HISTORY)?;
            for (key, before) in &self.history {
                history.insert((key.as_slice(), number), before.as_slice())?;
            }
        }
        Ok(())
    }

    fn write_blobs(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        if self.blobs.is_empty() {
            return Ok(());
        }
        let mut table = write.open_table(tables::BLOBS)?;
        for (index, blob) in (0u32..).zip(&self.blobs) {
            table.insert((self.header.number, index), alloy_rlp::encode(blob).as_slice())?;
        }
        if let Some(last) = self.header.number.checked_sub(BLOB_BLOCKS) {
            table.retain_in(..=(last, u32::MAX), |_, _| false)?;
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

/// Rows that wait, oldest first. The database may have some of them too: they are the same there.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(pub(super) VecDeque<Arc<Rows>>);

impl Waiting {
    /// The blocks, oldest first.
    pub(super) fn blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        self.0.iter().flat_map(|rows| &rows.blocks)
    }

    /// A block by its number.
    pub(super) fn block(&self, number: u64) -> Option<&Block> {
        self.blocks().rfind(|block| block.header.number == number)
    }

    /// Block and index of a transaction.
    pub(super) fn location(&self, hash: B256) -> Option<(u64, u32)> {
        self.blocks().rev().find_map(|block| {
            let at = block.locations.binary_search_by_key(&hash, |(hash, _)| *hash).ok()?;
            Some((block.header.number, block.locations[at].1))
        })
    }

    /// Code by its hash.
    pub(super) fn code(&self, hash: B256) -> Option<&Bytes> {
        self.0.iter().find_map(|rows| rows.code.get(&hash))
    }

    /// The newest block that cannot be taken back once these are written, if they forget any.
    pub(super) fn forgets(&self) -> Option<u64> {
        self.blocks().filter_map(Block::forgets).max()
    }
}
