//! Where derivation begins again under Isthmus.
//!
//! Since Holocene a batch that does not continue what is safe is dropped for good, together with what is left of its channel. So who begins
//! again must not read a batch with more safe blocks than there were when it was first read: what was dropped then might now fit.
//! Therefore it begins from an L1 block that was read to its end, with the newest block that was safe at that moment. One such place that is final is kept
//! in a file.

use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use lockstep_derive::{BlockId, L2Head};
use serde::{Deserialize, Serialize};

use super::{kept, made::Made};
use crate::error::L1Error;

/// An L1 block that was read to its end, and the newest safe block then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    l1_number: u64,
    l1_hash: B256,
    l2_number: u64,
    l2_hash: B256,
}

impl Place {
    pub(crate) fn l1(&self) -> BlockId {
        BlockId { number: self.l1_number, hash: self.l1_hash }
    }

    pub(crate) fn l2(&self) -> BlockId {
        BlockId { number: self.l2_number, hash: self.l2_hash }
    }

    fn of(l1: BlockId, safe: &L2Head) -> Self {
        Self { l1_number: l1.number, l1_hash: l1.hash, l2_number: safe.number, l2_hash: safe.hash }
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct Restart {
    file: PathBuf,
    place: Option<Place>,
}

impl Restart {
    /// What is kept in a directory.
    pub(crate) fn open(directory: &Path) -> Result<Self, L1Error> {
        let file = directory.join("derivation.json");
        let place = kept::read(&file)?;
        Ok(Self { file, place })
    }

    /// The place that is kept.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place
    }

    /// Keeps a later place.
    pub(crate) fn keep(&mut self, made: &Made) -> Result<(), L1Error> {
        let place = Place::of(made.l1, &made.safe);
        if self.place == Some(place) {
            return Ok(());
        }
        kept::write(&self.file, &place)?;
        self.place = Some(place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_there_again_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut restart = Restart::open(dir.path()).unwrap();
        assert_eq!(restart.place(), None);
        let l1 = BlockId { number: 7, hash: B256::repeat_byte(1) };
        let safe = L2Head { number: 9, hash: B256::repeat_byte(2), ..L2Head::default() };
        restart.keep(&Made { l1, safe, whole: true }).unwrap();
        let place = Restart::open(dir.path()).unwrap().place().unwrap();
        assert_eq!((place.l1(), place.l2()), (l1, BlockId { number: 9, hash: safe.hash }));
        std::fs::write(dir.path().join("derivation.json"), "{").unwrap();
        assert!(Restart::open(dir.path()).unwrap_err().to_string().contains("derivation.json"));
    }
}
