//! A disk that is full, and one that lies.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::{
    eips::BlockId,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, U256},
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
};
use lockstep_sequencer::{Node, NodeConfig, dev_accounts};

use crate::common;

/// Tells the process that it is the node whose disk fills up.
const DIR: &str = "LOCKSTEP_TEST_FULL_DIR";

/// In a process started by a test below: a node until it cannot write any more. Otherwise there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn node_process() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let config = NodeConfig { data_dir: Some(dir.into()), block_time_ms: 20, ..NodeConfig::dev().unwrap() };
    let mut node = Node::start(config).await.unwrap();
    println!("listening on {}", node.http_url());
    let error = node.failed().await.unwrap_err();
    println!("failed with {error}");
}

/// A node whose files cannot grow beyond so many KiB.
fn spawn_limited(dir: &Path, kib: u64) -> (Child, impl Iterator<Item = String>) {
    // The signal is ignored, so that the write itself fails, as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" --exact faults::node_process --nocapture", kib * 2);
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map_while(Result::ok))
}

async fn ended(child: &mut Child) {
    while child.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_node_with_a_reason_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut lines) = spawn_limited(dir.path(), 8 << 10);
    let url = lines.find_map(|line| line.split_once("listening on ").map(|(_, url)| url.to_owned())).unwrap();
    let wallet = EthereumWallet::from(dev_accounts().unwrap().swap_remove(0));
    let provider = ProviderBuilder::new().wallet(wallet).connect_http(url.parse().unwrap());
    provider.client().set_poll_interval(Duration::from_millis(10));
    // A hundred KiB of data in each transaction fill eight MiB soon.
    let filler = || TransactionRequest::default().with_to(Address::repeat_byte(1)).with_input(vec![1u8; 100_000]);
    let mut confirmed = Vec::new();
    for nonce in 0..1000u64 {
        let tx = filler().with_nonce(nonce).with_gas_limit(3_000_000).with_max_priority_fee_per_gas(1);
        let Ok(pending) = provider.send_transaction(tx.with_max_fee_per_gas(100_000_000_000)).await else { break };
        // A node that has stopped leaves the wait for a receipt without an end.
        tokio::select! {
            Ok(receipt) = pending.get_receipt() => confirmed.push(receipt),
            () = ended(&mut child) => break,
        }
    }
    let reason = lines.find(|line| line.contains("failed with")).unwrap();
    assert!(reason.contains("store failed"), "{reason}");
    child.wait().unwrap();
    assert!((5..1000).contains(&confirmed.len()), "{} were confirmed", confirmed.len());
    // With room again, the chain goes on from what was confirmed.
    let node = Node::start(NodeConfig { data_dir: Some(dir.path().into()), ..common::fast() }).await.unwrap();
    let provider = common::wallet(&node, 0);
    for receipt in &confirmed {
        let kept = provider.get_transaction_receipt(receipt.transaction_hash).await.unwrap();
        assert_eq!(kept.as_ref(), Some(receipt));
    }
    let tx = TransactionRequest::default().with_to(Address::repeat_byte(2)).with_value(U256::ONE);
    assert!(provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap().status());
    node.shutdown().await.unwrap();
}

const PAGE: u64 = 4096;

/// Pages of the store that hold something in their middle, the last one first.
fn pages_in_use(file: &Path) -> Vec<u64> {
    let bytes = std::fs::read(file).unwrap();
    let middle = |page: u64| &bytes[(page * PAGE + PAGE / 2) as usize..][..64];
    (0..bytes.len() as u64 / PAGE).rev().filter(|&page| middle(page).iter().any(|&byte| byte != 0)).collect()
}

/// Flips a run of bytes in the middle of a page of the store.
fn damage(file: &Path, page: u64) {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let at = page * PAGE + PAGE / 2;
    let mut bytes = [0; 64];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&bytes.map(|byte| !byte)).unwrap();
}

/// The last page damaged, then others: the node starts with the very chain that was there, or says that the store is damaged.
/// It never serves another chain and never falls over.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_pages_are_reported_or_do_not_matter() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let config = |dir: &Path| NodeConfig { data_dir: Some(dir.into()), block_time_ms: 3_600_000, ..common::fast() };
    let node = Node::start(config(&whole)).await.unwrap();
    for _ in 0..20 {
        node.mine().await.unwrap();
    }
    let head = node.head();
    node.shutdown().await.unwrap();
    let mut reported = 0;
    let pages = pages_in_use(&whole.join("chain.redb"));
    assert!(!pages.is_empty());
    // The last ones, and some of all the others.
    let others = pages.iter().skip(12).step_by(pages.len() / 30 + 1);
    for &page in pages.iter().take(12).chain(others) {
        let dir = home.path().join(format!("page-{page}"));
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("chain.redb");
        std::fs::copy(whole.join("chain.redb"), &file).unwrap();
        damage(&file, page);
        match Node::start(config(&dir)).await {
            Ok(node) => {
                assert_eq!(node.head(), head);
                let provider = common::wallet(&node, 0);
                if let Ok(block) = provider.get_block(BlockId::number(head.number)).await {
                    assert_eq!(block.unwrap().header.inner.hash_slow(), head.hash);
                }
                let _ = node.shutdown().await;
            }
            Err(error) => {
                reported += 1;
                let text = error.to_string();
                assert!(["corrupt", "store failed", "data directory"].iter().any(|word| text.contains(word)), "{text}");
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
    assert!(reported > 0, "no damage was noticed");
}
