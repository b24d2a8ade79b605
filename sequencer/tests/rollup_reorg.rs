//! L1 reorganised, by up to twenty blocks, in the middle of everything that the rollup does with it.

use std::{collections::HashSet, sync::Mutex, time::Duration};

use alloy::{
    consensus::Transaction as _,
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    sol_types::SolEvent,
};
use lockstep_sequencer::{DevL1, DevnetRecord, Role, RollupConfig, RollupNode, WithdrawalProof, dev_accounts};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    outages::{L1_BLOCK_S, batcher, begin_with, pass, pass_until, start},
    rollup::{MESSAGE_PASSER, MessagePasser, Oracle, Portal, config, hash, same_from_l1, until, wallet},
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
    /// A withdrawal is proven and not finalised.
    Withdrawal,
    /// A second node is reading L1.
    Follower,
    /// L2 has a deposit that L1 will not have any more.
    Deposit,
    /// L1 was reorganised a moment ago, less deeply.
    Again,
    /// The node is down.
    Restart,
}

const PHASES: [Phase; 8] = [
    Phase::HalfAChannel,
    Phase::Batch,
    Phase::Proposal,
    Phase::Withdrawal,
    Phase::Follower,
    Phase::Deposit,
    Phase::Again,
    Phase::Restart,
];

/// Blocks of L1 after which one is final.
const FINAL_BLOCKS: u64 = 64;

/// Development accounts, each for one purpose.
const NOISY: usize = 1;
const WITHDRAWING: usize = 2;
const DEPOSITING: usize = 3;
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
    /// The batches in blocks of L1 that are final, and the first block after these.
    settled: Mutex<(HashSet<B256>, u64)>,
}

impl World {
    async fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config();
        config.l1.node.finality_blocks = FINAL_BLOCKS;
        // Blocks come faster here than L1 takes proposals, one in a block.
        config.submission_interval = 20;
        let (l1, record) = begin_with(dir.path(), config).await;
        let l2 = start(dir.path(), &record, &l1.node.http_url(), &l1, Some(batcher())).await;
        let settled = Mutex::new((HashSet::new(), record.l1.anchor_number));
        let world = Self { dir, l1, l2, record, settled };
        // What is withdrawn must have come in.
        let portal = Portal::new(world.record.l1.portal, wallet(&world.l1_url(), 0));
        let deposit =
            portal.depositTransaction(Address::repeat_byte(7), U256::from(1000), 100_000, false, Bytes::new());
        let _ = deposit.value(U256::from(1000)).send().await.unwrap();
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

