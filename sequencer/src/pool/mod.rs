//! The mempool: transactions that wait for a block.
//!
//! ```text
//!   raw bytes --> admit: decode, limits, signature --> Pool::add: nonce, funds, replacement, room
//!                                                          |
//!            builder <-- Best: by tip, nonces in order <---+---> pending nonce, lookup by hash
//! ```
//!
//! Nonces are judged against the state of the head each time they matter; the pool itself remembers none.

mod admit;
mod best;
pub(crate) mod blobs;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::{Address, B256, Bytes, FixedBytes, U256};
use op_revm::OpTransaction;
use revm::context::TxEnv;

pub(crate) use best::Best;

use crate::{
    config::{ChainKind, PoolLimits},
    error::{PoolError, StoreError},
    store::State,
};

/// A blob with what proves it (EIP-4844).
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// Versioned hash of the commitment.
    pub(crate) hash: B256,
    /// The commitment.
    pub(crate) commitment: FixedBytes<48>,
    /// The proof that the commitment is of this blob.
    pub(crate) proof: FixedBytes<48>,
    /// The blob, 131,072 bytes.
    pub(crate) data: Bytes,
}

/// A transaction that waits.
#[derive(Debug)]
pub(crate) struct PooledTx {
    /// The bytes as they were sent.
    pub(crate) raw: Bytes,
    /// Their hash.
    pub(crate) hash: B256,
    /// Who signed.
    pub(crate) sender: Address,
    /// Its nonce.
    pub(crate) nonce: u64,
    /// The most it can cost in wei.
    pub(crate) cost: U256,
    /// As the EVM takes it.
    pub(crate) env: OpTransaction<TxEnv>,
    /// The blobs that travel with it. They are not part of `raw`.
    pub(crate) blobs: Option<Arc<Vec<Blob>>>,
}

impl PooledTx {
    /// The most it pays per gas.
    pub(crate) fn fee_cap(&self) -> u128 {
        self.env.base.gas_price
    }

    /// The most it pays per gas beyond the base fee.
    pub(crate) fn tip_cap(&self) -> u128 {
        self.env.base.gas_priority_fee.unwrap_or(self.env.base.gas_price)
    }

    /// What it pays per gas under a base fee.
    pub(crate) fn effective_gas_price(&self, base_fee: u64) -> u128 {
        self.fee_cap().min(u128::from(base_fee).saturating_add(self.tip_cap()))
    }
}

/// The rules that every transaction must meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolRules {
    /// Chain id it must be signed for.
    pub(crate) chain_id: u64,
    /// Whose rules the chain follows.
    pub(crate) kind: ChainKind,
    /// Gas limit of a block.
    pub(crate) gas_limit: u64,
    /// Sizes and counts.
    pub(crate) limits: PoolLimits,
}

/// The mempool.
pub(crate) struct Pool {
    rules: PoolRules,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    senders: HashMap<Address, BTreeMap<u64, Waiting>>,
    by_hash: HashMap<B256, Arc<PooledTx>>,
    arrivals: u64,
}

#[derive(Clone)]
struct Waiting {
    tx: Arc<PooledTx>,
    /// Order of arrival, which breaks ties.
    arrival: u64,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(rules: PoolRules) -> Self {
        Self { rules, inner: Mutex::default() }
    }

    /// Checks a raw transaction and takes it in. `head` is the state to judge it by. Returns its hash.
    pub(crate) fn submit(&self, raw: Bytes, head: &State<'_>) -> Result<B256, PoolError> {
        let tx = admit::check(&self.rules, raw)?;
        let account = head.account(tx.sender)?.unwrap_or_default();
        admit::check_sender(&tx, &account)?;
        self.lock().add(&self.rules.limits, Arc::new(tx), account.nonce, account.balance)
    }

    /// A waiting transaction.
    pub(crate) fn get(&self, hash: B256) -> Option<Arc<PooledTx>> {
        self.lock().by_hash.get(&hash).cloned()
    }

    /// The nonce after a sender's waiting transactions, if `next` is its nonce in the state.
    pub(crate) fn pending_nonce(&self, sender: Address, next: u64) -> u64 {
        let inner = self.lock();
        let Some(waiting) = inner.senders.get(&sender) else { return next };
        run(waiting, next).last().map_or(next, |tx| tx.tx.nonce + 1)
    }

    /// How many transactions wait: those that the next blocks can take, and those behind a nonce gap.
    pub(crate) fn count(&self, head: &State<'_>) -> Result<(usize, usize), StoreError> {
        let senders: Vec<_> = self.lock().senders.iter().map(|(sender, waiting)| (*sender, waiting.clone())).collect();
        let (mut ready, mut queued) = (0, 0);
        for (sender, waiting) in senders {
            let next = head.account(sender)?.unwrap_or_default().nonce;
            let count = run(&waiting, next).count();
            ready += count;
            queued += waiting.len() - count;
        }
        Ok((ready, queued))
    }

