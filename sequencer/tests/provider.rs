//! The node as an alloy provider sees it.

use std::{collections::HashSet, time::Duration};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::TransactionBuilder,
    primitives::{Address, B256, U256, address, keccak256},
    providers::Provider,
    rpc::types::{Filter, TransactionRequest},
    sol_types::{SolError, SolEvent},
};
use lockstep_sequencer::{Node, NodeConfig, dev_accounts};

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_reaches_a_block_and_pays_for_its_gas() {
    let node = start().await;
    let keys = dev_accounts().unwrap();
    let provider = wallet(&node, 0);
    let to = address!("00000000000000000000000000000000000000aa");
    let value = U256::from(12345u64);
    let before = provider.get_balance(keys[0].address()).await.unwrap();
    let tx = TransactionRequest::default().with_to(to).with_value(value);
    let receipt = provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.gas_used, 21_000);
    assert_eq!(provider.get_balance(to).await.unwrap(), value);
    let fee = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
    assert_eq!(provider.get_balance(keys[0].address()).await.unwrap(), before - value - fee);
    assert_eq!(provider.get_transaction_count(keys[0].address()).await.unwrap(), 1);
    let found = provider.get_transaction_by_hash(receipt.transaction_hash).await.unwrap().unwrap();
    assert_eq!(found.block_number, receipt.block_number);
    // The state before the transfer can still be read.
    let parent = BlockId::number(receipt.block_number.unwrap() - 1);
    assert_eq!(provider.get_balance(to).block_id(parent).await.unwrap(), U256::ZERO);
    assert_eq!(provider.get_balance(keys[0].address()).block_id(parent).await.unwrap(), before);
    // Base fees and tips go where the OP Stack sends them, and nothing is lost.
    let vaults =
        [address!("4200000000000000000000000000000000000011"), address!("4200000000000000000000000000000000000019")];
    let mut earned = U256::ZERO;
    for vault in vaults {
        earned += provider.get_balance(vault).await.unwrap();
    }
    assert_eq!(earned, fee);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_stores_logs_and_is_found_by_its_logs() {
    let node = start().await;
    let me = dev_accounts().unwrap()[0].address();
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    for (key, value) in [(1u64, 10u64), (2, 20), (3, 30)] {
        let receipt = probe.set(U256::from(key), U256::from(value)).send().await.unwrap().get_receipt().await.unwrap();
        assert!(receipt.status());
        assert_eq!(receipt.logs().len(), 1);
    }
    assert_eq!(probe.values(U256::from(2u64)).call().await.unwrap(), U256::from(20u64));
    let slot = keccak256([U256::from(2u64).to_be_bytes::<32>(), [0; 32]].concat());
    assert_eq!(provider.get_storage_at(*probe.address(), slot.into()).await.unwrap(), U256::from(20u64));

    let filter = Filter::new().address(*probe.address()).event_signature(Probe::Set::SIGNATURE_HASH).from_block(0);
    let logs = provider.get_logs(&filter).await.unwrap();
    assert_eq!(logs.len(), 3);
    let second = Probe::Set::decode_log(&logs[1].inner).unwrap();
    assert_eq!((second.by, second.key, second.value), (me, U256::from(2u64), U256::from(20u64)));
    let one = filter.clone().topic2(B256::from(U256::from(3u64)));
    let logs = provider.get_logs(&one).await.unwrap();
    assert_eq!(logs.len(), 1);
    let block = provider.get_block_by_hash(logs[0].block_hash.unwrap()).full().await.unwrap().unwrap();
    let receipts = provider.get_block_receipts(block.header.hash.into()).await.unwrap().unwrap();
    assert_eq!(receipts.len(), block.transactions.len());
    assert!(receipts.iter().any(|receipt| Some(receipt.transaction_hash) == logs[0].transaction_hash));
    let none = filter.clone().topic1(B256::repeat_byte(9));
    assert!(provider.get_logs(&none).await.unwrap().is_empty());
    let at = Filter::new().at_block_hash(block.header.hash).address(*probe.address());
    assert!(!provider.get_logs(&at).await.unwrap().is_empty());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reverts_carry_their_data() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;

    let error = probe.set(U256::ZERO, U256::from(1001u64)).call().await.unwrap_err();
    let decoded = error.as_decoded_error::<Probe::TooBig>().expect("the named error");
    assert_eq!((decoded.value, decoded.limit), (U256::from(1001u64), U256::from(1000u64)));

    let error = probe.set(U256::ZERO, U256::from(1001u64)).estimate_gas().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("execution reverted") && text.contains("code 3"), "{text}");
    let selector = alloy::hex::encode(Probe::TooBig::SELECTOR);
    assert!(text.contains(&selector), "{text}");

    let text = probe.why().call().await.unwrap_err().to_string();
    assert!(text.contains("execution reverted: plainly no"), "{text}");

    // Sent regardless, it is in a block as failed, with its fee paid and without logs.
    let request = probe.set(U256::ZERO, U256::from(1001u64)).gas(100_000).into_transaction_request();
    let receipt = provider.send_transaction(request).await.unwrap().get_receipt().await.unwrap();
    assert!(!receipt.status());
    assert!(receipt.logs().is_empty() && receipt.gas_used < 100_000);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn estimates_suffice_and_are_tight() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    let eoa = TransactionRequest::default().with_to(Address::repeat_byte(7)).with_value(U256::ONE);
    assert_eq!(provider.estimate_gas(eoa.from(dev_accounts().unwrap()[0].address())).await.unwrap(), 21_000);

    let number = |n: u64| U256::from(n);
    let fill = probe.fill(number(0), number(200), number(5)).send().await.unwrap().get_receipt().await.unwrap();
    assert!(fill.gas_used > 4_000_000 && fill.status());
    let requests = [
        probe.set(number(1), number(1)).into_transaction_request(),
        // Clearing earns refunds, which come too late to count.
        probe.fill(number(0), number(200), number(0)).into_transaction_request(),
        // Each call on the way down holds back a 64th.
        probe.deep(number(6), number(8000)).into_transaction_request(),
        probe.greedy(number(3_000_000)).into_transaction_request(),
        TransactionRequest::default().with_deploy_code(probe_code()),
    ];
    for request in requests {
        let request = request.from(dev_accounts().unwrap()[0].address());
        let gas = provider.estimate_gas(request.clone()).await.unwrap();
        provider.call(request.clone().gas_limit(gas)).await.unwrap();
        let less = gas - gas / 500 - 2;
        let starved = provider.call(request.clone().gas_limit(less)).await;
        assert!(starved.is_err(), "{less} of {gas} would have sufficed for {request:?}");
        let receipt = provider.send_transaction(request.gas_limit(gas)).await.unwrap().get_receipt().await.unwrap();
        assert!(receipt.status(), "{gas} did not suffice");
    }
    let text = probe.deep(number(0), number(10_000_000)).estimate_gas().await.unwrap_err().to_string();
    assert!(text.contains("gas required exceeds allowance (30000000)"), "{text}");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_at_once_all_arrive() {
    let node = start().await;
    let to = Address::repeat_byte(0xbb);
    const EACH: u64 = 25;
    let senders = (0..10).map(|account| {
        let provider = wallet(&node, account);
        let from = dev_accounts().unwrap()[account].address();
        async move {
            let mut sent = Vec::new();
            for nonce in 0..EACH {
                let tx = TransactionRequest::default()
                    .with_to(to)
                    .with_value(U256::ONE)
                    .with_nonce(nonce)
                    .with_from(from)
                    .with_gas_limit(21_000)
                    .with_max_fee_per_gas(5_000_000_000)
                    .with_max_priority_fee_per_gas(1);
                sent.push(provider.send_transaction(tx).await.unwrap());
            }
            assert_eq!(provider.get_transaction_count(from).pending().await.unwrap(), EACH);
            for pending in sent {
                assert!(pending.get_receipt().await.unwrap().status());
            }
        }
    });
    let running: Vec<_> = senders.map(tokio::spawn).collect();
    for sender in running {
        sender.await.unwrap();
    }
    let provider = wallet(&node, 0);
    assert_eq!(provider.get_balance(to).await.unwrap(), U256::from(10 * EACH));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_use_the_words_that_tools_know() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let from = dev_accounts().unwrap()[0].address();
    let base = TransactionRequest::default()
        .with_to(Address::repeat_byte(1))
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(5_000_000_000)
        .with_max_priority_fee_per_gas(1_000_000_000)
        .with_chain_id(node.chain_id())
        .with_from(from)
        .with_nonce(0);
    provider.send_transaction(base.clone()).await.unwrap().get_receipt().await.unwrap();
    let refused = |tx: TransactionRequest| {
        let provider = provider.clone();
        async move { provider.send_transaction(tx).await.map(|_| ()).unwrap_err().to_string() }
    };
    let cases = [
        (base.clone(), "nonce too low: next nonce 1, tx nonce 0"),
        (base.clone().with_nonce(1).with_gas_limit(20_999), "intrinsic gas too low"),
        (base.clone().with_nonce(1).with_gas_limit(30_000_001), "exceeds block gas limit"),
        (base.clone().with_nonce(1).with_value(U256::MAX >> 1), "insufficient funds for gas * price + value"),
        (base.clone().with_nonce(1).with_max_fee_per_gas(1), "max priority fee per gas higher than max fee per gas"),
        (base.clone().with_nonce(1).with_chain_id(1), "invalid chain id for signer: have 1 want 901"),
    ];
    for (tx, words) in cases {
        let text = refused(tx).await;
        assert!(text.contains(words), "{text} lacks {words}");
    }
    // A transaction behind a gap waits; a second one for its place must pay more.
    let queued = base.clone().with_nonce(5);
    let first = provider.send_transaction(queued.clone()).await.unwrap();
    assert!(refused(queued.clone()).await.contains("already known"));
    let text = refused(queued.clone().with_value(U256::ONE)).await;
    assert!(text.contains("replacement transaction underpriced"), "{text}");
    let better =
        queued.with_value(U256::ONE).with_max_fee_per_gas(5_500_000_000).with_max_priority_fee_per_gas(1_100_000_000);
    let _ = provider.send_transaction(better).await.unwrap();
    assert!(provider.get_transaction_by_hash(*first.tx_hash()).await.unwrap().is_none());
    assert_eq!(provider.get_transaction_count(from).pending().await.unwrap(), 1);
    for nonce in 1..5 {
        let _ = provider.send_transaction(base.clone().with_nonce(nonce)).await.unwrap();
    }
    assert_eq!(provider.get_transaction_count(from).pending().await.unwrap(), 6);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_follow_one_another_and_contracts_see_them() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    node.advance_clock(1_000_000);
    for _ in 0..5 {
        node.mine().await.unwrap();
    }
    let seen = node.mine().await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 999_990..=now + 1_000_010).contains(&seen.timestamp_s));
    let environment = probe.environment().block(seen.number.into()).call().await.unwrap();
    assert_eq!(environment.number, U256::from(seen.number));
    assert_eq!(environment.timestamp, U256::from(seen.timestamp_s));
    assert_eq!(environment.chainId, U256::from(901u64));
    let mut parent = provider.get_block_by_number(BlockNumberOrTag::Earliest).await.unwrap().unwrap();
    for number in 1..=seen.number {
        let block = provider.get_block_by_number(number.into()).await.unwrap().unwrap();
        assert_eq!(block.header.parent_hash, parent.header.hash);
        assert_eq!(block.header.inner.hash_slow(), block.header.hash);
        assert!(block.header.timestamp >= parent.header.timestamp);
        let base_fee = parent.header.next_block_base_fee(alloy::eips::eip1559::BaseFeeParams::new(250, 6));
        assert_eq!(block.header.base_fee_per_gas, base_fee);
        parent = block;
    }
    assert_eq!(environment.parent, parent.header.parent_hash);
    let history = provider.get_fee_history(5, BlockNumberOrTag::Latest, &[10.0, 50.0]).await.unwrap();
    assert_eq!(history.base_fee_per_gas.len(), 6);
    assert_eq!(history.reward.unwrap().len(), 5);
    let price = provider.get_gas_price().await.unwrap();
    assert!(price > history.base_fee_per_gas[5]);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_run_on_overridden_state() {
    use alloy::rpc::types::state::{AccountOverride, StateOverride};
    let node = start().await;
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    let number = |n: u64| U256::from(n);
    probe.set(number(1), number(11)).send().await.unwrap().get_receipt().await.unwrap();
    probe.set(number(2), number(22)).send().await.unwrap().get_receipt().await.unwrap();
    let slot = |key: u64| keccak256([number(key).to_be_bytes::<32>(), [0; 32]].concat());
    let read = async |key: u64, change: AccountOverride, at: Address| {
        let overrides = StateOverride::from_iter([(at, change)]);
        let call = probe.values(number(key)).into_transaction_request().to(at);
        let answer = provider.call(call).overrides(overrides).await.unwrap();
        if answer.is_empty() { None } else { Some(U256::from_be_slice(&answer)) }
    };
    let here = *probe.address();
    let slots = || [(slot(1), B256::from(number(99)))].into_iter().collect();
    let diff = || AccountOverride { state_diff: Some(slots()), ..Default::default() };
    let all = || AccountOverride { state: Some(slots()), ..Default::default() };
    assert_eq!((read(1, diff(), here).await, read(2, diff(), here).await), (Some(number(99)), Some(number(22))));
    assert_eq!((read(1, all(), here).await, read(2, all(), here).await), (Some(number(99)), Some(U256::ZERO)));
    // Code where there was none.
    let code = provider.get_code_at(here).await.unwrap();
    let elsewhere = Address::repeat_byte(0x77);
    let moved = AccountOverride { code: Some(code), state_diff: Some(slots()), ..Default::default() };
    assert_eq!(read(1, moved, elsewhere).await, Some(number(99)));
    assert_eq!(read(1, AccountOverride::default(), elsewhere).await, None);
    // A balance that the caller does not have.
    let rich = StateOverride::from_iter([(elsewhere, AccountOverride::default().with_balance(number(5)))]);
    let spend = TransactionRequest::default().with_from(elsewhere).with_to(here.create(9)).with_value(number(5));
    assert!(provider.call(spend.clone()).await.is_err());
    provider.call(spend).overrides(rich).await.unwrap();
    // None of it was kept.
    assert_eq!(probe.values(number(1)).call().await.unwrap(), number(11));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_empty_blocks_the_chain_waits_for_transactions() {
    let config = NodeConfig { mine_empty: false, ..fast() };
    let node = Node::start(config).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.head().number, 0);
    let provider = wallet(&node, 3);
    let tx = TransactionRequest::default().with_to(Address::repeat_byte(1)).with_value(U256::ONE);
    let receipt = provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
    assert_eq!(receipt.block_number, Some(1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(node.head().number, 1);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_filters_report_each_block_and_log_once() {
    let node = start().await;
    let provider = wallet(&node, 0);
    let probe = deploy(&provider).await;
    let blocks = provider.new_block_filter().await.unwrap();
    let logs = provider.new_filter(&Filter::new().address(*probe.address())).await.unwrap();
    let mut values = Vec::new();
    for value in 1..=3u64 {
        probe.set(U256::ZERO, U256::from(value)).send().await.unwrap().get_receipt().await.unwrap();
        for log in provider.get_filter_changes::<alloy::rpc::types::Log>(logs).await.unwrap() {
            values.push(Probe::Set::decode_log(&log.inner).unwrap().value);
        }
    }
    assert_eq!(values, [1u64, 2, 3].map(U256::from));
    let hashes = provider.get_filter_changes::<B256>(blocks).await.unwrap();
    assert!(hashes.len() >= 3);
    assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
    assert!(provider.uninstall_filter(blocks).await.unwrap());
    assert!(provider.get_filter_changes::<B256>(blocks).await.is_err());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_taken_directory_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = NodeConfig { data_dir: Some(dir.path().into()), ..fast() };
    let node = Node::start(config.clone()).await.unwrap();
    let again = Node::start(config).await.unwrap_err().to_string();
    assert!(again.contains("another node is using it") && again.contains(&*dir.path().to_string_lossy()), "{again}");
    let taken = Node::start(NodeConfig { listen: node.address(), ..fast() }).await.unwrap_err().to_string();
    assert!(taken.contains(&node.address().to_string()), "{taken}");
    node.shutdown().await.unwrap();
}
