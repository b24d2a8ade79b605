//! The rollup on its development L1: deposits, batches, derivation, outputs, withdrawals, reorganisations, restarts.

use std::time::Duration;

use alloy::{
    eips::BlockId,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, Log, U256, keccak256},
    providers::{Provider, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
    sol,
    sol_types::{SolEvent, SolValue},
};
use lockstep_sequencer::{
    BatcherConfig, Devnet, DevnetConfig, NodeConfig, OutputRootProof, RollupConfig, RollupNode, WithdrawalProof,
    dev_accounts,
};
use tokio::time::{Instant, sleep};

sol! {
    #[sol(rpc)]
    interface Portal {
        struct Withdrawal { uint256 nonce; address sender; address target; uint256 value; uint256 gasLimit; bytes data; }
        struct OutputRootProof { bytes32 version; bytes32 stateRoot; bytes32 messagePasserStorageRoot; bytes32 latestBlockhash; }
        function depositTransaction(address to, uint256 value, uint64 gasLimit, bool isCreation, bytes data) external payable;
        function proveWithdrawalTransaction(Withdrawal tx, uint256 l2OutputIndex, OutputRootProof proof, bytes[] withdrawalProof)
            external;
        function finalizeWithdrawalTransaction(Withdrawal tx) external;
        function provenWithdrawals(bytes32 hash) external view returns (bytes32 outputRoot, uint128 timestamp, uint128 l2OutputIndex);
        function finalizedWithdrawals(bytes32 hash) external view returns (bool);
    }
    #[sol(rpc)]
    interface Oracle {
        struct OutputProposal { bytes32 outputRoot; uint128 timestamp; uint128 l2BlockNumber; }
        function getL2OutputIndexAfter(uint256 l2BlockNumber) external view returns (uint256);
        function getL2Output(uint256 index) external view returns (OutputProposal);
        function latestBlockNumber() external view returns (uint256);
        function nextOutputIndex() external view returns (uint256);
    }
    #[sol(rpc)]
    interface MessagePasser {
        event MessagePassed(
            uint256 indexed nonce, address indexed sender, address indexed target, uint256 value, uint256 gasLimit,
            bytes data, bytes32 withdrawalHash
        );
        function initiateWithdrawal(address target, uint256 gasLimit, bytes data) external payable;
    }
}

impl From<&Log<MessagePasser::MessagePassed>> for Portal::Withdrawal {
    fn from(event: &Log<MessagePasser::MessagePassed>) -> Self {
        Self {
            nonce: event.nonce,
            sender: event.sender,
            target: event.target,
            value: event.value,
            gasLimit: event.gasLimit,
            data: event.data.data.clone(),
        }
    }
}

impl From<OutputRootProof> for Portal::OutputRootProof {
    fn from(proof: OutputRootProof) -> Self {
        Self {
            version: B256::ZERO,
            stateRoot: proof.state_root,
            messagePasserStorageRoot: proof.message_passer_storage_root,
            latestBlockhash: proof.latest_blockhash,
        }
    }
}

pub(crate) const MESSAGE_PASSER: Address = alloy::primitives::address!("4200000000000000000000000000000000000016");
const TO: Address = Address::repeat_byte(0x31);

pub(crate) fn config() -> DevnetConfig {
    let mut config = DevnetConfig::dev().unwrap();
    config.l1.node.block_time_ms = 1000;
    config.batcher = BatcherConfig { max_age_s: 2, ..BatcherConfig::default() };
    config.submission_interval = 5;
    config.finalization_s = 2;
    config
}

pub(crate) fn wallet(url: &str, account: usize) -> impl Provider + Clone + use<> {
    let key = dev_accounts().unwrap().swap_remove(account);
    let provider = ProviderBuilder::new().wallet(EthereumWallet::from(key)).connect_http(url.parse().unwrap());
    provider.client().set_poll_interval(Duration::from_millis(100));
    provider
}

