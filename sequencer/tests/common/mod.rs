//! What the integration tests share.
#![allow(dead_code)]

use alloy::{
    network::EthereumWallet,
    providers::{Provider, ProviderBuilder},
};
use lockstep_sequencer::{Node, NodeConfig, NodeHandle, dev_accounts};

/// A development node with fast blocks.
pub async fn start() -> NodeHandle {
    Node::start(NodeConfig { block_time_ms: 100, ..NodeConfig::dev().unwrap() }).await.unwrap()
}

/// A provider that signs with a development account.
pub fn wallet(node: &NodeHandle, account: usize) -> impl Provider + Clone + use<> {
    let key = dev_accounts().unwrap().swap_remove(account);
    let url = node.http_url().parse().unwrap();
    ProviderBuilder::new().wallet(EthereumWallet::from(key)).connect_http(url)
}
