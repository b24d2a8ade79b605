//! The embedded chain driven through the Engine API's methods.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, B256, U256, address},
    providers::Provider,
    rpc::types::{
        TransactionRequest,
        engine::{ForkchoiceState, PayloadAttributes, PayloadId, PayloadStatusEnum},
    },
};
use lockstep_sequencer::{
    ChainKind, Node, NodeConfig, NodeHandle,
    engine::{Engine, EngineError, LocalEngine},
};
use op_alloy::rpc_types_engine::OpPayloadAttributes;

use crate::common::*;

const FEE_VAULT: Address = address!("4200000000000000000000000000000000000011");

/// A node that builds only what its driver asks for, on a chain that is the same each time.
async fn driven() -> (NodeHandle, LocalEngine) {
    let config = NodeConfig { driven: true, genesis_time_s: Some(1_700_000_000), ..fast() };
    let node = Node::start(config).await.unwrap();
    let engine = node.engine();
    (node, engine)
}

fn attributes(timestamp: u64) -> OpPayloadAttributes {
    OpPayloadAttributes {
        payload_attributes: PayloadAttributes {
            timestamp,
            prev_randao: B256::repeat_byte(5),
            suggested_fee_recipient: FEE_VAULT,
            withdrawals: Some(Vec::new()),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Default::default()
        },
        gas_limit: Some(30_000_000),
        ..Default::default()
    }
}

