//! Blocks and calls on a small state.

use std::{collections::VecDeque, sync::Arc};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, TxKind, U256, keccak256},
};
use op_revm::OpTransaction;
use revm::context::TxEnv;

use super::{
    block::{Executed, Source, encode_receipt, execute, tx_type as tx_type_of},
    env::{BlockRules, FEE_RECIPIENT},
};
use crate::{
    config::ChainKind,
    pool::PooledTx,
    store::{AccountChange, Keep, NewBlock, Snapshot, StateChanges, Store},
};

const RICH: Address = Address::repeat_byte(0xaa);
const POOR: Address = Address::repeat_byte(0xbb);
const CODE: Address = Address::repeat_byte(0xcc);

/// PUSH1 2a PUSH1 0 SSTORE PUSH1 0 PUSH1 0 LOG0, then PUSH20 of POOR, BALANCE, POP
const STORE_LOG_LOOK: [u8; 33] = {
    let mut code = [0xbb; 33];
    let (start, end) = ([0x60, 0x2a, 0x60, 0, 0x55, 0x60, 0, 0x60, 0, 0xa0, 0x73], [0x31, 0x50]);
    let mut at = 0;
    while at < start.len() {
        code[at] = start[at];
        at += 1;
    }
    code[31] = end[0];
    code[32] = end[1];
    code
};

fn state(dir: &std::path::Path) -> Snapshot {
    let store = Store::open(dir, 1 << 26).unwrap();
    let account = |address, balance: u128, code_hash| AccountChange {
        address,
        info: Some((0, U256::from(balance), code_hash)),
        wiped: false,
        storage: Vec::new(),
    };
    let code = Bytes::from_static(&STORE_LOG_LOOK);
    let changes = StateChanges {
        accounts: vec![
            account(RICH, 10u128.pow(18), KECCAK256_EMPTY),
            account(POOR, 1, KECCAK256_EMPTY),
            account(CODE, 0, keccak256(&code)),
        ],
        code: vec![(keccak256(&code), code)],
    };
    let mut batch = store.begin().unwrap();
    batch.apply_state(&changes).unwrap();
    let header = Sealed::new(Header::default());
    batch
        .put_block(&NewBlock { header: &header, transactions: &[], receipts: &[], blobs: &[] }, Keep::undo(10))
        .unwrap();
    batch.commit().unwrap();
    store.snapshot().unwrap()
}

fn rules() -> BlockRules {
    let parent = Header { gas_limit: 1_000_000, base_fee_per_gas: Some(1000), ..Header::default() };
    BlockRules::after(901, ChainKind::Rollup, &Sealed::new(parent), 7)
}

fn tx(sender: Address, nonce: u64, kind: TxKind, data: &[u8], gas_limit: u64) -> PooledTx {
    let raw: Bytes = [sender.as_slice(), &nonce.to_be_bytes(), data].concat().into();
    let base = TxEnv {
        tx_type: 2,
        caller: sender,
        gas_limit,
        gas_price: 1_000_000,
        gas_priority_fee: Some(10),
        kind,
        data: Bytes::copy_from_slice(data),
        nonce,
        chain_id: Some(901),
        ..TxEnv::default()
    };
    let env = OpTransaction { base, enveloped_tx: Some(raw.clone()), deposit: Default::default() };
    PooledTx { hash: keccak256(&raw), raw, sender, nonce, cost: U256::ZERO, env, blobs: None }
}

#[derive(Default)]
struct Listed {
    waiting: VecDeque<PooledTx>,
    postponed: usize,
    invalid: Vec<String>,
}

impl Source for Listed {
    fn next(&mut self) -> Option<Arc<PooledTx>> {
        self.waiting.pop_front().map(Arc::new)
    }
    fn included(&mut self) {}
    fn postponed(&mut self) {
        self.postponed += 1;
    }
    fn invalid(&mut self, why: String) {
        self.invalid.push(why);
    }
}

fn run(waiting: Vec<PooledTx>) -> (Executed, Listed) {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = state(dir.path());
    let mut source = Listed { waiting: waiting.into(), ..Listed::default() };
    let done = execute(&rules(), snapshot.state(), &[], &mut source, || false).unwrap();
    (done, source)
}

fn balance(done: &Executed, address: Address) -> Option<U256> {
    let change = done.changes.accounts.iter().find(|change| change.address == address)?;
    change.info.map(|(_, balance, _)| balance)
}

#[test]
fn a_call_stores_and_logs() {
    let (done, _) = run(vec![tx(RICH, 0, CODE.into(), &[], 100_000)]);
    let [receipt] = done.receipts.as_slice() else { panic!("{:?}", done.receipts) };
    // A new slot in a cold place, LOG0, the balance of a cold account, five pushes and a pop.
    assert_eq!((receipt.success, receipt.gas_used), (true, 21_000 + 22_100 + 375 + 2600 + 5 * 3 + 2));
    assert_eq!(receipt.logs.len(), 1);
    let change = done.changes.accounts.iter().find(|change| change.address == CODE).unwrap();
    assert_eq!(change.storage, [(U256::ZERO, U256::from(0x2au64))]);
    // Granite without an L1: base fee and tip are all that is paid.
    let base_fee = u128::from(rules().base_fee_wei);
    let paid = U256::from(receipt.gas_used) * U256::from(base_fee + 10);
    assert_eq!(balance(&done, RICH), Some(U256::from(10u128.pow(18)) - paid));
    assert_eq!(balance(&done, FEE_RECIPIENT), Some(U256::from(receipt.gas_used * 10)));
    assert_eq!(receipt.effective_gas_price, base_fee + 10);
}

