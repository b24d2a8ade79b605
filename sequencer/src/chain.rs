//! The chain: its head, the mempool and the building of blocks on one another.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use alloy::{
    consensus::{Header, Sealed, constants::EMPTY_WITHDRAWALS},
    eips::eip7685::EMPTY_REQUESTS_HASH,
    primitives::{B256, Bytes, KECCAK256_EMPTY, keccak256},
};
use lockstep_derive::{L2Head, Rollup};
use rayon::prelude::*;
use tokio::sync::{Notify, broadcast};

use crate::{
    config::{ChainKind, GenesisAccount, NodeConfig},
    error::{L1Error, NodeError, PoolError, StoreError},
    exec::{
        attributes::{self, Attributes},
        block::{self, ExecuteError, Executed},
        env::BlockRules,
    },
    l1::{MESSAGE_PASSER, RollupView},
    metrics::{Metrics, Timings},
    pool::{Best, Pool, PoolRules, PooledTx},
    store::{AccountChange, NewBlock, Snapshot, StateChanges, Store, StoredReceipt},
};

/// Why the block that was asked for could not be produced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProduceError {
    /// It does not build on the newest block. Look at the head again.
    #[error("the newest block is {head}, not {parent}")]
    Stale {
        /// The newest block.
        head: B256,
        /// The parent that was named.
        parent: B256,
    },
    /// Its attributes cannot be a block. Choose others.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The node cannot go on.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<StoreError> for ProduceError {
    fn from(error: StoreError) -> Self {
        Self::Node(error.into())
    }
}

impl Head {
    /// Where a block stands on L1.
    pub(crate) fn l2_head(&self, rollup: &Rollup, number: u64) -> Result<L2Head, L1Error> {
        let header = self.snapshot.header(number)?;
        let header = header.ok_or_else(|| StoreError::Corrupt(format!("block {number} has no header")))?;
        let first = self.snapshot.transaction(number, 0)?;
        Ok(rollup.head(&alloy_rlp::encode(header.inner()), first.as_ref())?)
    }
}

/// The hash of the first block that a configuration makes. Its genesis time must be set.
pub(crate) fn genesis_block_hash(config: &NodeConfig) -> Result<B256, NodeError> {
    let time_s = config.genesis_time_s.ok_or_else(|| NodeError::Config("genesis_time_s is not set".into()))?;
    Ok(Sealed::new(genesis_header(config, genesis_root(config)?, time_s)).hash())
}

/// How many new blocks a slow listener may lag behind before it misses some.
const EVENTS: usize = 256;

/// Fewer signatures than this are not worth another core.
const SHARED_FROM: usize = 12;

/// The newest block and the chain as of it.
pub(crate) struct Head {
    /// Its header with its hash.
    pub(crate) header: Sealed<Header>,
    /// The chain up to it.
    pub(crate) snapshot: Snapshot,
    /// Whose rules the chain follows.
    pub(crate) kind: ChainKind,
    /// Number of the newest block that L1 holds; without an L1, of this one.
    pub(crate) safe: u64,
    /// Number of the newest block that L1 holds for good; without an L1, of this one.
    pub(crate) finalized: u64,
}

/// A block that was just committed.
pub(crate) struct NewHead {
    /// Its header with its hash.
    pub(crate) header: Sealed<Header>,
    /// Its receipts.
    pub(crate) receipts: Vec<StoredReceipt>,
}

/// The chain.
pub(crate) struct Chain {
    /// What the node was started with.
    pub(crate) config: NodeConfig,
    /// Waiting transactions.
    pub(crate) pool: Pool,
    /// Wakes the builder when a transaction arrives.
    pub(crate) arrived: Notify,
    /// Every committed block.
    pub(crate) events: broadcast::Sender<Arc<NewHead>>,
    /// The rollup that the chain is, if it has an L1.
    pub(crate) rollup: OnceLock<RollupView>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    store: Store,
    head: RwLock<Arc<Head>>,
    building: Mutex<()>,
    clock_ahead_s: AtomicU64,
}

