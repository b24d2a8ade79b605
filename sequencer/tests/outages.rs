//! An hour without batches, an hour without L1, on clocks that the tests move: an L1 block each 12 seconds, an L2 block each 6.

use std::{net::SocketAddr, path::Path, time::Duration};

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, U256, keccak256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use lockstep_sequencer::{
    BatcherConfig, DevL1, Devnet, DevnetConfig, DevnetRecord, Role, RollupConfig, RollupNode, dev_accounts,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    rollup::{Oracle, config, hash, same_from_l1, transfers, until, wallet},
    rollup_kill::sequencer,
};

const HOUR_S: u64 = 3600;
pub(crate) const L1_BLOCK_S: u64 = 12;
const L2_BLOCK_S: u64 = 6;

/// By how much blocks with transactions may be later than their L1 origin.
const DRIFT_S: u64 = 1800;

/// L1 and the rollup's record, in a directory. L1 builds blocks only when told to.
async fn begin(dir: &Path) -> (DevL1, DevnetRecord) {
    // Proposals are not what these tests are about.
    begin_with(dir, DevnetConfig { submission_interval: 1_000_000, ..config() }).await
}

pub(crate) async fn begin_with(dir: &Path, config: DevnetConfig) -> (DevL1, DevnetRecord) {
    let mut config = DevnetConfig { data_dir: Some(dir.into()), l2_block_time_s: L2_BLOCK_S, ..config };
    config.l1.node.driven = true;
    let net = Box::pin(Devnet::start(config)).await.unwrap();
    net.l2.shutdown().await.unwrap();
    (net.l1, net.record)
}

pub(crate) fn batcher() -> BatcherConfig {
    BatcherConfig { max_age_s: 12, ..BatcherConfig::default() }
}

/// The sequencer in that directory, which sees L1 at a URL.
pub(crate) async fn start(
    dir: &Path,
    record: &DevnetRecord,
    url: &str,
    l1: &DevL1,
    batcher: Option<BatcherConfig>,
) -> RollupNode {
    let mut config = sequencer(record, url, &l1.beacon_url(), batcher);
    config.node.data_dir = Some(dir.join("l2"));
    let node = RollupNode::start(config).await.unwrap();
    // A clock that was moved goes on at the chain's head.
    node.node.advance_clock(l1.node.head().timestamp_s.saturating_sub(node.node.head().timestamp_s));
    node
}

/// Lets time pass on L1 and L2.
pub(crate) async fn pass(l1: &DevL1, l2: &RollupNode, seconds: u64) {
    for _ in 0..seconds.div_ceil(L1_BLOCK_S) {
        l1.node.advance_clock(L1_BLOCK_S);
        l2.node.advance_clock(L1_BLOCK_S);
        l1.node.mine().await.unwrap();
    }
}

/// Lets time pass, an L1 block for each transaction that waits there and at least one a second, until something holds. Faster than that, a
/// slow machine would not bring the parts of a channel to L1 in the blocks that a channel may take.
pub(crate) async fn pass_until(what: &str, l1: &DevL1, l2: &RollupNode, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut mined = Instant::now();
    while !holds().await {
        assert!(Instant::now() < deadline, "it did not come to this: {what}: {:?}", l2.status());
        if l1.node.waiting_transactions() > 0 || mined.elapsed() > Duration::from_secs(1) {
            pass(l1, l2, L1_BLOCK_S).await;
            mined = Instant::now();
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// L1 has all blocks up to now, a second node makes the same ones of it, and no block was ever replaced.
pub(crate) async fn all_is_well(l1: &DevL1, l2: &RollupNode, record: &DevnetRecord) {
    let number = l2.node.head().number;
    pass_until("L1 has the blocks", l1, l2, async || l2.status().safe.number >= number).await;
    assert_eq!(l2.status().mismatches, 0, "{:?}", l2.status());
    let config = sequencer(record, &l1.node.http_url(), &l1.beacon_url(), None);
    let follower = RollupConfig { role: Role::Follower { sequencer_url: None }, ..config };
    same_from_l1(&l2.node.http_url(), follower, number).await;
}

/// From the second L1 block on, a restart once asked for a reset of derivation for ever.
#[tokio::test(flavor = "multi_thread")]
async fn restarts_right_after_the_beginning_derive_again() {
    let dir = tempfile::tempdir().unwrap();
    let (l1, record) = begin(dir.path()).await;
    let url = l1.node.http_url();
    let mut finals = Vec::new();
    while finals.last().is_none_or(|last| *last < record.l1.anchor_number + 3) {
        let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
        until("L1 was read", async || l2.status().caught_up).await;
        let before = l2.status().finalized.number;
        let is_next = async || l2.status().finalized.number > before;
        pass_until("another block is final", &l1, &l2, is_next).await;
        finals.push(l2.status().finalized.l1_origin.number);
        l2.shutdown().await.unwrap();
    }
    println!("final blocks had the origins {finals:?}; the rollup begins at {}", record.l1.anchor_number);
    l1.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batcher_that_is_down_for_an_hour_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let (l1, record) = begin(dir.path()).await;
    let url = l1.node.http_url();
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("something is safe", &l1, &l2, async || l2.status().safe.number > 5).await;
    l2.shutdown().await.unwrap();
    // An hour without it.
    let l2 = start(dir.path(), &record, &url, &l1, None).await;
    until("L1 was read", async || l2.status().caught_up).await;
    let safe = l2.status().safe.number;
    pass(&l1, &l2, HOUR_S / 2).await;
    transfers(&l2.node.http_url(), 1, 5).await;
    pass(&l1, &l2, HOUR_S / 2).await;
    let blocks = safe + HOUR_S / L2_BLOCK_S;
    until("the blocks of an hour are there", async || l2.node.head().number >= blocks - 10).await;
    let (status, newest) = (l2.status(), l2.node.head());
    // What the last batch before the outage held may become safe late; nothing else can.
    assert!(status.safe.number < safe + 20, "{status:?}");
    l2.shutdown().await.unwrap();
    // Then it is back.
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("the hour is safe", &l1, &l2, async || l2.status().safe.number >= newest.number).await;
    assert_eq!(hash(&l2.node.http_url(), newest.number).await, newest.hash);
    all_is_well(&l1, &l2, &record).await;
    l2.shutdown().await.unwrap();
    l1.shutdown().await.unwrap();
}

/// A door to L1 that can be shut.
async fn door(to: SocketAddr) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (open, is_open) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut is_open = is_open.clone();
            tokio::spawn(async move {
                if !*is_open.borrow() {
                    return;
                }
                let Ok(mut there) = TcpStream::connect(to).await else { return };
                let shut = async {
                    let _ = is_open.wait_for(|open| !open).await;
                };
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut there) => (),
                    () = shut => (),
                }
            });
        }
    });
    (url, open)
}

