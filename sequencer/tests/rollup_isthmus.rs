//! The rollup under the rules of Isthmus.

use std::path::Path;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::{eip2718::Encodable2718, eip7685::EMPTY_REQUESTS_HASH, eip7702::Authorization},
    network::{TransactionBuilder, TransactionBuilder7702},
    primitives::{Address, B256, Bytes, U256, address, bytes},
    providers::Provider,
    rpc::types::TransactionRequest,
    signers::SignerSync,
    sol,
};
use lockstep_derive::{BatchBlock, BlockId, L2Head, Rollup, compress, frames, span_batch};
use lockstep_sequencer::{
    BatcherConfig, DeployConfig, DevL1, Devnet, DevnetConfig, DevnetRecord, Fork, UnsafeBlock, dev_accounts,
};
use serde_json::{Value, json};

use crate::rollup::{
    MESSAGE_PASSER, MessagePasser, Portal, compare_with_follower, config, hash, prove_and_finalise, transfers, until,
    wallet,
};

sol! {
    #[sol(rpc)]
    interface Oracle {
        function isIsthmus() external view returns (bool);
        function getOperatorFee(uint256 gas) external view returns (uint256);
    }
}

const GAS_PRICE_ORACLE: Address = address!("420000000000000000000000000000000000000F");
const OPERATOR_FEE_VAULT: Address = address!("420000000000000000000000000000000000001b");

/// The operator's fee of these tests: three wei for each gas, and a thousand.
const FEE_SCALAR: u32 = 3_000_000;
const FEE_CONSTANT_WEI: u64 = 1000;

fn isthmus() -> DevnetConfig {
    DevnetConfig {
        fork: Some(Fork::Isthmus),
        operator_fee_scalar: FEE_SCALAR,
        operator_fee_constant_wei: FEE_CONSTANT_WEI,
        ..config()
    }
}

