//! L1, its contracts, and the rollup's sequencer in one process.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::providers::RootProvider;
use serde::{Deserialize, Serialize};

use super::{
    batcher::BatcherConfig,
    client::BlobSource,
    deploy::{DeployConfig, L1Deployment, deploy, rollup_json},
    dev::{DevL1, DevL1Config},
    rollup::{Role, RollupConfig, RollupNode, SequencerConfig},
};
use crate::{
    chain::genesis_block_hash,
    config::{Fork, NodeConfig},
    dev::dev_accounts,
    error::{L1Error, NodeError},
    predeploys::SystemContracts,
};

/// Development accounts of the rollup's own senders, so that the first ones are free for users.
const OWNER: usize = 9;
const BATCHER: usize = 8;
const PROPOSER: usize = 7;

/// What a development network is started with.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// Where both chains are kept. `None`: in temporary directories.
    pub data_dir: Option<PathBuf>,
    /// L1.
    pub l1: DevL1Config,
    /// L2. Its block time is a whole number of seconds.
    pub l2: NodeConfig,
    /// Seconds between L2 blocks.
    pub l2_block_time_s: u64,
    /// How batches travel.
    pub batcher: BatcherConfig,
    /// L2 blocks between output proposals.
    pub submission_interval: u64,
    /// Seconds until a proposed output is final.
    pub finalization_s: u64,
    /// L1 blocks within which a batch must follow its L1 origin. It is fixed when the network first starts.
    pub sequencing_window: u64,
    /// The rules of the rollup, which are fixed when the network first starts. `None`: those it has, at first Granite's.
    pub fork: Option<Fork>,
    /// Under Isthmus the operator's fee, in millionths of a wei for each gas. It is fixed when the network first starts.
    pub operator_fee_scalar: u32,
    /// Under Isthmus the operator's fee, in wei for each transaction. It is fixed when the network first starts.
    pub operator_fee_constant_wei: u64,
}

impl DevnetConfig {
    /// An L2 block a second on an L1 block each three, outputs each 20 blocks that are final after 12 seconds.
    ///
    /// # Errors
    /// [`NodeError::Config`] if the development accounts cannot be derived, which a test rules out.
    pub fn dev() -> Result<Self, NodeError> {
        let mut l1 = DevL1Config::dev()?;
        l1.node.finality_blocks = 4;
        Ok(Self {
            data_dir: None,
            l1,
            l2: NodeConfig::dev()?,
            l2_block_time_s: 1,
            batcher: BatcherConfig::default(),
            submission_interval: 20,
            finalization_s: 12,
            sequencing_window: 3600,
            fork: None,
            operator_fee_scalar: 0,
            operator_fee_constant_wei: 0,
        })
    }
}

/// What is written down about a development network: all that a second node needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DevnetRecord {
    /// The contracts on L1.
    pub l1: L1Deployment,
    /// What they were set up with.
    pub config: DeployConfig,
    /// The rollup's description.
    pub rollup: serde_json::Value,
}

impl DevnetRecord {
    /// The rollup that begins where the contracts were deployed, with the accounts of `node` in its first block.
    ///
    /// # Errors
    /// [`L1Error::Chain`] if no first block can be made of `node`, or an operator's fee is asked for under Granite.
    pub fn new(config: DeployConfig, l1: L1Deployment, node: &NodeConfig) -> Result<Self, L1Error> {
        if config.fork == Fork::Granite && (config.operator_fee_scalar, config.operator_fee_constant_wei) != (0, 0) {
            return Err(NodeError::Config("the operator's fee came with Isthmus; under Granite it is 0".into()).into());
        }
        let mut record = Self { l1, config, rollup: serde_json::Value::Null };
        let genesis = genesis_block_hash(&l2_config(node, &record)?)?;
        record.rollup = rollup_json(&record.config, &record.l1, genesis);
        Ok(record)
    }

    /// Reads a `devnet.json`.
    ///
    /// # Errors
    /// [`L1Error::Journal`] if the file cannot be read or is none.
    pub fn read(file: &Path) -> Result<Self, L1Error> {
        let failed = |cause: String| L1Error::Journal { path: file.into(), cause };
        let bytes = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }

    fn write(&self, file: &Path) -> Result<(), L1Error> {
        let failed = |cause: String| L1Error::Journal { path: file.into(), cause };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.to_string()))?;
        std::fs::write(file, text).map_err(|error| failed(error.to_string()))
    }

    /// The configuration of a node that derives the rollup from the L1 at a URL, with the RPC, directory and accounts of
    /// `node`. With the URL of the sequencer it hears of blocks before L1 holds them.
    ///
    /// # Errors
    /// [`L1Error::Chain`] if the system contracts cannot be made of what is written down.
    pub fn follower(
        &self,
        node: &NodeConfig,
        l1_url: &str,
        blobs: BlobSource,
        sequencer_url: Option<String>,
    ) -> Result<RollupConfig, L1Error> {
        Ok(RollupConfig {
            node: l2_config(node, self)?,
            rollup_json: self.rollup.to_string(),
            l1_url: l1_url.into(),
            blobs,
            l1_poll: Duration::from_millis(200),
            role: Role::Follower { sequencer_url },
        })
    }
}

/// A running development network.
#[derive(Debug)]
pub struct Devnet {
    /// L1.
    pub l1: DevL1,
    /// The sequencer, with batcher and proposer.
    pub l2: RollupNode,
    /// What is written down about it.
    pub record: DevnetRecord,
}

