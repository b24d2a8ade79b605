//! The mempool: transactions that wait for a block.
//!
//! ```text
//!   raw bytes --> admit: decode, limits, signature --> Pool::add: nonce, funds, replacement, room
//!                                                          |
//!            builder <-- Best: by tip, nonces in order <---+---> pending nonce, lookup by hash
//! ```
//!
//! Nonces are judged against the state of the head each time they matter; what the pool remembers of them only decides
//! whom to evict. Whoever waits behind a nonce gap goes first, then who does not pay the base fee, then who tips least.
//!
//! A [`journal::Journal`] brings waiting transactions back after a restart.

mod admit;
mod best;
pub(crate) mod blobs;
mod journal;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, Bytes, FixedBytes, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use alloy_trie::TrieAccount;
use op_revm::OpTransaction;
use revm::context::TxEnv;

pub(crate) use best::Best;
use journal::Journal;

use crate::{
    config::{ChainKind, PoolLimits},
    error::{PoolError, StoreError},
    store::State,
};

/// A blob with what proves it (EIP-4844).
#[derive(Clone, Debug, RlpEncodable, RlpDecodable)]
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
    /// Locked after `inner` if both are.
    journal: Mutex<Option<Journal>>,
}

#[derive(Default)]
struct Inner {
    senders: HashMap<Address, Sender>,
    by_hash: HashMap<B256, Arc<PooledTx>>,
    arrivals: u64,
}

/// A sender's waiting transactions.
#[derive(Default)]
struct Sender {
    /// Its next nonce when it was last looked at.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Clone)]
struct Waiting {
    tx: Arc<PooledTx>,
    /// Order of arrival, which breaks ties.
    arrival: u64,
    /// When it arrived.
    since: Instant,
}

/// How much a transaction is worth keeping: whether its nonce can be next, then its tip if it pays the base fee.
type Worth = (bool, Option<u128>);

impl Pool {
    /// An empty pool.
    pub(crate) fn new(rules: PoolRules) -> Self {
        Self { rules, inner: Mutex::default(), journal: Mutex::default() }
    }

    /// Checks a raw transaction as far as no state is needed, and recovers who signed it. The slow part of admission;
    /// it takes no lock, so that all cores can share it.
    pub(crate) fn admit(&self, raw: Bytes) -> Result<PooledTx, PoolError> {
        admit::check(&self.rules, raw)
    }

    /// Takes a checked transaction in. `head` is the state to judge it by. Returns its hash.
    pub(crate) fn submit(&self, tx: PooledTx, head: &State<'_>, base_fee_wei: u64) -> Result<B256, PoolError> {
        let (tx, account) = judge(tx, head)?;
        let hash = self.lock().add(&self.rules.limits, tx.clone(), account.nonce, account.balance, base_fee_wei)?;
        self.journal(|journal| journal.append([(hash, tx.raw.as_ref())].into_iter()));
        Ok(hash)
    }

    /// Takes in many, in order, as [`Pool::submit`] does one; those that were refused before stay refused.
    pub(crate) fn submit_all(
        &self,
        txs: Vec<Result<PooledTx, PoolError>>,
        head: &State<'_>,
        base_fee_wei: u64,
    ) -> Vec<Result<B256, PoolError>> {
        let judged: Vec<_> = txs.into_iter().map(|tx| judge(tx?, head)).collect();
        let mut taken = Vec::with_capacity(judged.len());
        let mut inner = self.lock();
        let add = |tx: Result<(Arc<PooledTx>, TrieAccount), PoolError>| {
            let (tx, account) = tx?;
            let hash = inner.add(&self.rules.limits, tx.clone(), account.nonce, account.balance, base_fee_wei)?;
            taken.push(tx);
            Ok(hash)
        };
        let answers = judged.into_iter().map(add).collect();
        drop(inner);
        if !taken.is_empty() {
            self.journal(|journal| journal.append(taken.iter().map(|tx| (tx.hash, tx.raw.as_ref()))));
        }
        answers
    }