impl Chain {
    /// Opens the chain in a store, or begins it there.
    pub(crate) fn open(config: NodeConfig, store: Store) -> Result<Self, NodeError> {
        let number = match store.chain() {
            None => {
                begin(&config, &store)?;
                0
            }
            Some((chain_id, number)) => {
                check_chain(&config, &store, chain_id)?;
                number
            }
        };
        let head = head(&store, number, &config)?;
        check_root(&store, &head.header)?;
        let head_time_s = head.header.timestamp;
        let base_fee_wei = head.header.base_fee_per_gas.unwrap_or_default();
        let rules = PoolRules {
            chain_id: config.chain_id,
            kind: config.kind,
            gas_limit: head.header.gas_limit,
            limits: config.pool,
        };
        let pool = Pool::new(rules);
        pool.keep_journal(store.path(), &head.snapshot.state(), base_fee_wei);
        tracing::info!(number, hash = %head.header.hash(), dir = %store.path().display(), "opened the chain");
        Ok(Self {
            pool,
            arrived: Notify::new(),
            events: broadcast::channel(EVENTS).0,
            rollup: OnceLock::new(),
            metrics: Metrics::default(),
            head: RwLock::new(Arc::new(head)),
            building: Mutex::new(()),
            // A chain whose clock was moved goes on where it stopped.
            clock_ahead_s: AtomicU64::new(head_time_s.saturating_sub(now_s())),
            config,
            store,
        })
    }

    /// The newest block.
    pub(crate) fn head(&self) -> Arc<Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a raw transaction into the mempool.
    pub(crate) fn submit(&self, raw: Bytes) -> Result<B256, PoolError> {
        let tx = self.admit(raw);
        let head = self.head();
        let hash = self.pool.submit(tx?, &head.snapshot.state(), head.header.base_fee_per_gas.unwrap_or_default())?;
        self.arrived.notify_one();
        Ok(hash)
    }

    /// Takes raw transactions into the mempool, in order. Many are checked on all cores.
    pub(crate) fn submit_all(&self, raws: Vec<Bytes>) -> Vec<Result<B256, PoolError>> {
        let txs = raws.into_par_iter().with_min_len(SHARED_FROM).map(|raw| self.admit(raw)).collect();
        let head = self.head();
        let base_fee_wei = head.header.base_fee_per_gas.unwrap_or_default();
        let answers = self.pool.submit_all(txs, &head.snapshot.state(), base_fee_wei);
        self.arrived.notify_one();
        answers
    }

    fn admit(&self, raw: Bytes) -> Result<PooledTx, PoolError> {
        let start = Instant::now();
        let tx = self.pool.admit(raw);
        Metrics::spend(&self.metrics.recover_ns, start.elapsed());
        tx
    }

    /// Moves the chain's clock forward for good.
    pub(crate) fn advance_clock(&self, seconds: u64) -> u64 {
        let ahead = self.clock_ahead_s.load(Ordering::Relaxed).saturating_add(seconds).min(u64::from(u32::MAX));
        self.clock_ahead_s.store(ahead, Ordering::Relaxed);
        ahead
    }

    /// The rules of the block after `parent` if it were built now.
    pub(crate) fn next_rules(&self, parent: &Sealed<Header>) -> BlockRules {
        let now_s = self.now_s();
        let least = parent.timestamp + u64::from(self.config.block_time_ms >= 1000);
        BlockRules::after(self.config.chain_id, self.config.kind, parent, now_s.max(least))
    }