impl Devnet {
    /// Starts it; the first time it deploys the contracts, which takes a few L1 blocks that are built at once.
    ///
    /// # Errors
    /// As [`DevL1::start`], [`deploy`] and [`RollupNode::start`].
    pub async fn start(mut config: DevnetConfig) -> Result<Self, L1Error> {
        let directory = |name: &str| config.data_dir.as_ref().map(|dir| dir.join(name));
        config.l1.node.data_dir = directory("l1");
        config.l2.data_dir = directory("l2");
        let file = directory("devnet.json");
        let known = match &file {
            Some(file) if file.exists() => Some(DevnetRecord::read(file)?),
            _ => None,
        };
        check_fork(&config, known.as_ref())?;
        let l1 = DevL1::start(config.l1.clone()).await?;
        let record = match known {
            Some(record) => record,
            None => first_start(&config, &l1).await?,
        };
        if let Some(file) = &file {
            record.write(file)?;
        }
        let keys = dev_accounts()?;
        let sequencer = SequencerConfig {
            confirmations: 0,
            batcher: Some((keys[BATCHER].clone(), config.batcher)),
            proposer: Some((keys[PROPOSER].clone(), record.l1.output_oracle)),
            resend_after_s: 30,
        };
        let rollup = RollupConfig {
            node: l2_config(&config.l2, &record)?,
            rollup_json: record.rollup.to_string(),
            l1_url: l1.node.http_url(),
            blobs: BlobSource::Beacon(l1.beacon_url()),
            l1_poll: Duration::from_millis(config.l1.node.block_time_ms.clamp(100, 1000)),
            role: Role::Sequencer(Box::new(sequencer)),
        };
        let l2 = RollupNode::start(rollup).await?;
        Ok(Self { l1, l2, record })
    }

    /// The configuration of a node that follows this network.
    ///
    /// # Errors
    /// As [`DevnetRecord::follower`].
    pub fn follower(&self, node: &NodeConfig, sequencer_url: Option<String>) -> Result<RollupConfig, L1Error> {
        let blobs = BlobSource::Beacon(self.l1.beacon_url());
        self.record.follower(node, &self.l1.node.http_url(), blobs, sequencer_url)
    }

    /// Stops it, L2 first.
    ///
    /// # Errors
    /// Why it had failed before, if it had.
    pub async fn shutdown(self) -> Result<(), L1Error> {
        let l2 = self.l2.shutdown().await;
        self.l1.shutdown().await?;
        l2
    }
}

/// A network keeps the rules that it began with.
fn check_fork(config: &DevnetConfig, known: Option<&DevnetRecord>) -> Result<(), NodeError> {
    match (config.fork, known.map(|record| record.config.fork)) {
        (Some(wanted), Some(has)) if wanted != has => Err(NodeError::Config(format!(
            "this network began with the rules of {has} and cannot have those of {wanted}"
        ))),
        _ => Ok(()),
    }
}

/// The genesis of the rollup as a function of what it begins at on L1: the system contracts, and the accounts of `node`.
fn l2_config(node: &NodeConfig, record: &DevnetRecord) -> Result<NodeConfig, NodeError> {
    let system = SystemContracts {
        chain_id: record.config.l2_chain_id,
        l1_chain_id: record.l1.l1_chain_id,
        owner: record.config.guardian,
        fee_recipient: record.config.guardian,
        l1_cross_domain_messenger: record.l1.messenger,
        l1_standard_bridge: record.l1.standard_bridge,
        l1_erc721_bridge: record.l1.erc721_bridge,
    };
    let kind = record.config.fork.kind();
    let mut genesis = system.accounts_for(kind)?;
    genesis.extend(node.genesis.iter().cloned());
    Ok(NodeConfig {
        kind,
        genesis,
        chain_id: record.config.l2_chain_id,
        gas_limit: record.config.l2_gas_limit,
        genesis_time_s: Some(record.l1.anchor_time_s),
        ..node.clone()
    })
}

async fn first_start(config: &DevnetConfig, l1: &DevL1) -> Result<DevnetRecord, L1Error> {
    let keys = dev_accounts()?;
    let deployed = DeployConfig {
        l2_chain_id: config.l2.chain_id,
        l2_block_time_s: config.l2_block_time_s,
        l2_gas_limit: config.l2.gas_limit,
        batcher: keys[BATCHER].address(),
        proposer: keys[PROPOSER].address(),
        guardian: keys[OWNER].address(),
        base_fee_scalar: 1368,
        blob_base_fee_scalar: 810_949,
        submission_interval: config.submission_interval,
        finalization_s: config.finalization_s,
        sequencing_window: config.sequencing_window,
        fork: config.fork.unwrap_or_default(),
        operator_fee_scalar: config.operator_fee_scalar,
        operator_fee_constant_wei: config.operator_fee_constant_wei,
    };
    let url = l1.node.http_url().parse().map_err(L1Error::rpc)?;
    let provider = RootProvider::new_http(url);
    let deployment = tokio::select! {
        deployment = deploy(&provider, &keys[OWNER], &deployed) => deployment?,
        error = mine(l1) => return Err(error),
    };
    DevnetRecord::new(deployed, deployment, &config.l2)
}

/// Builds L1 blocks as the deployment needs them, at most one a second, so that their timestamps do not run ahead of the clock.
async fn mine(l1: &DevL1) -> L1Error {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if l1.node.waiting_transactions() > 0
            && let Err(error) = l1.node.mine().await
        {
            return error.into();
        }
    }
}
