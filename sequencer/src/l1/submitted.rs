//! The channels that L1 was given, until L1 holds them for good.
//!
//! ```text
//!   L1 final ......... safe ............ newest that still is a block of ours
//!   forgotten |  kept: a reorganisation may take them back,   | the next channel begins here, unless L1 lost
//!             |  and then L1 has their transactions waiting   | the first that is not safe: then after the safe block
//! ```

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

/// Most channels that are kept. L1 makes blocks final within minutes; this is hours of channels, should it not.
const KEPT: usize = 2_000;

/// A submitted channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Channel {
    /// Its last block.
    pub(super) last: u64,
    pub(super) last_hash: B256,
    /// The L1 block that holds its end.
    pub(super) l1_block: u64,
}

/// What is known of L1 and of the chain when the next channel is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The newest L2 block that L1 holds.
    pub(super) safe: u64,
    /// The newest L2 block that L1 holds for good.
    pub(super) finalized: u64,
    /// The L1 block up to which L1 was read.
    pub(super) l1_current: u64,
    /// L1 blocks after which a channel that is not safe is lost.
    pub(super) patience: u64,
}

/// Submitted channels, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Submitted(Vec<Channel>);

impl Submitted {
    /// Notes the newest.
    pub(super) fn push(&mut self, channel: Channel) {
        self.0.push(channel);
        let excess = self.0.len().saturating_sub(KEPT);
        self.0.drain(..excess);
    }

    /// The block after which to submit: the last of the newest channel that is still of our blocks, by `hash`, unless L1 has lost it or
    /// one before it. Later channels arriving is no sign that earlier ones did: one whose parts were too far apart holds up all after it.
    ///
    /// A channel is kept after it is safe: when L1 is reorganised its transactions wait there again, so what is not gone with the blocks
    /// is not to be paid for again.
    pub(super) fn after<E>(
        &mut self,
        known: &Known,
        mut hash: impl FnMut(u64) -> Result<Option<B256>, E>,
    ) -> Result<u64, E> {
        self.0.retain(|channel| channel.last > known.finalized);
        while let Some(newest) = self.0.last()
            && hash(newest.last)? != Some(newest.last_hash)
        {
            self.0.pop();
        }
        let Some(newest) = self.0.last() else { return Ok(known.safe) };
        let waiting = self.0.iter().find(|channel| channel.last > known.safe);
        if let Some(oldest) = waiting
            && known.l1_current > oldest.l1_block + known.patience
        {
            tracing::warn!(
                oldest = oldest.last,
                newest = newest.last,
                safe = known.safe,
                "L1 lost a batch; submitting again"
            );
            self.0.clear();
            return Ok(known.safe);
        }
        Ok(newest.last.max(known.safe))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const KNOWN: Known = Known { safe: 0, finalized: 0, l1_current: 100, patience: 30 };

    /// Channels that end with these blocks, in L1 blocks from 100 on.
    fn submitted(blocks: &[u64]) -> Submitted {
        let mut all = Submitted::default();
        for (&last, l1_block) in blocks.iter().zip(100..) {
            all.push(Channel { last, last_hash: of(last), l1_block });
        }
        all
    }

    fn of(block: u64) -> B256 {
        B256::left_padding_from(&block.to_be_bytes())
    }

    /// The next channel follows this block if the chain's blocks after `replaced` are others.
    fn after(all: &mut Submitted, known: Known, replaced: u64) -> u64 {
        let hash = |block| Ok::<_, Infallible>((block <= replaced).then(|| of(block)));
        all.after(&known, hash).unwrap()
    }

    #[test]
    fn what_was_safe_before_a_reorganisation_is_not_submitted_again() {
        let mut all = submitted(&[10, 20, 30]);
        assert_eq!(after(&mut all, Known { safe: 30, ..KNOWN }, 30), 30);
        assert_eq!(after(&mut all, Known { safe: 5, ..KNOWN }, 30), 30);
        // A reorganisation that takes blocks of the third channel away.
        assert_eq!(after(&mut all, Known { safe: 5, ..KNOWN }, 29), 20);
        assert_eq!(after(&mut all, Known { safe: 5, ..KNOWN }, 9), 5);
    }

    #[test]
    fn what_l1_has_lost_is_submitted_again_from_the_safe_block() {
        let mut all = submitted(&[10, 20, 30]);
        assert_eq!(after(&mut all, Known { safe: 10, l1_current: 131, ..KNOWN }, 30), 30);
        assert_eq!(after(&mut all, Known { safe: 10, l1_current: 132, ..KNOWN }, 30), 10);
        assert_eq!(after(&mut all, Known { safe: 10, l1_current: 132, ..KNOWN }, 30), 10);
    }

    #[test]
    fn safe_blocks_that_another_submitted_are_passed_over() {
        assert_eq!(after(&mut submitted(&[10]), Known { safe: 15, ..KNOWN }, 30), 15);
        assert_eq!(after(&mut Submitted::default(), Known { safe: 15, ..KNOWN }, 30), 15);
    }

    #[test]
    fn final_channels_are_forgotten_and_no_more_than_some_are_kept() {
        let mut all = submitted(&[10, 20, 30]);
        let _ = after(&mut all, Known { safe: 30, finalized: 20, ..KNOWN }, 30);
        assert_eq!(all, Submitted(vec![Channel { last: 30, last_hash: of(30), l1_block: 102 }]));
        let blocks: Vec<u64> = (1..=KEPT as u64 + 5).collect();
        assert_eq!(submitted(&blocks).0.first().map(|channel| channel.last), Some(6));
    }
}
