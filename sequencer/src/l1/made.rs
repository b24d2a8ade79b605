//! Which L1 block made which L2 block safe, so that a reorganisation of L1 takes back what rested on lost blocks, and no more.

use std::collections::VecDeque;

use lockstep_derive::{BlockId, L2Head};

/// Entries that are kept; L1 reorganisations deeper than this begin at what is final.
const MOST: usize = 4096;

/// An L1 block, and the newest L2 block that was safe when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) l1: BlockId,
    pub(crate) safe: L2Head,
    /// Whether all of the L1 block was read.
    pub(crate) whole: bool,
}

/// An L1 block was read whose number is known with another hash: L1 was reorganised, and what the other made is no longer so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reorganised;

/// One entry an L1 block, in their order.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Made>);

impl History {
    /// Notes that `safe` is the newest safe block now that `l1` is being read. After a reset derivation reads blocks again that
    /// were read before: they made safe what they made then, not what stands now.
    pub(crate) fn note(&mut self, l1: BlockId, safe: L2Head) -> Result<(), Reorganised> {
        match self.0.back_mut() {
            Some(last) if last.l1 == l1 => last.safe = safe,
            Some(last) if last.l1.number >= l1.number => {
                let known = self.0.binary_search_by_key(&l1.number, |made| made.l1.number);
                if known.is_ok_and(|index| self.0[index].l1 != l1) {
                    return Err(Reorganised);
                }
            }
            _ => self.0.push_back(Made { l1, safe, whole: false }),
        }
        if self.0.len() > MOST {
            self.0.pop_front();
        }
        Ok(())
    }

    /// Notes that all of the newest entry's L1 block was read.
    pub(crate) fn end_newest(&mut self, number: u64) {
        if let Some(last) = self.0.back_mut().filter(|last| last.l1.number == number) {
            last.whole = true;
        }
    }

    /// The newest entry up to L1 block `number` of which all was read.
    pub(crate) fn whole_by(&self, number: u64) -> Option<Made> {
        self.0.iter().rev().find(|made| made.whole && made.l1.number <= number).copied()
    }

    /// The newest entry.
    pub(crate) fn newest(&self) -> Option<Made> {
        self.0.back().copied()
    }

    /// Forgets the newest entry: L1 no longer has its block.
    pub(crate) fn forget_newest(&mut self) {
        self.0.pop_back();
    }

    /// The newest block that L1 made safe by its block `number`.
    pub(crate) fn safe_by(&self, number: u64) -> Option<L2Head> {
        let later = self.0.partition_point(|made| made.l1.number <= number);
        later.checked_sub(1).map(|index| self.0[index].safe)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    fn l1(number: u64, branch: u8) -> BlockId {
        BlockId { number, hash: B256::with_last_byte(branch) }
    }

    fn l2(number: u64) -> L2Head {
        L2Head { number, ..L2Head::default() }
    }

    /// L1 blocks 10 to 14, each of which made two blocks safe: 20, 22, ..
    fn history() -> History {
        let mut history = History::default();
        for number in 10..15 {
            history.note(l1(number, 0), l2(2 * number - 2)).unwrap();
            history.note(l1(number, 0), l2(2 * number)).unwrap();
        }
        history
    }

    #[test]
    fn an_l1_block_that_is_read_again_did_not_make_later_blocks_safe() {
        let mut history = history();
        // A reorganisation of two blocks; derivation begins again from far before and comes past what it knows.
        history.forget_newest();
        history.forget_newest();
        let safe = history.newest().unwrap().safe;
        assert_eq!(safe, l2(24));
        for number in 5..=12 {
            history.note(l1(number, 0), safe).unwrap();
        }
        assert_eq!(history.safe_by(10), Some(l2(20)));
        assert_eq!(history.safe_by(9), None);
        // So a second and deeper one goes back to what the block before it made.
        history.forget_newest();
        assert_eq!(history.newest(), Some(Made { l1: l1(11, 0), safe: l2(22), whole: false }));
    }

    #[test]
    fn a_reorganisation_under_what_is_read_again_is_found() {
        let mut history = history();
        for number in 8..=11 {
            history.note(l1(number, 0), l2(28)).unwrap();
        }
        assert_eq!(history.note(l1(12, 1), l2(28)), Err(Reorganised));
        assert_eq!(history.note(l1(14, 1), l2(28)), Err(Reorganised));
        assert_eq!(history.newest(), Some(Made { l1: l1(14, 0), safe: l2(28), whole: false }));
    }

    #[test]
    fn only_an_l1_block_that_was_read_to_its_end_is_whole() {
        let mut history = history();
        assert_eq!(history.whole_by(u64::MAX), None);
        history.end_newest(14);
        history.note(l1(15, 0), l2(29)).unwrap();
        // One that is read again, far behind.
        history.end_newest(12);
        let found = Some(Made { l1: l1(14, 0), safe: l2(28), whole: true });
        assert_eq!((history.whole_by(15), history.whole_by(13)), (found, None));
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut history = History::default();
        for number in 0..MOST as u64 + 10 {
            history.note(l1(number, 0), l2(number)).unwrap();
        }
        assert_eq!(history.safe_by(9), None);
        assert_eq!(history.safe_by(10), Some(l2(10)));
        assert_eq!(history.safe_by(u64::MAX), Some(l2(MOST as u64 + 9)));
    }
}
