//! Putting blocks on L1.
//!
//! ```text
//!   blocks after the last submitted --> span batch --> brotli --> frames --> L1 transactions, one after another
//!        ^                                                                          |
//!        +---- from the safe block, if L1 lost them <--- progress.json <--- receipt +
//! ```
//!
//! Channels are sent whole and in order, one L1 transaction after another has its receipt, as Holocene wants it.

use std::{path::PathBuf, sync::Arc};

use alloy::primitives::{B256, Bytes};
use lockstep_derive::{BLOB_DATA_BYTES, BatchBlock, Rollup, compress, frames, single_batches, span_batch, to_blob};
use serde::{Deserialize, Serialize};

use super::{
    driver::SyncStatus,
    kept,
    local::Local,
    send::{Payload, Sender, Sent},
    submitted::{Channel, Known, Submitted},
    window::Window,
};
use crate::{chain::Chain, error::L1Error};

/// Most bytes of calldata in a transaction: nodes take 128 KiB of transaction.
const CALLDATA_BYTES: usize = 120_000;

/// Blobs in a transaction.
const BLOBS: usize = 6;

/// Most bytes of L2 transactions in a channel, so that it takes but a few L1 transactions.
const CHANNEL_BYTES: usize = 900_000;

/// Most blocks in a channel.
const CHANNEL_BLOCKS: usize = 20_000;

/// Most blocks in a channel in which each is a batch of its own.
const SINGLE_BLOCKS: usize = 2_000;

/// How batches travel and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatcherConfig {
    /// Blobs instead of calldata.
    pub blobs: bool,
    /// Seconds of L2 blocks after which they are submitted even if they do not fill a channel.
    pub max_age_s: u64,
    /// L1 blocks after which submitted blocks that are still not safe are submitted again.
    pub resubmit_l1_blocks: u64,
}

impl Default for BatcherConfig {
    fn default() -> Self {
        Self { blobs: false, max_age_s: 6, resubmit_l1_blocks: 30 }
    }
}

/// What was submitted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatcherStats {
    /// L2 blocks.
    pub blocks: u64,
    /// L2 transactions, deposits not counted.
    pub transactions: u64,
    /// Their bytes, as they were signed.
    pub transaction_bytes: u64,
    /// Bytes of compressed channels.
    pub channel_bytes: u64,
    /// Transactions to L1.
    pub l1_transactions: u64,
    /// Bytes that they took: calldata, or whole blobs.
    pub l1_bytes: u64,
    /// Wei that they cost.
    pub l1_fees_wei: u128,
}

/// What must survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// The channels that L1 may still lose.
    submitted: Submitted,
    /// The channel that is being submitted.
    open: Option<Open>,
    /// The last transaction that the figures count.
    counted: B256,
    stats: BatcherStats,
}

/// A channel that is being submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    first: u64,
    last: u64,
    last_hash: B256,
    /// Transactions of it that are in a block.
    sent: usize,
    blobs: bool,
    /// Each block is a batch of its own.
    single: bool,
}

/// Where the next channel begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begin {
    first: u64,
    /// L1 may make blocks of it itself before it arrives.
    late: bool,
}

/// Submits blocks.
pub(crate) struct Batcher {
    chain: Arc<Chain>,
    local: Local,
    rollup: Rollup,
    sender: Sender,
    config: BatcherConfig,
    file: PathBuf,
    progress: Progress,
}

impl Batcher {
    /// Goes on where the last one stopped, by `directory`.
    pub(crate) fn new(
        chain: Arc<Chain>,
        rollup: Rollup,
        sender: Sender,
        config: BatcherConfig,
        directory: &std::path::Path,
    ) -> Result<Self, L1Error> {
        let file = directory.join("batcher.json");
        let progress = kept::read(&file)?.unwrap_or_default();
        Ok(Self { local: Local(chain.clone()), chain, rollup, sender, config, file, progress })
    }

    /// What was submitted so far.
    pub(crate) fn stats(&self) -> BatcherStats {
        self.progress.stats
    }

