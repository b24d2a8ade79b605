//! A rollup on its L1: the bytes that a transfer takes there, and how fast a follower derives full blocks from them.

use std::time::{Duration, Instant};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, Bytes, U256, keccak256},
    signers::SignerSync,
};
use lockstep_bench::Record;
use lockstep_sequencer::{BatcherConfig, BatcherStats, Devnet, DevnetConfig, NodeConfig, RollupNode, dev_accounts};
use tokio::time::sleep;

/// Development accounts that send; the others have work to do.
const SENDERS: usize = 7;
/// The part of the bytes as they were signed that may be left on L1.
const BYTES_GOAL: f64 = 0.6;
/// How many times faster than a chain of full blocks a follower must be.
const DERIVATION_GOAL: f64 = 5.0;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Prints the records.
pub(crate) async fn print(quick: bool) {
    let each = if quick { 400 } else { 1_300 };
    let mut config = DevnetConfig::dev().unwrap();
    config.l1.node.block_time_ms = 1_000;
    config.l2.pool.per_sender = 3_000;
    config.batcher = BatcherConfig { max_age_s: 4, ..BatcherConfig::default() };
    let gas_limit = config.l2.gas_limit;
    let net = Box::pin(Devnet::start(config)).await.unwrap();
    let before = net.l2.batcher_stats();
    let few = submit(&net, 0..each, |i| i % 50).await;
    print_bytes("one of 50 recipients", before, few);
    let many = submit(&net, each..2 * each, |i| i).await;
    print_bytes("a recipient of its own", few, many);
    let number = net.l2.node.head().number;
    until("L1 has the blocks", || net.l2.status().safe.number >= number).await;
    let follower = RollupNode::start(net.follower(&NodeConfig::dev().unwrap(), None).unwrap()).await.unwrap();
    let start = Instant::now();
    until("the follower catches up", || follower.status().safe.number >= number).await;
    let took_s = start.elapsed().as_secs_f64();
    assert_eq!(follower.status().mismatches, 0);
    follower.shutdown().await.unwrap();
    net.shutdown().await.unwrap();
    // At one block a second.
    let full_blocks = (many.transactions - before.transactions) as f64 * 21_000.0 / gas_limit as f64;
    let rate =
        Record::new("node", "full blocks derived from L1 by a follower", "times real time", full_blocks / took_s);
    println!("{}", rate.of_limit(DERIVATION_GOAL).line());
}

fn print_bytes(to: &str, before: BatcherStats, after: BatcherStats) {
    let each = |of: fn(&BatcherStats) -> u64| {
        (of(&after) - of(&before)) as f64 / (after.transactions - before.transactions) as f64
    };
    let case = format!("L1 bytes of a transfer to {to}, span batches in calldata");
    let record = Record::new("node", case, "bytes", each(|stats| stats.channel_bytes));
    println!("{}", record.of_limit(BYTES_GOAL * each(|stats| stats.transaction_bytes)).line());
}

/// Has every sender make a transfer for each nonce, to the recipient of a number, and waits until L1 has them.
async fn submit(net: &Devnet, nonces: std::ops::Range<u64>, recipient: impl Fn(u64) -> u64) -> BatcherStats {
    let wanted = net.l2.batcher_stats().transactions + SENDERS as u64 * (nonces.end - nonces.start);
    for (sender, key) in (0u64..).zip(&dev_accounts().unwrap()[..SENDERS]) {
        for nonce in nonces.clone() {
            let to = Address::from_word(keccak256(recipient(sender << 32 | nonce).to_be_bytes()));
            let tx = TxEip1559 {
                chain_id: 901,
                nonce,
                gas_limit: 21_000,
                max_fee_per_gas: 10_000_000_000,
                max_priority_fee_per_gas: 1_000_000,
                to: to.into(),
                value: U256::from(10u64.pow(15)),
                ..TxEip1559::default()
            };
            let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
            net.l2.node.submit(Bytes::from(TxEnvelope::from(tx.into_signed(signature)).encoded_2718())).unwrap();
        }
    }
    until("L1 has the transfers", || net.l2.batcher_stats().transactions >= wanted).await;
    net.l2.batcher_stats()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