async fn raw(provider: &impl Provider, method: &'static str, params: Value) -> Value {
    provider.raw_request(method.into(), params).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_and_out_of_the_rollup_of_isthmus() {
    let net = Devnet::start(isthmus()).await.unwrap();
    let (l1, l2) = (wallet(&net.l1.node.http_url(), 0), wallet(&net.l2.node.http_url(), 0));
    let portal = Portal::new(net.record.l1.portal, l1.clone());
    let (to, ether) = (Address::repeat_byte(0x31), U256::from(10u64.pow(18)));
    let deposit = portal.depositTransaction(to, ether, 100_000, false, Bytes::new()).value(ether);
    assert!(deposit.send().await.unwrap().get_receipt().await.unwrap().status());
    until("the deposit arrives", async || l2.get_balance(to).await.unwrap() == ether).await;
    the_operator_is_paid(&l2, to).await;
    an_account_gets_code(&net.l2.node.http_url()).await;
    // A withdrawal, and the header that states it.
    let passer = MessagePasser::new(MESSAGE_PASSER, l2.clone());
    let target = Address::repeat_byte(0x44);
    let out = passer.initiateWithdrawal(target, U256::from(100_000), Bytes::new()).value(U256::from(777));
    let out = out.send().await.unwrap().get_receipt().await.unwrap();
    for number in [0, out.block_number.unwrap() - 1, out.block_number.unwrap()] {
        header_is_of_isthmus(&l2, number).await;
    }
    let number = prove_and_finalise(&net, &l1, &l2, &out).await;
    assert_eq!(l1.get_balance(target).await.unwrap(), U256::from(777));
    until("L1 has the blocks", async || net.l2.status().safe.number >= number).await;
    compare_with_follower(&net, number).await;
    assert_eq!(net.l2.status().mismatches, 0);
    // The description says it all, in the words of the OP Stack's tools.
    let rollup = raw(&l2, "optimism_rollupConfig", json!([])).await;
    assert_eq!((&rollup["holocene_time"], &rollup["isthmus_time"]), (&json!(0), &json!(0)));
    assert_eq!(rollup["genesis"]["system_config"]["eip1559Params"], "0x0000000000000000");
    net.shutdown().await.unwrap();
}

/// A transfer costs what the receipt says and the operator's fee, which is in its vault; a call by somebody without ether costs nothing.
async fn the_operator_is_paid(l2: &impl Provider, to: Address) {
    let sender = dev_accounts().unwrap()[0].address();
    let (before, vault) = (l2.get_balance(sender).await.unwrap(), l2.get_balance(OPERATOR_FEE_VAULT).await.unwrap());
    let transfer = TransactionRequest::default().with_to(to).with_value(U256::ONE);
    let sent = l2.send_transaction(transfer).await.unwrap().get_receipt().await.unwrap();
    let receipt = raw(l2, "eth_getTransactionReceipt", json!([sent.transaction_hash])).await;
    assert_eq!(receipt["operatorFeeScalar"], format!("{FEE_SCALAR:#x}"), "{receipt}");
    assert_eq!(receipt["operatorFeeConstant"], format!("{FEE_CONSTANT_WEI:#x}"), "{receipt}");
    let fee = U256::from(sent.gas_used * u64::from(FEE_SCALAR) / 1_000_000 + FEE_CONSTANT_WEI);
    assert_eq!(l2.get_balance(OPERATOR_FEE_VAULT).await.unwrap() - vault, fee);
    let l1_fee: U256 = receipt["l1Fee"].as_str().unwrap().parse().unwrap();
    let gas = U256::from(u128::from(sent.gas_used) * sent.effective_gas_price);
    assert_eq!(before - l2.get_balance(sender).await.unwrap(), U256::ONE + gas + l1_fee + fee);
    let oracle = Oracle::new(GAS_PRICE_ORACLE, l2);
    assert!(oracle.isIsthmus().call().await.unwrap());
    let poor = Address::repeat_byte(0x99);
    let asked = oracle.getOperatorFee(U256::from(sent.gas_used)).from(poor);
    assert_eq!(asked.call().await.unwrap(), fee);
    assert!(asked.estimate_gas().await.unwrap() > 21_000);
}

/// EIP-7702, through the mempool, a block and a batch.
async fn an_account_gets_code(url: &str) {
    let (key, l2) = (dev_accounts().unwrap().swap_remove(2), wallet(url, 2));
    let (account, nonce) = (key.address(), l2.get_transaction_count(key.address()).await.unwrap());
    let authorization =
        Authorization { chain_id: U256::from(901), address: Address::repeat_byte(0x77), nonce: nonce + 1 };
    let signed = authorization.clone().into_signed(key.sign_hash_sync(&authorization.signature_hash()).unwrap());
    let tx = TransactionRequest::default()
        .with_to(Address::repeat_byte(0x78))
        .with_authorization_list(vec![signed])
        .with_gas_limit(100_000);
    assert!(l2.send_transaction(tx).await.unwrap().get_receipt().await.unwrap().status());
    let code = l2.get_code_at(account).await.unwrap();
    assert_eq!(code, [&bytes!("ef0100")[..], &[0x77; 20]].concat());
    // It still signs for itself.
    let transfer =
        TransactionRequest::default().with_to(Address::repeat_byte(0x79)).with_value(U256::ONE).with_nonce(nonce + 2);
    assert!(l2.send_transaction(transfer).await.unwrap().get_receipt().await.unwrap().status());
}

async fn header_is_of_isthmus(l2: &impl Provider, number: u64) {
    let number = format!("{number:#x}");
    let block = raw(l2, "eth_getBlockByNumber", json!([number, false])).await;
    let proof = raw(l2, "eth_getProof", json!([MESSAGE_PASSER, [], number])).await;
    assert_eq!(block["withdrawalsRoot"], proof["storageHash"], "{block}");
    assert_eq!(block["requestsHash"], json!(EMPTY_REQUESTS_HASH));
    assert_eq!(block["withdrawals"], json!([]));
    // A version, then a target of a sixth of the limit and 0.4 % at most.
    assert_eq!(block["extraData"], "0x00000000fa00000006");
}

/// The blocks up to a number as a batcher sees them.
async fn blocks(l2: &impl Provider, last: u64) -> Vec<BatchBlock> {
    let mut blocks = Vec::new();
    for number in 1..=last {
        let block: UnsafeBlock = serde_json::from_value(raw(l2, "rollup_unsafeBlock", json!([number])).await).unwrap();
        let output = raw(l2, "optimism_outputAtBlock", json!([format!("{number:#x}")])).await;
        let place = &output["blockRef"];
        let l1_origin = BlockId {
            number: place["l1origin"]["number"].as_u64().unwrap(),
            hash: place["l1origin"]["hash"].as_str().unwrap().parse().unwrap(),
        };
        let head = L2Head {
            number,
            hash: block.hash,
            parent_hash: block.parent_hash,
            timestamp_s: block.timestamp,
            l1_origin,
            sequence_number: place["sequenceNumber"].as_u64().unwrap(),
        };
        let transactions = block.transactions.into_iter().filter(|raw| raw[0] != 0x7e).collect();
        blocks.push(BatchBlock { head, transactions });
    }
    blocks
}

/// A transaction that no block can hold: its nonce is far off.
fn impossible() -> Bytes {
    let key = dev_accounts().unwrap().swap_remove(5);
    let to = Address::repeat_byte(1).into();
    let tx =
        TxEip1559 { chain_id: 901, nonce: 1000, gas_limit: 21_000, max_fee_per_gas: 1 << 40, to, ..Default::default() };
    let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

/// A span batch whose first block follows on that before `safe` and whose last has the L1 origin of `safe`, while those between have older
/// ones. `safe` and the block before it are the last of `known`.
fn contradiction(known: &[BatchBlock]) -> Vec<BatchBlock> {
    let [.., parent, first, safe] = known else { panic!("too few blocks") };
    let (old, new) = (parent.head.l1_origin, safe.head.l1_origin);
    assert!(old.number < new.number);
    let numbers = [old.number; 3].into_iter().chain(old.number + 1..=new.number);
    let mut made: Vec<BatchBlock> = Vec::new();
    for (index, number) in numbers.enumerate() {
        let head = L2Head {
            number: first.head.number + index as u64,
            hash: B256::with_last_byte(index as u8 + 1),
            parent_hash: made.last().map_or(parent.head.hash, |before| before.head.hash),
            timestamp_s: first.head.timestamp_s + index as u64,
            l1_origin: BlockId { number, hash: if number == new.number { new.hash } else { old.hash } },
            sequence_number: u64::from(index < 3),
        };
        made.push(BatchBlock { head, transactions: Vec::new() });
    }
    made
}

fn in_directory(dir: &Path, max_age_s: u64, finality_blocks: u64) -> DevnetConfig {
    let batcher = BatcherConfig { max_age_s, ..config().batcher };
    let mut config = DevnetConfig { data_dir: Some(dir.into()), batcher, ..isthmus() };
    config.l1.node.finality_blocks = finality_blocks;
    config
}

/// Sends batches with the key of the batcher, whose node is down.
async fn send(dir: &Path, record: &DevnetRecord, batches: &[Vec<BatchBlock>]) {
    let mut l1 = config().l1;
    l1.node.data_dir = Some(dir.join("l1"));
    let l1 = DevL1::start(l1).await.unwrap();
    let provider = wallet(&l1.node.http_url(), 8);
    let rollup = Rollup::parse(&record.rollup.to_string()).unwrap();
    for batch in batches {
        let channel = frames(&compress(&span_batch(&rollup, batch).unwrap()), 100_000);
        let [frame] = channel.try_into().unwrap();
        let tx = TransactionRequest::default().with_to(record.l1.batch_inbox).with_input(frame);
        assert!(provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap().status());
    }
    l1.shutdown().await.unwrap();
}

/// A block that cannot be is built of its deposits alone, what came after it in its channel is as if it had never been sent, and all that begin again
/// see it in the same way.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_executed_leaves_its_deposits() {
    let dir = tempfile::tempdir().unwrap();
    let start = |max_age_s, finality_blocks| Devnet::start(in_directory(dir.path(), max_age_s, finality_blocks));
    // The batcher has sent nothing when its key is used for worse.
    let net = start(3600, 64).await.unwrap();
    let url = net.l2.node.http_url();
    until("there are blocks", async || net.l2.node.head().number >= 8).await;
    transfers(&url, 1, 5).await;
    let honest = blocks(&wallet(&url, 0), net.l2.node.head().number).await;
    let record = net.record.clone();
    net.shutdown().await.unwrap();
    // In one block without transactions, and in the first with some, there is one too many.
    let place = |number: usize| &honest[number - 1].head;
    let full = honest.iter().position(|block| !block.transactions.is_empty()).unwrap() + 1;
    let newer = |number: &usize| place(*number).l1_origin.number > place(*number - 2).l1_origin.number;
    let empty = (3..full).find(newer).unwrap();
    let mut bad = honest.clone();
    bad[empty - 1].transactions.push(impossible());
    bad[full - 1].transactions.push(impossible());
    let batches = [bad.clone(), contradiction(&honest[..empty]), bad[empty..].to_vec()];
    send(dir.path(), &record, &batches).await;
    let net = start(2, 64).await.unwrap();
    let (url, last) = (net.l2.node.http_url(), honest.len() as u64);
    until("honest batches are read after the hostile", async || net.l2.status().safe.number > last).await;
    // The first was so before; the second was not, and its transactions are in a later block.
    assert_eq!(net.l2.status().mismatches, 1, "{:?}", net.l2.status());
    assert_eq!(hash(&url, full as u64 - 1).await, place(full - 1).hash);
    assert_ne!(hash(&url, full as u64).await, place(full).hash);
    let now = blocks(&wallet(&url, 0), full as u64).await;
    assert!(now[full - 1].transactions.is_empty() && now[full - 1].head.parent_hash == place(full - 1).hash);
    let sender = dev_accounts().unwrap()[1].address();
    let user = wallet(&url, 1);
    until("the transfers come again", async || user.get_transaction_count(sender).await.unwrap() == 5).await;
    let number = net.l2.node.head().number;
    until("L1 has them", async || net.l2.status().safe.number >= number).await;
    compare_with_follower(&net, number).await;
    let newest = (number, hash(&url, number).await);
    net.shutdown().await.unwrap();
    // Begun again before all this is final, then after.
    for finality_blocks in [64, 4, 4] {
        let net = start(2, finality_blocks).await.unwrap();
        until("L1 was read", async || net.l2.status().caught_up).await;
        assert_eq!(hash(&net.l2.node.http_url(), newest.0).await, newest.1);
        let final_by = if finality_blocks == 4 { newest.0 } else { 0 };
        let head = net.l2.node.head().number;
        until("it goes on", async || {
            net.l2.status().safe.number > head && net.l2.status().finalized.number >= final_by
        })
        .await;
        assert_eq!(net.l2.status().mismatches, 0, "{:?}", net.l2.status());
        net.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_reorganisations_are_followed_under_isthmus() {
    let mut config = isthmus();
    config.l1.node.finality_blocks = 64;
    let net = Devnet::start(config).await.unwrap();
    let url = net.l2.node.http_url();
    let mut sent = 0;
    for depth in [1u64, 6] {
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
    let (provider, sender) = (wallet(&url, 3), dev_accounts().unwrap()[3].address());
    until("no transfer is lost", async || provider.get_transaction_count(sender).await.unwrap() == sent).await;
    let number = net.l2.node.head().number;
    until("L1 has all", async || net.l2.status().safe.number >= number).await;
    compare_with_follower(&net, number).await;
    net.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_keeps_its_rules_and_granite_has_no_operators_fee() {
    let dir = tempfile::tempdir().unwrap();
    let net = Devnet::start(in_directory(dir.path(), 2, 4)).await.unwrap();
    net.shutdown().await.unwrap();
    let other = DevnetConfig { fork: Some(Fork::Granite), ..in_directory(dir.path(), 2, 4) };
    let refused = Devnet::start(other).await.unwrap_err().to_string();
    assert!(refused.contains("began with the rules of isthmus"), "{refused}");
    let record = DevnetRecord::read(&dir.path().join("devnet.json")).unwrap();
    let granite = DeployConfig { fork: Fork::Granite, ..record.config };
    let node = lockstep_sequencer::NodeConfig::dev().unwrap();
    let refused = DevnetRecord::new(granite, record.l1, &node).unwrap_err().to_string();
    assert!(refused.contains("operator's fee"), "{refused}");
}