    /// Takes in what waited when the node last stopped, and from now on notes what arrives. A journal that cannot be kept is
    /// reported and done without.
    pub(crate) fn keep_journal(&self, dir: &Path, head: &State<'_>, base_fee_wei: u64) {
        match Journal::open(dir, self.rules.limits.tx_bytes) {
            Ok((journal, raws)) => {
                let found = raws.len();
                let mut waiting = 0;
                for raw in raws {
                    match self.admit(raw).and_then(|tx| self.submit(tx, head, base_fee_wei)) {
                        Ok(_) => waiting += 1,
                        Err(error) => tracing::debug!(%error, "a transaction of the journal does not wait again"),
                    }
                }
                tracing::info!(found, waiting, "read the mempool's journal");
                *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal);
            }
            Err(error) => {
                tracing::warn!(%error, "the mempool's journal cannot be opened: what waits is lost on restart");
            }
        }
    }

    fn journal(&self, change: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = journal.as_mut()
            && let Err(error) = change(open)
        {
            tracing::warn!(%error, "the mempool's journal failed: what waits is lost on restart");
            *journal = None;
        }
    }

    /// A waiting transaction.
    pub(crate) fn get(&self, hash: B256) -> Option<Arc<PooledTx>> {
        self.lock().by_hash.get(&hash).cloned()
    }

    /// The nonce after a sender's waiting transactions, if `next` is its nonce in the state.
    pub(crate) fn pending_nonce(&self, sender: Address, next: u64) -> u64 {
        let inner = self.lock();
        let Some(sender) = inner.senders.get(&sender) else { return next };
        run(&sender.waiting, next).last().map_or(next, |tx| tx.tx.nonce + 1)
    }

    /// The waiting transactions by sender and nonce: those that the next blocks can take, and those behind a nonce gap.
    #[allow(clippy::type_complexity, reason = "two lists")]
    pub(crate) fn content(&self, head: &State<'_>) -> Result<(Vec<Arc<PooledTx>>, Vec<Arc<PooledTx>>), StoreError> {
        let all: Vec<(Address, Vec<Arc<PooledTx>>)> = {
            let inner = self.lock();
            let each =
                |(sender, txs): (&Address, &Sender)| (*sender, txs.waiting.values().map(|w| w.tx.clone()).collect());
            inner.senders.iter().map(each).collect()
        };
        let (mut ready, mut queued) = (Vec::new(), Vec::new());
        for (sender, txs) in all {
            let nonce = head.account(sender)?.unwrap_or_default().nonce;
            let mut next = nonce;
            for tx in txs.into_iter().filter(|tx| tx.nonce >= nonce) {
                if tx.nonce == next {
                    next += 1;
                    ready.push(tx);
                } else {
                    queued.push(tx);
                }
            }
        }
        Ok((ready, queued))
    }

