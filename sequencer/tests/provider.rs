//! The node as an alloy provider sees it.

use std::time::Duration;

use alloy::{
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, Bytes, U256, address, hex},
    providers::{Provider, ProviderBuilder},
    rpc::types::{Filter, TransactionRequest},
    sol,
};
use lockstep_sequencer::{Node, NodeConfig, NodeHandle, dev_accounts};

mod common;
use common::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_reaches_a_block_and_pays_for_its_gas() {
    let node = start().await;
    let keys = dev_accounts().unwrap();
    let provider = wallet(&node, 0);
    let to = address!("00000000000000000000000000000000000000aa");
    let value = U256::from(12345u64);
    let before = provider.get_balance(keys[0].address()).await.unwrap();
    let tx = TransactionRequest::default().with_to(to).with_value(value);
    let receipt = provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.gas_used, 21_000);
    assert_eq!(provider.get_balance(to).await.unwrap(), value);
    let fee = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
    assert_eq!(provider.get_balance(keys[0].address()).await.unwrap(), before - value - fee);
    assert_eq!(provider.get_transaction_count(keys[0].address()).await.unwrap(), 1);
    let found = provider.get_transaction_by_hash(receipt.transaction_hash).await.unwrap().unwrap();
    assert_eq!(found.block_number, receipt.block_number);
    node.shutdown().await.unwrap();
}
