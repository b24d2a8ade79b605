//! The order in which a block takes waiting transactions.

use std::{
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use alloy::primitives::B256;

use super::PooledTx;
use crate::exec::block::Source;

/// Waiting transactions: the best tip first, older ones first among equals, each sender's nonces in order.
pub(crate) struct Best {
    base_fee_wei: u64,
    heads: BinaryHeap<Head>,
    current: Option<Run>,
    /// Transactions in the block.
    pub(crate) taken: Vec<B256>,
    /// Transactions that can never be in a block.
    pub(crate) invalid: Vec<B256>,
}

type Run = VecDeque<(Arc<PooledTx>, u64)>;

/// A sender's next transaction, ordered by what it pays.
#[derive(PartialEq, Eq)]
struct Head {
    tip: u128,
    /// Negated, so that the older is the greater.
    age: std::cmp::Reverse<u64>,
    run: ByIdentity,
}

/// What follows plays no part in the order.
struct ByIdentity(Run);

impl PartialEq for ByIdentity {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for ByIdentity {}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.tip, self.age).cmp(&(other.tip, other.age))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Best {
    pub(super) fn new(base_fee_wei: u64) -> Self {
        Self { base_fee_wei, heads: BinaryHeap::new(), current: None, taken: Vec::new(), invalid: Vec::new() }
    }

    /// No transactions at all.
    pub(crate) fn nothing() -> Self {
        Self::new(0)
    }

    /// Adds one sender's transactions, in nonce order without gaps.
    pub(super) fn push(&mut self, run: Run) {
        let Some((tx, arrival)) = run.front() else { return };
        // One that does not pay the base fee waits, and those behind it with it.
        let Some(tip) = tx.effective_gas_price(self.base_fee_wei).checked_sub(u128::from(self.base_fee_wei)) else {
            return;
        };
        let age = std::cmp::Reverse(*arrival);
        self.heads.push(Head { tip, age, run: ByIdentity(run) });
    }
}

impl Source for Best {
    fn next(&mut self) -> Option<Arc<PooledTx>> {
        let head = self.heads.pop()?;
        let tx = head.run.0.front().map(|(tx, _)| tx.clone());
        self.current = Some(head.run.0);
        tx
    }

    fn included(&mut self) {
        let Some(mut run) = self.current.take() else { return };
        if let Some((tx, _)) = run.pop_front() {
            self.taken.push(tx.hash);
        }
        self.push(run);
    }

    fn postponed(&mut self) {
        self.current = None;
    }

    fn invalid(&mut self, why: String) {
        if let Some((tx, _)) = self.current.take().and_then(|mut run| run.pop_front()) {
            tracing::debug!(hash = %tx.hash, sender = %tx.sender, nonce = tx.nonce, why, "dropped a transaction");
            self.invalid.push(tx.hash);
        }
    }
}
