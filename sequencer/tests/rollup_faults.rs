//! Who lies to a follower, and what the batcher's key can do to derivation.

use std::time::Duration;

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, Bytes},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use lockstep_derive::{compress, frames};
use lockstep_sequencer::{
    BatcherConfig, DevL1, Devnet, DevnetConfig, Fork, NodeConfig, Role, RollupConfig, RollupNode, SequencerConfig,
};

use crate::rollup::{compare_with_follower, config, hash, transfers, until, wallet};

/// A batcher that submits what is so old.
fn submitting_after(max_age_s: u64) -> BatcherConfig {
    BatcherConfig { max_age_s, ..config().batcher }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_sequencer_raises_the_alarm_and_is_overruled() {
    let net = Devnet::start(DevnetConfig { batcher: submitting_after(8), ..config() }).await.unwrap();
    // The liar builds blocks of its own on the same L1, and submits none.
    let alone = SequencerConfig { resend_after_s: 60, ..SequencerConfig::default() };
    let dev = NodeConfig::dev().unwrap();
    let liar = RollupConfig { role: Role::Sequencer(Box::new(alone)), ..net.follower(&dev, None).unwrap() };
    let liar = RollupNode::start(liar).await.unwrap();
    let url = liar.node.http_url();
    let follower = RollupNode::start(net.follower(&dev, Some(url.clone())).unwrap()).await.unwrap();
    transfers(&url, 4, 3).await;
    let number = follower.node.head().number.max(liar.node.head().number);
    until("the follower notices", async || follower.status().mismatches > 0).await;
    until("L1 has the blocks", async || follower.status().safe.number >= number).await;
    assert_eq!(hash(&follower.node.http_url(), number).await, hash(&net.l2.node.http_url(), number).await);
    assert_eq!(net.l2.status().mismatches, 0, "the honest sequencer is what L1 says");
    follower.shutdown().await.unwrap();
    liar.shutdown().await.unwrap();
    net.shutdown().await.unwrap();
}

/// A list in a list in a list, and so on.
fn nested(depth: usize) -> Vec<u8> {
    let mut rlp = vec![0xc0];
    for _ in 0..depth {
        let mut outer = Vec::with_capacity(rlp.len() + 4);
        alloy_rlp::Header { list: true, payload_length: rlp.len() }.encode(&mut outer);
        outer.append(&mut rlp);
        rlp = outer;
    }
    rlp
}

/// What nobody should send to the inbox.
fn hostile() -> Vec<Bytes> {
    let noise: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let framed = |channel: &[u8]| frames(channel, 100_000);
    let mut whole = framed(&noise).remove(0).to_vec();
    let cut = whole[..500].to_vec();
    // The length that the frame claims.
    whole[19..23].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut payloads: Vec<Bytes> = vec![vec![].into(), vec![0].into(), vec![7; 40].into(), cut.into(), whole.into()];
    payloads.push([&[0], noise.as_slice()].concat().into());
    payloads.extend(framed(&noise));
    // Compressed in the way of before Fjord, and not at all.
    payloads.extend(framed(&[&[0x78, 0x9c], noise.as_slice()].concat()));
    payloads.extend(framed(&[&[1], noise.as_slice()].concat()));
    payloads.extend(framed(&[]));
    // More than a channel may hold; nesting; a batch of noise; a string that is longer than what follows.
    payloads.extend(framed(&compress(&vec![0; 110 << 20])));
    payloads.extend(framed(&compress(&nested(20_000))));
    payloads.extend(framed(&compress(&alloy_rlp::encode(noise.as_slice()))));
    payloads.extend(framed(&compress(&alloy_rlp::encode([&[1], noise.as_slice()].concat().as_slice()))));
    payloads.extend(framed(&compress(&[0xbb, 0xff, 0xff, 0xff, 0xff, 1])));
    payloads
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_batches_do_not_stop_derivation() {
    Box::pin(hostile_batches(Fork::Granite)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_batches_do_not_stop_derivation_under_isthmus() {
    Box::pin(hostile_batches(Fork::Isthmus)).await;
}

async fn hostile_batches(fork: Fork) {
    let dir = tempfile::tempdir().unwrap();
    let with_dir = |max_age_s| DevnetConfig {
        data_dir: Some(dir.path().into()),
        batcher: submitting_after(max_age_s),
        fork: Some(fork),
        ..config()
    };
    // The batcher has sent nothing when its key is used for worse.
    let net = Devnet::start(with_dir(3600)).await.unwrap();
    transfers(&net.l2.node.http_url(), 1, 5).await;
    let inbox: Address = net.record.l1.batch_inbox;
    let number = net.l2.node.head().number;
    net.shutdown().await.unwrap();
    let mut l1 = config().l1;
    l1.node.data_dir = Some(dir.path().join("l1"));
    let l1 = DevL1::start(l1).await.unwrap();
    // The key of the batcher, and one that is nobody's.
    let payloads = hostile();
    for account in [8, 3] {
        let provider = wallet(&l1.node.http_url(), account);
        let mut last = None;
        for payload in payloads.clone() {
            let gas = 100_000 + 40 * payload.len() as u64;
            let tx = TransactionRequest::default().with_to(inbox).with_input(payload).with_gas_limit(gas);
            last = Some(provider.send_transaction(tx).await.unwrap());
        }
        let last = last.unwrap().with_timeout(Some(Duration::from_secs(90)));
        assert!(last.get_receipt().await.unwrap().status());
    }
    l1.shutdown().await.unwrap();
    let net = Devnet::start(with_dir(2)).await.unwrap();
    until("honest batches are read after the hostile", async || net.l2.status().safe.number > number).await;
    assert_eq!(net.l2.status().mismatches, 0);
    compare_with_follower(&net, number).await;
    net.shutdown().await.unwrap();
}
