//! The L2 chain of this process as derivation and batches read it.

use std::sync::Arc;

use async_trait::async_trait;
use lockstep_derive::{L2Block, L2Head, L2Source, Rollup, SourceError};

use crate::{
    chain::Chain,
    error::{L1Error, StoreError},
    exec::attributes::DEPOSIT,
};

/// The chain of this process.
#[derive(Clone)]
pub(crate) struct Local(pub(crate) Arc<Chain>);

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Local")
    }
}

impl Local {
    fn read(&self, number: u64, all: bool) -> Result<Option<L2Block>, StoreError> {
        let head = self.0.head();
        let Some(header) = head.snapshot.header(number)? else { return Ok(None) };
        let transactions = match all {
            true => head.snapshot.transactions(number)?,
            false => head.snapshot.transaction(number, 0)?.into_iter().collect(),
        };
        Ok(Some(L2Block { header: alloy_rlp::encode(header.inner()).into(), transactions }))
    }

    /// Where a block stands; `None` if there is no such block.
    pub(crate) fn head_at(&self, rollup: &Rollup, number: u64) -> Result<Option<L2Head>, L1Error> {
        let Some(block) = self.read(number, false)? else { return Ok(None) };
        Ok(Some(rollup.head(&block.header, block.transactions.first())?))
    }

    /// A block's transactions without the deposits; `None` if there is no such block.
    pub(crate) fn signed_transactions(&self, number: u64) -> Result<Vec<alloy::primitives::Bytes>, L1Error> {
        let transactions = self.0.head().snapshot.transactions(number)?;
        Ok(transactions.into_iter().filter(|raw| raw.first() != Some(&DEPOSIT)).collect())
    }
}

#[async_trait]
impl L2Source for Local {
    async fn block(&self, number: u64, all_transactions: bool) -> Result<L2Block, SourceError> {
        // A handful of reads from memory or the page cache.
        let found = self.read(number, all_transactions);
        let found = found.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        found.ok_or_else(|| SourceError::Missing(number.to_string()))
    }
}