    /// How many transactions wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_hash.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().by_hash.is_empty()
    }

    /// The waiting transactions in the order in which a block should take them. Drops those whose nonce was used.
    pub(crate) fn best(&self, head: &State<'_>, base_fee_wei: u64) -> Result<Best, StoreError> {
        let senders: Vec<Address> = self.lock().senders.keys().copied().collect();
        let mut best = Best::new(base_fee_wei);
        for sender in senders {
            let next = head.account(sender)?.unwrap_or_default().nonce;
            let mut inner = self.lock();
            inner.forget_below(sender, next);
            if let Some(waiting) = inner.senders.get(&sender) {
                best.push(run(waiting, next).map(|waiting| (waiting.tx.clone(), waiting.arrival)).collect());
            }
        }
        Ok(best)
    }

    /// Forgets transactions that are in a block or can never be.
    pub(crate) fn forget(&self, gone: impl IntoIterator<Item = B256>) {
        let mut inner = self.lock();
        for hash in gone {
            inner.remove(hash);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under this lock is a handful of map operations that cannot fail halfway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sender's transactions from its next nonce up to the first gap.
fn run(waiting: &BTreeMap<u64, Waiting>, next: u64) -> impl Iterator<Item = &Waiting> {
    waiting.range(next..).zip(next..).take_while(|((nonce, _), expected)| *nonce == expected).map(|((_, tx), _)| tx)
}

impl Inner {
    fn add(&mut self, limits: &PoolLimits, tx: Arc<PooledTx>, next: u64, balance: U256) -> Result<B256, PoolError> {
        if self.by_hash.contains_key(&tx.hash) {
            return Err(PoolError::Known);
        }
        self.forget_below(tx.sender, next);
        let waiting = self.senders.get(&tx.sender);
        let replaced = waiting.and_then(|waiting| waiting.get(&tx.nonce)).map(|old| old.tx.clone());
        let others = waiting.into_iter().flatten().filter(|(nonce, _)| **nonce != tx.nonce);
        let queued = others.fold(U256::ZERO, |sum, (_, other)| sum.saturating_add(other.tx.cost));
        if queued.saturating_add(tx.cost) > balance {
            return Err(PoolError::Funds { balance, queued, cost: tx.cost });
        }
        match replaced {
            Some(old) => {
                let raised = |new: u128, old: u128| {
                    new >= old.saturating_add(old.saturating_mul(limits.price_bump_percent).div_ceil(100)) && new > old
                };
                if !raised(tx.fee_cap(), old.fee_cap()) || !raised(tx.tip_cap(), old.tip_cap()) {
                    return Err(PoolError::Underpriced { percent: limits.price_bump_percent });
                }
                self.remove(old.hash);
            }
            None => {
                if waiting.map_or(0, BTreeMap::len) >= limits.per_sender {
                    return Err(PoolError::SenderFull { limit: limits.per_sender });
                }
                if self.by_hash.len() >= limits.total {
                    self.evict_below(&tx, limits.total)?;
                }
            }
        }
        let hash = tx.hash;
        self.arrivals += 1;
        let waiting = Waiting { tx: tx.clone(), arrival: self.arrivals };
        self.senders.entry(tx.sender).or_default().insert(tx.nonce, waiting);
        self.by_hash.insert(hash, tx);
        Ok(hash)
    }

    /// Makes room by dropping the worst-paying transaction that no other waits behind, if it pays less than `tx`.
    fn evict_below(&mut self, tx: &PooledTx, limit: usize) -> Result<(), PoolError> {
        let last = self.senders.values().filter_map(|waiting| waiting.values().next_back());
        let worst = last.filter(|last| last.tx.sender != tx.sender).min_by_key(|last| last.tx.tip_cap());
        match worst {
            Some(worst) if worst.tx.tip_cap() < tx.tip_cap() => {
                let hash = worst.tx.hash;
                self.remove(hash);
                Ok(())
            }
            _ => Err(PoolError::Full { limit }),
        }
    }

    fn forget_below(&mut self, sender: Address, next: u64) {
        let Some(waiting) = self.senders.get_mut(&sender) else { return };
        let kept = waiting.split_off(&next);
        for old in std::mem::replace(waiting, kept).into_values() {
            self.by_hash.remove(&old.tx.hash);
        }
        if waiting.is_empty() {
            self.senders.remove(&sender);
        }
    }

    fn remove(&mut self, hash: B256) {
        let Some(tx) = self.by_hash.remove(&hash) else { return };
        if let Some(waiting) = self.senders.get_mut(&tx.sender) {
            waiting.remove(&tx.nonce);
            if waiting.is_empty() {
                self.senders.remove(&tx.sender);
            }
        }
    }
}

#[cfg(test)]
mod tests;
