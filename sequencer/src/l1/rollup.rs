//! A node of the rollup: the chain, what follows L1, and, on the sequencer, what leads it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::{primitives::Address, providers::Provider, signers::local::PrivateKeySigner};
use async_trait::async_trait;
use lockstep_derive::Rollup;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{
    batcher::{Batcher, BatcherConfig, BatcherStats},
    client::{BlobSource, L1Client},
    driver::{Driver, SyncStatus, Turn},
    feed::Feed,
    proposer::Proposer,
    send::Sender,
    sequence::{Attempt, Sequencing},
};
use crate::{
    chain::Chain,
    config::{ChainKind, NodeConfig},
    error::{L1Error, NodeError},
    node::{Node, NodeHandle},
};

/// Blocks that can be taken back at least: more than an L1 reorganisation ever unwinds.
const HISTORY_BLOCKS: u64 = 10_000;

/// Seconds between L1 blocks on Ethereum, with room for slots that stay empty.
const L1_BLOCK_S: u64 = 15;

/// The first pause after a failure that may pass.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause after a failure that may pass.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What a node is besides a follower of L1.
#[derive(Clone, Debug)]
pub enum Role {
    /// It builds the blocks. There must be one.
    Sequencer(Box<SequencerConfig>),
    /// It takes blocks from L1, and earlier from the sequencer at a URL, if one is given; those it checks when L1 has them.
    Follower {
        /// URL of the sequencer's RPC.
        sequencer_url: Option<String>,
    },
}

/// What the sequencer does.
#[derive(Clone, Debug, Default)]
pub struct SequencerConfig {
    /// L1 blocks that must follow one before it is taken as an origin. More means fewer reorganisations of L2.
    pub confirmations: u64,
    /// The key that submits batches, and how. Without one nothing is submitted.
    pub batcher: Option<(PrivateKeySigner, BatcherConfig)>,
    /// The key that proposes outputs, and the contract. Without one nothing is proposed.
    pub proposer: Option<(PrivateKeySigner, Address)>,
    /// Seconds after which what is not in an L1 block is sent again for more.
    pub resend_after_s: u64,
}

/// What a node of a rollup is started with.
#[derive(Clone, Debug)]
pub struct RollupConfig {
    /// The chain. Its genesis must be the one that `rollup_json` names.
    pub node: NodeConfig,
    /// The rollup's description, in the OP Stack's form.
    pub rollup_json: String,
    /// URL of L1's RPC.
    pub l1_url: String,
    /// Where L1's blobs are.
    pub blobs: BlobSource,
    /// How often L1 is looked at when nothing is new.
    pub l1_poll: Duration,
    /// What the node is.
    pub role: Role,
}

/// What RPC tells about the rollup.
#[derive(Clone, Debug)]
pub(crate) struct RollupView {
    /// The rollup's description.
    pub(crate) json: serde_json::Value,
    /// The same, read.
    pub(crate) rollup: Rollup,
    /// Where the chain stands.
    pub(crate) status: watch::Receiver<SyncStatus>,
    /// What was submitted.
    pub(crate) stats: Arc<Mutex<BatcherStats>>,
}

/// A running node of the rollup. Dropping it stops it.
#[derive(Debug)]
pub struct RollupNode {
    /// The chain.
    pub node: NodeHandle,
    status: watch::Receiver<SyncStatus>,
    stats: Arc<Mutex<BatcherStats>>,
    stop: watch::Sender<bool>,
    tasks: Option<JoinHandle<Result<(), L1Error>>>,
}

