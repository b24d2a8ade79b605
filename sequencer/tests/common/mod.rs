//! What the integration tests share.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]
#![allow(dead_code, unreachable_pub, missing_docs)]

use alloy::{
    network::EthereumWallet,
    primitives::Bytes,
    providers::{Provider, ProviderBuilder},
    sol,
};
use lockstep_sequencer::{Node, NodeConfig, NodeHandle, dev_accounts};

sol! {
    /// The interface of tests/data/Probe.sol.
    #[derive(Debug)]
    #[sol(rpc)]
    contract Probe {
        event Set(address indexed by, uint256 indexed key, uint256 value);
        error TooBig(uint256 value, uint256 limit);
        function values(uint256 key) external view returns (uint256);
        function set(uint256 key, uint256 value) external;
        function fill(uint256 from, uint256 count, uint256 value) external;
        function why() external pure;
        function deep(uint256 depth, uint256 rounds) external returns (bytes32 digest);
        function greedy(uint256 reserve) external;
        function environment() external view returns (
            uint256 number, uint256 timestamp, uint256 chainId, uint256 baseFee, address coinbase, bytes32 parent
        );
    }
}

/// Deployment code of the probe.
pub fn probe_code() -> Bytes {
    include_str!("../data/Probe.hex").trim().parse().unwrap()
}

/// Settings of a development node with fast blocks.
pub fn fast() -> NodeConfig {
    NodeConfig { block_time_ms: 100, ..NodeConfig::dev().unwrap() }
}

/// A development node with fast blocks.
pub async fn start() -> NodeHandle {
    Node::start(fast()).await.unwrap()
}

/// A provider that signs with a development account.
pub fn wallet(node: &NodeHandle, account: usize) -> impl Provider + Clone + use<> {
    let key = dev_accounts().unwrap().swap_remove(account);
    let url = node.http_url().parse().unwrap();
    ProviderBuilder::new().wallet(EthereumWallet::from(key)).connect_http(url)
}

/// Deploys the probe.
pub async fn deploy<P: Provider + Clone>(provider: &P) -> Probe::ProbeInstance<P> {
    use alloy::{network::TransactionBuilder, rpc::types::TransactionRequest};
    let tx = TransactionRequest::default().with_deploy_code(probe_code());
    let receipt = provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status(), "deployment failed");
    Probe::new(receipt.contract_address.unwrap(), provider.clone())
}
