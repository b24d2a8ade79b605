//! Keeping the chain to what L1 says.
//!
//! ```text
//!   L1 --> Derivation --> attributes --+-- the block is there and the same --> it is safe
//!                                      +-- it is there and differs: alarm --> unwind, build what L1 says
//!                                      +-- it is not there ----------------> build
//!                                      +-- it cannot be: left out; since Holocene it is built of its deposits alone
//!   L1 reorganised --> the newest safe block whose L1 blocks are canonical --> unwind, begin again
//! ```

use std::sync::Arc;

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{B64, Bytes},
};
use lockstep_derive::{
    BlockId, Derivation, DeriveError, DerivedAttributes, L1Ref, L1Source, L2Head, Rollup, SourceError, Step,
};
use tokio::sync::watch;

use super::{
    client::L1Client,
    local::Local,
    made::{History, Reorganised},
    restart::Restart,
};
use crate::{
    chain::{Chain, ProduceError},
    error::{L1Error, NodeError},
    exec::{
        attributes::{Attributes, DEPOSIT},
        block::ExecuteError,
    },
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
    restart: Restart,
    /// The L1 block up to which everything was read before derivation last began again.
    read_before: u64,
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
        let restart = Restart::open(&chain.directory())?;
        let (published, _) = watch::channel(SyncStatus::default());
        let mut driver = Self {
            chain,
            local,
            l1,
            rollup,
            derivation,
            made: History::default(),
            restart,
            read_before: 0,
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
        let (mut safe, mut read) = self.begin_from().await?;
        while !self.is_canonical(safe.l1_origin).await? {
            let Some(before) = safe.number.checked_sub(1) else {
                return Err(L1Error::Rpc(format!(
                    "L1 has no block {} any more, where the rollup begins",
                    safe.l1_origin.hash
                )));
            };
            safe = self.require(before)?;
            read = None;
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
        self.read_before = read.unwrap_or_default();
        self.derivation.reset(&safe, read).await?;
        self.status.safe = safe;
        self.status.l1_current = self.derivation.origin().unwrap_or_default();
        self.keep().await
    }

    /// The safe block that derivation begins again from and, under Isthmus, the L1 block that was read to its end when it was the newest.
    async fn begin_from(&self) -> Result<(L2Head, Option<u64>), L1Error> {
        if !self.rollup.is_isthmus() {
            // Nothing is known about how the safe blocks came to be so: only final ones are taken for granted.
            return Ok((self.made.newest().map_or(self.status.finalized, |made| made.safe), None));
        }
        if let Some(made) = self.made.whole_by(u64::MAX) {
            return Ok((made.safe, Some(made.l1.number)));
        }
        if let Some(place) = self.restart.place()
            && self.is_canonical(place.l1()).await?
            && self.chain.head().snapshot.hash(place.l2().number)? == Some(place.l2().hash)
        {
            return Ok((self.require(place.l2().number)?, Some(place.l1().number)));
        }
        Ok((self.require(self.rollup.l2_genesis().number)?, None))
    }

    /// Takes one step.
    pub(crate) async fn turn(&mut self) -> Result<Turn, L1Error> {
        match self.derivation.step(&self.status.safe).await {
            Ok(Step::Block(attributes, l1)) => {
                self.apply(&attributes, l1).await?;
                self.note(l1).await
            }
            Ok(Step::Read(l1)) => {
                let before = l1.number.saturating_sub(1);
                // One that was read before a restart did not make safe what is safe now.
                if before >= self.read_before {
                    self.made.end_newest(before);
                }
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
            if self.is_what_is_left(number, derived).await? {
                return self.flush(number).await;
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
        match produce(&self.chain, derived.parent_hash, attributes(derived)).await {
            Ok(()) => {
                self.status.safe = self.require(number)?;
                Ok(true)
            }
            Err(ProduceError::Execute(ExecuteError::Forced { cause, .. })) if self.rollup.is_isthmus() => {
                tracing::warn!(
                    cause,
                    number,
                    l1_block = l1.number,
                    "a batch cannot be a block; it has its deposits alone"
                );
                self.build_what_is_left(number, derived).await
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

    /// Since Holocene: makes the block of what is left of one that cannot be. Returns false if another was built meanwhile.
    async fn build_what_is_left(&mut self, number: u64, derived: &DerivedAttributes) -> Result<bool, L1Error> {
        let left = what_is_left(derived);
        match produce(&self.chain, left.parent_hash, attributes(&left)).await {
            Ok(()) => self.flush(number).await,
            Err(ProduceError::Stale { .. }) if self.chain.head().header.number >= number => Ok(false),
            Err(ProduceError::Stale { .. }) => self.reset().await.map(|()| true),
            Err(ProduceError::Node(error)) => Err(error.into()),
            Err(ProduceError::Execute(error)) => {
                Err(NodeError::Build { number, parent: left.parent_hash, cause: error.to_string() }.into())
            }
        }
    }

    /// Goes on after a block that holds its deposits alone, without the rest of the channel.
    async fn flush(&mut self, number: u64) -> Result<bool, L1Error> {
        self.derivation.flush_channel().await?;
        self.status.safe = self.require(number)?;
        Ok(true)
    }

    /// Since Holocene: whether the block that is there holds the deposits alone because the derived one cannot be, as was found before.
    async fn is_what_is_left(&self, number: u64, derived: &DerivedAttributes) -> Result<bool, L1Error> {
        if !self.rollup.is_isthmus() || !self.is_same(number, &what_is_left(derived))? {
            return Ok(false);
        }
        let (chain, attributes) = (self.chain.clone(), attributes(derived));
        let tried = tokio::task::spawn_blocking(move || chain.cannot_be(number, &attributes)).await;
        Ok(tried.map_err(|error| NodeError::Stopped(error.to_string()))??)
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
            && header.extra_data == head.kind.extra_data(derived.base_fee_params.map(B64::from))
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
        if self.rollup.is_isthmus()
            && let Some(made) = self.made.whole_by(self.status.l1_finalized.id.number)
        {
            self.restart.keep(&made)?;
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
        let mut known = self.status;
        if self.rollup.is_isthmus() && known.safe.number < known.finalized.number {
            // It comes past what is final once more.
            known.safe = known.finalized;
        }
        let (chain, safe, finalized) = (self.chain.clone(), known.safe.number, known.finalized.number);
        let noted = tokio::task::spawn_blocking(move || chain.set_labels(safe, finalized)).await;
        noted.map_err(|error| NodeError::Stopped(error.to_string()))??;
        self.published.send_replace(known);
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

fn attributes(derived: &DerivedAttributes) -> Attributes {
    Attributes {
        timestamp_s: derived.timestamp_s,
        prev_randao: derived.prev_randao,
        parent_beacon_root: derived.parent_beacon_root,
        gas_limit: derived.gas_limit,
        base_fee_params: derived.base_fee_params.map(B64::from),
        forced: derived.transactions.clone(),
        from_pool: false,
    }
}

/// The same block without the transactions of its batch.
fn what_is_left(derived: &DerivedAttributes) -> DerivedAttributes {
    let is_deposit = |raw: &&Bytes| raw.first() == Some(&DEPOSIT);
    let transactions = derived.transactions.iter().filter(is_deposit).cloned().collect();
    DerivedAttributes { transactions, ..derived.clone() }
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
