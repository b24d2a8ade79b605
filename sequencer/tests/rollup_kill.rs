//! The rollup's node with batcher and proposer, killed at any moment while L1 lives on: nothing that was told is lost, nothing is paid
//! twice.

use std::{
    collections::{BTreeSet, HashSet},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::{
    consensus::Transaction as _,
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256},
    providers::{Provider, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol_types::SolCall,
};
use lockstep_sequencer::{
    BatcherConfig, BlobSource, DevL1, Devnet, DevnetConfig, DevnetRecord, NodeConfig, Role, RollupConfig, RollupNode,
    SequencerConfig, dev_accounts,
};
use tokio::time::{Instant, sleep};

use crate::rollup::{config, hash, same_from_l1, until, wallet};

/// Directory and the URLs of L1 and its beacon API, a line each, for the process that is to be killed.
const PLACES: &str = "LOCKSTEP_TEST_ROLLUP";

/// The development accounts that submit batches and propose outputs.
const BATCHER: usize = 8;
const PROPOSER: usize = 7;

alloy::sol! {
    function proposeL2Output(bytes32 outputRoot, uint256 l2BlockNumber, bytes32 l1BlockHash, uint256 l1BlockNumber) external payable;
}

/// A sequencer of a development network whose L1 is elsewhere.
pub(crate) fn sequencer(record: &DevnetRecord, l1: &str, beacon: &str, batcher: Option<BatcherConfig>) -> RollupConfig {
    let keys = dev_accounts().unwrap();
    let sequencer = SequencerConfig {
        confirmations: 0,
        batcher: batcher.map(|batcher| (keys[BATCHER].clone(), batcher)),
        proposer: Some((keys[PROPOSER].clone(), record.l1.output_oracle)),
        resend_after_s: 5,
    };
    let blobs = BlobSource::Beacon(beacon.into());
    let config = record.follower(&NodeConfig::dev().unwrap(), l1, blobs, None).unwrap();
    RollupConfig { role: Role::Sequencer(Box::new(sequencer)), ..config }
}

fn in_directory(dir: &Path, l1: &str, beacon: &str) -> RollupConfig {
    let record = DevnetRecord::read(&dir.join("devnet.json")).unwrap();
    let mut config = sequencer(&record, l1, beacon, Some(config().batcher));
    config.node.data_dir = Some(dir.join("l2"));
    config
}

/// In a process started by a test below: the rollup's node until it is killed. Otherwise there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn rollup_process() {
    let Ok(places) = std::env::var(PLACES) else { return };
    let [dir, l1, beacon] = places.lines().collect::<Vec<_>>().try_into().unwrap();
    let mut node = RollupNode::start(in_directory(Path::new(dir), l1, beacon)).await.unwrap();
    println!("listening on {}", node.node.http_url());
    panic!("stopped by itself: {:?}", node.failed().await);
}

fn spawn(dir: &Path, l1: &DevL1) -> Child {
    let places = format!("{}\n{}\n{}", dir.display(), l1.node.http_url(), l1.beacon_url());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "rollup_kill::rollup_process", "--nocapture"])
        .env(PLACES, places)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn url_of(child: &mut Child) -> String {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.map_while(Result::ok).find_map(|line| line.split_once("listening on ").map(|(_, url)| url.into()));
    url.expect("the node's address")
}

/// What a node told before it was killed.
#[derive(Debug, Default)]
struct Told {
    newest: Option<(u64, B256)>,
    finalized: Option<(u64, B256)>,
    receipts: Vec<TransactionReceipt>,
}

fn place(block: &serde_json::Value) -> Option<(u64, B256)> {
    Some((block["number"].as_u64()?, block["hash"].as_str()?.parse().ok()?))
}

impl Told {
    async fn listen(&mut self, url: &str) {
        let provider = ProviderBuilder::new().connect_http(url.parse().unwrap());
        let status = provider.raw_request::<_, serde_json::Value>("optimism_syncStatus".into(), ()).await;
        if let Ok(status) = status {
            self.newest = place(&status["unsafe_l2"]).or(self.newest);
            self.finalized = place(&status["finalized_l2"]).or(self.finalized);
        }
    }

    /// Everything that was told still holds.
    async fn check(&self, url: &str) {
        let provider = ProviderBuilder::new().connect_http(url.parse().unwrap());
        for (number, before) in self.newest.into_iter().chain(self.finalized) {
            assert_eq!(hash(url, number).await, before, "block {number} is another one");
        }
        let status: serde_json::Value = provider.raw_request("optimism_syncStatus".into(), ()).await.unwrap();
        let finalized = place(&status["finalized_l2"]).unwrap().0;
        assert!(
            finalized >= self.finalized.map_or(0, |(number, _)| number),
            "block {finalized} is final, not {self:?}"
        );
        for old in &self.receipts {
            let new = provider.get_transaction_receipt(old.transaction_hash).await.unwrap();
            assert_eq!(new.as_ref(), Some(old), "a confirmed transaction changed");
        }
    }
}

