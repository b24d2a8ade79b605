//! Blocks that the sequencer has built and L1 does not hold yet.

use std::sync::Arc;

use alloy::{
    primitives::{B64, B256, Bytes},
    providers::{Provider, RootProvider},
};
use serde::{Deserialize, Serialize};

use super::driver::produce;
use crate::{
    chain::{Chain, Head, ProduceError},
    error::{L1Error, StoreError},
    exec::attributes::Attributes,
};

/// A block with what it takes to build it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsafeBlock {
    /// Its hash.
    pub hash: B256,
    /// Its parent's hash.
    pub parent_hash: B256,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// The value of PREVRANDAO.
    pub prev_randao: B256,
    /// Root of the parent of the L1 origin's beacon block.
    pub parent_beacon_block_root: B256,
    /// Gas limit.
    pub gas_limit: u64,
    /// Under Isthmus the parameters of the base fee after it.
    #[serde(default)]
    pub base_fee_params: Option<B64>,
    /// Its encoded transactions.
    pub transactions: Vec<Bytes>,
}

impl UnsafeBlock {
    /// A block of the chain; `None` if there is no such block.
    pub(crate) fn read(head: &Head, number: u64) -> Result<Option<Self>, StoreError> {
        let Some(header) = head.snapshot.header(number)? else { return Ok(None) };
        Ok(Some(Self {
            hash: header.hash(),
            parent_hash: header.parent_hash,
            timestamp: header.timestamp,
            prev_randao: header.mix_hash,
            parent_beacon_block_root: header.parent_beacon_block_root.unwrap_or_default(),
            gas_limit: header.gas_limit,
            base_fee_params: header.extra_data.get(1..9).map(B64::from_slice),
            transactions: head.snapshot.transactions(number)?,
        }))
    }
}

/// Hears a sequencer.
#[derive(Debug)]
pub(crate) struct Feed {
    sequencer: RootProvider,
    chain: Arc<Chain>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

impl Feed {
    pub(crate) fn new(url: &str, chain: Arc<Chain>) -> Result<Self, L1Error> {
        let parsed = url.parse().map_err(|error| L1Error::Url { url: url.into(), cause: format!("{error}") })?;
        Ok(Self { sequencer: RootProvider::new_http(parsed), chain })
    }

    /// Takes the next block if there is one. Returns whether there was.
    pub(crate) async fn turn(&self) -> Result<bool, L1Error> {
        let head = self.chain.head();
        let next = head.header.number + 1;
        let heard = self.sequencer.raw_request("rollup_unsafeBlock".into(), (next,)).await;
        let heard: Option<UnsafeBlock> = heard.map_err(L1Error::rpc)?;
        let Some(block) = heard else { return Ok(false) };
        if block.parent_hash != head.header.hash() {
            // One of the two follows an L1 reorganisation; L1 will say which.
            tracing::debug!(number = next, "the sequencer's next block does not build on this chain");
            return Ok(false);
        }
        let attributes = Attributes {
            timestamp_s: block.timestamp,
            prev_randao: block.prev_randao,
            parent_beacon_root: block.parent_beacon_block_root,
            gas_limit: block.gas_limit,
            base_fee_params: block.base_fee_params,
            forced: block.transactions,
            from_pool: false,
        };
        match produce(&self.chain, block.parent_hash, attributes).await {
            Ok(()) => {
                let ours = self.chain.head();
                if ours.header.number == next && ours.header.hash() != block.hash {
                    tracing::error!(number = next, sequencer = %block.hash, here = %ours.header.hash(),
                        "the sequencer's block has another hash here: it lied, or the versions differ");
                }
                Ok(true)
            }
            Err(ProduceError::Stale { .. }) => Ok(false),
            Err(ProduceError::Execute(error)) => {
                tracing::error!(number = next, %error, "the sequencer's block cannot be a block");
                Ok(false)
            }
            Err(ProduceError::Node(error)) => Err(error.into()),
        }
    }
}