    /// The first and the last block of the channel that the batcher is submitting.
    fn open_channel(&self) -> Option<(u64, u64)> {
        let progress = std::fs::read(self.dir.path().join("l2/batcher.json")).ok()?;
        let progress: serde_json::Value = serde_json::from_slice(&progress).ok()?;
        let open = &progress["open"];
        Some((open["first"].as_u64()?, open["last"].as_u64()?))
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
            Phase::Withdrawal => self.withdraw(depth).await,
            Phase::Follower => self.follow(depth).await,
            Phase::Deposit => self.lose_deposit(depth).await,
            Phase::Again => {
                self.reorganise(depth.div_ceil(3)).await;
                self.reorganise(depth + 1).await;
            }
            Phase::Restart => {
                let Self { dir, l1, l2, record, settled } = self;
                l2.shutdown().await.unwrap();
                l1.node.unwind(l1.node.head().number - depth).await.unwrap();
                let l2 = start(dir.path(), &record, &l1.node.http_url(), &l1, Some(batcher())).await;
                self = Self { dir, l1, l2, record, settled };
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

    /// A deposit of a lost L1 block, whose sender makes another transaction of it.
    async fn lose_deposit(&self, depth: u64) {
        let l1 = wallet(&self.l1_url(), DEPOSITING);
        let to = Address::from_word(keccak256(self.l1.node.head().hash));
        let nonce = l1.get_transaction_count(address(DEPOSITING)).await.unwrap();
        let portal = Portal::new(self.record.l1.portal, l1.clone());
        let deposit = portal.depositTransaction(to, U256::from(9), 100_000, false, Bytes::new()).value(U256::from(9));
        let deposit = *deposit.nonce(nonce).gas(1_000_000).send().await.unwrap().tx_hash();
        pass(&self.l1, &self.l2, L1_BLOCK_S).await;
        let mined = l1.get_transaction_receipt(deposit).await.unwrap().unwrap().block_number.unwrap();
        let l2 = wallet(&self.l2_url(), 0);
        self.l2.node.advance_clock(L1_BLOCK_S);
        until("L2 has the deposit", async || l2.get_balance(to).await.unwrap() == U256::from(9)).await;
        let depth = depth.max(self.l1.node.head().number + 1 - mined);
        self.unwind(depth).await;
        let other = TransactionRequest::default().with_to(to).with_nonce(nonce).with_gas_limit(21_000);
        let other = other.with_max_fee_per_gas(900_000_000_000).with_max_priority_fee_per_gas(90_000_000_000);
        let _ = l1.send_transaction(other).await.unwrap();
        self.build(depth + 1).await;
        assert!(l1.get_transaction_receipt(deposit).await.unwrap().is_none(), "the deposit came back");
        until("L2 has no deposit", async || l2.get_balance(to).await.unwrap() == U256::ZERO).await;
    }

    /// A second node with nothing but L1, which changes before the node has read it to its end, or just after.
    async fn follow(&self, depth: u64) {
        let follower = RollupNode::start(self.follower()).await.unwrap();
        self.reorganise(depth).await;
        println!("the follower had read up to {}", follower.status().l1_current.id.number);
        let number = self.l2.node.head().number;
        self.pass_until("the follower catches up", async || follower.status().safe.number >= number).await;
        assert_eq!(hash(&follower.node.http_url(), number).await, hash(&self.l2_url(), number).await);
        assert_eq!(follower.status().mismatches, 0);
        follower.shutdown().await.unwrap();
    }

    fn follower(&self) -> RollupConfig {
        let config = sequencer(&self.record, &self.l1_url(), &self.l1.beacon_url(), None);
        RollupConfig { role: Role::Follower { sequencer_url: None }, ..config }
    }

    /// A withdrawal between whose proof and end L1 is reorganised. Its proof may have to be given again.
    async fn withdraw(&self, depth: u64) {
        let (l1, l2) = (wallet(&self.l1_url(), WITHDRAWING), wallet(&self.l2_url(), WITHDRAWING));
        let target = Address::from_word(keccak256(self.l2.node.head().hash));
        let passer = MessagePasser::new(MESSAGE_PASSER, l2.clone());
        let out = passer.initiateWithdrawal(target, U256::from(100_000), Bytes::new()).value(U256::from(7));
        let out = *out.gas(300_000).max_fee_per_gas(10_000_000_000).send().await.unwrap().tx_hash();
        let idle = async || {
            let latest = l1.get_transaction_count(address(WITHDRAWING)).await.unwrap();
            l1.get_transaction_count(address(WITHDRAWING)).pending().await.unwrap() == latest
        };
        self.pass_until("it is proven", async || idle().await && self.advance(&l1, &l2, out).await == Next::Finalise)
            .await;
        self.reorganise(depth).await;
        self.pass_until("it is finalised", async || idle().await && self.advance(&l1, &l2, out).await == Next::Nothing)
            .await;
        assert_eq!(l1.get_balance(target).await.unwrap(), U256::from(7));
    }

    /// Does the next thing on L1 that a withdrawal needs, if it is time. `out` is its transaction on L2.
    async fn advance(&self, l1: &(impl Provider + Clone), l2: &impl Provider, out: B256) -> Next {
        let Some(receipt) = l2.get_transaction_receipt(out).await.unwrap() else { return Next::Prove };
        let mut logs = receipt.inner.logs().iter();
        let event = logs.find_map(|log| MessagePasser::MessagePassed::decode_log(&log.inner).ok()).unwrap();
        let portal = Portal::new(self.record.l1.portal, l1.clone());
        if portal.finalizedWithdrawals(event.withdrawalHash).call().await.unwrap() {
            return Next::Nothing;
        }
        let withdrawal = Portal::Withdrawal::from(&event);
        let block = receipt.block_number.unwrap();
        if portal.provenWithdrawals(event.withdrawalHash).call().await.unwrap().timestamp == 0 {
            let oracle = Oracle::new(self.record.l1.output_oracle, l1.clone());
            // There may be no such output yet.
            let Ok(index) = oracle.getL2OutputIndexAfter(U256::from(block)).call().await else { return Next::Prove };
            let Ok(output) = oracle.getL2Output(index).call().await else { return Next::Prove };
            let number = u64::try_from(output.l2BlockNumber).unwrap();
            let asked = l2.raw_request("rollup_withdrawalProof".into(), (event.withdrawalHash, number)).await;
            let proof: WithdrawalProof = match asked {
                Ok(proof) => proof,
                Err(_) => return Next::Prove,
            };
            let outputs = proof.output_root_proof.into();
            let prove = portal.proveWithdrawalTransaction(withdrawal, index, outputs, proof.withdrawal_proof);
            let _ = prove.gas(2_000_000).send().await.unwrap();
            return Next::Prove;
        }
        let finalise = portal.finalizeWithdrawalTransaction(withdrawal);
        if finalise.call().await.is_ok() && receipt.block_number.is_some() {
            let _ = finalise.gas(2_000_000).send().await.unwrap();
        }
        Next::Finalise
    }

    /// Everything goes on, and nothing was lost, forged, or paid for again.
    async fn check(&self) {
        let l2 = wallet(&self.l2_url(), 0);
        for account in [TRANSFERRING, NOISY, WITHDRAWING] {
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
        let (mut batches, first) = self.settled.lock().unwrap().clone();
        let newest = self.l1.node.head().number;
        for number in first..=newest {
            let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).full().await.unwrap().unwrap();
            for tx in block.transactions.txns().filter(|tx| tx.inner.signer() == address(BATCHER)) {
                assert!(batches.insert(keccak256(tx.input())), "L1 block {number} holds a batch again");
            }
            if number + FINAL_BLOCKS < newest {
                *self.settled.lock().unwrap() = (batches.clone(), number + 1);
            }
        }
        batches.len() as u64
    }
}

/// What a withdrawal needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Prove,
    Finalise,
    Nothing,
}

fn fees(tx: TransactionRequest) -> TransactionRequest {
    tx.with_max_fee_per_gas(10_000_000_000).with_max_priority_fee_per_gas(1_000_000)
}

async fn meet_all(meetings: impl IntoIterator<Item = (Phase, u64)>) {
    let mut world = World::begin().await;
    for (phase, depth) in meetings {
        println!("{phase:?}, {depth} blocks");
        world.transfer(5).await;
        world = Box::pin(world.meet(phase, depth)).await;
        world.check().await;
    }
    world.l2.shutdown().await.unwrap();
    world.l1.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_reorganised_in_the_middle_of_batches_and_proposals() {
    Box::pin(meet_all([(Phase::HalfAChannel, 3), (Phase::Batch, 1), (Phase::Proposal, 9), (Phase::Restart, 20)])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_reorganised_in_the_middle_of_deposits_and_withdrawals() {
    Box::pin(meet_all([(Phase::Deposit, 2), (Phase::Withdrawal, 5), (Phase::Follower, 12), (Phase::Again, 16)])).await;
}

/// The batcher once forgot a channel as soon as it was safe, and sent its blocks again when L1 took that back.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_was_safe_and_waits_at_l1_again_is_not_sent_again() {
    let world = World::begin().await;
    world.until_sending("batcher-sending.json", |_| true).await;
    let (_, last) = world.open_channel().unwrap();
    let before = world.l1.node.head().number;
    // Time passes on L1 alone, so that what follows takes no block of L2 away.
    until("the channel is safe", async || {
        if world.l1.node.waiting_transactions() > 0 {
            world.l1.node.advance_clock(L1_BLOCK_S);
            world.l1.node.mine().await.unwrap();
        }
        world.l2.status().safe.number >= last && world.sending("batcher-sending.json").is_none()
    })
    .await;
    // The batcher has time to see that too.
    sleep(Duration::from_secs(2)).await;
    let newest = world.l2.status().safe;
    world.unwind(world.l1.node.head().number - before).await;
    until("nothing of it is safe", async || world.l2.status().safe.number < last).await;
    assert!(world.l1.node.waiting_transactions() > 0, "L1 has lost the channel");
    // New blocks make a new channel.
    world.l2.node.advance_clock(4 * L1_BLOCK_S);
    until("a channel is sent", async || world.open_channel().is_some()).await;
    let (first, _) = world.open_channel().unwrap();
    assert_eq!(hash(&world.l2_url(), newest.number).await, newest.hash, "L2 was reorganised");
    assert_eq!(first, newest.number + 1);
    world.check().await;
    world.l2.shutdown().await.unwrap();
    world.l1.shutdown().await.unwrap();
}

/// Every phase in turn, `LOCKSTEP_REORGANISATIONS` in all: first all with `LOCKSTEP_DEPTH` blocks, then with one more, and after 20
/// with one again. With 160 each phase meets each depth; so do four runs of 40 that begin at 1, 6, 11 and 16.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as it is told to"]
async fn l1_reorganised_many_times() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse::<u64>().unwrap());
    let first = number("LOCKSTEP_DEPTH", 1);
    let round = |index: u64| {
        let cycle = PHASES.len() as u64;
        (PHASES[(index % cycle) as usize], 1 + (first - 1 + index / cycle) % 20)
    };
    Box::pin(meet_all((0..number("LOCKSTEP_REORGANISATIONS", 40)).map(round))).await;
}