    /// Builds, commits and announces one block, unless it would be empty and `keep_empty` is not set. Slow: run it
    /// where blocking is allowed.
    pub(crate) fn build(&self, keep_empty: bool) -> Result<(), NodeError> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let parent = self.head();
        let mut rules = self.next_rules(&parent.header);
        if rules.kind == ChainKind::Ethereum {
            // Blocks that replace others after a reorganisation must not be the same again.
            rules.prev_randao = keccak256([parent.header.hash().0.as_slice(), &now_ns().to_be_bytes()].concat());
        }
        self.extend(&parent, &rules, &[], true, keep_empty).map_err(|error| match error {
            ProduceError::Node(error) => error,
            other => NodeError::Build { number: rules.number, parent: parent.header.hash(), cause: other.to_string() },
        })?;
        Ok(())
    }

    /// Builds, commits and announces the block after `parent` with the given attributes. Slow: run it where blocking is
    /// allowed.
    pub(crate) fn produce(&self, parent: B256, attributes: &Attributes) -> Result<Sealed<Header>, ProduceError> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head();
        if head.header.hash() != parent {
            return Err(ProduceError::Stale { head: head.header.hash(), parent });
        }
        let rules = BlockRules::chosen(self.config.chain_id, self.config.kind, &head.header, attributes);
        let forced = attributes::all_forced(&attributes.forced, self.config.chain_id)?;
        match self.extend(&head, &rules, &forced, attributes.from_pool, true)? {
            Some(header) => Ok(header),
            None => Err(NodeError::Stopped("a block that may be empty was not built".into()).into()),
        }
    }

    /// Whether the block `number`, which is there with other attributes, cannot be one with these. Slow: run it where blocking is allowed.
    pub(crate) fn cannot_be(&self, number: u64, attributes: &Attributes) -> Result<bool, NodeError> {
        let (head, before) = (self.head(), number.saturating_sub(1));
        let missing = || StoreError::Corrupt(format!("block {before} has no header"));
        let parent = head.snapshot.header(before)?.ok_or_else(missing)?;
        let rules = BlockRules::chosen(self.config.chain_id, self.config.kind, &parent, attributes);
        let state = head.snapshot.state_at(before, head.header.number)?;
        let tried = attributes::all_forced(&attributes.forced, self.config.chain_id)
            .and_then(|forced| block::execute(&rules, state, &forced, &mut Best::nothing(), || true));
        match tried {
            Ok(_) => Ok(false),
            Err(ExecuteError::Forced { .. }) => Ok(true),
            Err(ExecuteError::Store(error)) => Err(error.into()),
        }
    }

    fn extend(
        &self,
        parent: &Head,
        rules: &BlockRules,
        forced: &[PooledTx],
        from_pool: bool,
        keep_empty: bool,
    ) -> Result<Option<Sealed<Header>>, ProduceError> {
        let start = Instant::now();
        let mut best = match from_pool {
            true => self.pool.best(&parent.snapshot.state(), rules.base_fee_wei)?,
            false => Best::nothing(),
        };
        let budget = Duration::from_millis(self.config.block_time_ms.max(200));
        let done = block::execute(rules, parent.snapshot.state(), forced, &mut best, || start.elapsed() > budget)?;
        if done.transactions.is_empty() && !keep_empty {
            self.pool.forget(best.invalid);
            return Ok(None);
        }
        let executed = start.elapsed();
        Metrics::spend(&self.metrics.execute_ns, executed);
        let header = self.commit(rules, parent.header.hash(), &done)?;
        self.set_head(header.number)?;
        tracing::debug!(
            number = header.number,
            hash = %header.hash(),
            transactions = best.taken.len(),
            gas = header.gas_used,
            execute_us = executed.as_micros(),
            total_us = start.elapsed().as_micros(),
            "built a block"
        );
        let settled = forced.iter().map(|tx| tx.hash).chain(best.taken).chain(best.invalid);
        self.pool.forget(settled);
        // Without listeners there is nobody to tell.
        let _ = self.events.send(Arc::new(NewHead { header: header.clone(), receipts: done.receipts }));
        Ok(Some(header))
    }

    /// Takes back every block after `number`; what their senders signed waits again. Slow: run it where blocking is
    /// allowed. Subscribers are not told: the next block they see does not build on the last.
    pub(crate) fn unwind(&self, number: u64) -> Result<(), NodeError> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let from = self.head();
        if from.header.number <= number {
            return Ok(());
        }
        let mut batch = self.store.begin()?;
        let transactions = batch.unwind(number)?;
        if self.store.labels().is_some() {
            batch.put_labels(from.safe.min(number), from.finalized.min(number));
        }
        batch.commit()?;
        self.set_head(number)?;
        tracing::warn!(from = from.header.number, to = number, transactions = transactions.len(), "took back blocks");
        for raw in transactions {
            // Deposits come again from L1; blobs were dropped with their block.
            if let Err(error) = self.submit(raw) {
                tracing::debug!(%error, "a transaction that was taken back does not wait again");
            }
        }
        Ok(())
    }

    /// From now on L1 says which blocks are safe. Until it has spoken, the first one is.
    pub(crate) fn begin_labels(&self) -> Result<(), NodeError> {
        match self.store.labels() {
            Some(_) => Ok(()),
            None => self.set_labels(0, 0),
        }
    }

    /// Writes into the database what so far only the log has. Slow: run it where blocking is allowed.
    pub(crate) fn checkpoint(&self) -> Result<(), NodeError> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.checkpoint()?;
        // The snapshot of before would keep the memory that the log's changes took.
        Ok(self.set_head(self.head().header.number)?)
    }

    /// Where time went.
    pub(crate) fn timings(&self) -> Timings {
        self.metrics.timings(self.store.written())
    }

    /// Where the chain is kept.
    pub(crate) fn directory(&self) -> PathBuf {
        self.store.path().to_path_buf()
    }

    /// The chain's clock, in seconds since 1970.
    pub(crate) fn now_s(&self) -> u64 {
        now_s().saturating_add(self.clock_ahead_s.load(Ordering::Relaxed))
    }

    /// Notes which blocks L1 holds, and which for good.
    pub(crate) fn set_labels(&self, safe: u64, finalized: u64) -> Result<(), NodeError> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if self.store.labels() == Some((safe, finalized)) {
            return Ok(());
        }
        let head = self.head();
        let mut batch = self.store.begin()?;
        batch.put_labels(safe, finalized);
        batch.commit()?;
        Ok(self.set_head(head.header.number)?)
    }

    fn set_head(&self, number: u64) -> Result<(), StoreError> {
        let head = Arc::new(head(&self.store, number, &self.config)?);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(())
    }

    fn commit(&self, rules: &BlockRules, parent: B256, done: &Executed) -> Result<Sealed<Header>, StoreError> {
        let start = Instant::now();
        let mut batch = self.store.begin()?;
        let state_root = batch.apply_state(&done.changes)?;
        let rooted = start.elapsed();
        let mut header = done.header(rules, parent, state_root);
        if rules.kind == ChainKind::Isthmus {
            header.withdrawals_root = Some(batch.storage_root(MESSAGE_PASSER)?);
        }
        let header = Sealed::new(header);
        let block = NewBlock {
            header: &header,
            transactions: &done.transactions,
            receipts: &done.receipts,
            blobs: &done.blobs,
        };
        batch.put_block(&block, self.config.keep())?;
        let entries = batch.changed_entries();
        batch.commit()?;
        Metrics::spend(&self.metrics.root_ns, rooted);
        Metrics::spend(&self.metrics.flush_ns, start.elapsed().saturating_sub(rooted));
        self.metrics.count_block(done.transactions.len(), done.gas_used, entries);
        Ok(header)
    }
}

