//! A development L1 within the process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::task::JoinHandle;

use super::beacon;
use crate::{
    config::{ChainKind, NodeConfig},
    error::NodeError,
    node::{Node, NodeHandle},
    predeploys::preinstalled,
};

/// Chain id of a development L1.
const CHAIN_ID: u64 = 900;

/// What a development L1 is started with.
#[derive(Clone, Debug)]
pub struct DevL1Config {
    /// The chain.
    pub node: NodeConfig,
    /// Address of the beacon API. Port 0: any free port.
    pub beacon_listen: SocketAddr,
}

impl DevL1Config {
    /// Chain 900 with Ethereum's rules, a block every three seconds, the development accounts funded, and the contracts that
    /// tools expect on every chain, such as Multicall3.
    ///
    /// # Errors
    /// [`NodeError::Config`] if the development accounts cannot be derived, which a test rules out.
    pub fn dev() -> Result<Self, NodeError> {
        let mut node =
            NodeConfig { kind: ChainKind::Ethereum, chain_id: CHAIN_ID, block_time_ms: 3000, ..NodeConfig::dev()? };
        node.genesis.extend(preinstalled(CHAIN_ID).map_err(NodeError::Config)?);
        Ok(Self { node, beacon_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0) })
    }
}

/// A running development L1: the rollup's engine under Ethereum's rules, with blobs over the beacon API.
///
/// Its base fee is burned, its blocks hold up to six blobs, and [`NodeHandle::unwind`] makes reorganisations.
#[derive(Debug)]
pub struct DevL1 {
    /// The chain.
    pub node: NodeHandle,
    beacon: SocketAddr,
    serving: JoinHandle<()>,
}

impl DevL1 {
    /// Starts it.
    ///
    /// # Errors
    /// As [`Node::start`]; also [`NodeError::Listen`] if the address of the beacon API is taken.
    pub async fn start(config: DevL1Config) -> Result<Self, NodeError> {
        let node = Node::start(config.node).await?;
        let (beacon, serving) = beacon::start(node.chain().clone(), config.beacon_listen).await?;
        Ok(Self { node, beacon, serving })
    }

    /// URL of the beacon API.
    pub fn beacon_url(&self) -> String {
        format!("http://{}", self.beacon)
    }

    /// Stops it.
    ///
    /// # Errors
    /// Why the chain had failed before, if it had.
    pub async fn shutdown(self) -> Result<(), NodeError> {
        self.serving.abort();
        self.node.shutdown().await
    }
}
