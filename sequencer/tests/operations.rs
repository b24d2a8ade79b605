//! What operators and indexers rely on: proofs, the mempool's contents, access lists of hosts and origins, metrics.

use std::time::Duration;

use alloy::{
    eips::BlockId,
    network::TransactionBuilder,
    primitives::{Address, B256, U256, keccak256},
    providers::Provider,
    rlp,
    rpc::types::TransactionRequest,
};
use alloy_trie::{Nibbles, proof::verify_proof};
use lockstep_sequencer::{Node, NodeConfig, dev_accounts};
use serde_json::{Value, json};

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn proofs_hold_against_the_header_of_their_block() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    let mut blocks = Vec::new();
    for value in [5u64, 6, 0] {
        let receipt = probe.set(U256::from(3u64), U256::from(value)).send().await.unwrap().get_receipt().await.unwrap();
        blocks.push((receipt.block_number.unwrap(), value));
    }
    let slot = B256::from(keccak256([U256::from(3u64).to_be_bytes::<32>(), [0; 32]].concat()));
    for (number, value) in blocks {
        let header = provider.get_block_by_number(number.into()).await.unwrap().unwrap().header;
        let proof = provider.get_proof(*probe.address(), vec![slot]).block_id(number.into()).await.unwrap();
        let account = alloy_trie::TrieAccount {
            nonce: proof.nonce,
            balance: proof.balance,
            storage_root: proof.storage_hash,
            code_hash: proof.code_hash,
        };
        let key = Nibbles::unpack(keccak256(probe.address()));
        verify_proof(header.state_root, key, Some(rlp::encode(account)), &proof.account_proof).unwrap();
        let entry = &proof.storage_proof[0];
        assert_eq!(entry.value, U256::from(value));
        let leaf = (value != 0).then(|| rlp::encode(U256::from(value)));
        if proof.storage_hash != alloy_trie::EMPTY_ROOT_HASH {
            verify_proof(proof.storage_hash, Nibbles::unpack(keccak256(slot)), leaf, &entry.proof).unwrap();
        } else {
            assert!(value == 0 && entry.proof.is_empty());
        }
    }
    // Nobody has an account there, which is proven too.
    let header = provider.get_block(BlockId::latest()).await.unwrap().unwrap().header;
    let nobody = Address::repeat_byte(0x99);
    let proof = provider.get_proof(nobody, vec![]).block_id(header.number.into()).await.unwrap();
    verify_proof(header.state_root, Nibbles::unpack(keccak256(nobody)), None, &proof.account_proof).unwrap();
    let many: Vec<B256> = (0..1025u64).map(|slot| U256::from(slot).into()).collect();
    assert!(provider.get_proof(nobody, many).await.unwrap_err().to_string().contains("limit 1024"));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mempool_shows_what_is_ready_and_what_waits_behind_a_gap() {
    // Blocks come only when the test says so.
    let node = Node::start(NodeConfig { block_time_ms: 3_600_000, ..fast() }).await.unwrap();
    let provider = wallet(&node, 0);
    let sender = dev_accounts().unwrap()[0].address();
    let transfer = |nonce| {
        TransactionRequest::default()
            .with_to(Address::repeat_byte(1))
            .with_value(U256::from(7u64))
            .with_nonce(nonce)
            .with_gas_limit(21_000)
            .with_max_fee_per_gas(5_000_000_000)
            .with_max_priority_fee_per_gas(1)
    };
    for nonce in [0, 1, 4] {
        let _ = provider.send_transaction(transfer(nonce)).await.unwrap();
    }
    let ask = async |method: &'static str, params: Value| provider.raw_request::<_, Value>(method.into(), params).await;
    let status = ask("txpool_status", json!([])).await.unwrap();
    assert_eq!(status, json!({ "pending": "0x2", "queued": "0x1" }));
    let content = ask("txpool_content", json!([])).await.unwrap();
    let of = |list: &str| content[list].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(of("pending").as_object().unwrap().keys().collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(of("queued")["4"]["value"], json!("0x7"));
    let from = ask("txpool_contentFrom", json!([sender])).await.unwrap();
    assert_eq!((&from["pending"], &from["queued"]), (&of("pending"), &of("queued")));
    let inspect = ask("txpool_inspect", json!([])).await.unwrap().to_string();
    assert!(inspect.contains("7 wei + 21000 gas × 5000000000 wei"), "{inspect}");
    node.mine().await.unwrap();
    let status = ask("txpool_status", json!([])).await.unwrap();
    assert_eq!(status, json!({ "pending": "0x0", "queued": "0x1" }));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_show_calls_reverts_and_steps() {
    let node = Node::start(NodeConfig { block_time_ms: 3_600_000, ..fast() }).await.unwrap();
    let provider = wallet(&node, 0);
    let deploy = TransactionRequest::default().with_deploy_code(probe_code()).with_gas_limit(2_000_000);
    let pending = provider.send_transaction(deploy).await.unwrap();
    node.mine().await.unwrap();
    let at = pending.get_receipt().await.unwrap().contract_address.unwrap();
    let probe = Probe::new(at, provider.clone());
    // Three in one block: the second depends on the first, the third reverts.
    let first = probe.set(U256::ONE, U256::from(5u64)).gas(200_000).send().await.unwrap();
    let second = probe.deep(U256::from(2u64), U256::ONE).gas(2_000_000).send().await.unwrap();
    let third = probe.set(U256::ONE, U256::from(5000u64)).gas(200_000).send().await.unwrap();
    node.mine().await.unwrap();
    let number = node.head().number;
    let trace = async |hash: B256, options: Value| {
        provider.raw_request::<_, Value>("debug_traceTransaction".into(), json!([hash, options])).await.unwrap()
    };
    let calls = trace(*second.tx_hash(), json!({ "tracer": "callTracer" })).await;
    let receipt = second.get_receipt().await.unwrap();
    assert_eq!((&calls["type"], &calls["calls"][0]["type"]), (&json!("CALL"), &json!("CALL")));
    assert_eq!(calls["calls"][0]["calls"][0]["to"], json!(at));
    assert_eq!(calls["gasUsed"], json!(format!("{:#x}", receipt.gas_used)));
    let reverted = trace(*third.tx_hash(), json!({ "tracer": "callTracer" })).await;
    assert_eq!(reverted["error"], json!("execution reverted"));
    let before = trace(*third.tx_hash(), json!({ "tracer": "prestateTracer" })).await;
    assert!(before[at.to_string().to_lowercase()]["storage"].is_null() || before.to_string().contains("storage"));
    let steps = trace(*first.tx_hash(), json!({})).await;
    let receipt = first.get_receipt().await.unwrap();
    assert_eq!((&steps["failed"], &steps["gas"]), (&json!(false), &json!(receipt.gas_used)));
    let ops: Vec<&str> = steps["structLogs"].as_array().unwrap().iter().map(|s| s["op"].as_str().unwrap()).collect();
    assert!(ops.contains(&"SSTORE") && ops.contains(&"LOG3"), "{ops:?}");
    let block = json!([format!("{number:#x}"), { "tracer": "callTracer" }]);
    let block: Value = provider.raw_request("debug_traceBlockByNumber".into(), block).await.unwrap();
    assert_eq!(block.as_array().unwrap().len(), 3);
    assert_eq!(block[1]["result"], calls);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_origins_are_let_in_by_name() {
    let config = NodeConfig {
        allowed_hosts: vec!["node.example".into()],
        cors_origins: vec!["https://wallet.example".into()],
        ..fast()
    };
    let node = Node::start(config).await.unwrap();
    let client = reqwest::Client::new();
    let ask = async |host: &str, origin: &str| {
        let request = client.post(node.http_url()).header("host", host).header("origin", origin);
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    };
    let welcome = ask("node.example", "https://wallet.example").await;
    assert_eq!(welcome.status(), 200);
    assert_eq!(welcome.headers()["access-control-allow-origin"], "https://wallet.example");
    let page = ask("node.example", "https://evil.example").await;
    assert!(!page.headers().contains_key("access-control-allow-origin"));
    assert_eq!(ask("evil.example", "https://wallet.example").await.status(), 403);
    node.shutdown().await.unwrap();
    let wrong = Node::start(NodeConfig { allowed_hosts: vec!["a b".into()], ..fast() }).await.unwrap_err();
    assert!(wrong.to_string().contains("allowed_hosts"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_readiness_are_served() {
    let node =
        Node::start(NodeConfig { metrics_listen: Some("127.0.0.1:0".parse().unwrap()), ..fast() }).await.unwrap();
    let provider = wallet(&node, 0);
    let tx = TransactionRequest::default().with_to(Address::repeat_byte(1)).with_value(U256::ONE);
    provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{}/{path}", node.metrics_address().unwrap())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("health").await.0, 200);
    assert_eq!(get("ready").await, (200, "ready\n".into()));
    let (_, text) = get("metrics").await;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("lockstep_node_{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("head_block") >= 1.0 && value("blocks_total") >= 1.0);
    assert_eq!((value("transactions_total"), value("gas_total")), (1.0, 21_000.0));
    for part in ["recover", "execute", "root", "flush"] {
        assert!(value(&format!("block_seconds_total{{part=\"{part}\"}}")) > 0.0, "{text}");
    }
    let address = node.metrics_address().unwrap();
    tokio::time::timeout(Duration::from_secs(10), node.shutdown()).await.unwrap().unwrap();
    assert!(reqwest::get(format!("http://{address}/health")).await.is_err());
}

/// The state of any block, however far back, is read as it was, also after a restart; proofs reach as far as blocks can be taken
/// back.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_reads_every_state() {
    let dir = tempfile::tempdir().unwrap();
    let archive = || NodeConfig { archive: true, history_blocks: 3, data_dir: Some(dir.path().into()), ..fast() };
    let node = Node::start(archive()).await.unwrap();
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    let mut set = Vec::new();
    for value in 1..6u64 {
        let receipt = probe.set(U256::from(7), U256::from(value)).send().await.unwrap().get_receipt().await.unwrap();
        set.push((receipt.block_number.unwrap(), value));
    }
    while node.head().number < set[4].0 + 5 {
        node.mine().await.unwrap();
    }
    let me = dev_accounts().unwrap()[0].address();
    let contract = *probe.address();
    node.shutdown().await.unwrap();
    let node = Node::start(archive()).await.unwrap();
    let provider = wallet(&node, 0);
    let probe = Probe::new(contract, provider.clone());
    for (block, value) in set {
        for (at, wanted) in [(block - 1, value - 1), (block, value)] {
            let found = probe.values(U256::from(7)).block(BlockId::number(at)).call().await.unwrap();
            assert_eq!(found, U256::from(wanted), "at block {at}");
        }
        let sent = provider.get_transaction_count(me).block_id(BlockId::number(block)).await.unwrap();
        assert_eq!(sent, 1 + value);
        let refused = provider.get_proof(contract, vec![]).block_id(BlockId::number(block)).await.unwrap_err();
        assert!(refused.to_string().contains("is not kept"), "{refused}");
    }
    assert!(provider.get_code_at(contract).block_id(BlockId::number(0)).await.unwrap().is_empty());
    node.shutdown().await.unwrap();
}
