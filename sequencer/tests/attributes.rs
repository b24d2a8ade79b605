//! Blocks whose attributes somebody else chose: deposits, forced transactions, blocks taken back.

use alloy::{
    eips::{BlockId, eip2718::Encodable2718},
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
};
use lockstep_sequencer::{Attributes, Node, NodeConfig, NodeHandle, dev_accounts};
use op_alloy::consensus::{OpTxEnvelope, TxDeposit};

const L1_USER: Address = Address::repeat_byte(0x11);

fn deposit(to: TxKind, mint: u128, value: u128, gas_limit: u64, input: &[u8]) -> Bytes {
    let deposit = TxDeposit {
        source_hash: B256::repeat_byte(mint as u8),
        from: L1_USER,
        to,
        mint,
        value: U256::from(value),
        gas_limit,
        is_system_transaction: false,
        input: Bytes::copy_from_slice(input),
    };
    OpTxEnvelope::from(deposit).encoded_2718().into()
}

fn attributes(node: &NodeHandle, forced: Vec<Bytes>, from_pool: bool) -> Attributes {
    Attributes {
        timestamp_s: node.head().timestamp_s + 1,
        prev_randao: B256::repeat_byte(0x77),
        parent_beacon_root: B256::repeat_byte(0x88),
        gas_limit: 20_000_000,
        base_fee_params: None,
        forced,
        from_pool,
    }
}

async fn start() -> NodeHandle {
    Node::start(NodeConfig { driven: true, genesis_time_s: Some(1000), ..NodeConfig::dev().unwrap() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_mint_run_and_fail_without_a_signature() {
    let node = start().await;
    let key = dev_accounts().unwrap().swap_remove(0);
    let wallet = EthereumWallet::from(key);
    let provider = ProviderBuilder::new().wallet(wallet).connect_http(node.http_url().parse().unwrap());
    let to = Address::repeat_byte(0x22);
    // A mint with a transfer, one that fails for want of funds, and a contract of one INVALID.
    let forced = vec![
        deposit(to.into(), 50, 20, 100_000, &[]),
        deposit(to.into(), 0, 1000, 100_000, &[]),
        deposit(TxKind::Create, 0, 0, 100_000, &[0x60, 0xfe, 0x60, 0, 0x53, 0x60, 1, 0x60, 0, 0xf3]),
    ];
    let waiting = TransactionRequest::default().with_to(to).with_value(U256::from(3));
    let waiting = *provider.send_transaction(waiting).await.unwrap().tx_hash();
    let head = node.produce(node.head().hash, attributes(&node, forced, true)).await.unwrap();
    assert_eq!((head.number, head.timestamp_s), (1, 1001));
    assert_eq!(provider.get_balance(to).await.unwrap(), U256::from(23));
    assert_eq!(provider.get_balance(L1_USER).await.unwrap(), U256::from(30));
    assert_eq!(provider.get_transaction_count(L1_USER).await.unwrap(), 3);
    assert!(provider.get_transaction_receipt(waiting).await.unwrap().unwrap().status());
    let created = L1_USER.create(2);
    assert_eq!(provider.get_code_at(created).await.unwrap(), Bytes::from_static(&[0xfe]));

    let block: serde_json::Value = provider.raw_request("eth_getBlockByNumber".into(), ("0x1", true)).await.unwrap();
    assert_eq!(block["parentBeaconBlockRoot"], serde_json::json!(B256::repeat_byte(0x88)));
    assert_eq!(block["mixHash"], serde_json::json!(B256::repeat_byte(0x77)));
    assert_eq!(block["gasLimit"], "0x1312d00");
    let first = &block["transactions"][0];
    assert_eq!((first["type"].as_str(), first["mint"].as_str()), (Some("0x7e"), Some("0x32")));
    assert_eq!(first["from"], serde_json::json!(L1_USER));
    let receipts: serde_json::Value = provider.raw_request("eth_getBlockReceipts".into(), ("0x1",)).await.unwrap();
    let expected = [("0x1", Some("0x0"), None), ("0x0", Some("0x1"), None), ("0x1", Some("0x2"), Some(created))];
    for (receipt, (status, nonce, contract)) in receipts.as_array().unwrap().iter().zip(expected) {
        assert_eq!((receipt["type"].as_str(), receipt["status"].as_str()), (Some("0x7e"), Some(status)));
        assert_eq!(receipt["depositNonce"].as_str(), nonce);
        assert_eq!(receipt["depositReceiptVersion"], "0x1");
        assert_eq!(receipt["contractAddress"], serde_json::json!(contract));
    }
    assert_eq!(receipts[3]["type"], "0x2");
    let sealed = provider.get_block(BlockId::hash(head.hash)).await;
    // Ethereum's types know no deposits; by hashes alone the block is the same to everybody.
    assert!(sealed.is_ok_and(|block| block.unwrap().header.inner.hash_slow() == head.hash));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_block_changes_nothing() {
    let node = start().await;
    let genesis = node.head();
    let refused = [
        vec![Bytes::from_static(&[0x7e, 0xc0])],
        vec![Bytes::from_static(b"nonsense")],
        vec![Bytes::new()],
        vec![deposit(L1_USER.into(), 1, 0, 20_000_001, &[])],
    ];
    for forced in refused {
        let error = node.produce(genesis.hash, attributes(&node, forced, false)).await.unwrap_err();
        assert!(error.to_string().contains("transaction 0"), "{error}");
        assert_eq!(node.head(), genesis);
    }
    let error = node.produce(B256::ZERO, attributes(&node, Vec::new(), false)).await.unwrap_err();
    assert!(error.to_string().contains("the newest block is"), "{error}");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_attributes_make_the_same_block_again() {
    let node = start().await;
    let mut chain = vec![(node.head(), None)];
    for number in 0..12u8 {
        let create = deposit(TxKind::Create, 9, 0, 200_000, &[0x60, number, 0x60, number, 0x55, 0x33, 0xff]);
        let store = deposit(TxKind::Create, 7, 0, 200_000, &[0x60, 1, 0x60, number, 0x55, 0x60, 0, 0x60, 0, 0xf3]);
        let attributes = attributes(&node, vec![deposit(L1_USER.into(), 1, 0, 50_000, &[]), create, store], false);
        let head = node.produce(node.head().hash, attributes.clone()).await.unwrap();
        chain.push((head, Some(attributes)));
    }
    for depth in [1, 3, 12] {
        let to = chain.len() - 1 - depth;
        assert_eq!(node.unwind(to as u64).await.unwrap(), chain[to].0);
        for (expected, attributes) in &chain[to + 1..] {
            let again = node.produce(node.head().hash, attributes.clone().unwrap()).await.unwrap();
            assert_eq!(again, *expected);
        }
    }
    node.shutdown().await.unwrap();
}