/// A transfer that waits until it is in a block, however long that takes.
async fn leave_waiting(url: &str, account: usize) -> alloy::primitives::B256 {
    let to = Address::repeat_byte(0x66);
    let fees =
        TransactionRequest::default().with_max_fee_per_gas(10_000_000_000).with_max_priority_fee_per_gas(1_000_000);
    let provider = wallet(url, account);
    let nonce = provider.get_transaction_count(dev_accounts().unwrap()[account].address()).await.unwrap();
    let tx = fees.with_to(to).with_value(U256::ONE).with_nonce(nonce).with_gas_limit(21_000);
    *provider.send_transaction(tx).await.unwrap().tx_hash()
}

/// L1 goes on, but the sequencer cannot see it.
#[tokio::test(flavor = "multi_thread")]
async fn without_l1_for_an_hour_the_chain_stops_at_the_drift_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (l1, record) = begin(dir.path()).await;
    let (url, open) = door(l1.node.address()).await;
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("something is safe", &l1, &l2, async || l2.status().safe.number > 5).await;
    open.send_replace(false);
    let begun_s = l2.node.head().timestamp_s;
    pass(&l1, &l2, HOUR_S).await;
    // Blocks go on for about half an hour, with transactions.
    transfers(&l2.node.http_url(), 1, 5).await;
    until("half an hour of blocks", async || l2.node.head().timestamp_s >= begun_s + DRIFT_S - 20 * L1_BLOCK_S).await;
    let waits = leave_waiting(&l2.node.http_url(), 2).await;
    sleep(Duration::from_secs(2)).await;
    let stopped = l2.node.head();
    open.send_replace(true);
    pass_until("the chain goes on", &l1, &l2, async || l2.node.head().number > stopped.number + 300).await;
    let provider = wallet(&l2.node.http_url(), 2);
    pass_until("what waited is in a block", &l1, &l2, async || {
        provider.get_transaction_receipt(waits).await.unwrap().is_some()
    })
    .await;
    assert_eq!(hash(&l2.node.http_url(), stopped.number).await, stopped.hash);
    all_is_well(&l1, &l2, &record).await;
    l2.shutdown().await.unwrap();
    l1.shutdown().await.unwrap();
}

/// L1 itself builds no block.
#[tokio::test(flavor = "multi_thread")]
async fn when_l1_stands_still_for_an_hour_the_chain_waits_at_the_drift() {
    let dir = tempfile::tempdir().unwrap();
    let (l1, record) = begin(dir.path()).await;
    let url = l1.node.http_url();
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("something is safe", &l1, &l2, async || l2.status().safe.number > 5).await;
    let begun_s = l2.node.head().timestamp_s;
    l2.node.advance_clock(HOUR_S);
    until("half an hour of blocks", async || l2.node.head().timestamp_s >= begun_s + DRIFT_S - 20 * L1_BLOCK_S).await;
    let waits = leave_waiting(&l2.node.http_url(), 2).await;
    // Its next block is an hour later than the last.
    l1.node.advance_clock(HOUR_S);
    let provider = wallet(&l2.node.http_url(), 2);
    pass_until("what waited is in a block", &l1, &l2, async || {
        provider.get_transaction_receipt(waits).await.unwrap().is_some()
    })
    .await;
    all_is_well(&l1, &l2, &record).await;
    l2.shutdown().await.unwrap();
    l1.shutdown().await.unwrap();
}

