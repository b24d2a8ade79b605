//! Batches from blocks.

use alloy_primitives::Bytes;
use kona_protocol::{Batch, SingleBatch, SpanBatch};

use crate::{
    error::DeriveError,
    rollup::{L2Head, Rollup},
};

/// A block for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchBlock {
    /// Where it stands.
    pub head: L2Head,
    /// Its encoded transactions (EIP-2718) without the deposits, which everybody knows from L1.
    pub transactions: Vec<Bytes>,
}

/// Encodes consecutive blocks as one span batch in the form in which a channel holds it.
///
/// # Errors
/// [`DeriveError::Failed`] if there are no blocks, they are not consecutive, or one holds what a batch cannot.
pub fn span_batch(rollup: &Rollup, blocks: &[BatchBlock]) -> Result<Vec<u8>, DeriveError> {
    let failed = |cause: String| DeriveError::Failed(format!("span batch: {cause}"));
    check_order(blocks)?;
    let mut span = SpanBatch {
        genesis_timestamp: rollup.l2_genesis_time_s(),
        chain_id: rollup.l2_chain_id(),
        ..SpanBatch::default()
    };
    for block in blocks {
        span.append_singular_batch(single(block), block.head.sequence_number)
            .map_err(|error| failed(format!("block {}: {error}", block.head.number)))?;
    }
    let mut encoded = Vec::new();
    Batch::Span(span).encode(&mut encoded).map_err(|error| failed(error.to_string()))?;
    Ok(alloy_rlp::encode(Bytes::from(encoded)))
}

/// Encodes consecutive blocks each as a batch of its own, in the form in which a channel holds them. They take more room than a
/// [`span_batch`], but those of blocks that L1 has made meanwhile are passed over (Holocene), where a span batch is judged by its first.
///
/// # Errors
/// As [`span_batch`].
pub fn single_batches(blocks: &[BatchBlock]) -> Result<Vec<u8>, DeriveError> {
    check_order(blocks)?;
    let mut all = Vec::new();
    for block in blocks {
        let mut encoded = Vec::new();
        let written = Batch::Single(single(block)).encode(&mut encoded);
        written.map_err(|error| DeriveError::Failed(format!("batch of block {}: {error}", block.head.number)))?;
        all.extend_from_slice(&alloy_rlp::encode(Bytes::from(encoded)));
    }
    Ok(all)
}

fn single(block: &BatchBlock) -> SingleBatch {
    let head = &block.head;
    SingleBatch {
        parent_hash: head.parent_hash,
        epoch_num: head.l1_origin.number,
        epoch_hash: head.l1_origin.hash,
        timestamp: head.timestamp_s,
        transactions: block.transactions.clone(),
    }
}

fn check_order(blocks: &[BatchBlock]) -> Result<(), DeriveError> {
    match blocks.windows(2).find(|pair| pair[1].head.parent_hash != pair[0].head.hash) {
        Some(pair) => {
            Err(DeriveError::Failed(format!("batch: block {} does not follow the one before it", pair[1].head.number)))
        }
        None => Ok(()),
    }
}