fn head(store: &Store, number: u64, config: &NodeConfig) -> Result<Head, StoreError> {
    let snapshot = store.snapshot()?;
    let header = snapshot.header(number)?;
    let header = header.ok_or_else(|| StoreError::Corrupt(format!("the newest block, {number}, has no header")))?;
    let (safe, finalized) = match (config.kind, store.labels()) {
        (ChainKind::Ethereum, _) => {
            let depth = config.finality_blocks;
            (number.saturating_sub(depth / 2), number.saturating_sub(depth))
        }
        (ChainKind::Rollup | ChainKind::Isthmus, labels) => labels.unwrap_or((number, number)),
    };
    Ok(Head { header, snapshot, kind: config.kind, safe, finalized })
}

/// Checks that the state trie is that of the newest block.
fn check_root(store: &Store, header: &Sealed<Header>) -> Result<(), StoreError> {
    let root = store.begin()?.apply_state(&StateChanges::default())?;
    if root == header.state_root {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!("block {} has state root {}, stored is {root}", header.number, header.state_root)))
}

/// Writes block 0.
fn begin(config: &NodeConfig, store: &Store) -> Result<(), StoreError> {
    let mut batch = store.begin()?;
    batch.put_chain_id(config.chain_id)?;
    let state_root = batch.apply_state(&genesis_state(config))?;
    let header = Sealed::new(genesis_header(config, state_root, config.genesis_time_s.unwrap_or_else(now_s)));
    batch.put_block(&NewBlock { header: &header, transactions: &[], receipts: &[], blobs: &[] }, config.keep())?;
    batch.commit()
}