/// Waits until something holds; a test must not wait for ever.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !holds().await {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn hash(url: &str, number: u64) -> B256 {
    let provider = ProviderBuilder::new().connect_http(url.parse().unwrap());
    let block: serde_json::Value =
        provider.raw_request("eth_getBlockByNumber".into(), (format!("{number:#x}"), false)).await.unwrap();
    block["hash"].as_str().unwrap_or_else(|| panic!("block {number} is not there: {block}")).parse().unwrap()
}

/// As [`same_from_l1`], for a network.
pub(crate) async fn compare_with_follower(net: &Devnet, number: u64) {
    let follower = net.follower(&NodeConfig::dev().unwrap(), None).unwrap();
    same_from_l1(&net.l2.node.http_url(), follower, number).await;
}

/// Starts a follower with nothing but L1, waits until it has derived block `number`, and compares it: its hash commits to all before.
pub(crate) async fn same_from_l1(url: &str, follower: RollupConfig, number: u64) {
    let follower = RollupNode::start(follower).await.unwrap();
    let start = Instant::now();
    until("the follower catches up", async || follower.status().safe.number >= number).await;
    println!("derived {number} blocks in {:?}", start.elapsed());
    assert_eq!(hash(url, number).await, hash(&follower.node.http_url(), number).await, "block {number}");
    assert_eq!(follower.status().mismatches, 0);
    follower.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_and_out_of_the_rollup() {
    let net = Devnet::start(config()).await.unwrap();
    let (l1, l2) = (wallet(&net.l1.node.http_url(), 0), wallet(&net.l2.node.http_url(), 0));
    // In: a deposit mints on L2 what was sent to the portal.
    let portal = Portal::new(net.record.l1.portal, l1.clone());
    let ether = U256::from(10u64.pow(18));
    let deposit = portal.depositTransaction(TO, ether, 100_000, false, Bytes::new()).value(ether);
    assert!(deposit.send().await.unwrap().get_receipt().await.unwrap().status());
    until("the deposit arrives", async || l2.get_balance(TO).await.unwrap() == ether).await;
    // A transfer pays for its place on L1.
    let transfer = TransactionRequest::default().with_to(TO).with_value(U256::ONE);
    let sent = l2.send_transaction(transfer).await.unwrap().get_receipt().await.unwrap();
    let receipt: serde_json::Value =
        l2.raw_request("eth_getTransactionReceipt".into(), (sent.transaction_hash,)).await.unwrap();
    let fee = u128::from_str_radix(receipt["l1Fee"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    assert!(fee > 0, "{receipt}");
    // Out: a withdrawal, its output, its proof, its finalisation.
    let passer = MessagePasser::new(MESSAGE_PASSER, l2.clone());
    let target = Address::repeat_byte(0x44);
    let out = passer.initiateWithdrawal(target, U256::from(100_000), Bytes::new()).value(U256::from(777));
    let out = out.send().await.unwrap().get_receipt().await.unwrap();
    let number = prove_and_finalise(&net, &l1, &l2, &out).await;
    assert_eq!(l1.get_balance(target).await.unwrap(), U256::from(777));
    // Everybody can derive all this from L1.
    until("L1 has the blocks", async || net.l2.status().safe.number >= number).await;
    compare_with_follower(&net, number).await;
    until("L1 has them for good", async || net.l2.status().finalized.number >= number).await;
    let status: serde_json::Value = l2.raw_request("optimism_syncStatus".into(), ()).await.unwrap();
    assert!(status["finalized_l2"]["number"].as_u64().unwrap() >= number);
    assert!(status["safe_l2"]["number"].as_u64() <= status["unsafe_l2"]["number"].as_u64());
    assert_eq!(net.l2.status().mismatches, 0);
    net.shutdown().await.unwrap();
}

/// Does on L1 what a withdrawal that was announced on L2 needs. Returns the block whose output it was proven against.
pub(crate) async fn prove_and_finalise(
    net: &Devnet,
    l1: &(impl Provider + Clone),
    l2: &impl Provider,
    out: &TransactionReceipt,
) -> u64 {
    let portal = Portal::new(net.record.l1.portal, l1.clone());
    let event =
        out.inner.logs().iter().find_map(|log| MessagePasser::MessagePassed::decode_log(&log.inner).ok()).unwrap();
    let block = out.block_number.unwrap();
    let oracle = Oracle::new(net.record.l1.output_oracle, l1.clone());
    until("the output is proposed", async || oracle.latestBlockNumber().call().await.unwrap() >= U256::from(block))
        .await;
    let index = oracle.getL2OutputIndexAfter(U256::from(block)).call().await.unwrap();
    let output = oracle.getL2Output(index).call().await.unwrap();
    let number = u64::try_from(output.l2BlockNumber).unwrap();
    let proof: WithdrawalProof =
        l2.raw_request("rollup_withdrawalProof".into(), (event.withdrawalHash, number)).await.unwrap();
    assert_eq!(proof.output_root_proof.root(), output.outputRoot);
    let known: serde_json::Value =
        l2.raw_request("optimism_outputAtBlock".into(), (format!("{number:#x}"),)).await.unwrap();
    assert_eq!(known["outputRoot"], serde_json::json!(output.outputRoot));
    let withdrawal = Portal::Withdrawal::from(&event);
    assert_eq!(keccak256(withdrawal.abi_encode_params()), event.withdrawalHash);
    let outputs = proof.output_root_proof.into();
    let prove = portal.proveWithdrawalTransaction(withdrawal.clone(), index, outputs, proof.withdrawal_proof);
    assert!(prove.send().await.unwrap().get_receipt().await.unwrap().status());
    until("the withdrawal can be finalised", async || {
        portal.finalizeWithdrawalTransaction(withdrawal.clone()).call().await.is_ok()
    })
    .await;
    let finalise = portal.finalizeWithdrawalTransaction(withdrawal.clone()).send().await.unwrap();
    assert!(finalise.get_receipt().await.unwrap().status());
    assert!(portal.finalizedWithdrawals(event.withdrawalHash).call().await.unwrap());
    number
}

/// Sends transfers to many receivers as fast as they are taken.
pub(crate) async fn transfers(url: &str, account: usize, count: u64) {
    let key = dev_accounts().unwrap().swap_remove(account);
    let (sender, provider) = (key.address(), wallet(url, account));
    let first = provider.get_transaction_count(sender).await.unwrap();
    for nonce in first..first + count {
        let to = Address::from_word(keccak256((nonce % 50).to_be_bytes()));
        let tx = TransactionRequest::default()
            .with_to(to)
            .with_value(U256::from(10u64.pow(15)))
            .with_nonce(nonce)
            .with_gas_limit(21_000)
            .with_max_fee_per_gas(10_000_000_000)
            .with_max_priority_fee_per_gas(1_000_000);
        let _ = provider.send_transaction(tx).await.unwrap();
    }
    until("the transfers are in blocks", async || {
        provider.get_transaction_count(sender).await.unwrap() == first + count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_small_in_calldata_and_arrive_in_blobs() {
    for blobs in [false, true] {
        let mut config = config();
        config.batcher.blobs = blobs;
        config.l2.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
        let net = Devnet::start(config).await.unwrap();
        transfers(&net.l2.node.http_url(), 1, 200).await;
        transfers(&net.l2.node.http_url(), 2, 200).await;
        let number = net.l2.node.head().number;
        until("L1 has the blocks", async || net.l2.status().safe.number >= number).await;
        until("the batcher knows", async || net.l2.batcher_stats().transactions >= 400).await;
        let stats = net.l2.batcher_stats();
        let share = stats.channel_bytes as f64 / stats.transaction_bytes as f64;
        println!(
            "blobs {blobs}: {stats:?}; {:.1} bytes a transfer, {:.0} %",
            stats.channel_bytes as f64 / stats.transactions as f64,
            100.0 * share
        );
        assert!(share < 0.7, "{share}: {stats:?}");
        check_metrics(&net, number).await;
        compare_with_follower(&net, number).await;
        net.shutdown().await.unwrap();
    }
}

/// Heads, lag and what batches cost, as Prometheus sees them.
async fn check_metrics(net: &Devnet, safe: u64) {
    let before = net.l2.batcher_stats();
    let url = format!("http://{}/metrics", net.l2.node.metrics_address().unwrap());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let after = net.l2.batcher_stats();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("lockstep_node_{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    };
    assert!(value("safe_block") >= safe as f64 && value("finalized_block") <= value("safe_block"));
    assert!(value("l1_head_block") > 0.0 && value("l1_lag_blocks") < 30.0);
    assert_eq!((value("mismatches_total"), value("l1_reorganisations_total")), (0.0, 0.0));
    for (name, least, most) in [
        ("batch_fees_wei_total", before.l1_fees_wei as f64, after.l1_fees_wei as f64),
        ("batch_bytes_total", before.l1_bytes as f64, after.l1_bytes as f64),
        ("batched_transactions_total", before.transactions as f64, after.transactions as f64),
    ] {
        assert!(
            least > 0.0 && (least..=most).contains(&value(name)),
            "{name} is not within {least} and {most}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_reorganisations_are_followed() {
    let mut config = config();
    config.l1.node.finality_blocks = 64;
    let net = Devnet::start(config).await.unwrap();
    let url = net.l2.node.http_url();
    let mut sent = 0;
    for depth in [1u64, 2, 5, 10, 20] {
        // Only blocks that the driver has read can be missed by it, so those go, and the count is taken before.
        let read = || net.l2.status().l1_current.id.number;
        until("L1 is long enough", async || {
            read() > net.record.l1.anchor_number + depth + 1 && net.l2.status().safe.number > 1
        })
        .await;
        transfers(&url, 3, 5).await;
        sent += 5;
        let before = net.l2.status().reorganisations;
        net.l1.node.unwind(read() - depth).await.unwrap();
        until("the reorganisation is noticed", async || net.l2.status().reorganisations > before).await;
        let number = net.l2.node.head().number + 2;
        until("the chain goes on and is safe", async || net.l2.status().safe.number >= number).await;
    }
    let provider = wallet(&url, 3);
    let sender = dev_accounts().unwrap()[3].address();
    until("no transfer is lost", async || provider.get_transaction_count(sender).await.unwrap() == sent).await;
    let number = net.l2.node.head().number;
    until("L1 has all", async || net.l2.status().safe.number >= number).await;
    compare_with_follower(&net, number).await;
    net.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_and_pays_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let with_dir = || DevnetConfig { data_dir: Some(dir.path().into()), ..config() };
    let net = Devnet::start(with_dir()).await.unwrap();
    transfers(&net.l2.node.http_url(), 1, 20).await;
    let number = net.l2.node.head().number;
    let before = hash(&net.l2.node.http_url(), number).await;
    until("something is safe", async || net.l2.status().safe.number > 3).await;
    net.shutdown().await.unwrap();
    let net = Devnet::start(with_dir()).await.unwrap();
    assert_eq!(hash(&net.l2.node.http_url(), number).await, before);
    until("the rest is submitted", async || net.l2.status().safe.number > number).await;
    // Each block was submitted once.
    let stats = net.l2.batcher_stats();
    assert!(stats.transactions == 20 && stats.blocks <= net.l2.node.head().number, "{stats:?}");
    // A follower that hears the sequencer is as far as it, and L1 agrees later.
    let config = net.follower(&NodeConfig::dev().unwrap(), Some(net.l2.node.http_url())).unwrap();
    let follower = RollupNode::start(config).await.unwrap();
    let newest = net.l2.node.head();
    until("it heard the newest block", async || follower.node.head().number >= newest.number).await;
    assert_eq!(hash(&follower.node.http_url(), newest.number).await, newest.hash);
    until("L1 agrees", async || follower.status().safe.number >= newest.number).await;
    assert_eq!(follower.status().mismatches, 0);
    let latest = wallet(&follower.node.http_url(), 0).get_block(BlockId::safe()).await;
    assert!(latest.is_ok());
    follower.shutdown().await.unwrap();
    net.shutdown().await.unwrap();
}
