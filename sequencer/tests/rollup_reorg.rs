//! L1 reorganised, by up to twenty blocks, in the middle of everything that the rollup does with it.

use std::{collections::HashSet, time::Duration};

use alloy::{
    consensus::Transaction as _,
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256, keccak256},
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
};
use lockstep_sequencer::{DevL1, DevnetRecord, Role, RollupConfig, RollupNode, dev_accounts};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    outages::{L1_BLOCK_S, batcher, begin_with, pass, pass_until, start},
    rollup::{Oracle, config, same_from_l1, until, wallet},
    rollup_kill::sequencer,
    rollup_window::step,
};

/// What the rollup is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first part of a channel is in a block of L1, the second waits there.
    HalfAChannel,
    /// A batch waits in L1's mempool.
    Batch,
    /// An output proposal waits in L1's mempool.
    Proposal,
    /// The node is down.
    Restart,
}

/// Development accounts, each for one purpose.
const NOISY: usize = 1;
const TRANSFERRING: usize = 4;
const BATCHER: usize = 8;

fn address(account: usize) -> Address {
    dev_accounts().unwrap()[account].address()
}

/// A rollup on an L1 whose blocks are built by the test.
struct World {
    dir: TempDir,
    l1: DevL1,
    l2: RollupNode,
    record: DevnetRecord,
}

