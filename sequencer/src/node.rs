//! Starting and stopping a node.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use alloy::primitives::{B256, Bytes};
use jsonrpsee::server::ServerHandle;
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    chain::{Chain, ProduceError},
    config::NodeConfig,
    engine::LocalEngine,
    error::{NodeError, PoolError},
    exec::attributes::Attributes,
    metrics::Timings,
    rpc, status,
    store::Store,
};

/// How long requests that are being answered may take to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// The node. See [`Node::start`].
#[derive(Debug)]
pub struct Node;

/// A running node. Dropping it stops the node without waiting; nothing that was committed is lost.
pub struct NodeHandle {
    chain: Arc<Chain>,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    server: ServerHandle,
    stop: watch::Sender<bool>,
    builder: Option<JoinHandle<Result<(), NodeError>>>,
    /// Removed after everything else is dropped.
    _temporary: Option<TempDir>,
}

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its state root.
    pub state_root: B256,
    /// Its timestamp in seconds since 1970.
    pub timestamp_s: u64,
}

impl Node {
    /// Opens the chain, or begins it, and starts building blocks and answering requests. Call it within a tokio
    /// runtime that has time and I/O enabled.
    ///
    /// # Errors
    /// A wrong setting, a data directory that is in use, damaged or of another chain, or an address that is taken.
    pub async fn start(config: NodeConfig) -> Result<NodeHandle, NodeError> {
        config.check()?;
        let (dir, temporary) = match &config.data_dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let temporary = TempDir::with_prefix("lockstep-node-")
                    .map_err(|error| NodeError::DataDir { path: std::env::temp_dir(), cause: error.to_string() })?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let open = move || {
            let store = Store::open(&dir, config.page_cache_bytes)?;
            Chain::open(config, store)
        };
        let chain = Arc::new(tokio::task::spawn_blocking(open).await.map_err(panicked)??);
        let (address, server) = rpc::start(chain.clone()).await?;
        let (stop, stopped) = watch::channel(false);
        let metrics_address = match chain.config.metrics_listen {
            Some(address) => Some(status::start(chain.clone(), address, stopped.clone()).await?),
            None => None,
        };
        let builder = match chain.config.driven {
            true => tokio::spawn(wait_for_stop(stopped)),
            false => tokio::spawn(build_blocks(chain.clone(), stopped)),
        };
        tracing::info!(%address, "serving JSON-RPC");
        Ok(NodeHandle { chain, address, metrics_address, server, stop, builder: Some(builder), _temporary: temporary })
    }
}

impl NodeHandle {
    /// Where the RPC server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics, liveness and readiness are served, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// URL of the RPC server for HTTP.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// URL of the RPC server for WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Chain id.
    pub fn chain_id(&self) -> u64 {
        self.chain.config.chain_id
    }

    /// The newest block.
    pub fn head(&self) -> BlockRef {
        let head = self.chain.head();
        BlockRef {
            number: head.header.number,
            hash: head.header.hash(),
            state_root: head.header.state_root,
            timestamp_s: head.header.timestamp,
        }
    }

    /// How many transactions wait, those behind a nonce gap included.
    pub fn waiting_transactions(&self) -> usize {
        self.chain.pool.len()
    }

    /// Moves the chain's clock forward for good, as `evm_increaseTime` does. The next block shows it.
    pub fn advance_clock(&self, seconds: u64) {
        self.chain.advance_clock(seconds);
    }

    /// Builds a block now, without waiting for its time.
    ///
    /// # Errors
    /// [`NodeError::Store`] if it could not be kept.
    pub async fn mine(&self) -> Result<BlockRef, NodeError> {
        let chain = self.chain.clone();
        tokio::task::spawn_blocking(move || chain.build(true)).await.map_err(panicked)??;
        Ok(self.head())
    }

    /// Builds the block after `parent`, which must be the newest, with the given attributes.
    ///
    /// # Errors
    /// [`NodeError::Refused`] if `parent` is not the newest block or the attributes cannot be a block, after which the
    /// chain is as it was; [`NodeError::Store`] if the block could not be kept.
    pub async fn produce(&self, parent: B256, attributes: Attributes) -> Result<BlockRef, NodeError> {
        let chain = self.chain.clone();
        let produced = tokio::task::spawn_blocking(move || chain.produce(parent, &attributes)).await;
        match produced.map_err(panicked)? {
            Ok(_) => Ok(self.head()),
            Err(ProduceError::Node(error)) => Err(error),
            Err(refused) => Err(NodeError::Refused { parent, cause: refused.to_string() }),
        }
    }

