//! What the node counts about itself.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Where the time of building blocks went, summed since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Blocks built.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Gas they used.
    pub gas: u64,
    /// Accounts, slots and trie nodes that they set or removed.
    pub entries: u64,
    /// Recovering signatures, summed over all cores.
    pub recover: Duration,
    /// Running transactions.
    pub execute: Duration,
    /// Writing state and updating the tries.
    pub root: Duration,
    /// Making blocks durable: writing them to the log.
    pub flush: Duration,
    /// Writing the database, on a thread beside the others.
    pub write: Duration,
}

/// The running sums behind [`Timings`].
#[derive(Debug)]
pub(crate) struct Metrics {
    start: Instant,
    /// When the newest block was built, in milliseconds after `start`.
    last_block_ms: AtomicU64,
    /// Whether blocks cannot be built any more.
    pub(crate) failed: AtomicBool,
    pub(crate) blocks: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) gas: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) recover_ns: AtomicU64,
    pub(crate) execute_ns: AtomicU64,
    pub(crate) root_ns: AtomicU64,
    pub(crate) flush_ns: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last_block_ms: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            blocks: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            gas: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            recover_ns: AtomicU64::new(0),
            execute_ns: AtomicU64::new(0),
            root_ns: AtomicU64::new(0),
            flush_ns: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// How long ago the newest block was built, or the node started.
    pub(crate) fn since_last_block(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last_block_ms.load(Relaxed)))
    }

    /// Adds a duration to one of the sums.
    pub(crate) fn spend(sum: &AtomicU64, spent: Duration) {
        sum.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts a block.
    pub(crate) fn count_block(&self, transactions: usize, gas: u64, entries: usize) {
        self.blocks.fetch_add(1, Relaxed);
        self.transactions.fetch_add(transactions as u64, Relaxed);
        self.gas.fetch_add(gas, Relaxed);
        self.entries.fetch_add(entries as u64, Relaxed);
        self.last_block_ms.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The sums now; `write` is the database's.
    pub(crate) fn timings(&self, write: Duration) -> Timings {
        let duration = |sum: &AtomicU64| Duration::from_nanos(sum.load(Relaxed));
        Timings {
            blocks: self.blocks.load(Relaxed),
            transactions: self.transactions.load(Relaxed),
            gas: self.gas.load(Relaxed),
            entries: self.entries.load(Relaxed),
            recover: duration(&self.recover_ns),
            execute: duration(&self.execute_ns),
            root: duration(&self.root_ns),
            flush: duration(&self.flush_ns),
            write,
        }
    }
}
