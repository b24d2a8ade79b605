//! A chain that begins with the OP Stack's system contracts, from its `genesis.json`.

use alloy::{
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256, address, b256},
    providers::Provider,
    rpc::types::TransactionRequest,
    sol,
};
use lockstep_sequencer::{ChainKind, Node, NodeConfig, SystemContracts, dev_accounts};

use crate::common::*;

sol! {
    #[derive(Debug)]
    #[sol(rpc)]
    interface System {
        function number() external view returns (uint64);
        function isFjord() external view returns (bool);
        function isIsthmus() external view returns (bool);
        function version() external view returns (string);
        function owner() external view returns (address);
        function getProxyImplementation(address proxy) external view returns (address);
        function OTHER_MESSENGER() external view returns (address);
        function OTHER_BRIDGE() external view returns (address);
        function RECIPIENT() external view returns (address);
        function getL1Fee(bytes data) external view returns (uint256);
        function messageNonce() external view returns (uint256);
        function initiateWithdrawal(address target, uint256 gasLimit, bytes data) external payable;
        function initialize(address other) external;
        function deposit() external payable;
        function balanceOf(address owner) external view returns (uint256);
        function getChainId() external view returns (uint256);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
    }
}

const fn predeploy(index: u8) -> Address {
    let mut bytes = [0; 20];
    (bytes[0], bytes[19]) = (0x42, index);
    Address::new(bytes)
}

/// Slot that holds the code's address behind a proxy (EIP-1967).
const IMPLEMENTATION: B256 = b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");

#[tokio::test(flavor = "multi_thread")]
async fn the_system_contracts_work_from_block_0() {
    let system = SystemContracts {
        chain_id: 4242,
        l1_chain_id: 900,
        owner: dev_accounts().unwrap()[0].address(),
        fee_recipient: Address::repeat_byte(2),
        l1_cross_domain_messenger: Address::repeat_byte(3),
        l1_standard_bridge: Address::repeat_byte(4),
        l1_erc721_bridge: Address::repeat_byte(5),
    };
    let accounts = system.accounts().unwrap().into_iter().chain(NodeConfig::dev().unwrap().genesis).collect();
    let json = NodeConfig { chain_id: 4242, genesis: accounts, ..fast() }.genesis_json(1_700_000_000);
    let mut config = fast();
    config.set_genesis(&json).unwrap();
    let node = Node::start(config).await.unwrap();
    let provider = wallet(&node, 0);
    let genesis = provider.get_block_by_number(BlockNumberOrTag::Earliest).await.unwrap().unwrap();
    assert_eq!((genesis.header.timestamp, node.chain_id()), (1_700_000_000, 4242));
    let at = |index| System::new(predeploy(index), provider.clone());

    assert_eq!(at(0x15).number().call().await.unwrap(), 0);
    assert!(at(0x0f).isFjord().call().await.unwrap());
    assert_eq!(at(0x0f).getL1Fee(Bytes::from_static(&[1; 100])).call().await.unwrap(), U256::ZERO);
    assert_eq!(at(0x07).OTHER_MESSENGER().call().await.unwrap(), Address::repeat_byte(3));
    assert_eq!(at(0x10).OTHER_BRIDGE().call().await.unwrap(), Address::repeat_byte(4));
    assert_eq!(at(0x11).RECIPIENT().call().await.unwrap(), Address::repeat_byte(2));
    assert_eq!(at(0x18).owner().call().await.unwrap(), system.owner);
    let behind = at(0x18).getProxyImplementation(predeploy(0x15)).call().await.unwrap();
    assert_eq!(behind, address!("c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d30015"));
    let slot = provider.get_storage_at(predeploy(0x15), IMPLEMENTATION.into()).await.unwrap();
    assert_eq!(B256::from(slot), behind.into_word());
    let multicall = System::new(address!("cA11bde05977b3631167028862bE2a173976CA11"), provider.clone());
    assert_eq!(multicall.getChainId().call().await.unwrap(), U256::from(4242u64));
    // Nobody can initialize a second time, neither a proxy nor the code behind it.
    for contract in [predeploy(0x07), address!("c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d3c0d30007")] {
        let again = System::new(contract, provider.clone()).initialize(Address::repeat_byte(9)).call().await;
        assert!(again.unwrap_err().to_string().contains("already initialized"));
    }
    // A withdrawal starts, and ether becomes WETH.
    let passer = at(0x16);
    let receipt = passer.initiateWithdrawal(Address::repeat_byte(7), U256::from(100_000u64), Bytes::new());
    let receipt = receipt.value(U256::from(5u64)).send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status() && receipt.logs().len() == 1);
    assert_eq!(passer.messageNonce().call().await.unwrap() & U256::from(u64::MAX), U256::ONE);
    let weth = at(0x06);
    let receipt = weth.deposit().value(U256::from(8u64)).send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert_eq!(weth.balanceOf(system.owner).call().await.unwrap(), U256::from(8u64));
    // The deterministic deployer deploys.
    let deployer = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
    let create = [B256::ZERO.as_slice(), &[0x60, 0x00, 0x60, 0x00, 0xf3]].concat();
    let tx = TransactionRequest::default().with_to(deployer).with_input(create);
    assert!(provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap().status());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_of_isthmus_are_there_from_block_0() {
    let system = SystemContracts {
        chain_id: 4242,
        l1_chain_id: 900,
        owner: dev_accounts().unwrap()[0].address(),
        fee_recipient: Address::repeat_byte(2),
        l1_cross_domain_messenger: Address::repeat_byte(3),
        l1_standard_bridge: Address::repeat_byte(4),
        l1_erc721_bridge: Address::repeat_byte(5),
    };
    let kind = ChainKind::Isthmus;
    let accounts = system.accounts_for(kind).unwrap().into_iter().chain(NodeConfig::dev().unwrap().genesis).collect();
    let json = NodeConfig { kind, chain_id: 4242, genesis: accounts, ..fast() }.genesis_json(1_700_000_000);
    let mut config = fast();
    config.set_genesis(&json).unwrap();
    assert_eq!(config.kind, kind);
    let node = Node::start(config).await.unwrap();
    let provider = wallet(&node, 0);
    let at = |index| System::new(predeploy(index), provider.clone());
    assert!(at(0x0f).isIsthmus().call().await.unwrap() && at(0x0f).isFjord().call().await.unwrap());
    assert_eq!(at(0x15).number().call().await.unwrap(), 0);
    let behind = at(0x18).getProxyImplementation(predeploy(0x1b)).call().await.unwrap();
    assert!(!provider.get_code_at(behind).await.unwrap().is_empty(), "no operator fee vault");
    let genesis = provider.get_block_by_number(BlockNumberOrTag::Earliest).await.unwrap().unwrap();
    // Without an L1 too: the parent's hash is in the contract of EIP-2935.
    while node.head().number < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let history = address!("0000F90827F1C53a10cb7A02335B175320002935");
    let asked = TransactionRequest::default().with_to(history).with_input(B256::ZERO.to_vec());
    assert_eq!(provider.call(asked).await.unwrap().as_ref(), genesis.header.hash.as_slice());
    node.shutdown().await.unwrap();
}
