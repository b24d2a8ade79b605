//! What every block overwrote, by account and slot: the state of any block for the price of a lookup.
//!
//! ```text
//!   state of block b:  the key's first entry after b, if it has one --> the value before that block
//!                      otherwise                                    --> the newest value
//! ```
//!
//! Kept where [`Keep::archive`] says so, from the block at which it first did. Taking blocks back takes their entries with them,
//! whether the archive still grows or not.

use std::collections::HashSet;

use alloy::primitives::U256;
use alloy_rlp::{RlpDecodable, RlpEncodable};
use redb::{ReadOnlyTable, ReadTransaction, WriteTransaction};

use super::{
    batch::Batch,
    rows::Waiting,
    tables::{self, Undo, account_key, slot_key},
};
use crate::error::StoreError;

/// How much of the past a block leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Keep {
    /// Blocks that can be taken back, and whose tries can be proven.
    pub(crate) undo_blocks: u64,
    /// Whether every state from here on can be read.
    pub(crate) archive: bool,
}

impl Keep {
    /// No archive.
    #[cfg(test)]
    pub(crate) fn undo(undo_blocks: u64) -> Self {
        Self { undo_blocks, archive: false }
    }
}

/// Which blocks' states the archive has: all from the first to the last.
pub(super) type Span = (u64, u64);

/// The archive as of a snapshot.
pub(super) struct Archive {
    history: ReadOnlyTable<(&'static [u8], u64), &'static [u8]>,
    span: Option<Span>,
}

impl Archive {
    pub(super) fn new(read: &ReadTransaction, span: Option<Span>) -> Result<Self, StoreError> {
        Ok(Self { history: read.open_table(tables::HISTORY)?, span })
    }

    /// Whether it can say what the state was at `block`, if `head` is the newest.
    pub(super) fn has(&self, block: u64, head: u64) -> bool {
        self.span.is_some_and(|(first, last)| first <= block && head <= last)
    }

    /// What a key of the state held at `block`, empty if nothing; `None` if it is the same as now. Rows that wait are younger.
    pub(super) fn value<T>(
        &self,
        waiting: &Waiting,
        key: &[u8],
        block: u64,
        decode: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let next = self.history.range((key, block + 1)..=(key, u64::MAX))?.next().transpose()?;
        if let Some((_, before)) = next {
            return decode(before.value()).map(Some);
        }
        let mut later = waiting.blocks().filter(|later| later.header.number > block);
        let before = later.find_map(|later| {
            let at = later.history.binary_search_by(|(found, _)| found.as_slice().cmp(key)).ok()?;
            Some(later.history[at].1.as_slice())
        });
        before.map(decode).transpose()
    }
}

/// What the archive has with a block more.
pub(super) fn grown(span: Option<Span>, number: u64) -> Span {
    let (first, last) = span.unwrap_or_default();
    // Block 0 has no state before it. What the log makes again may be here already. Where blocks are missing in between, the
    // archive begins anew.
    let goes_on = number == 0 || (first..=last + 1).contains(&number);
    (if goes_on { first } else { number - 1 }, number)
}

impl Batch {
    /// Removes what a block that is taken back overwrote.
    pub(super) fn unarchive(&mut self, write: &WriteTransaction, number: u64, undo: &Undo) -> Result<(), StoreError> {
        let Some((first, last)) = self.facts.archive.filter(|(_, last)| number <= *last) else { return Ok(()) };
        let mut history = write.open_table(tables::HISTORY)?;
        for (key, _) in entries(undo) {
            history.remove((key.as_slice(), number))?;
        }
        self.facts.archive = Some((first, last.min(number - 1)));
        Ok(())
    }
}

/// The keys of the state that a block overwrote, in their order, and what they held before, empty if nothing.
pub(super) fn entries(undo: &Undo) -> Vec<(Vec<u8>, Vec<u8>)> {
    let accounts =
        undo.accounts.iter().map(|account| (account_key(&account.address).to_vec(), account.before.to_vec()));
    let slots = undo.slots.iter().map(|slot| (slot_key(&slot.address, &slot.slot).to_vec(), value(slot.before)));
    let mut seen = HashSet::new();
    // A slot that was wiped and set again is listed twice; the first is what it was before the block.
    let mut all: Vec<_> = accounts.chain(slots).filter(|(key, _)| seen.insert(key.clone())).collect();
    all.sort_unstable();
    all
}

/// A slot's value as stored.
fn value(value: U256) -> Vec<u8> {
    if value.is_zero() { Vec::new() } else { value.to_be_bytes::<32>().to_vec() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            StateChanges, Store,
            tests::{self, Model, apply_to_model, block, check_proofs, check_state, killed, model_root, open},
        },
        *,
    };

    const UNDO_BLOCKS: u64 = 3;

    fn write(store: &Store, number: u64, changes: &StateChanges, archive: bool, model: &mut Model) {
        apply_to_model(model, changes);
        let root = tests::write_block(store, number, changes, Keep { undo_blocks: UNDO_BLOCKS, archive });
        assert_eq!(root, model_root(model));
    }

    /// Every state since the archive began reads as it was, through branches that were taken back, restarts, and times at which
    /// it did not grow; older states are refused.
    fn check(store: &Store, models: &[Model], first: usize, undone: usize) {
        let head = models.len() as u64 - 1;
        let snapshot = store.snapshot().unwrap();
        for (number, model) in (0u64..).zip(models).skip(first) {
            let state = snapshot.state_at(number, head).unwrap();
            check_state(&state, model);
            if number >= undone as u64 {
                check_proofs(&state, model);
            } else {
                let refused = state.prove(alloy::primitives::Address::ZERO, &[]);
                assert!(matches!(refused, Err(StoreError::Pruned { .. })));
            }
        }
        for number in 0..first.min(undone) as u64 {
            assert!(matches!(snapshot.state_at(number, head), Err(StoreError::Pruned { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn every_state_since_the_archive_began_can_be_read(
            steps in prop::collection::vec((block(), 0u64..3, prop::option::weighted(0.3, any::<bool>())), 2..14),
            pause in prop::option::of((1usize..12, 1usize..4)),
        ) {
            let mut dir = tempfile::tempdir().unwrap();
            let mut store = open(dir.path());
            let mut models: Vec<Model> = Vec::new();
            // The oldest and the newest block whose state the archive has.
            let (mut first, mut last) = (0, 0);
            // The oldest block whose successor can be taken back: records of what they overwrote do not come back.
            let mut undone = 0;
            for (step, (changes, back, reopen)) in steps.iter().enumerate() {
                let back = (*back as usize).min(models.len().saturating_sub(1 + undone));
                if back > 0 {
                    models.truncate(models.len() - back);
                    last = last.min(models.len() - 1);
                    let mut batch = store.begin().unwrap();
                    batch.unwind(models.len() as u64 - 1).unwrap();
                    batch.commit().unwrap();
                }
                if let Some(kill) = reopen {
                    if *kill {
                        dir = killed(&store);
                    }
                    drop(store);
                    store = open(dir.path());
                }
                let archive = pause.is_none_or(|(from, length)| !(from..from + length).contains(&step));
                let number = models.len();
                if archive {
                    first = if number == 0 || last + 1 == number { first } else { number - 1 };
                    last = number;
                }
                let mut model = models.last().cloned().unwrap_or_default();
                write(&store, number as u64, changes, archive, &mut model);
                models.push(model);
                undone = undone.max((models.len() - 1).saturating_sub(UNDO_BLOCKS as usize));
                if archive {
                    check(&store, &models, first, undone);
                }
            }
        }
    }
}
