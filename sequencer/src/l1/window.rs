//! The sequencing window: how long L1 waits for a block's batch.
//!
//! ```text
//!   L1 blocks   origin ......................................... origin + window
//!               batches in time for that block                  | too late: L1 makes the block itself, of deposits alone
//!               transactions are taken             | CAUTION -->| none, for they would be lost
//!                                  batches are sent     | SLACK | a batch begins after the blocks that are too old
//! ```
//!
//! Blocks without transactions are the same whoever makes them: their L1 origins follow one rule. So who has missed the window takes no
//! transactions, builds on without, and sends batches that begin late enough; when L1 has come to where they begin, all is well again.

use lockstep_derive::Rollup;

use super::driver::SyncStatus;

/// Most L1 blocks before the end of the window in which no transactions are taken.
const CAUTION: u64 = 100;

/// Most L1 blocks that a batch is given to arrive in. Fewer than it has until it is sent again.
const SLACK: u64 = 15;

/// A rollup's sequencing window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    blocks: u64,
}

impl Window {
    pub(crate) fn of(rollup: &Rollup) -> Self {
        Self { blocks: rollup.sequencing_window() }
    }

    /// Whether blocks may hold transactions: not if L1 is about to replace the first that it has no batch of, and with it all after it.
    pub(crate) fn takes_transactions(self, status: &SyncStatus) -> bool {
        self.left(status, status.safe.l1_origin.number) > (self.blocks / 4).min(CAUTION)
    }

    /// Whether a batch that is sent now and begins with a block of this L1 origin should arrive in time.
    pub(crate) fn is_in_time(self, status: &SyncStatus, origin: u64) -> bool {
        self.left(status, origin) > (self.blocks / 8).min(SLACK)
    }

    /// Whether it may still arrive in time.
    pub(crate) fn is_possible(self, status: &SyncStatus, origin: u64) -> bool {
        self.left(status, origin) > 1
    }

    /// L1 blocks that are left for a batch.
    fn left(self, status: &SyncStatus, origin: u64) -> u64 {
        let newest = status.l1_head.id.number.max(status.l1_current.id.number);
        (origin + self.blocks).saturating_sub(newest)
    }
}