    /// The waiting transactions of one sender in nonce order.
    pub(crate) fn of_sender(&self, sender: Address) -> Vec<Arc<PooledTx>> {
        let inner = self.lock();
        inner.senders.get(&sender).map_or_else(Vec::new, |txs| txs.waiting.values().map(|w| w.tx.clone()).collect())
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
            inner.forget_stale(sender, Duration::from_secs(self.rules.limits.gap_lifetime_s));
            if let Some(Sender { waiting, .. }) = inner.senders.get(&sender) {
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
        let waiting = inner.by_hash.len();
        self.journal(|journal| match journal.is_stale(waiting) {
            true => journal.rewrite(inner.by_hash.values().map(|tx| (tx.hash, tx.raw.as_ref()))),
            false => Ok(()),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under this lock is a handful of map operations that cannot fail halfway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a transaction against its sender's account, which is returned too.
fn judge(tx: PooledTx, head: &State<'_>) -> Result<(Arc<PooledTx>, TrieAccount), PoolError> {
    let account = head.account(tx.sender)?.unwrap_or_default();
    admit::check_sender(&tx, &account, &head.code(account.code_hash)?)?;
    Ok((Arc::new(tx), account))
}

/// A sender's transactions from its next nonce up to the first gap.
fn run(waiting: &BTreeMap<u64, Waiting>, next: u64) -> impl Iterator<Item = &Waiting> {
    waiting.range(next..).zip(next..).take_while(|((nonce, _), expected)| *nonce == expected).map(|((_, tx), _)| tx)
}

impl Sender {
    /// Whether its last transaction waits behind a gap.
    fn has_gap(&self) -> bool {
        let last = self.waiting.last_key_value().map(|(nonce, _)| *nonce);
        last.is_some_and(|last| last.checked_sub(self.next).is_none_or(|ahead| ahead + 1 != self.waiting.len() as u64))
    }
}

fn worth(tx: &PooledTx, has_gap: bool, base_fee_wei: u64) -> Worth {
    (!has_gap, tx.effective_gas_price(base_fee_wei).checked_sub(base_fee_wei.into()))
}

impl Inner {
    fn add(
        &mut self,
        limits: &PoolLimits,
        tx: Arc<PooledTx>,
        next: u64,
        balance: U256,
        base_fee_wei: u64,
    ) -> Result<B256, PoolError> {
        if self.by_hash.contains_key(&tx.hash) {
            return Err(PoolError::Known);
        }
        self.forget_below(tx.sender, next);
        let waiting = self.senders.get(&tx.sender).map(|sender| &sender.waiting);
        let replaced = waiting.and_then(|waiting| waiting.get(&tx.nonce)).map(|old| old.tx.clone());
        let others = waiting.into_iter().flatten().filter(|(nonce, _)| **nonce != tx.nonce);
        let queued = others.fold(U256::ZERO, |sum, (_, other)| sum.saturating_add(other.tx.cost));
        if queued.saturating_add(tx.cost) > balance {
            return Err(PoolError::Funds { balance, queued, cost: tx.cost });
        }
        match replaced {
            Some(old) => {
                let raised = |new: u128, old: u128| {
                    new >= old.saturating_add(old.saturating_mul(limits.price_bump_percent.into()).div_ceil(100))
                        && new > old
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
                    let reachable = waiting.map_or(0, |waiting| run(waiting, next).count() as u64);
                    let has_gap = tx.nonce > next + reachable;
                    self.evict_below(&tx, worth(&tx, has_gap, base_fee_wei), base_fee_wei, limits.total)?;
                }
            }
        }
        let hash = tx.hash;
        self.arrivals += 1;
        let waiting = Waiting { tx: tx.clone(), arrival: self.arrivals, since: Instant::now() };
        let sender = self.senders.entry(tx.sender).or_default();
        sender.next = next;
        sender.waiting.insert(tx.nonce, waiting);
        self.by_hash.insert(hash, tx);
        Ok(hash)
    }

    /// Makes room by dropping the transaction of another sender that is worth least among those that no other waits behind, if
    /// `tx` is worth more.
    fn evict_below(&mut self, tx: &PooledTx, value: Worth, base_fee_wei: u64, limit: usize) -> Result<(), PoolError> {
        let others = self.senders.iter().filter(|(address, _)| **address != tx.sender);
        let last = others.filter_map(|(_, sender)| Some((sender.waiting.last_key_value()?.1, sender.has_gap())));
        let worst = last.map(|(last, has_gap)| (worth(&last.tx, has_gap, base_fee_wei), last.tx.hash)).min();
        match worst {
            Some((least, hash)) if least < value => {
                self.remove(hash);
                Ok(())
            }
            _ => Err(PoolError::Full { limit }),
        }
    }

    fn forget_below(&mut self, sender: Address, next: u64) {
        let Some(found) = self.senders.get_mut(&sender) else { return };
        found.next = next;
        let kept = found.waiting.split_off(&next);
        for old in std::mem::replace(&mut found.waiting, kept).into_values() {
            self.by_hash.remove(&old.tx.hash);
        }
        if found.waiting.is_empty() {
            self.senders.remove(&sender);
        }
    }

    /// Forgets what has waited behind a gap for too long.
    fn forget_stale(&mut self, sender: Address, lifetime: Duration) {
        let Some(found) = self.senders.get(&sender).filter(|found| found.has_gap()) else { return };
        let reachable = run(&found.waiting, found.next).count();
        let behind = found.waiting.values().skip(reachable);
        let stale: Vec<B256> = behind.filter(|w| w.since.elapsed() > lifetime).map(|w| w.tx.hash).collect();
        for hash in stale {
            self.remove(hash);
        }
    }

    fn remove(&mut self, hash: B256) {
        let Some(tx) = self.by_hash.remove(&hash) else { return };
        if let Some(sender) = self.senders.get_mut(&tx.sender) {
            sender.waiting.remove(&tx.nonce);
            if sender.waiting.is_empty() {
                self.senders.remove(&tx.sender);
            }
        }
    }
}

#[cfg(test)]
mod tests;
