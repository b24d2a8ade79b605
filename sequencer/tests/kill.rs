//! A node that is killed loses nothing that a client was told.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::{
    eips::BlockId,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, U256},
    providers::{Provider, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use lockstep_sequencer::{Node, NodeConfig, dev_accounts};

use crate::common;

/// Tells the process that it is the node to be killed.
const DIR: &str = "LOCKSTEP_TEST_NODE_DIR";

/// The receiver of all transfers.
const TO: Address = Address::repeat_byte(0xdd);

/// In a process started by the test below: a node until it is killed. Otherwise there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn node_process() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let config = NodeConfig { data_dir: Some(dir.into()), block_time_ms: 20, ..NodeConfig::dev().unwrap() };
    let mut node = Node::start(config).await.unwrap();
    println!("listening on {}", node.http_url());
    panic!("stopped by itself: {:?}", node.failed().await);
}

fn spawn(dir: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::node_process", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url =
        lines.map_while(Result::ok).find_map(|line| line.split_once("listening on ").map(|(_, url)| url.to_owned()));
    (child, url.expect("the node's address"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_kill() {
    let dir = tempfile::tempdir().unwrap();
    let key = dev_accounts().unwrap().swap_remove(0);
    let mut confirmed: Vec<TransactionReceipt> = Vec::new();
    for round in 0..6u64 {
        let (mut child, url) = spawn(dir.path());
        let wallet = EthereumWallet::from(key.clone());
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(url.parse().unwrap());
        provider.client().set_poll_interval(Duration::from_millis(10));
        check(&provider, &confirmed, key.address()).await;
        // The moment of the kill falls anywhere within execution, root, commit and the pause between blocks, but after
        // something was confirmed, however slow the machine is.
        let first = std::sync::Arc::new(tokio::sync::Notify::new());
        let killer = tokio::spawn({
            let first = first.clone();
            async move {
                first.notified().await;
                tokio::time::sleep(Duration::from_millis(137 * round)).await;
                child.kill().unwrap();
                child.wait().unwrap();
            }
        });
        let tx = TransactionRequest::default().with_to(TO).with_value(U256::ONE);
        while let Ok(pending) = provider.send_transaction(tx.clone()).await {
            // A killed node leaves the wait for a receipt without an end.
            let receipt = tokio::select! {
                receipt = pending.get_receipt() => receipt,
                () = until_finished(&killer) => break,
            };
            let Ok(receipt) = receipt else { break };
            confirmed.push(receipt);
            first.notify_one();
        }
        killer.await.unwrap();
    }
    assert!(confirmed.len() >= 6, "only {} transfers were confirmed", confirmed.len());
    // The last look is from within this process, after a shutdown and a start in good order.
    let config = NodeConfig { data_dir: Some(dir.path().into()), ..common::fast() };
    let node = Node::start(config.clone()).await.unwrap();
    check(&common::wallet(&node, 0), &confirmed, key.address()).await;
    node.shutdown().await.unwrap();
    let node = Node::start(config).await.unwrap();
    check(&common::wallet(&node, 0), &confirmed, key.address()).await;
    drop(node);
    let other = NodeConfig { data_dir: Some(dir.path().into()), chain_id: 5, ..common::fast() };
    let error = start_when_free(other).await.to_string();
    assert!(error.contains("holds chain id 901, not id 5"), "{error}");
    let other = NodeConfig { data_dir: Some(dir.path().into()), gas_limit: 1_000_000, ..common::fast() };
    let error = start_when_free(other).await.to_string();
    assert!(error.contains("holds chain genesis 0x"), "{error}");
}

async fn until_finished<T>(task: &tokio::task::JoinHandle<T>) {
    while !task.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The error of a start that must fail, once a dropped node has let go of the directory.
async fn start_when_free(config: NodeConfig) -> lockstep_sequencer::NodeError {
    for _ in 0..100 {
        let error = Node::start(config.clone()).await.expect_err("must be refused");
        if !error.to_string().contains("another node") {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the directory stays in use");
}

async fn check(provider: &impl Provider, confirmed: &[TransactionReceipt], sender: Address) {
    for old in confirmed {
        let new = provider.get_transaction_receipt(old.transaction_hash).await.unwrap();
        assert_eq!(new.as_ref(), Some(old), "a confirmed transaction changed");
    }
    let head = provider.get_block(BlockId::latest()).await.unwrap().unwrap();
    assert_eq!(head.header.inner.hash_slow(), head.header.hash);
    // All of one block: what waited at the kill is put into the next one between two questions.
    let head = BlockId::number(head.header.number);
    let sent = provider.get_transaction_count(sender).block_id(head).await.unwrap();
    assert!(sent >= confirmed.len() as u64);
    // Every transfer is one wei and one nonce: state and history agree.
    assert_eq!(provider.get_balance(TO).block_id(head).await.unwrap(), U256::from(sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_waits_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dev_accounts().unwrap();
    let mut waiting = Vec::new();
    for round in 0..4u64 {
        let (mut child, url) = spawn(dir.path());
        let wallet = EthereumWallet::from(keys[1].clone());
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(url.parse().unwrap());
        for hash in &waiting {
            let found = provider.get_transaction_by_hash(*hash).await.unwrap();
            assert!(found.is_some_and(|tx| tx.block_number.is_none()), "round {round}: {hash} is lost");
        }
        // Behind a gap, so that no block takes it.
        let tx = TransactionRequest::default().with_to(TO).with_value(U256::ONE).with_nonce(5 + round);
        let tx = tx.with_gas_limit(21_000).with_max_fee_per_gas(10_000_000_000).with_max_priority_fee_per_gas(1);
        waiting.push(*provider.send_transaction(tx).await.unwrap().tx_hash());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