impl World {
    async fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config();
        config.l1.node.finality_blocks = 64;
        let (l1, record) = begin_with(dir.path(), config).await;
        let l2 = start(dir.path(), &record, &l1.node.http_url(), &l1, Some(batcher())).await;
        let world = Self { dir, l1, l2, record };
        while world.l1.node.head().number < world.record.l1.anchor_number + 30 {
            step(&world.l1, &world.l2).await;
        }
        world
    }

    fn l1_url(&self) -> String {
        self.l1.node.http_url()
    }

    fn l2_url(&self) -> String {
        self.l2.node.http_url()
    }

    async fn pass_until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        pass_until(what, &self.l1, &self.l2, holds).await;
    }

    /// Whether something is being sent to L1, by its journal's name: which part of how many.
    fn sending(&self, journal: &str) -> Option<(u64, u64)> {
        let journal = std::fs::read(self.dir.path().join("l2").join(journal)).ok()?;
        let journal: serde_json::Value = serde_json::from_slice(&journal).ok()?;
        let note = &journal["payload"]["note"];
        Some((note["sent"].as_u64().unwrap_or(1), note["of"].as_u64().unwrap_or(1)))
    }

    /// Lets time pass on L2, and an L1 block when nothing else happens, until what is being sent is as wanted and waits at L1.
    async fn until_sending(&self, journal: &str, wanted: impl Fn((u64, u64)) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(90);
        let mut idle = Instant::now();
        while !(self.sending(journal).is_some_and(&wanted) && self.l1.node.waiting_transactions() > 0) {
            assert!(Instant::now() < deadline, "{journal} is never as wanted");
            let other = self.l1.node.waiting_transactions() > 0 && !self.sending(journal).is_some_and(&wanted);
            if other || idle.elapsed() > Duration::from_millis(700) {
                pass(&self.l1, &self.l2, L1_BLOCK_S).await;
                idle = Instant::now();
            }
            // Long enough for what is in a block to be noted, and for what comes next to be sent.
            sleep(Duration::from_millis(400)).await;
        }
    }

    /// Takes back the newest blocks of L1, all of which the node has read, and waits until it knows.
    async fn unwind(&self, depth: u64) {
        let newest = self.l1.node.head().number;
        until("all of L1 is read", async || self.l2.status().l1_current.id.number >= newest).await;
        let before = self.l2.status().reorganisations;
        self.l1.node.unwind(newest - depth).await.unwrap();
        until("the reorganisation is noticed", async || self.l2.status().reorganisations > before).await;
    }

    /// Builds so many L1 blocks.
    async fn build(&self, blocks: u64) {
        for _ in 0..blocks {
            pass(&self.l1, &self.l2, L1_BLOCK_S).await;
        }
    }

    async fn reorganise(&self, depth: u64) {
        self.unwind(depth).await;
        self.build(depth + 1).await;
    }

    /// Transfers that go into a block some time.
    async fn transfer(&self, count: u64) {
        let provider = wallet(&self.l2_url(), TRANSFERRING);
        let first = provider.get_transaction_count(address(TRANSFERRING)).pending().await.unwrap();
        for nonce in first..first + count {
            let tx = fees(TransactionRequest::default().with_to(Address::repeat_byte(0x66)).with_value(U256::ONE));
            let _ = provider.send_transaction(tx.with_nonce(nonce).with_gas_limit(21_000)).await.unwrap();
        }
    }

    /// L1 is reorganised by so many blocks in the middle of it.
    async fn meet(mut self, phase: Phase, depth: u64) -> Self {
        match phase {
            Phase::HalfAChannel => {
                self.noise().await;
                self.until_sending("batcher-sending.json", |(part, of)| part == 2 && of >= part).await;
                self.reorganise(depth).await;
            }
            Phase::Batch => {
                self.until_sending("batcher-sending.json", |_| true).await;
                self.reorganise(depth).await;
            }
            Phase::Proposal => {
                self.until_sending("proposer-sending.json", |_| true).await;
                self.reorganise(depth).await;
            }
            Phase::Restart => {
                let Self { dir, l1, l2, record } = self;
                l2.shutdown().await.unwrap();
                l1.node.unwind(l1.node.head().number - depth).await.unwrap();
                let l2 = start(dir.path(), &record, &l1.node.http_url(), &l1, Some(batcher())).await;
                self = Self { dir, l1, l2, record };
                self.build(depth + 1).await;
            }
        }
        self
    }

    /// Data that does not shrink, for a channel of several parts.
    async fn noise(&self) {
        let provider = wallet(&self.l2_url(), NOISY);
        let first = provider.get_transaction_count(address(NOISY)).pending().await.unwrap();
        for nonce in first..first + 4 {
            let data: Vec<u8> = (0..3000u64).flat_map(|n| keccak256((n << 32 | nonce).to_be_bytes()).0).collect();
            let tx = TransactionRequest::default().with_to(Address::repeat_byte(9)).with_input(data).with_nonce(nonce);
            let _ = provider.send_transaction(fees(tx).with_gas_limit(2_000_000)).await.unwrap();
        }
        // All in one block.
        self.l2.node.advance_clock(L1_BLOCK_S);
    }

    fn follower(&self) -> RollupConfig {
        let config = sequencer(&self.record, &self.l1_url(), &self.l1.beacon_url(), None);
        RollupConfig { role: Role::Follower { sequencer_url: None }, ..config }
    }

    /// Everything goes on, and nothing was lost, forged, or paid for again.
    async fn check(&self) {
        let l2 = wallet(&self.l2_url(), 0);
        for account in [TRANSFERRING, NOISY] {
            let sent = l2.get_transaction_count(address(account)).pending().await.unwrap();
            self.pass_until("no transaction is lost", async || {
                l2.get_transaction_count(address(account)).await.unwrap() >= sent
            })
            .await;
        }
        assert_eq!(self.l2.node.waiting_transactions(), 0);
        let number = self.l2.node.head().number + 2;
        self.pass_until("the chain goes on and is safe", async || self.l2.status().safe.number >= number).await;
        assert_eq!(self.l2.status().mismatches, 0, "{:?}", self.l2.status());
        same_from_l1(&self.l2_url(), self.follower(), number).await;
        self.check_outputs(&l2).await;
        let paid = async || {
            self.sending("batcher-sending.json").is_none()
                && self.l1.node.waiting_transactions() == 0
                && self.batches().await == self.l2.batcher_stats().l1_transactions
        };
        self.pass_until("the batcher's count is that of L1", paid).await;
    }

    /// Every output on L1 is one of the chain.
    async fn check_outputs(&self, l2: &impl Provider) {
        let oracle = Oracle::new(self.record.l1.output_oracle, wallet(&self.l1_url(), 0));
        let next = oracle.nextOutputIndex().call().await.unwrap();
        for index in 0..u64::try_from(next).unwrap() {
            let output = oracle.getL2Output(U256::from(index)).call().await.unwrap();
            let number = format!("{:#x}", output.l2BlockNumber);
            let ours: serde_json::Value = l2.raw_request("optimism_outputAtBlock".into(), (number,)).await.unwrap();
            assert_eq!(ours["outputRoot"], serde_json::json!(output.outputRoot), "output {index} on L1");
        }
    }

    /// The batches on L1, each of which is there once.
    async fn batches(&self) -> u64 {
        let provider = ProviderBuilder::new().connect_http(self.l1_url().parse().unwrap());
        let mut batches = HashSet::<Bytes>::new();
        for number in self.record.l1.anchor_number..=self.l1.node.head().number {
            let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).full().await.unwrap().unwrap();
            for tx in block.transactions.txns().filter(|tx| tx.inner.signer() == address(BATCHER)) {
                assert!(batches.insert(tx.input().clone()), "L1 block {number} holds a batch again");
            }
        }
        batches.len() as u64
    }
}

fn fees(tx: TransactionRequest) -> TransactionRequest {
    tx.with_max_fee_per_gas(10_000_000_000).with_max_priority_fee_per_gas(1_000_000)
}

async fn meet_all(meetings: impl IntoIterator<Item = (Phase, u64)>) {
    let mut world = World::begin().await;
    for (phase, depth) in meetings {
        println!("{phase:?}, {depth} blocks");
        world.transfer(5).await;
        world = world.meet(phase, depth).await;
        world.check().await;
    }
    world.l2.shutdown().await.unwrap();
    world.l1.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_reorganised_in_the_middle_of_batches_and_proposals() {
    Box::pin(meet_all([(Phase::HalfAChannel, 3), (Phase::Batch, 1), (Phase::Proposal, 9), (Phase::Restart, 20)])).await;
}
