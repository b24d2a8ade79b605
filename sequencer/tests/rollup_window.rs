//! No batch for longer than L1 waits: L1's own blocks take the place of the sequencer's, and the chain goes on.

use alloy::{
    primitives::{Address, Bytes, U256},
    providers::Provider,
};
use lockstep_sequencer::{DevL1, DevnetConfig, Fork, Role, RollupConfig, RollupNode, dev_accounts};

use crate::{
    outages::{L1_BLOCK_S, all_is_well, batcher, begin_with, pass, pass_until, start},
    rollup::{Portal, config, hash, transfers, until, wallet},
    rollup_kill::sequencer,
};

/// L1 blocks that a batch has.
const WINDOW: u64 = 64;

/// Lets an L1 block pass, and waits until the node has read it.
pub(crate) async fn step(l1: &DevL1, l2: &RollupNode) {
    pass(l1, l2, L1_BLOCK_S).await;
    let newest = l1.node.head().number;
    until("L1's block is read", async || {
        l2.status().l1_head.id.number >= newest && l2.status().l1_current.id.number >= newest
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_batches_for_the_window_l1_makes_the_blocks_and_transactions_wait() {
    Box::pin(without_batches_for_the_window(Fork::Granite)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_batches_for_the_window_of_isthmus_all_comes_right_too() {
    Box::pin(without_batches_for_the_window(Fork::Isthmus)).await;
}

async fn without_batches_for_the_window(fork: Fork) {
    let dir = tempfile::tempdir().unwrap();
    let (l1, record) = begin_with(
        dir.path(),
        DevnetConfig { sequencing_window: WINDOW, submission_interval: 1_000_000, fork: Some(fork), ..config() },
    )
    .await;
    let url = l1.node.http_url();
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    pass_until("something is safe", &l1, &l2, async || l2.status().safe.number > 5).await;
    l2.shutdown().await.unwrap();
    // Without a batcher. A follower takes the sequencer's blocks until L1 says otherwise.
    let l2 = start(dir.path(), &record, &url, &l1, None).await;
    let l2_url = l2.node.http_url();
    until("L1 was read", async || l2.status().caught_up).await;
    let role = Role::Follower { sequencer_url: Some(l2_url.clone()) };
    let follower = RollupConfig { role, ..sequencer(&record, &url, &l1.beacon_url(), None) };
    let follower = RollupNode::start(follower).await.unwrap();
    transfers(&l2_url, 1, 5).await;
    let (sender, user) = (dev_accounts().unwrap()[1].address(), wallet(&l2_url, 1));
    let last = l2.node.head();
    assert_eq!(hash(&l2_url, last.number).await, last.hash);
    until("the follower heard the transfers", async || follower.node.head().number >= last.number).await;
    // A deposit of that time.
    let to = Address::repeat_byte(0x37);
    let portal = Portal::new(record.l1.portal, wallet(&url, 0));
    let deposit = portal.depositTransaction(to, U256::from(5), 100_000, false, Bytes::new()).value(U256::from(5));
    let deposit = deposit.send().await.unwrap();
    let deadline = l1.node.head().number + 3 * WINDOW;
    while l2.status().mismatches == 0 {
        step(&l1, &l2).await;
        assert!(l1.node.head().number < deadline, "nothing was replaced: {:?}", l2.status());
    }
    assert!(deposit.get_receipt().await.unwrap().status());
    // The chain goes on without transactions, and nothing of it is replaced any more.
    for _ in 0..WINDOW / 4 {
        step(&l1, &l2).await;
    }
    let newest_s = l1.node.head().timestamp_s;
    until("the chain is as far as L1", async || l2.node.head().timestamp_s + 2 * L1_BLOCK_S >= newest_s).await;
    assert_ne!(hash(&l2_url, last.number).await, last.hash);
    assert_eq!(user.get_transaction_count(sender).await.unwrap(), 0);
    assert_eq!(l2.node.waiting_transactions(), 5, "what was in replaced blocks waits");
    assert_eq!(user.get_balance(to).await.unwrap(), U256::from(5));
    assert_eq!(l2.status().mismatches, 1, "{:?}", l2.status());
    let safe = l2.status().safe;
    until("the follower sees the same", async || follower.status().safe.number >= safe.number).await;
    assert_eq!(hash(&follower.node.http_url(), safe.number).await, safe.hash);
    assert_eq!(follower.status().mismatches, 1, "{:?}", follower.status());
    follower.shutdown().await.unwrap();
    l2.shutdown().await.unwrap();
    // With a batcher all comes right: what waited is in blocks, and L1 has them in time.
    let l2 = start(dir.path(), &record, &url, &l1, Some(batcher())).await;
    let user = wallet(&l2.node.http_url(), 1);
    pass_until("the transfers are in blocks again", &l1, &l2, async || {
        user.get_transaction_count(sender).await.unwrap() == 5
    })
    .await;
    all_is_well(&l1, &l2, &record).await;
    assert_eq!(user.get_balance(to).await.unwrap(), U256::from(5));
    assert_eq!(l2.node.waiting_transactions(), 0);
    l2.shutdown().await.unwrap();
    l1.shutdown().await.unwrap();
}
