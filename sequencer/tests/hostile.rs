//! Requests that no honest client makes, and clients over WebSocket.

use std::time::Duration;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, Bytes, U256, keccak256},
    providers::Provider,
    signers::SignerSync,
};
use jsonrpsee::{
    client_transport::ws::WsTransportClientBuilder,
    core::client::{ClientT, Subscription, SubscriptionClientT, async_client::ClientBuilder},
    rpc_params,
};
use lockstep_sequencer::{Node, NodeConfig, RpcLimits, dev_accounts};
use serde_json::{Value, json};

use crate::common::*;

/// Sends a request as it is and returns the error's code and message.
async fn error_of(provider: &impl Provider, method: &'static str, params: Value) -> (i64, String) {
    let answer = provider.raw_request::<_, Value>(method.into(), params.clone()).await;
    match answer {
        Ok(value) => panic!("{method} {params} was answered with {value}"),
        Err(error) => {
            let payload = error.as_error_resp().unwrap_or_else(|| panic!("{method} {params}: {error}"));
            (payload.code, payload.message.to_string())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_get_errors_and_harm_nothing() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let address = Address::repeat_byte(1);
    let huge = "0x".to_owned() + &"f".repeat(65);
    let cases: Vec<(&'static str, Value, i64)> = vec![
        ("eth_nothing", json!([]), -32601),
        ("eth_getBalance", json!([]), -32602),
        ("eth_getBalance", json!(["0x12", "latest"]), -32602),
        ("eth_getBalance", json!([address, "newest"]), -32602),
        ("eth_getBalance", json!([address, "0xffffffffffffffff"]), -32000),
        ("eth_getBalance", json!([address, { "blockHash": "0x".to_owned() + &"1".repeat(64) }]), -32000),
        ("eth_getStorageAt", json!([address, huge, "latest"]), -32602),
        ("eth_getBlockByNumber", json!([-1, true]), -32602),
        ("eth_sendRawTransaction", json!(["0x"]), -32000),
        ("eth_sendRawTransaction", json!(["0xzz"]), -32602),
        ("eth_sendRawTransaction", json!(["0x".to_owned() + &"00".repeat(200_000)]), -32000),
        ("eth_call", json!([{ "to": address, "gasPrice": "0x1", "maxFeePerGas": "0x1" }]), -32000),
        ("eth_call", json!([{ "to": address, "input": "0x01", "data": "0x02" }]), -32000),
        ("eth_call", json!([{ "to": address, "value": "0x1", "from": address }]), -32000),
        ("eth_call", json!([{ "to": address, "chainId": "0x1" }]), -32000),
        ("eth_call", json!([{ "to": address, "gas": "0x1" }]), -32000),
        ("eth_call", json!([{ "data": "0xfe" }]), -32000),
        ("eth_call", json!([{ "to": address }, "latest", { address.to_string(): { "code": "0xef0100" } }]), -32000),
        ("eth_estimateGas", json!([{ "to": address, "value": huge }]), -32602),
        ("eth_estimateGas", json!([{ "data": "0xfe" }]), -32000),
        ("eth_estimateGas", json!([{ "data": "0x5b600056" }]), -32000),
        ("eth_feeHistory", json!(["0x1", "latest", [50, 10]]), -32602),
        ("eth_feeHistory", json!(["0x1", "latest", [101]]), -32602),
        ("eth_feeHistory", json!(["0x1", "0xffffff", []]), -32000),
        ("eth_getLogs", json!([{ "fromBlock": "0x2", "toBlock": "0x1" }]), -32602),
        ("eth_getLogs", json!([{ "blockHash": "0x".to_owned() + &"1".repeat(64) }]), -32000),
        ("eth_getLogs", json!([{ "fromBlock": "0x1", "blockHash": "0x".to_owned() + &"1".repeat(64) }]), -32602),
        ("eth_getFilterChanges", json!(["0x1234"]), -32000),
        ("web3_sha3", json!([7]), -32602),
        ("evm_increaseTime", json!(["soon"]), -32602),
    ];
    for (method, params, code) in cases {
        let (found, message) = error_of(&provider, method, params.clone()).await;
        assert_eq!(found, code, "{method} {params}: {message}");
        assert!(!message.is_empty());
    }
    // Every number a client may send for a count is bounded.
    let history = provider.get_fee_history(u64::MAX, Default::default(), &[]).await.unwrap();
    assert!(history.gas_used_ratio.len() <= 1024);
    // The node is alive and builds blocks.
    let before = node.head().number;
    node.mine().await.unwrap();
    assert!(node.head().number > before);
    node.shutdown().await.unwrap();
}

/// Each has its own answer under its own id, in order, as if it had come alone; a bad one spoils nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_transactions_is_answered_one_by_one() {
    let node = start().await;
    let key = dev_accounts().unwrap().swap_remove(0);
    let sender = key.address();
    let raw = |nonce: u64| {
        let max_fee_per_gas = 10_000_000_000;
        let to = Address::repeat_byte(7).into();
        let tx = TxEip1559 { chain_id: 901, nonce, gas_limit: 21_000, max_fee_per_gas, to, ..Default::default() };
        let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
    };
    let call = |id: Value, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_sendRawTransaction", "params": params });
    let http = reqwest::Client::new();
    let url = node.http_url();
    let send = async |batch: Vec<Value>| {
        let body = serde_json::to_vec(&batch).unwrap();
        let answer = http.post(&url).header("content-type", "application/json").body(body).send().await.unwrap();
        let answers: Vec<Value> = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(answers.len(), batch.len());
        for (asked, answer) in batch.iter().zip(&answers) {
            assert_eq!((&answer["id"], &answer["jsonrpc"]), (&asked["id"], &json!("2.0")), "{answer}");
        }
        answers
    };
    let hash = |nonce| json!(keccak256(raw(nonce)));
    let hex = |nonce| json!([Bytes::from(raw(nonce))]);
    let mut many: Vec<_> = (0..40).map(|nonce| call(json!(nonce), hex(nonce))).collect();
    many.push(call(json!("again"), hex(3)));
    many.push(call(json!(null), json!(["0x02c0"])));
    many.push(call(json!(7), hex(40)));
    let answers = send(many).await;
    let hashes: Vec<_> = answers[..40].iter().map(|answer| answer["result"].clone()).collect();
    assert_eq!(hashes, (0..40).map(hash).collect::<Vec<_>>());
    assert_eq!((&answers[40]["error"]["code"], &answers[41]["error"]["code"]), (&json!(-32000), &json!(-32000)));
    assert_eq!(answers[42]["result"], hash(40));
    // With other requests between them, or with parameters that are none.
    let chain_id = json!({ "jsonrpc": "2.0", "id": 2, "method": "eth_chainId" });
    let answers = send(vec![call(json!(1), hex(41)), chain_id, call(json!(3), json!(["0xzz"]))]).await;
    assert_eq!((&answers[0]["result"], &answers[1]["result"]), (&hash(41), &json!("0x385")));
    assert_eq!(answers[2]["error"]["code"], -32602);
    let provider = wallet(&node, 0);
    let deadline = std::time::Instant::now() + Duration::from_secs(90);
    while provider.get_transaction_count(sender).await.unwrap() < 42 {
        assert!(std::time::Instant::now() < deadline, "not all were built into blocks");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_ranges_and_results_are_named() {
    let rpc = RpcLimits { log_blocks: 20, log_results: 3, filters: 2, ..RpcLimits::default() };
    let node = Node::start(NodeConfig { rpc, history_blocks: 4, ..fast() }).await.unwrap();
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    let from = node.head().number;
    for value in 0..4u64 {
        probe.set(U256::ZERO, U256::from(value)).send().await.unwrap().get_receipt().await.unwrap();
    }
    let (code, message) = error_of(&provider, "eth_getLogs", json!([{ "fromBlock": format!("{from:#x}") }])).await;
    assert_eq!((code, message.contains("more than 3 results")), (-32005, true), "{message}");
    while node.head().number < 25 {
        node.mine().await.unwrap();
    }
    let (code, message) = error_of(&provider, "eth_getLogs", json!([{ "fromBlock": "0x0" }])).await;
    assert_eq!((code, message.contains("limit 20")), (-32005, true), "{message}");
    let (code, message) = error_of(&provider, "eth_getBalance", json!([Address::ZERO, "0x1"])).await;
    assert_eq!((code, message.contains("state of block 1 is not kept")), (-32000, true), "{message}");
    for _ in 0..2 {
        provider.new_block_filter().await.unwrap();
    }
    assert_eq!(error_of(&provider, "eth_newBlockFilter", json!([])).await.0, -32005);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn development_methods_are_off_unless_asked_for() {
    let node = Node::start(NodeConfig { dev_methods: false, ..fast() }).await.unwrap();
    let provider = wallet(&node, 0);
    assert_eq!(error_of(&provider, "evm_mine", json!([])).await.0, -32601);
    node.shutdown().await.unwrap();
    let node = start().await;
    let provider = wallet(&node, 0);
    for seconds in [json!([3600]), json!(["0xe10"])] {
        provider.raw_request::<_, Value>("evm_increaseTime".into(), seconds).await.unwrap();
    }
    let before = node.head();
    provider.raw_request::<_, Value>("evm_mine".into(), json!([])).await.unwrap();
    let after = node.head();
    assert!(after.number > before.number);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 7190..=now + 7210).contains(&after.timestamp_s));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_report_heads_and_logs() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    let (sender, receiver) = WsTransportClientBuilder::default().build(node.ws_url().parse().unwrap()).await.unwrap();
    let client = ClientBuilder::default().build_with_tokio(sender, receiver);
    let mut heads: Subscription<Value> =
        client.subscribe("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe").await.unwrap();
    let filter = json!({ "address": probe.address() });
    let mut logs: Subscription<Value> =
        client.subscribe("eth_subscribe", rpc_params!["logs", filter], "eth_unsubscribe").await.unwrap();
    probe.set(U256::from(1u64), U256::from(77u64)).send().await.unwrap().get_receipt().await.unwrap();
    let wait = Duration::from_secs(10);
    let log = tokio::time::timeout(wait, logs.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(log["data"], json!(alloy::primitives::B256::from(U256::from(77u64))));
    let first = tokio::time::timeout(wait, heads.next()).await.unwrap().unwrap().unwrap();
    let second = tokio::time::timeout(wait, heads.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(second["parentHash"], first["hash"]);
    let bad: Result<Subscription<Value>, _> =
        client.subscribe("eth_subscribe", rpc_params!["syncing"], "eth_unsubscribe").await;
    assert!(bad.is_err());
    let chain: String = client.request("eth_chainId", rpc_params![]).await.unwrap();
    assert_eq!(chain, "0x385");
    // Shutdown ends the subscriptions instead of waiting for the client.
    tokio::time::timeout(wait, node.shutdown()).await.unwrap().unwrap();
}
