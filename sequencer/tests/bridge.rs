//! The standard bridge, in and out, for ether and for a token: messengers on both sides, and the factory on L2.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256, address},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol,
    sol_types::SolEvent,
};
use lockstep_sequencer::{Devnet, dev_accounts};

use crate::rollup::{compare_with_follower, config, prove_and_finalise, until, wallet};

sol! {
    #[sol(rpc)]
    interface L1Bridge {
        function depositETHTo(address to, uint32 minGasLimit, bytes extraData) external payable;
        function depositERC20To(
            address l1Token, address l2Token, address to, uint256 amount, uint32 minGasLimit, bytes extraData
        ) external;
    }
    #[sol(rpc)]
    interface L2Bridge {
        function withdrawTo(address l2Token, address to, uint256 amount, uint32 minGasLimit, bytes extraData) external payable;
    }
    #[sol(rpc)]
    interface Factory {
        event OptimismMintableERC20Created(address indexed localToken, address indexed remoteToken, address deployer);
        function createOptimismMintableERC20(address remoteToken, string name, string symbol) external returns (address);
    }
    #[sol(rpc)]
    interface Token {
        function deposit() external payable;
        function approve(address spender, uint256 amount) external returns (bool);
        function balanceOf(address owner) external view returns (uint256);
        function symbol() external view returns (string);
    }
}

const L2_BRIDGE: Address = address!("4200000000000000000000000000000000000010");
const L2_FACTORY: Address = address!("4200000000000000000000000000000000000012");
/// What stands for ether where the bridge takes a token.
const ETHER: Address = address!("DeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000");
const GAS: u32 = 200_000;

/// Sends a call and waits until it has succeeded.
macro_rules! done {
    ($call:expr) => {{
        let receipt: TransactionReceipt = $call.send().await.unwrap().get_receipt().await.unwrap();
        assert!(receipt.status(), "it was reverted");
        receipt
    }};
}

/// A token on L1: the package's WETH, which whoever deposits ether gets.
async fn token(l1: &impl Provider) -> Address {
    let contracts = include_str!("../op-contracts/contracts.json");
    let contracts: serde_json::Value = serde_json::from_str(contracts).unwrap();
    let code: Bytes = contracts["contracts"]["WETH"].as_str().unwrap().parse().unwrap();
    let create = TransactionRequest::default().with_deploy_code(code);
    let receipt = l1.send_transaction(create).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    receipt.contract_address.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_bridge_moves_ether_and_tokens_both_ways() {
    let net = Devnet::start(config()).await.unwrap();
    let (l1, l2) = (wallet(&net.l1.node.http_url(), 0), wallet(&net.l2.node.http_url(), 0));
    let me = dev_accounts().unwrap()[0].address();
    let l1_bridge = L1Bridge::new(net.record.l1.standard_bridge, l1.clone());
    let l2_bridge = L2Bridge::new(L2_BRIDGE, l2.clone());
    let (friend, target) = (Address::repeat_byte(0x61), Address::repeat_byte(0x62));
    let amount = |units: u64| U256::from(units);
    // In: ether, and a token with its representation on L2.
    done!(l1_bridge.depositETHTo(friend, GAS, Bytes::new()).value(amount(1_000_000)));
    let l1_token = Token::new(token(&l1).await, l1.clone());
    done!(l1_token.deposit().value(amount(5000)));
    done!(l1_token.approve(*l1_bridge.address(), amount(5000)));
    let factory = Factory::new(L2_FACTORY, l2.clone());
    let made = done!(factory.createOptimismMintableERC20(*l1_token.address(), "Bridged".into(), "BRG".into()));
    let made =
        made.inner.logs().iter().find_map(|log| Factory::OptimismMintableERC20Created::decode_log(&log.inner).ok());
    let l2_token = Token::new(made.unwrap().localToken, l2.clone());
    assert_eq!(l2_token.symbol().call().await.unwrap(), "BRG");
    let both = (*l1_token.address(), *l2_token.address());
    done!(l1_bridge.depositERC20To(both.0, both.1, me, amount(3000), GAS, Bytes::new()));
    until("the ether arrives", async || l2.get_balance(friend).await.unwrap() == amount(1_000_000)).await;
    until("the tokens arrive", async || l2_token.balanceOf(me).call().await.unwrap() == amount(3000)).await;
    assert_eq!(l1_token.balanceOf(*l1_bridge.address()).call().await.unwrap(), amount(3000));
    // Out, to somebody else on L1.
    let ether_out = l2_bridge.withdrawTo(ETHER, target, amount(777), GAS, Bytes::new()).value(amount(777));
    let ether_out = done!(ether_out);
    let token_out = done!(l2_bridge.withdrawTo(both.1, target, amount(1000), GAS, Bytes::new()));
    assert_eq!(l2_token.balanceOf(me).call().await.unwrap(), amount(2000));
    prove_and_finalise(&net, &l1, &l2, &ether_out).await;
    let number = prove_and_finalise(&net, &l1, &l2, &token_out).await;
    assert_eq!(l1.get_balance(target).await.unwrap(), amount(777));
    assert_eq!(l1_token.balanceOf(target).call().await.unwrap(), amount(1000));
    // The rollup with all its system contracts can be derived from L1.
    until("L1 has the blocks", async || net.l2.status().safe.number >= number).await;
    compare_with_follower(&net, number).await;
    net.shutdown().await.unwrap();
}
