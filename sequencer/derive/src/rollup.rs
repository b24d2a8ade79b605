//! The description of a rollup, `rollup.json` in the OP Stack's form, and where a block of it stands.

use std::sync::Arc;

use alloy_eips::BlockNumHash;
use alloy_primitives::{Address, B256, Bytes};
use kona_genesis::{FJORD_MAX_SEQUENCER_DRIFT, RollupConfig};
use kona_protocol::{BlockInfo, L2BlockInfo};

use crate::{error::DeriveError, provider::op_block};

/// A rollup's description.
#[derive(Clone, Debug)]
pub struct Rollup(pub(crate) Arc<RollupConfig>);

/// A block by number and hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockId {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// An L1 block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L1Ref {
    /// Its number and hash.
    pub id: BlockId,
    /// The hash of its parent.
    pub parent_hash: B256,
    /// Its timestamp in seconds since 1970.
    pub timestamp_s: u64,
}

/// An L2 block and where it stands on L1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L2Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of its parent.
    pub parent_hash: B256,
    /// Its timestamp in seconds since 1970.
    pub timestamp_s: u64,
    /// The L1 block whose deposits it has seen.
    pub l1_origin: BlockId,
    /// How many blocks with the same L1 origin came before it.
    pub sequence_number: u64,
}

impl Rollup {
    /// Reads a `rollup.json`.
    ///
    /// # Errors
    /// [`DeriveError::Config`] if it is not of the OP Stack's form, lacks the system configuration at genesis, or names forks whose rules are
    /// not those of Granite or of Isthmus from the first block on.
    pub fn parse(json: &str) -> Result<Self, DeriveError> {
        let config: RollupConfig =
            serde_json::from_str(json).map_err(|error| DeriveError::Config(error.to_string()))?;
        if config.genesis.system_config.is_none() {
            return Err(DeriveError::Config("genesis.system_config is missing".into()));
        }
        if config.block_time == 0 {
            return Err(DeriveError::Config("block_time is 0".into()));
        }
        check_forks(&config)?;
        Ok(Self(Arc::new(config)))
    }

    /// Whether the rules are those of Isthmus, from the first block on; otherwise they are Granite's.
    pub fn is_isthmus(&self) -> bool {
        self.0.hardforks.isthmus_time.is_some()
    }

    /// Seconds between L2 blocks.
    pub fn block_time_s(&self) -> u64 {
        self.0.block_time
    }

    /// L2 chain id.
    pub fn l2_chain_id(&self) -> u64 {
        self.0.l2_chain_id.id()
    }

    /// L1 chain id.
    pub fn l1_chain_id(&self) -> u64 {
        self.0.l1_chain_id
    }

    /// The L1 block that the rollup begins at.
    pub fn l1_genesis(&self) -> BlockId {
        id(self.0.genesis.l1)
    }

    /// The first L2 block.
    pub fn l2_genesis(&self) -> BlockId {
        id(self.0.genesis.l2)
    }

    /// Timestamp of the first L2 block in seconds since 1970.
    pub fn l2_genesis_time_s(&self) -> u64 {
        self.0.genesis.l2_time
    }

    /// Where batches are sent on L1.
    pub fn batch_inbox(&self) -> Address {
        self.0.batch_inbox_address
    }

    /// Who sent batches at genesis.
    pub fn batcher(&self) -> Address {
        self.0.genesis.system_config.unwrap_or_default().batcher_address
    }

    /// The contract that deposits are made with.
    pub fn portal(&self) -> Address {
        self.0.deposit_contract_address
    }

    /// How many L1 blocks may pass between a block's L1 origin and its batch.
    pub fn sequencing_window(&self) -> u64 {
        self.0.seq_window_size
    }

    /// How many L1 blocks may pass between a channel's first frame and its last.
    pub fn channel_timeout_blocks(&self) -> u64 {
        self.0.granite_channel_timeout
    }

    /// By how much an L2 block with transactions may be later than its L1 origin, in seconds (Fjord).
    pub fn max_drift_s(&self) -> u64 {
        FJORD_MAX_SEQUENCER_DRIFT
    }