/// Refuses a store that holds another chain. What the first start chose itself, the genesis time, may differ.
fn check_chain(config: &NodeConfig, store: &Store, chain_id: u64) -> Result<(), NodeError> {
    let other = |found: String, wanted: String| NodeError::OtherChain { path: store.path().into(), found, wanted };
    if chain_id != config.chain_id {
        return Err(other(format!("id {chain_id}"), format!("id {}", config.chain_id)));
    }
    let snapshot = store.snapshot()?;
    let genesis = snapshot.header(0)?.ok_or_else(|| StoreError::Corrupt("block 0 has no header".into()))?;
    // The state root of block 0 is computed in a change that is never committed.
    let state_root = genesis_root(config)?;
    let wanted = genesis_header(config, state_root, config.genesis_time_s.unwrap_or(genesis.timestamp));
    let wanted = Sealed::new(wanted);
    if wanted.hash() != genesis.hash() {
        return Err(other(format!("genesis {}", genesis.hash()), format!("genesis {}", wanted.hash())));
    }
    Ok(())
}

/// The state root of block 0, computed from nothing.
fn genesis_root(config: &NodeConfig) -> Result<B256, StoreError> {
    use alloy_trie::{TrieAccount, root};
    let accounts = config.genesis.iter().map(|account| {
        let storage_root = storage_root(account);
        let TrieAccount { code_hash, .. } = TrieAccount::default();
        let code_hash = if account.code.is_empty() { code_hash } else { keccak256(&account.code) };
        (account.address, TrieAccount { nonce: account.nonce, balance: account.balance_wei, storage_root, code_hash })
    });
    Ok(root::state_root_unhashed(accounts))
}

fn storage_root(account: &GenesisAccount) -> B256 {
    let slots = account.storage.iter().filter(|(_, value)| !value.is_zero());
    alloy_trie::root::storage_root_unhashed(slots.map(|(slot, value)| ((*slot).into(), (*value).into())))
}

fn genesis_state(config: &NodeConfig) -> StateChanges {
    let mut changes = StateChanges::default();
    let mut codes = HashSet::new();
    for account in &config.genesis {
        let code_hash = if account.code.is_empty() { KECCAK256_EMPTY } else { keccak256(&account.code) };
        if !account.code.is_empty() && codes.insert(code_hash) {
            changes.code.push((code_hash, account.code.clone()));
        }
        changes.accounts.push(AccountChange {
            address: account.address,
            info: Some((account.nonce, account.balance_wei, code_hash)),
            wiped: false,
            storage: account.storage.iter().map(|(slot, value)| (*slot, (*value).into())).collect(),
        });
    }
    changes
}

fn genesis_header(config: &NodeConfig, state_root: B256, timestamp_s: u64) -> Header {
    let isthmus = config.kind == ChainKind::Isthmus;
    let passer = config.genesis.iter().find(|account| isthmus && account.address == MESSAGE_PASSER);
    Header {
        beneficiary: config.kind.beneficiary(),
        state_root,
        number: 0,
        gas_limit: config.gas_limit,
        timestamp: timestamp_s,
        base_fee_per_gas: Some(config.initial_base_fee_wei),
        withdrawals_root: Some(passer.map_or(EMPTY_WITHDRAWALS, storage_root)),
        requests_hash: isthmus.then_some(EMPTY_REQUESTS_HASH),
        extra_data: config.kind.extra_data(None),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        ..Header::default()
    }
}

fn now_s() -> u64 {
    since_1970().as_secs()
}

fn now_ns() -> u128 {
    since_1970().as_nanos()
}

fn since_1970() -> Duration {
    // A clock before 1970 counts as 1970: timestamps then follow the parent's.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