#[test]
fn a_refused_transaction_changes_nothing_for_the_next() {
    let good = || tx(RICH, 0, CODE.into(), &[], 100_000);
    let bad = || tx(POOR, 0, CODE.into(), &[], 100_000);
    let (alone, _) = run(vec![good()]);
    let (after, source) = run(vec![bad(), good()]);
    assert_eq!(source.invalid.len(), 1);
    assert!(source.invalid[0].contains("lack of funds"), "{:?}", source.invalid);
    // Had the refused one left its sender warm, the good one, which looks at that account, would have been cheaper.
    assert_eq!((&after.receipts, &after.changes), (&alone.receipts, &alone.changes));
    let (_, source) = run(vec![tx(RICH, 1, CODE.into(), &[], 100_000)]);
    assert_eq!(source.invalid.len(), 1);
}

#[test]
fn what_does_not_fit_waits() {
    let (done, source) = run(vec![
        tx(RICH, 0, CODE.into(), &[], 600_000),
        tx(RICH, 1, CODE.into(), &[], 990_000),
        tx(RICH, 1, CODE.into(), &[], 900_000),
    ]);
    assert_eq!((done.receipts.len(), source.postponed), (2, 1));
    assert_eq!(done.gas_used, done.receipts[1].cumulative_gas_used);
    assert_eq!(done.receipts[1].first_log, 1);
    assert!(done.gas_used <= 1_000_000);
}

#[test]
fn creation_reports_the_address_and_destruction_within_it_leaves_nothing() {
    // CALLER SELFDESTRUCT as deployment code.
    let (done, _) = run(vec![tx(RICH, 0, TxKind::Create, &[0x33, 0xff], 100_000)]);
    let created = RICH.create(0);
    assert_eq!(done.receipts[0].created.as_ref(), created.as_slice());
    assert!(done.receipts[0].success);
    assert!(done.changes.accounts.iter().all(|change| change.address != created || change.info.is_none()));
    // INVALID as deployment code.
    let (done, _) = run(vec![tx(RICH, 0, TxKind::Create, &[0xfe], 100_000)]);
    assert!(!done.receipts[0].success && done.receipts[0].created.is_empty());
    assert_eq!(done.receipts[0].gas_used, 100_000);
}

#[test]
fn headers_commit_to_everything() {
    let (done, _) = run(vec![tx(RICH, 0, CODE.into(), &[], 100_000)]);
    let header = done.header(&rules(), B256::repeat_byte(1), B256::repeat_byte(2));
    assert_eq!(header.gas_used, done.gas_used);
    assert!(!header.logs_bloom.is_zero());
    let (empty, _) = run(Vec::new());
    let bare = empty.header(&rules(), B256::repeat_byte(1), B256::repeat_byte(2));
    assert_ne!(header.transactions_root, bare.transactions_root);
    assert_ne!(header.receipts_root, bare.receipts_root);
    assert_eq!(bare.transactions_root, alloy_trie::EMPTY_ROOT_HASH);
    assert_eq!(bare.receipts_root, alloy_trie::EMPTY_ROOT_HASH);
}

#[test]
fn receipts_are_encoded_as_alloy_does() {
    use alloy::{
        consensus::{Receipt, ReceiptEnvelope, ReceiptWithBloom},
        eips::eip2718::Encodable2718,
        primitives::{Log, logs_bloom},
    };
    for tx_type in 0..=3u8 {
        for count in 0..3u8 {
            let topics = (0..count).map(B256::repeat_byte).collect();
            let log = Log::new_unchecked(CODE, topics, vec![count; 60 * usize::from(count)].into());
            let logs = vec![log; usize::from(count)];
            let gas = u64::from(count) * 70_000;
            let receipt = crate::store::StoredReceipt {
                hash: B256::ZERO,
                sender: RICH,
                tx_type,
                success: count != 1,
                gas_used: 1,
                cumulative_gas_used: gas,
                effective_gas_price: 1,
                first_log: 0,
                created: Bytes::new(),
                logs: logs.clone(),
                deposit_nonce: 0,
            };
            let mut ours = Vec::new();
            let bloom = encode_receipt(&receipt, &mut ours);
            let theirs = Receipt { status: (count != 1).into(), cumulative_gas_used: gas, logs };
            assert_eq!(bloom, logs_bloom(&theirs.logs));
            let theirs = ReceiptEnvelope::from_typed(tx_type_of(tx_type), ReceiptWithBloom::new(theirs, bloom));
            assert_eq!(ours, theirs.encoded_2718());
        }
    }
}
