//! What derivation reads, as bytes, so that either side can use the types it likes.

use std::fmt::Debug;

use alloy_primitives::{B256, Bytes};
use async_trait::async_trait;

/// A header as it is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Hash of `rlp`.
    pub hash: B256,
    /// RLP of the header.
    pub rlp: Bytes,
}

/// The least of an L2 block that says where it stands: its header, and its first transaction, which names the L1 origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Block {
    /// RLP of the header.
    pub header: Bytes,
    /// The encoded transactions (EIP-2718), all of them or the first alone, as was asked for.
    pub transactions: Vec<Bytes>,
}

/// Why a source gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such block, or not any more. By number: wait for it. By hash: L1 was reorganised.
    #[error("there is no block {0}")]
    Missing(String),
    /// The source cannot answer now. Retry.
    #[error("{0}")]
    Unavailable(String),
    /// The answer contradicts itself. Use another source.
    #[error("the answer is wrong: {0}")]
    Wrong(String),
}

/// L1 as derivation sees it. What it returns must be checked against the hashes asked for.
#[async_trait]
pub trait L1Source: Clone + Debug + Send + Sync + 'static {
    /// The header of the canonical block with a number.
    async fn header_by_number(&self, number: u64) -> Result<Header, SourceError>;
    /// The RLP of the header with a hash.
    async fn header_by_hash(&self, hash: B256) -> Result<Bytes, SourceError>;
    /// The encoded transactions (EIP-2718, without blobs) of a block.
    async fn transactions(&self, hash: B256) -> Result<Vec<Bytes>, SourceError>;
    /// The encoded receipts (EIP-2718) of a block.
    async fn receipts(&self, hash: B256) -> Result<Vec<Bytes>, SourceError>;
    /// The blobs with the given versioned hashes, in that order, from the block with this timestamp.
    async fn blobs(&self, timestamp_s: u64, hashes: &[B256]) -> Result<Vec<Bytes>, SourceError>;
}

/// The L2 chain that derivation extends.
#[async_trait]
pub trait L2Source: Clone + Debug + Send + Sync + 'static {
    /// A block of the chain; with its first transaction alone unless all are wanted.
    async fn block(&self, number: u64, all_transactions: bool) -> Result<L2Block, SourceError>;
}
