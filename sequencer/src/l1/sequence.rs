//! The sequencer's blocks: an L1 origin, its deposits, then what waits in the mempool.

use std::sync::Arc;

use alloy::primitives::B64;
use lockstep_derive::{BlockId, DeriveError, L1Source, L2Head, Preparation, Rollup, SourceError};

use super::{
    client::L1Client,
    driver::{SyncStatus, produce},
    local::Local,
    window::Window,
};
use crate::{
    chain::{Chain, ProduceError},
    error::{L1Error, NodeError},
    exec::attributes::Attributes,
};

/// Builds the chain's next blocks.
pub(crate) struct Sequencing {
    chain: Arc<Chain>,
    local: Local,
    l1: L1Client,
    rollup: Rollup,
    preparation: Preparation<L1Client, Local>,
    confirmations: u64,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A block was built.
    Built,
    /// It is not time yet, by this many seconds.
    Early(u64),
    /// L1 must settle first.
    Waiting,
}

impl Sequencing {
    pub(crate) fn new(chain: Arc<Chain>, l1: L1Client, rollup: Rollup, confirmations: u64) -> Self {
        let local = Local(chain.clone());
        let preparation = Preparation::new(rollup.clone(), l1.clone(), local.clone());
        Self { chain, local, l1, rollup, preparation, confirmations }
    }

    /// Builds the next block if it is time.
    pub(crate) async fn attempt(&self, status: &SyncStatus) -> Result<Attempt, L1Error> {
        let number = self.chain.head().header.number;
        let Some(parent) = self.local.head_at(&self.rollup, number)? else { return Ok(Attempt::Waiting) };
        let time_s = parent.timestamp_s + self.rollup.block_time_s();
        let now_s = self.chain.now_s();
        if now_s < time_s {
            return Ok(Attempt::Early(time_s - now_s));
        }
        // What L1 is about to replace should hold no transactions, and be what L1 will say.
        let takes_transactions = Window::of(&self.rollup).takes_transactions(status);
        let found = self.origin(&parent, time_s, !takes_transactions).await?;
        let Some((origin, origin_s)) = found else { return Ok(Attempt::Waiting) };
        let prepared = match self.preparation.attributes(&parent, origin).await {
            Ok(prepared) => prepared,
            Err(DeriveError::Failed(cause)) => return Err(DeriveError::Failed(cause).into()),
            // The driver follows L1; until it has, the next block would only be taken back.
            Err(error) => {
                tracing::debug!(%error, number = number + 1, "the next block must wait");
                return Ok(Attempt::Waiting);
            }
        };
        let attributes = Attributes {
            timestamp_s: prepared.timestamp_s,
            prev_randao: prepared.prev_randao,
            parent_beacon_root: prepared.parent_beacon_root,
            gas_limit: prepared.gas_limit,
            base_fee_params: prepared.base_fee_params.map(B64::from),
            forced: prepared.transactions,
            // Too far ahead of L1 only deposits are allowed.
            from_pool: takes_transactions && time_s <= origin_s + self.rollup.max_drift_s(),
        };
        match produce(&self.chain, parent.hash, attributes).await {
            Ok(()) => Ok(Attempt::Built),
            Err(ProduceError::Stale { .. }) => Ok(Attempt::Waiting),
            Err(ProduceError::Node(error)) => Err(error.into()),
            Err(error @ ProduceError::Execute(_)) => {
                Err(NodeError::Build { number: number + 1, parent: parent.hash, cause: error.to_string() }.into())
            }
        }
    }

    /// The L1 origin of the block after `parent` and its timestamp: the next one as soon as it is deep enough and not later
    /// than the block, otherwise the parent's. `None` if L1 no longer has the parent's, or if nothing is known of the next one and
    /// the block would be too far ahead: were L1's next block not later than it, it could never be derived; or if the next one `must_be_known`.
    async fn origin(
        &self,
        parent: &L2Head,
        time_s: u64,
        must_be_known: bool,
    ) -> Result<Option<(BlockId, u64)>, L1Error> {
        let current = parent.l1_origin;
        let next = match self.next_origin(current).await {
            Ok(next) => next,
            Err(DeriveError::Reset(cause)) => {
                tracing::debug!(cause, "the next L1 block does not follow the origin");
                return Ok(None);
            }
            // While L1 is down blocks stay with the origin they have.
            Err(error) => {
                tracing::debug!(%error, "L1 does not answer; staying with the L1 origin");
                None
            }
        };
        if let Some((_, next_s)) = next
            && next_s <= time_s
        {
            return Ok(next);
        }
        if next.is_none() && must_be_known {
            return Ok(None);
        }
        let origin_s = match self.preparation.l1_time_s(current.hash).await {
            Ok(origin_s) => origin_s,
            Err(DeriveError::Failed(cause)) => return Err(DeriveError::Failed(cause).into()),
            Err(_) => return Ok(None),
        };
        if next.is_none() && time_s > origin_s + self.rollup.max_drift_s() {
            tracing::warn!(
                origin = current.number,
                "too far ahead of L1, whose next block is not known: no block is built"
            );
            return Ok(None);
        }
        Ok(Some((current, origin_s)))
    }

    async fn next_origin(&self, current: BlockId) -> Result<Option<(BlockId, u64)>, DeriveError> {
        let number = current.number + 1;
        let wait = |error: SourceError| match error {
            SourceError::Missing(_) => None,
            error => Some(DeriveError::Retry(error.to_string())),
        };
        // Whether it is deep enough shows in whether there is a block so much higher.
        if self.confirmations > 0
            && let Err(error) = self.l1.header_by_number(number + self.confirmations).await
        {
            return wait(error).map_or(Ok(None), Err);
        }
        let next = match self.l1.header_by_number(number).await {
            Ok(next) => next,
            Err(error) => return wait(error).map_or(Ok(None), Err),
        };
        let header: alloy::consensus::Header = alloy_rlp::Decodable::decode(&mut next.rlp.as_ref())
            .map_err(|error| DeriveError::Failed(format!("L1 header: {error}")))?;
        if header.parent_hash != current.hash {
            return Err(DeriveError::Reset(format!("{} is not the parent of {}", current.hash, next.hash)));
        }
        Ok(Some((BlockId { number, hash: next.hash }, header.timestamp)))
    }
}