    /// Submits what there is to submit. Returns whether anything was.
    pub(crate) async fn turn(&mut self, status: &SyncStatus) -> Result<bool, L1Error> {
        if let Some(sent) = self.sender.resume().await? {
            self.note(&sent)?;
        }
        if let Some(open) = self.progress.open {
            if self.chain.head().snapshot.hash(open.last)? == Some(open.last_hash) {
                self.submit(open).await?;
                return Ok(true);
            }
            // Its blocks are gone with an L1 reorganisation.
            self.progress.open = None;
        }
        if self.chain.head().snapshot.hash(status.safe.number)? != Some(status.safe.hash) {
            // L1 was reorganised since: what is safe now is told in a moment.
            return Ok(false);
        }
        let head = self.chain.head().header.number;
        let Some(Begin { first, late }) = self.first(status, head)? else { return Ok(false) };
        let single = late && self.rollup.is_isthmus();
        let Some(last) = self.last(first, head, single)? else { return Ok(false) };
        let last_hash = self.chain.head().snapshot.hash(last)?.unwrap_or_default();
        let open = Open { first, last, last_hash, sent: 0, blobs: self.config.blobs, single };
        self.progress.open = Some(open);
        self.save()?;
        self.submit(open).await?;
        Ok(true)
    }

    /// The first block of the next channel. Blocks for which it is too late are left out: L1 makes them itself, and makes the same if they
    /// hold no transactions. If they do, all after them will be replaced, which `None` is to wait for, unless a batch might just make it.
    ///
    /// Since Holocene a batch must continue what is safe when it arrives, so none is left out: those that L1 has made by then are passed
    /// over, if each is a batch of its own.
    fn first(&mut self, status: &SyncStatus, head: u64) -> Result<Option<Begin>, L1Error> {
        let window = Window::of(&self.rollup);
        let oldest = self.after(status)? + 1;
        let origin = |number| -> Result<u64, L1Error> {
            let head = self.local.head_at(&self.rollup, number)?;
            head.map(|head| head.l1_origin.number).ok_or_else(|| missing(number))
        };
        if oldest > head || window.is_in_time(status, origin(oldest)?) {
            return Ok((oldest <= head).then_some(Begin { first: oldest, late: false }));
        }
        // L1 origins never decrease.
        let (mut late, mut first) = (oldest, head + 1);
        while first - late > 1 {
            let middle = late + (first - late) / 2;
            match window.is_in_time(status, origin(middle)?) {
                true => first = middle,
                false => late = middle,
            }
        }
        for number in oldest..first {
            if !self.local.signed_transactions(number)?.is_empty() {
                let possible = window.is_possible(status, origin(oldest)?);
                return Ok(possible.then_some(Begin { first: oldest, late: true }));
            }
        }
        match self.rollup.is_isthmus() {
            true => Ok(Some(Begin { first: oldest, late: true })),
            false => Ok((first <= head).then_some(Begin { first, late: true })),
        }
    }

    /// The block after which to submit.
    fn after(&mut self, status: &SyncStatus) -> Result<u64, L1Error> {
        let known = Known {
            safe: status.safe.number,
            finalized: status.finalized.number,
            l1_current: status.l1_current.id.number,
            patience: self.config.resubmit_l1_blocks,
        };
        let head = self.chain.head();
        self.progress.submitted.after(&known, |number| Ok(head.snapshot.hash(number)?))
    }

    /// The last block of the next channel; `None` if it can wait.
    fn last(&self, first: u64, head: u64, single: bool) -> Result<Option<u64>, L1Error> {
        let most = if single { SINGLE_BLOCKS } else { CHANNEL_BLOCKS };
        let snapshot = self.chain.head();
        let mut bytes = 0;
        for number in first..=head {
            bytes += self.local.signed_transactions(number)?.iter().map(|raw| raw.len() + 8).sum::<usize>();
            if bytes > CHANNEL_BYTES || (number - first + 1) as usize >= most {
                return Ok(Some(number));
            }
        }
        let time_s = |number| -> Result<u64, L1Error> {
            Ok(snapshot.snapshot.header(number)?.map_or(0, |header| header.timestamp))
        };
        let age_s = time_s(head)?.saturating_sub(time_s(first)?) + self.rollup.block_time_s();
        Ok((age_s >= self.config.max_age_s).then_some(head))
    }