fn head_only(head: B256) -> ForkchoiceState {
    ForkchoiceState { head_block_hash: head, ..ForkchoiceState::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_engine_builds_another_finds_valid() {
    let (builder, ours) = driven().await;
    let (follower, theirs) = driven().await;
    assert_eq!(builder.head(), follower.head());
    let provider = wallet(&builder, 0);
    let mut parent = builder.head();
    for round in 1..=3u64 {
        let tx = TransactionRequest::default().with_to(Address::repeat_byte(9)).with_value(U256::from(round));
        let _ = provider.send_transaction(tx).await.unwrap();
        let begun =
            ours.forkchoice_updated(head_only(parent.hash), Some(attributes(1_700_000_000 + round))).await.unwrap();
        let id = begun.payload_id.unwrap();
        let envelope = ours.get_payload(id).await.unwrap();
        assert_eq!(ours.get_payload(id).await.unwrap(), envelope);
        let payload = envelope.execution_payload;
        assert_eq!(payload.payload_inner.payload_inner.transactions.len(), 1);
        let hash = payload.payload_inner.payload_inner.block_hash;
        // Altered in any place it is invalid, and nothing of it stays.
        let mut altered = payload.clone();
        altered.payload_inner.payload_inner.state_root = B256::repeat_byte(1);
        let mut short = payload.clone();
        short.payload_inner.payload_inner.transactions.clear();
        let mut twice = payload.clone();
        let again = twice.payload_inner.payload_inner.transactions[0].clone();
        twice.payload_inner.payload_inner.transactions.push(again);
        for bad in [altered, short, twice] {
            let status = theirs.new_payload(bad, B256::ZERO).await.unwrap();
            assert!(matches!(status.status, PayloadStatusEnum::Invalid { .. }), "{status:?}");
            assert_eq!(follower.head(), parent);
        }
        for engine in [&ours, &theirs] {
            let status = engine.new_payload(payload.clone(), B256::ZERO).await.unwrap();
            assert_eq!((status.status, status.latest_valid_hash), (PayloadStatusEnum::Valid, Some(hash)));
            let chosen = engine.forkchoice_updated(ForkchoiceState::same_hash(hash), None).await.unwrap();
            assert!(chosen.is_valid() && chosen.payload_id.is_none());
        }
        parent = builder.head();
        assert_eq!((parent.hash, parent), (hash, follower.head()));
    }
    assert_eq!(wallet(&follower, 0).get_balance(Address::repeat_byte(9)).await.unwrap(), U256::from(6u64));
    for node in [builder, follower] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forkchoice_takes_blocks_back_and_refuses_what_cannot_be() {
    let (node, engine) = driven().await;
    let genesis = node.head();
    let refused = |error: EngineError, wanted: i64| {
        assert!(matches!(error, EngineError::Rpc { code, .. } if code == wanted), "{error}");
    };
    let mut blocks = vec![genesis];
    for round in 1..=3u64 {
        let state = head_only(blocks[blocks.len() - 1].hash);
        let begun = engine.forkchoice_updated(state, Some(attributes(1_700_000_000 + round))).await.unwrap();
        engine.get_payload(begun.payload_id.unwrap()).await.unwrap();
        blocks.push(node.head());
    }
    let labels = |head: usize, safe: usize, finalized: usize| ForkchoiceState {
        head_block_hash: blocks[head].hash,
        safe_block_hash: blocks[safe].hash,
        finalized_block_hash: blocks[finalized].hash,
    };
    refused(engine.forkchoice_updated(labels(1, 2, 0), None).await.unwrap_err(), -38002);
    refused(engine.forkchoice_updated(labels(3, 1, 2), None).await.unwrap_err(), -38002);
    assert_eq!(node.head(), blocks[3]);
    engine.forkchoice_updated(labels(3, 2, 1), None).await.unwrap();
    let safe = wallet(&node, 0).get_block(alloy::eips::BlockId::safe()).await.unwrap().unwrap();
    assert_eq!(safe.header.hash, blocks[2].hash);
    // Back to the second, and on from there with other attributes.
    let begun = engine.forkchoice_updated(labels(2, 2, 1), Some(attributes(1_700_000_009))).await.unwrap();
    assert_eq!(node.head(), blocks[2]);
    let other = engine.get_payload(begun.payload_id.unwrap()).await.unwrap().execution_payload;
    assert_ne!(node.head(), blocks[3]);
    assert_eq!(node.head().number, 3);
    // What is unknown is not there yet; what is beside the head is not executed.
    let far = engine.forkchoice_updated(head_only(B256::repeat_byte(7)), None).await.unwrap();
    assert_eq!(far.payload_status.status, PayloadStatusEnum::Syncing);
    engine.forkchoice_updated(labels(1, 1, 1), None).await.unwrap();
    let orphan = engine.new_payload(other, B256::ZERO).await.unwrap();
    assert_eq!(orphan.status, PayloadStatusEnum::Syncing);
    refused(engine.get_payload(PayloadId::new([1; 8])).await.unwrap_err(), -38001);
    let wrong = |change: &dyn Fn(&mut OpPayloadAttributes)| {
        let mut attributes = attributes(1_700_000_020);
        change(&mut attributes);
        attributes
    };
    for bad in [
        wrong(&|a| a.gas_limit = None),
        wrong(&|a| a.payload_attributes.timestamp = 5),
        wrong(&|a| a.payload_attributes.suggested_fee_recipient = Address::ZERO),
        wrong(&|a| a.payload_attributes.parent_beacon_block_root = None),
        wrong(&|a| a.payload_attributes.withdrawals = None),
    ] {
        refused(engine.forkchoice_updated(head_only(blocks[1].hash), Some(bad)).await.unwrap_err(), -38003);
    }
    assert_eq!(node.head(), blocks[1]);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_isthmus_state_the_withdrawals_root_and_the_base_fees_parameters() {
    let start = || {
        let config = NodeConfig { driven: true, genesis_time_s: Some(1_700_000_000), ..fast() };
        Node::start(NodeConfig { kind: ChainKind::Isthmus, ..config })
    };
    let (builder, follower) = (start().await.unwrap(), start().await.unwrap());
    let (ours, theirs) = (builder.engine(), follower.engine());
    let parent = builder.head();
    // Half the usual target, a tenth at most.
    let with =
        |params: [u8; 8]| OpPayloadAttributes { eip_1559_params: Some(params.into()), ..attributes(1_700_000_001) };
    let mut later = with([0; 8]);
    later.min_base_fee = Some(1);
    for bad in [attributes(1_700_000_001), with([0, 0, 0, 0, 0, 0, 0, 6]), later] {
        let refused = ours.forkchoice_updated(head_only(parent.hash), Some(bad)).await.unwrap_err();
        assert!(matches!(refused, EngineError::Rpc { code: -38003, .. }), "{refused}");
    }
    let good = with([0, 0, 0, 10, 0, 0, 0, 12]);
    let id = ours.forkchoice_updated(head_only(parent.hash), Some(good)).await.unwrap().payload_id.unwrap();
    let other = ours.get_payload(id).await.unwrap_err();
    assert!(matches!(other, EngineError::Rpc { code: -38005, .. }) && other.to_string().contains("Isthmus"), "{other}");
    let payload = ours.get_payload_v4(id).await.unwrap().execution_payload;
    let block = &payload.payload_inner.payload_inner.payload_inner;
    assert_eq!(block.extra_data.as_ref(), [0, 0, 0, 0, 10, 0, 0, 0, 12]);
    let mut altered = payload.clone();
    altered.withdrawals_root = B256::repeat_byte(1);
    let mut usual = payload.clone();
    usual.payload_inner.payload_inner.payload_inner.extra_data = [0, 0, 0, 0, 250, 0, 0, 0, 6].into();
    for bad in [altered, usual] {
        let status = theirs.new_payload_v4(bad, B256::ZERO).await.unwrap();
        assert!(matches!(status.status, PayloadStatusEnum::Invalid { .. }), "{status:?}");
    }
    let status = theirs.new_payload_v4(payload.clone(), B256::ZERO).await.unwrap();
    assert_eq!(status.status, PayloadStatusEnum::Valid);
    assert_eq!(follower.head(), builder.head());
    let (granite, engine) = driven().await;
    let refused = engine.new_payload_v4(payload, B256::ZERO).await.unwrap_err();
    assert!(refused.to_string().contains("Granite"), "{refused}");
    for node in [builder, follower, granite] {
        node.shutdown().await.unwrap();
    }
}