/// A seeded generator of numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One life: a node is started, told from, and killed: some time after its start, or some time after it began to send a batch or a
/// proposal.
async fn live_and_die(dir: &Path, l1: &DevL1, told: &mut Told, dice: &mut Dice, round: u64) {
    let mut child = spawn(dir, l1);
    let started = Instant::now();
    let journal = match round % 3 {
        0 => None,
        1 => Some("batcher-sending.json"),
        _ => Some("proposer-sending.json"),
    };
    let delay = Duration::from_millis(dice.below(if journal.is_some() { 1300 } else { 5000 }));
    // Some die before they answer.
    if !(journal.is_none() && delay < Duration::from_millis(800)) {
        let url = url_of(&mut child);
        told.check(&url).await;
        let provider = wallet(&url, 0);
        let transfer = TransactionRequest::default().with_to(Address::repeat_byte(0x55)).with_value(U256::ONE);
        if let Ok(pending) = provider.send_transaction(transfer).await {
            // Left waiting if the node dies first.
            if let Ok(Ok(receipt)) = tokio::time::timeout(Duration::from_secs(3), pending.get_receipt()).await {
                told.receipts.push(receipt);
            }
        }
        told.listen(&url).await;
        if let Some(journal) = journal {
            let file = dir.join("l2").join(journal);
            let deadline = Instant::now() + Duration::from_secs(90);
            while !file.exists() {
                assert!(Instant::now() < deadline, "round {round}: {journal} is never written");
                sleep(Duration::from_millis(3)).await;
            }
            told.listen(&url).await;
            sleep(delay).await;
        }
    }
    if journal.is_none() {
        sleep(delay.saturating_sub(started.elapsed())).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Every transaction of the two senders in L1's blocks: each batch once, each proposal once and none in vain. Returns the number and the
/// cost of the batches.
async fn spent(l1: &str) -> (u64, u128) {
    let provider = ProviderBuilder::new().connect_http(l1.parse().unwrap());
    let keys = dev_accounts().unwrap();
    let (batcher, proposer) = (keys[BATCHER].address(), keys[PROPOSER].address());
    let (mut batches, mut fees_wei) = (HashSet::<Bytes>::new(), 0);
    let (mut proposals, mut proposed) = (BTreeSet::new(), 0);
    for number in 0..=provider.get_block_number().await.unwrap() {
        let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).full().await.unwrap().unwrap();
        for tx in block.transactions.txns() {
            let sender = tx.inner.signer();
            if sender != batcher && sender != proposer {
                continue;
            }
            let receipt = provider.get_transaction_receipt(*tx.inner.tx_hash()).await.unwrap().unwrap();
            assert!(receipt.status(), "L1 block {number}: {sender} paid for nothing");
            if sender == batcher {
                assert!(batches.insert(tx.input().clone()), "L1 block {number} holds a batch again");
                fees_wei += u128::from(receipt.gas_used) * receipt.effective_gas_price;
            } else {
                let call = proposeL2OutputCall::abi_decode(tx.input()).unwrap();
                assert!(proposals.insert(call.l2BlockNumber), "L1 block {number} holds a proposal again");
                proposed += 1;
            }
        }
    }
    println!("{} batches, {proposed} proposals", batches.len());
    assert!(!batches.is_empty() && proposed > 0);
    (batches.len() as u64, fees_wei)
}

/// Kills a rollup's node so many times.
async fn killed(kills: u64, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let with_dir = || DevnetConfig { data_dir: Some(dir.path().into()), ..config() };
    let net = Devnet::start(with_dir()).await.unwrap();
    net.shutdown().await.unwrap();
    let mut l1 = config().l1;
    l1.node.data_dir = Some(dir.path().join("l1"));
    let l1 = DevL1::start(l1).await.unwrap();
    let (mut told, mut dice) = (Told::default(), Dice(seed));
    for round in 0..kills {
        live_and_die(dir.path(), &l1, &mut told, &mut dice, round).await;
    }
    // The last life is within this process, and ends in good order.
    let node = RollupNode::start(in_directory(dir.path(), &l1.node.http_url(), &l1.beacon_url())).await.unwrap();
    let url = node.node.http_url();
    told.check(&url).await;
    until("it builds again", async || node.status().caught_up).await;
    let number = node.node.head().number + 3;
    until("L1 holds the blocks for good", async || node.status().finalized.number >= number).await;
    assert_eq!(node.status().mismatches, 0);
    told.check(&url).await;
    let config = in_directory(dir.path(), &l1.node.http_url(), &l1.beacon_url());
    let follower = RollupConfig { role: Role::Follower { sequencer_url: None }, ..config };
    let follower = RollupConfig { node: NodeConfig { data_dir: None, ..follower.node.clone() }, ..follower };
    same_from_l1(&url, follower, number).await;
    // What is being sent is finished and noted before the figures are compared.
    let idle = || !dir.path().join("l2/batcher-sending.json").exists();
    let mut counted = (0, 0);
    until("the batcher's figures are those of L1", async || {
        let stats = node.batcher_stats();
        counted = (stats.l1_transactions, stats.l1_fees_wei);
        idle() && spent(&l1.node.http_url()).await == counted
    })
    .await;
    let stats = node.batcher_stats();
    assert!(stats.blocks <= node.node.head().number, "blocks were submitted again: {stats:?}");
    println!("{} receipts were told; {stats:?}", told.receipts.len());
    node.shutdown().await.unwrap();
    l1.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rollup_loses_nothing_and_pays_nothing_twice() {
    Box::pin(killed(6, 1)).await;
}

/// As often as `LOCKSTEP_KILLS` says, from the seed `LOCKSTEP_SEED`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as it is told to"]
async fn a_rollup_killed_many_times_loses_nothing_and_pays_nothing_twice() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    Box::pin(killed(number("LOCKSTEP_KILLS", 100), number("LOCKSTEP_SEED", 2))).await;
}