    /// Sends what is left of a channel. The same blocks make the same channel, so a restart goes on with it.
    async fn submit(&mut self, open: Open) -> Result<(), L1Error> {
        let (rollup, blocks) = (self.rollup.clone(), self.blocks(open)?);
        let most = if open.blobs { BLOB_DATA_BYTES } else { CALLDATA_BYTES };
        let (transactions, bytes) = count(&blocks);
        let pieces = tokio::task::spawn_blocking(move || -> Result<_, L1Error> {
            let channel = compress(&if open.single { single_batches(&blocks)? } else { span_batch(&rollup, &blocks)? });
            Ok((frames(&channel, most), channel.len()))
        });
        let (pieces, channel_bytes) =
            pieces.await.map_err(|error| L1Error::Rpc(format!("a task failed: {error}")))??;
        let parts: Vec<&[Bytes]> = pieces.chunks(if open.blobs { BLOBS } else { 1 }).collect();
        for (index, part) in parts.iter().enumerate().skip(open.sent) {
            let note = serde_json::json!({
                "sent": index + 1,
                "of": parts.len(),
                "blocks": open.last - open.first + 1,
                "transactions": transactions,
                "transaction_bytes": bytes,
                "channel_bytes": channel_bytes,
            });
            let sent = self.sender.send(payload(&self.rollup, part, open.blobs, note)?).await?;
            self.note(&sent)?;
        }
        Ok(())
    }

    /// Notes that a part of the open channel is in a block.
    fn note(&mut self, sent: &Sent) -> Result<(), L1Error> {
        if self.progress.counted == sent.receipt.transaction_hash {
            // The process ended after this was noted and before the journal was cleared.
            return self.sender.done();
        }
        self.progress.counted = sent.receipt.transaction_hash;
        let number = |name: &str| sent.note[name].as_u64().unwrap_or_default();
        let receipt = &sent.receipt;
        let stats = &mut self.progress.stats;
        stats.l1_transactions += 1;
        stats.l1_bytes += sent.bytes as u64;
        let blob_fee =
            receipt.blob_gas_price.unwrap_or_default() * u128::from(receipt.blob_gas_used.unwrap_or_default());
        stats.l1_fees_wei += u128::from(receipt.gas_used) * receipt.effective_gas_price + blob_fee;
        if let Some(open) = &mut self.progress.open {
            open.sent = number("sent") as usize;
            if number("sent") == number("of") {
                stats.blocks += number("blocks");
                stats.transactions += number("transactions");
                stats.transaction_bytes += number("transaction_bytes");
                stats.channel_bytes += number("channel_bytes");
                let Open { first, last, last_hash, .. } = *open;
                let l1_block = receipt.block_number.unwrap_or_default();
                self.progress.submitted.push(Channel { last, last_hash, l1_block });
                tracing::info!(first, last, l1_block, "submitted blocks");
                self.progress.open = None;
            }
        }
        self.save()?;
        self.sender.done()
    }

    fn blocks(&self, open: Open) -> Result<Vec<BatchBlock>, L1Error> {
        (open.first..=open.last)
            .map(|number| {
                let head = self.local.head_at(&self.rollup, number)?.ok_or_else(|| missing(number))?;
                Ok(BatchBlock { head, transactions: self.local.signed_transactions(number)? })
            })
            .collect()
    }

    fn save(&self) -> Result<(), L1Error> {
        kept::write(&self.file, &self.progress)
    }
}

fn missing(number: u64) -> L1Error {
    L1Error::Rpc(format!("L2 block {number} is gone"))
}

fn count(blocks: &[BatchBlock]) -> (usize, usize) {
    let transactions = blocks.iter().flat_map(|block| &block.transactions);
    transactions.fold((0, 0), |(count, bytes), raw| (count + 1, bytes + raw.len()))
}

fn payload(rollup: &Rollup, part: &[Bytes], blobs: bool, note: serde_json::Value) -> Result<Payload, L1Error> {
    let to = rollup.batch_inbox();
    if !blobs {
        return Ok(Payload { to, input: part.first().cloned().unwrap_or_default(), blobs: Vec::new(), note });
    }
    let too_large = || L1Error::Blob("a frame is larger than a blob".into());
    let blobs: Result<Vec<Bytes>, _> = part.iter().map(|frame| to_blob(frame).ok_or_else(too_large)).collect();
    Ok(Payload { to, input: Bytes::new(), blobs: blobs?, note })
}