impl RollupNode {
    /// Starts it. L1 must answer.
    ///
    /// # Errors
    /// [`L1Error::Derive`] if the description is not valid, [`L1Error::Chain`] if the chain does not start or is another one,
    /// [`L1Error::Rpc`] if L1 does not answer or is another one.
    pub async fn start(mut config: RollupConfig) -> Result<Self, L1Error> {
        let rollup = Rollup::parse(&config.rollup_json)?;
        let json = serde_json::from_str(&config.rollup_json).map_err(L1Error::rpc)?;
        config.node.driven = true;
        // The description alone says whose rules hold.
        config.node.kind = if rollup.is_isthmus() { ChainKind::Isthmus } else { ChainKind::Rollup };
        // A block that somebody asks for has no L1 origin.
        config.node.dev_methods = false;
        // Without batches L1 replaces all blocks of a sequencing window.
        let window_blocks = rollup.sequencing_window().saturating_mul(L1_BLOCK_S) / rollup.block_time_s();
        config.node.history_blocks = config.node.history_blocks.max(HISTORY_BLOCKS).max(window_blocks);
        config.node.block_time_ms = rollup.block_time_s() * 1000;
        let l1 = L1Client::new(&config.l1_url, config.blobs.clone())?;
        check_l1(&l1, &rollup).await?;
        let node = Node::start(config.node).await?;
        let chain = node.chain().clone();
        check_l2(&chain, &rollup)?;
        chain.begin_labels()?;
        let driver = Driver::new(chain.clone(), l1.clone(), rollup.clone()).await?;
        let status = driver.status();
        let stats: Arc<Mutex<BatcherStats>> = Arc::default();
        let view = RollupView { json, rollup: rollup.clone(), status: status.clone(), stats: stats.clone() };
        // The cell is empty: the chain was opened above.
        let _ = chain.rollup.set(view);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(repeat(Drive { driver, ready: false, poll: config.l1_poll }, stopped.clone()));
        match config.role {
            Role::Follower { sequencer_url: None } => (),
            Role::Follower { sequencer_url: Some(url) } => {
                let feed = Feed::new(&url, chain.clone())?;
                tasks.spawn(repeat(Hear { feed, block_time_s: rollup.block_time_s() }, stopped.clone()));
            }
            Role::Sequencer(sequencer) => {
                let sequencing = Sequencing::new(chain.clone(), l1.clone(), rollup.clone(), sequencer.confirmations);
                tasks.spawn(repeat(Sequence { sequencing, status: status.clone() }, stopped.clone()));
                let directory = chain.directory();
                let resend = Duration::from_secs(sequencer.resend_after_s.max(1));
                if let Some((key, how)) = sequencer.batcher {
                    let journal = directory.join("batcher-sending.json");
                    let sender = Sender::new(l1.provider().clone(), key, journal, resend).await?;
                    check_batcher(&sender, &rollup);
                    let batcher = Batcher::new(chain.clone(), rollup.clone(), sender, how, &directory)?;
                    *stats.lock().unwrap_or_else(PoisonError::into_inner) = batcher.stats();
                    let batch = Batch { batcher, status: status.clone(), stats: stats.clone() };
                    tasks.spawn(repeat(batch, stopped.clone()));
                }
                if let Some((key, oracle)) = sequencer.proposer {
                    let journal: PathBuf = directory.join("proposer-sending.json");
                    let sender = Sender::new(l1.provider().clone(), key, journal, resend).await?;
                    let proposer = Proposer::new(chain.clone(), l1.provider().clone(), oracle, sender);
                    tasks.spawn(repeat(Propose { proposer, status: status.clone() }, stopped));
                }
            }
        }
        let tasks = Some(tokio::spawn(first_failure(tasks)));
        Ok(Self { node, status, stats, stop, tasks })
    }

    /// Where the chain stands.
    pub fn status(&self) -> SyncStatus {
        *self.status.borrow()
    }

    /// What was submitted to L1.
    pub fn batcher_stats(&self) -> BatcherStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the node fails.
    ///
    /// # Errors
    /// Always: why it cannot go on.
    pub async fn failed(&mut self) -> Result<(), L1Error> {
        match self.tasks.as_mut() {
            Some(tasks) => {
                let ended = tasks.await.map_err(stopped);
                self.tasks = None;
                ended?
            }
            None => Err(NodeError::Stopped("it failed before".into()).into()),
        }
    }

    /// Stops it.
    ///
    /// # Errors
    /// Why it had failed before, if it had.
    pub async fn shutdown(mut self) -> Result<(), L1Error> {
        self.stop.send_replace(true);
        let result = match self.tasks.take() {
            Some(tasks) => tasks.await.map_err(stopped)?,
            None => Ok(()),
        };
        self.node.shutdown().await?;
        result
    }
}

fn stopped(error: tokio::task::JoinError) -> L1Error {
    NodeError::Stopped(format!("a task failed: {error}")).into()
}

/// Waits for all tasks; the first failure ends the others.
async fn first_failure(mut tasks: JoinSet<Result<(), L1Error>>) -> Result<(), L1Error> {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended.map_err(stopped).and_then(|result| result) {
            tracing::error!(%error, "the rollup node cannot go on");
            return Err(error);
        }
    }
    Ok(())
}

async fn check_l1(l1: &L1Client, rollup: &Rollup) -> Result<(), L1Error> {
    let id = l1.provider().get_chain_id().await.map_err(L1Error::rpc)?;
    if id == rollup.l1_chain_id() {
        return Ok(());
    }
    Err(L1Error::Rpc(format!("it is chain {id}, and the rollup's L1 is chain {}", rollup.l1_chain_id())))
}

fn check_l2(chain: &Chain, rollup: &Rollup) -> Result<(), L1Error> {
    let genesis = chain.head().snapshot.hash(0)?.unwrap_or_default();
    if genesis == rollup.l2_genesis().hash && chain.config.chain_id == rollup.l2_chain_id() {
        return Ok(());
    }
    Err(NodeError::OtherChain {
        path: chain.directory(),
        found: format!("id {}, genesis {genesis}", chain.config.chain_id),
        wanted: format!("id {}, genesis {}", rollup.l2_chain_id(), rollup.l2_genesis().hash),
    }
    .into())
}