/// Between the parts of a channel lies more time than a channel has: what it held is submitted again.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_timed_out_is_submitted_again() {
    let dir = tempfile::tempdir().unwrap();
    let (l1, record) = begin(dir.path()).await;
    let url = l1.node.http_url();
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("something is safe", &l1, &l2, async || l2.status().safe.number > 5).await;
    // Noise does not shrink: three transactions take at least two parts.
    let noise: Vec<u8> = (0..3000u64).flat_map(|n| keccak256(n.to_be_bytes()).0).collect();
    let provider = wallet(&l2.node.http_url(), 1);
    for nonce in 0..3u64 {
        let data = noise.iter().map(|byte| byte ^ nonce as u8).collect::<Vec<u8>>();
        let tx = TransactionRequest::default().with_to(Address::repeat_byte(9)).with_input(data).with_nonce(nonce);
        let tx = tx.with_gas_limit(2_000_000).with_max_fee_per_gas(10_000_000_000).with_max_priority_fee_per_gas(1);
        let _ = provider.send_transaction(tx).await.unwrap();
    }
    let journal = dir.path().join("l2/batcher-sending.json");
    let part = || -> Option<(u64, u64)> {
        let journal: serde_json::Value = serde_json::from_slice(&std::fs::read(&journal).ok()?).ok()?;
        let note = &journal["payload"]["note"];
        Some((note["sent"].as_u64()?, note["of"].as_u64()?))
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    while !part().is_some_and(|(sent, of)| sent == 1 && of > 1) {
        assert!(Instant::now() < deadline, "no channel of several parts");
        match part() {
            // Something smaller is on its way: let it arrive.
            Some(_) => pass(&l1, &l2, L1_BLOCK_S).await,
            None => l2.node.advance_clock(L2_BLOCK_S),
        }
        sleep(Duration::from_millis(300)).await;
    }
    until("the first part waits at L1", async || l1.node.waiting_transactions() > 0).await;
    let submitted = l2.batcher_stats().blocks;
    let newest = l2.node.head();
    l2.shutdown().await.unwrap();
    // The first part arrives, and then nothing for longer than a channel may take.
    for _ in 0..60 {
        l1.node.advance_clock(L1_BLOCK_S);
        l1.node.mine().await.unwrap();
    }
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("L1 has the blocks", &l1, &l2, async || l2.status().safe.number >= newest.number).await;
    assert_eq!(hash(&l2.node.http_url(), newest.number).await, newest.hash);
    let stats = l2.batcher_stats();
    assert!(stats.blocks > submitted + (newest.number - submitted), "nothing was submitted twice: {stats:?}");
    all_is_well(&l1, &l2, &record).await;
    l2.shutdown().await.unwrap();
    l1.shutdown().await.unwrap();
}

/// A proposer that is behind needs hardly an L1 block but those of its own proposals. It once looked anew for each what was safe, and
/// waited for another block on top.
#[tokio::test(flavor = "multi_thread")]
async fn a_proposer_that_is_behind_proposes_in_every_block() {
    let dir = tempfile::tempdir().unwrap();
    // Two outputs are due in each L1 block, which takes one.
    let (l1, record) = begin_with(dir.path(), DevnetConfig { submission_interval: 1, ..config() }).await;
    let url = l1.node.http_url();
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("much is safe", &l1, &l2, async || l2.status().safe.number > 60).await;
    l2.shutdown().await.unwrap();
    let l2 = start(dir.path(), &record, &url, &l1, None).await;
    until("L1 was read", async || l2.status().caught_up).await;
    let oracle = Oracle::new(record.l1.output_oracle, wallet(&url, 0));
    let outputs = async || u64::try_from(oracle.nextOutputIndex().call().await.unwrap()).unwrap();
    let (before, first) = (outputs().await, l1.node.head().number);
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut mined = Instant::now();
    while outputs().await < before + 12 {
        assert!(Instant::now() < deadline, "{} outputs more", outputs().await - before);
        // A block on top of what it saw, if it waits for one.
        if l1.node.waiting_transactions() > 0 || mined.elapsed() > Duration::from_secs(8) {
            l1.node.mine().await.unwrap();
            mined = Instant::now();
        }
        sleep(Duration::from_millis(50)).await;
    }
    let blocks = l1.node.head().number - first;
    assert!(blocks <= 16, "{blocks} blocks for 12 proposals");
    l2.shutdown().await.unwrap();
    l1.shutdown().await.unwrap();
}
