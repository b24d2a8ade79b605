//! Keeping the chain to what L1 says.
//!
//! ```text
//!   L1 --> Derivation --> attributes --+-- the block is there and the same --> it is safe
//!                                      +-- it is there and differs: alarm --> unwind, build what L1 says
//!                                      +-- it is not there ----------------> build
//!   L1 reorganised --> the newest safe block whose L1 blocks are canonical --> unwind, begin again
//! ```

use std::sync::Arc;

use alloy::eips::BlockNumberOrTag;
use lockstep_derive::{
    BlockId, Derivation, DeriveError, DerivedAttributes, L1Ref, L1Source, L2Head, Rollup, SourceError, Step,
};
use tokio::sync::watch;

use super::{
    client::L1Client,
    local::Local,
    made::{History, Reorganised},
};
use crate::{
    chain::{Chain, ProduceError},
    error::{L1Error, NodeError},
    exec::attributes::Attributes,
};

/// What the driver knows, for whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// The L1 block that is being read.
    pub l1_current: L1Ref,
    /// The newest L1 block.
    pub l1_head: L1Ref,
    /// The newest L1 block that L1 calls safe.
    pub l1_safe: L1Ref,
    /// The newest final L1 block.
    pub l1_finalized: L1Ref,
    /// The newest block that was derived from L1.
    pub safe: L2Head,
    /// The newest block that was derived from final L1 blocks.
    pub finalized: L2Head,
    /// Whether all of L1 was read since the start. Before, a sequencer must not build: L1 may hold blocks that it forgot.
    pub caught_up: bool,
    /// Blocks that were built before L1 held them, and differed from what L1 then said. Never anything but zero, unless
    /// the sequencer lied or failed, or its batches came after the sequencing window.
    pub mismatches: u64,
    /// L1 reorganisations that were followed.
    pub reorganisations: u64,
}

/// Follows L1.
pub(crate) struct Driver {
    chain: Arc<Chain>,
    local: Local,
    l1: L1Client,
    rollup: Rollup,
    derivation: Derivation<L1Client, Local>,
    made: History,
    status: SyncStatus,
    published: watch::Sender<SyncStatus>,
}

/// What a turn of the driver came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There may be more at once.
    Progress,
    /// All of L1 was read, or it does not answer.
    Idle,
}

impl Driver {
    /// Begins where the chain's safe block stands.
    pub(crate) async fn new(chain: Arc<Chain>, l1: L1Client, rollup: Rollup) -> Result<Self, L1Error> {
        let local = Local(chain.clone());
        let derivation = Derivation::new(rollup.clone(), l1.clone(), local.clone());
        let (safe, finalized) = (chain.head().safe, chain.head().finalized);
        let (published, _) = watch::channel(SyncStatus::default());
        let mut driver = Self {
            chain,
            local,
            l1,
            rollup,
            derivation,
            made: History::default(),
            status: SyncStatus::default(),
            published,
        };
        driver.status.safe = driver.require(safe)?;
        driver.status.finalized = driver.require(finalized)?;
        // Who asks before L1 was read hears what the store knows.
        driver.published.send_replace(driver.status);
        Ok(driver)
    }

    /// What it knows, as it changes.
    pub(crate) fn status(&self) -> watch::Receiver<SyncStatus> {
        self.published.subscribe()
    }

    /// Begins, or begins again after an L1 reorganisation: finds the newest safe block that still follows from canonical
    /// L1 blocks, and takes back unsafe blocks whose L1 origin is gone.
    pub(crate) async fn reset(&mut self) -> Result<(), L1Error> {
        while let Some(last) = self.made.newest() {
            if self.is_canonical(last.l1).await? {
                break;
            }
            self.made.forget_newest();
        }
        let mut safe = match self.made.newest() {
            Some(made) => made.safe,
            // Nothing is known about how the safe blocks came to be so: only final ones are taken for granted.
            None => self.status.finalized,
        };
        while !self.is_canonical(safe.l1_origin).await? {
            let Some(before) = safe.number.checked_sub(1) else {
                return Err(L1Error::Rpc(format!(
                    "L1 has no block {} any more, where the rollup begins",
                    safe.l1_origin.hash
                )));
            };
            safe = self.require(before)?;
        }
        let mut head = self.require(self.chain.head().header.number)?;
        let newest = head;
        while head.number > safe.number && !self.is_canonical(head.l1_origin).await? {
            head = self.require(head.number - 1)?;
        }
        if head.number < newest.number {
            tracing::warn!(from = newest.number, to = head.number, "L1 was reorganised under unsafe blocks");
            self.unwind(head.number).await?;
        }
        self.derivation.reset(&safe).await?;
        self.status.safe = safe;
        self.status.l1_current = self.derivation.origin().unwrap_or_default();
        self.keep().await
    }