    /// Where a block stands. `header` is its RLP, `first` its first transaction, which only the first block may lack.
    ///
    /// # Errors
    /// [`DeriveError::Failed`] if the block is not one of this rollup.
    pub fn head(&self, header: &[u8], first: Option<&Bytes>) -> Result<L2Head, DeriveError> {
        let transactions: Vec<Bytes> = first.into_iter().cloned().collect();
        let block = op_block(header, &transactions).map_err(|error| DeriveError::Failed(error.to_string()))?;
        let info = L2BlockInfo::from_block_and_genesis(&block, &self.0.genesis)
            .map_err(|error| DeriveError::Failed(format!("L2 block {}: {error:?}", block.header.number)))?;
        Ok(L2Head {
            number: info.block_info.number,
            hash: info.block_info.hash,
            parent_hash: info.block_info.parent_hash,
            timestamp_s: info.block_info.timestamp,
            l1_origin: id(info.l1_origin),
            sequence_number: info.seq_num,
        })
    }
}

/// Granite and what was before it hold from the first block on; Holocene and Isthmus do as well, or never.
fn check_forks(config: &RollupConfig) -> Result<(), DeriveError> {
    let forks = &config.hardforks;
    let begins = config.genesis.l2_time;
    let from_the_start = |time: Option<u64>| time.is_some_and(|time| time <= begins);
    let wrong = |what: String| Err(DeriveError::Config(what));
    let needed = [
        ("regolith_time", forks.regolith_time),
        ("canyon_time", forks.canyon_time),
        ("delta_time", forks.delta_time),
        ("ecotone_time", forks.ecotone_time),
        ("fjord_time", forks.fjord_time),
        ("granite_time", forks.granite_time),
    ];
    if let Some((name, _)) = needed.into_iter().find(|(_, time)| !from_the_start(*time)) {
        return wrong(format!("{name} must be at most l2_time, {begins}: Granite's rules hold from the first block"));
    }
    let later = [("jovian_time", forks.jovian_time), ("interop_time", forks.interop_time)];
    if let Some((name, _)) = later.into_iter().find(|(_, time)| time.is_some()) {
        return wrong(format!("{name} is set, and this version does not have its rules"));
    }
    match (forks.holocene_time, forks.isthmus_time) {
        (None, None) => Ok(()),
        (holocene, isthmus) if from_the_start(holocene) && from_the_start(isthmus) => Ok(()),
        _ => {
            wrong(format!("holocene_time and isthmus_time must both be at most l2_time, {begins}, or both be left out"))
        }
    }
}

fn id(block: BlockNumHash) -> BlockId {
    BlockId { number: block.number, hash: block.hash }
}

impl From<BlockId> for BlockNumHash {
    fn from(block: BlockId) -> Self {
        Self { number: block.number, hash: block.hash }
    }
}

impl From<&L2Head> for L2BlockInfo {
    fn from(head: &L2Head) -> Self {
        Self {
            block_info: BlockInfo::new(head.hash, head.number, head.parent_hash, head.timestamp_s),
            l1_origin: head.l1_origin.into(),
            seq_num: head.sequence_number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl Fn(&mut serde_json::Value)) -> Result<Rollup, DeriveError> {
        let mut json: serde_json::Value = serde_json::from_str(crate::EXAMPLE_ROLLUP).unwrap();
        change(&mut json);
        Rollup::parse(&json.to_string())
    }

    #[test]
    fn the_fork_is_read_and_others_are_refused_by_name() {
        assert!(!with(|_| ()).unwrap().is_isthmus());
        let isthmus = |holocene: u64, isthmus: u64| {
            move |json: &mut serde_json::Value| {
                (json["holocene_time"], json["isthmus_time"]) = (holocene.into(), isthmus.into());
            }
        };
        assert!(with(isthmus(0, 0)).unwrap().is_isthmus());
        let refused = |change: &dyn Fn(&mut serde_json::Value)| with(change).unwrap_err().to_string();
        assert!(refused(&isthmus(0, 1_700_000_001)).contains("isthmus_time"));
        assert!(refused(&|json| json["holocene_time"] = 0.into()).contains("isthmus_time"));
        assert!(refused(&|json| json["isthmus_time"] = 0.into()).contains("holocene_time"));
        assert!(refused(&|json| json["jovian_time"] = 0.into()).contains("jovian_time"));
        assert!(refused(&|json| json["granite_time"] = 1_800_000_000.into()).contains("granite_time"));
        assert!(refused(&|json| drop(json.as_object_mut().unwrap().remove("fjord_time"))).contains("fjord_time"));
    }
}