    /// Takes back every block after `number`; what their senders signed waits again, unless it carried blobs. On a
    /// development L1 this is what makes a reorganisation.
    ///
    /// # Errors
    /// [`NodeError::Store`] if the blocks are older than [`NodeConfig::history_blocks`] or the store failed.
    pub async fn unwind(&self, number: u64) -> Result<BlockRef, NodeError> {
        let chain = self.chain.clone();
        tokio::task::spawn_blocking(move || chain.unwind(number)).await.map_err(panicked)??;
        Ok(self.head())
    }

    /// Writes into the database what so far only the log has, so that a copy of `chain.redb` alone is whole. Blocks wait for it.
    ///
    /// # Errors
    /// [`NodeError::Store`] if the disk refuses; nothing is lost, the log still has it.
    pub async fn checkpoint(&self) -> Result<(), NodeError> {
        let chain = self.chain.clone();
        tokio::task::spawn_blocking(move || chain.checkpoint()).await.map_err(panicked)?
    }

    /// Notes the newest block that L1 holds, `safe`, and the newest that it holds for good, by their numbers.
    ///
    /// # Errors
    /// [`NodeError::Store`] if it could not be kept.
    pub async fn set_heads(&self, safe: u64, finalized: u64) -> Result<(), NodeError> {
        let chain = self.chain.clone();
        tokio::task::spawn_blocking(move || chain.set_labels(safe, finalized)).await.map_err(panicked)?
    }

    /// The chain behind the handle.
    pub(crate) fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// The chain behind the Engine API's methods. Blocks come from its driver alone if the node is [`NodeConfig::driven`].
    pub fn engine(&self) -> LocalEngine {
        LocalEngine::new(self.chain.clone())
    }

    /// Takes a raw transaction into the mempool, as `eth_sendRawTransaction` does. Recovers a signature and may read the disk, so
    /// call it where blocking is allowed.
    ///
    /// # Errors
    /// Why the transaction is refused.
    pub fn submit(&self, raw: Bytes) -> Result<B256, PoolError> {
        self.chain.submit(raw)
    }

    /// Where the time of building blocks went since the node started.
    pub fn timings(&self) -> Timings {
        self.chain.timings()
    }

    /// Waits until the node fails. Returns only if it cannot build blocks any more, with the reason.
    ///
    /// # Errors
    /// Always: why the node stopped.
    pub async fn failed(&mut self) -> Result<(), NodeError> {
        match self.builder.as_mut() {
            Some(builder) => {
                let ended = builder.await.map_err(panicked);
                self.builder = None;
                ended?
            }
            None => Err(NodeError::Stopped("it failed before".into())),
        }
    }

    /// Stops: finishes the block being built, answers what was asked, closes the store.
    ///
    /// # Errors
    /// Why the node had failed before, if it had.
    pub async fn shutdown(mut self) -> Result<(), NodeError> {
        self.stop.send_replace(true);
        let result = match self.builder.take() {
            Some(builder) => builder.await.map_err(panicked)?,
            None => Ok(()),
        };
        // An error here means that the server has stopped already.
        let _ = self.server.stop();
        if tokio::time::timeout(DRAIN, self.server.clone().stopped()).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "some requests did not finish in time");
        }
        // The last of the tasks that answered closes the store; whoever starts the next node in this directory counts on it.
        let closed = async {
            while Arc::strong_count(&self.chain) > 1 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(DRAIN, closed).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "something still uses the store");
        }
        tracing::info!(number = self.head().number, "stopped");
        result
    }
}

impl std::fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeHandle").field("address", &self.address).field("head", &self.head()).finish_non_exhaustive()
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let _ = self.server.stop();
    }
}

/// For a node whose blocks are built only when told to.
async fn wait_for_stop(mut stop: watch::Receiver<bool>) -> Result<(), NodeError> {
    // An error means that the handle is gone, which stops the node too.
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}

/// Builds blocks at their times until told to stop or the store fails.
async fn build_blocks(chain: Arc<Chain>, mut stop: watch::Receiver<bool>) -> Result<(), NodeError> {
    let period = Duration::from_millis(chain.config.block_time_ms);
    let mut ticks = interval_at(Instant::now() + period, period);
    // After a block that took long the next one follows a full period later.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            _ = ticks.tick() => (),
        }
        let keep_empty = chain.config.mine_empty;
        // Without empty blocks, a transaction that arrives after a quiet time is taken at once.
        while !keep_empty && chain.pool.is_empty() {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = chain.arrived.notified() => (),
            }
        }
        let building = chain.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || building.build(keep_empty)).await.map_err(panicked)? {
            chain.metrics.failed.store(true, std::sync::atomic::Ordering::Relaxed);
            tracing::error!(%error, "cannot build blocks any more");
            return Err(error);
        }
    }
}

fn panicked(error: tokio::task::JoinError) -> NodeError {
    NodeError::Stopped(format!("a task failed: {error}"))
}
