//! What daemons tell while they work: one event per thing a person wants to know.

use std::sync::Arc;

use serde::Serialize;

use crate::{chain::Outcome, play::Played};

/// Something that happened, or that is being waited for.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Who tells: `solver`, `verifier`, `arbiter`, `requester`, `node`.
    pub who: &'static str,
    /// Job it is about.
    pub job_id: u64,
    /// Dispute it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispute_id: Option<u64>,
    /// What happened, in a few words that do not change: `taken`, `claimed`, `move`, `waiting`, …
    pub what: &'static str,
    /// The particulars, for people.
    pub detail: String,
    /// The transaction, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What a transaction cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Gas used.
    pub gas: u64,
    /// Bytes of calldata.
    pub calldata_bytes: usize,
}

impl From<&Outcome> for Cost {
    fn from(outcome: &Outcome) -> Self {
        Self { gas: outcome.gas, calldata_bytes: outcome.calldata_bytes }
    }
}

/// Where events go. Cloning is cheap.
#[derive(Clone)]
pub struct Reporter {
    who: &'static str,
    sink: Arc<dyn Fn(Event) + Send + Sync>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("who", &self.who).finish_non_exhaustive()
    }
}

impl Reporter {
    /// Events of `who`, given to `sink`.
    pub fn new(who: &'static str, sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { who, sink: Arc::new(sink) }
    }

    /// Tells of something that happened to a job.
    pub fn tell(&self, job_id: u64, what: &'static str, detail: impl Into<String>) {
        self.event(job_id, None, what, detail.into(), None);
    }

    /// Tells of a transaction about a job.
    pub fn sent(&self, job_id: u64, what: &'static str, detail: impl Into<String>, outcome: &Outcome) {
        self.event(job_id, None, what, detail.into(), Some(outcome.into()));
    }

    /// Tells of something in a dispute.
    pub fn dispute(&self, job_id: u64, dispute_id: u64, what: &'static str, detail: impl Into<String>) {
        self.event(job_id, Some(dispute_id), what, detail.into(), None);
    }

    /// Tells of a transaction about a dispute.
    pub fn dispute_sent(
        &self,
        job_id: u64,
        dispute_id: u64,
        what: &'static str,
        detail: impl Into<String>,
        outcome: &Outcome,
    ) {
        self.event(job_id, Some(dispute_id), what, detail.into(), Some(outcome.into()));
    }

    /// Tells of a move that was accepted.
    pub fn played(&self, job_id: u64, dispute_id: u64, played: &Played) {
        let detail = format!("{:?}: {} — {}", played.phase, played.call, played.what);
        self.event(job_id, Some(dispute_id), "move", detail, Some((&played.outcome).into()));
        if let Some(payment) = &played.payment {
            self.paid(job_id, dispute_id, payment);
        }
    }

    /// Tells of the payment of what a verdict decided.
    pub fn paid(&self, job_id: u64, dispute_id: u64, payment: &Outcome) {
        self.dispute_sent(job_id, dispute_id, "paid", "bonds, tip and slashed stake, as decided", payment);
    }

    fn event(&self, job_id: u64, dispute_id: Option<u64>, what: &'static str, detail: String, cost: Option<Cost>) {
        (self.sink)(Event { who: self.who, job_id, dispute_id, what, detail, cost });
    }
}