    /// Takes one step.
    pub(crate) async fn turn(&mut self) -> Result<Turn, L1Error> {
        match self.derivation.step(&self.status.safe).await {
            Ok(Step::Block(attributes, l1)) => {
                self.apply(&attributes, l1).await?;
                self.note(l1).await
            }
            Ok(Step::Read(l1)) => {
                self.status.l1_current = self.derivation.origin().unwrap_or_default();
                let turn = self.note(l1).await?;
                self.keep().await?;
                Ok(turn)
            }
            Ok(Step::Busy) => Ok(Turn::Progress),
            Err(DeriveError::Retry(cause)) => {
                tracing::trace!(cause, "derivation waits");
                self.look_at_l1().await?;
                match self.derivation.origin() {
                    Some(origin) if !self.is_canonical(origin.id).await? => {
                        self.begin_again("its newest block is gone").await
                    }
                    _ => Ok(Turn::Idle),
                }
            }
            Err(DeriveError::Reset(cause)) => self.begin_again(&cause).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn begin_again(&mut self, cause: &str) -> Result<Turn, L1Error> {
        tracing::warn!(cause, safe = self.status.safe.number, "L1 was reorganised; deriving again");
        self.status.reorganisations += 1;
        self.reset().await?;
        // L1 may be in the middle of it.
        Ok(Turn::Idle)
    }

    /// Notes what is safe by an L1 block.
    async fn note(&mut self, l1: BlockId) -> Result<Turn, L1Error> {
        match self.made.note(l1, self.status.safe) {
            Ok(()) => Ok(Turn::Progress),
            Err(Reorganised) => self.begin_again("while it was read again").await,
        }
    }

    /// Makes the next safe block.
    async fn apply(&mut self, derived: &DerivedAttributes, l1: BlockId) -> Result<(), L1Error> {
        let number = self.status.safe.number + 1;
        while !self.extend(number, derived, l1).await? {}
        Ok(())
    }

    /// Makes the block with this number the derived one, unless it cannot be a block. Returns false if another was built meanwhile.
    async fn extend(&mut self, number: u64, derived: &DerivedAttributes, l1: BlockId) -> Result<bool, L1Error> {
        if self.chain.head().header.number >= number {
            if self.is_same(number, derived)? {
                self.status.safe = self.require(number)?;
                return Ok(true);
            }
            self.status.mismatches += 1;
            let hash = self.chain.head().snapshot.hash(number)?;
            tracing::error!(
                number,
                ?hash,
                l1_block = l1.number,
                "an unsafe block is not what L1 says: it and all after it are replaced; the sequencer lied or failed, or its batches came too late"
            );
            self.unwind(number - 1).await?;
        }
        let attributes = Attributes {
            timestamp_s: derived.timestamp_s,
            prev_randao: derived.prev_randao,
            parent_beacon_root: derived.parent_beacon_root,
            gas_limit: derived.gas_limit,
            forced: derived.transactions.clone(),
            from_pool: false,
        };
        match produce(&self.chain, derived.parent_hash, attributes).await {
            Ok(()) => {
                self.status.safe = self.require(number)?;
                Ok(true)
            }
            // The specification before Holocene: a batch that cannot be executed was never there.
            Err(ProduceError::Execute(error)) => {
                tracing::warn!(%error, number, l1_block = l1.number, "left out a batch that cannot be a block");
                Ok(true)
            }
            // The sequencer built first; the derived block must not be lost for that.
            Err(ProduceError::Stale { .. }) if self.chain.head().header.number >= number => Ok(false),
            Err(ProduceError::Stale { .. }) => self.reset().await.map(|()| true),
            Err(ProduceError::Node(error)) => Err(error.into()),
        }
    }

    /// Whether a block that is there already is the derived one.
    fn is_same(&self, number: u64, derived: &DerivedAttributes) -> Result<bool, L1Error> {
        let head = self.chain.head();
        let Some(header) = head.snapshot.header(number)? else { return Ok(false) };
        Ok(header.parent_hash == derived.parent_hash
            && header.timestamp == derived.timestamp_s
            && header.mix_hash == derived.prev_randao
            && header.parent_beacon_block_root == Some(derived.parent_beacon_root)
            && header.gas_limit == derived.gas_limit
            && head.snapshot.transactions(number)? == derived.transactions)
    }

    /// Looks at what L1 calls newest and final.
    async fn look_at_l1(&mut self) -> Result<(), L1Error> {
        if let Some(newest) = self.l1_ref(BlockNumberOrTag::Latest).await? {
            self.status.l1_head = newest;
        }
        self.status.caught_up |= self.status.l1_current.id.number >= self.status.l1_head.id.number;
        if let Some(safe) = self.l1_ref(BlockNumberOrTag::Safe).await? {
            self.status.l1_safe = safe;
        }
        if let Some(finalized) = self.l1_ref(BlockNumberOrTag::Finalized).await? {
            self.status.l1_finalized = finalized;
        }
        if let Some(newest) = self.made.safe_by(self.status.l1_finalized.id.number) {
            self.status.finalized = newest;
        }
        self.keep().await
    }

    async fn l1_ref(&self, tag: BlockNumberOrTag) -> Result<Option<L1Ref>, L1Error> {
        match self.l1.header_at(tag).await {
            Ok(found) => Ok(found.map(|(hash, header)| L1Ref {
                id: BlockId { number: header.number, hash },
                parent_hash: header.parent_hash,
                timestamp_s: header.timestamp,
            })),
            Err(error) => Err(L1Error::rpc(error)),
        }
    }

    /// Notes the heads in the store, and publishes them.
    async fn keep(&self) -> Result<(), L1Error> {
        let (chain, safe, finalized) = (self.chain.clone(), self.status.safe.number, self.status.finalized.number);
        let noted = tokio::task::spawn_blocking(move || chain.set_labels(safe, finalized)).await;
        noted.map_err(|error| NodeError::Stopped(error.to_string()))??;
        self.published.send_replace(self.status);
        Ok(())
    }

    async fn unwind(&self, number: u64) -> Result<(), L1Error> {
        let chain = self.chain.clone();
        let done = tokio::task::spawn_blocking(move || chain.unwind(number)).await;
        Ok(done.map_err(|error| NodeError::Stopped(error.to_string()))??)
    }

    async fn is_canonical(&self, block: BlockId) -> Result<bool, L1Error> {
        match self.l1.header_by_number(block.number).await {
            Ok(found) => Ok(found.hash == block.hash),
            Err(SourceError::Missing(_)) => Ok(false),
            Err(error) => Err(L1Error::rpc(error)),
        }
    }

    fn require(&self, number: u64) -> Result<L2Head, L1Error> {
        let found = self.local.head_at(&self.rollup, number)?;
        found.ok_or_else(|| NodeError::Stopped(format!("L2 block {number} is missing")).into())
    }
}

/// Produces a block where blocking is allowed.
pub(crate) async fn produce(
    chain: &Arc<Chain>,
    parent: alloy::primitives::B256,
    attributes: Attributes,
) -> Result<(), ProduceError> {
    let chain = chain.clone();
    let produced = tokio::task::spawn_blocking(move || chain.produce(parent, &attributes)).await;
    produced.map_err(|error| ProduceError::Node(NodeError::Stopped(error.to_string())))?.map(drop)
}