fn check_batcher(sender: &Sender, rollup: &Rollup) {
    if sender.address() != rollup.batcher() {
        let (key, wanted) = (sender.address(), rollup.batcher());
        tracing::warn!(%key, %wanted, "the batcher's key is not the one of the rollup's genesis");
    }
}

/// Work that is done in turns.
#[async_trait]
trait Work: Send {
    /// What it is, for the log.
    fn name(&self) -> &'static str;
    /// Does a turn. Returns how long to wait before the next.
    async fn turn(&mut self) -> Result<Duration, L1Error>;
    /// Whether a turn may end anywhere when the node stops. What waits for L1 must, for L1 may be down.
    fn may_be_cut_off(&self) -> bool {
        false
    }
}

/// Works until told to stop.
async fn repeat(mut work: impl Work, mut stop: watch::Receiver<bool>) -> Result<(), L1Error> {
    let mut pause = SHORTEST_PAUSE;
    while !*stop.borrow() {
        let may_be_cut_off = work.may_be_cut_off();
        let done = tokio::select! {
            done = work.turn() => done,
            _ = stop.wait_for(|stop| *stop), if may_be_cut_off => return Ok(()),
        };
        let wait = match done {
            Ok(wait) => {
                pause = SHORTEST_PAUSE;
                wait
            }
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, what = work.name(), retry_ms = pause.as_millis(), "failed; trying again");
                pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
            Err(error) => return Err(error),
        };
        // An error within the time means that the handle is gone, which stops the node too.
        if !wait.is_zero() && tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await.is_ok() {
            return Ok(());
        }
    }
    Ok(())
}

struct Drive {
    driver: Driver,
    ready: bool,
    poll: Duration,
}

#[async_trait]
impl Work for Drive {
    fn name(&self) -> &'static str {
        "following L1"
    }

    async fn turn(&mut self) -> Result<Duration, L1Error> {
        if !self.ready {
            self.driver.reset().await?;
            self.ready = true;
        }
        match self.driver.turn().await? {
            Turn::Progress => Ok(Duration::ZERO),
            Turn::Idle => Ok(self.poll),
        }
    }
}

struct Sequence {
    sequencing: Sequencing,
    status: watch::Receiver<SyncStatus>,
}

#[async_trait]
impl Work for Sequence {
    fn name(&self) -> &'static str {
        "building blocks"
    }

    async fn turn(&mut self) -> Result<Duration, L1Error> {
        if !is_known(&self.status) {
            return Ok(Duration::from_millis(50));
        }
        let known = *self.status.borrow();
        Ok(match self.sequencing.attempt(&known).await? {
            Attempt::Built => Duration::ZERO,
            // A second is divided finely enough for blocks that come each second.
            Attempt::Early(_) => Duration::from_millis(20),
            Attempt::Waiting => Duration::from_millis(200),
        })
    }
}

struct Batch {
    batcher: Batcher,
    status: watch::Receiver<SyncStatus>,
    stats: Arc<Mutex<BatcherStats>>,
}

#[async_trait]
impl Work for Batch {
    fn name(&self) -> &'static str {
        "submitting batches"
    }

    /// What is sent is in a journal first.
    fn may_be_cut_off(&self) -> bool {
        true
    }

    async fn turn(&mut self) -> Result<Duration, L1Error> {
        if !is_known(&self.status) {
            return Ok(Duration::from_millis(100));
        }
        let known = *self.status.borrow();
        let sent = self.batcher.turn(&known).await?;
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.batcher.stats();
        Ok(if sent { Duration::ZERO } else { Duration::from_millis(250) })
    }
}

struct Propose {
    proposer: Proposer,
    status: watch::Receiver<SyncStatus>,
}

#[async_trait]
impl Work for Propose {
    fn name(&self) -> &'static str {
        "proposing outputs"
    }

    /// What is sent is in a journal first.
    fn may_be_cut_off(&self) -> bool {
        true
    }

    async fn turn(&mut self) -> Result<Duration, L1Error> {
        if !is_known(&self.status) {
            return Ok(Duration::from_millis(100));
        }
        let known = *self.status.borrow();
        let proposed = self.proposer.turn(&known).await?;
        Ok(if proposed { Duration::ZERO } else { Duration::from_secs(1) })
    }
}

struct Hear {
    feed: Feed,
    block_time_s: u64,
}

#[async_trait]
impl Work for Hear {
    fn name(&self) -> &'static str {
        "hearing the sequencer"
    }

    async fn turn(&mut self) -> Result<Duration, L1Error> {
        let heard = self.feed.turn().await?;
        Ok(if heard { Duration::ZERO } else { Duration::from_millis(self.block_time_s * 250) })
    }
}

/// Whether the driver has read what L1 holds, which may take back what is here.
fn is_known(status: &watch::Receiver<SyncStatus>) -> bool {
    status.borrow().caught_up
}
