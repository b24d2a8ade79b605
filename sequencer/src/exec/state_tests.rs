//! State tests in the form of Ethereum's own: a state, one transaction, the root of the state after it and the hash of its logs.
//! Execution and trie are this node's, under the rules of its development L1.

use std::{collections::BTreeMap, path::Path};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256},
};
use serde::Deserialize;

use super::{attributes::all_forced, block::execute, env::BlockRules};
use crate::{
    config::ChainKind,
    pool::Best,
    store::{AccountChange, Keep, NewBlock, StateChanges, Store},
};

/// A file's tests by name.
type File = BTreeMap<String, Test>;

#[derive(Deserialize)]
struct Test {
    env: Env,
    pre: BTreeMap<Address, Account>,
    transaction: Transaction,
    post: BTreeMap<String, Vec<Post>>,
}

/// What is the same in all variants of the transaction; `txbytes` has the rest.
#[derive(Deserialize)]
struct Transaction {
    /// Empty for a creation.
    to: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Env {
    current_coinbase: Address,
    current_gas_limit: U256,
    current_number: U256,
    current_timestamp: U256,
    current_random: Option<B256>,
    current_base_fee: Option<U256>,
    current_excess_blob_gas: Option<U256>,
}

#[derive(Deserialize)]
struct Account {
    balance: U256,
    nonce: U256,
    code: Bytes,
    storage: BTreeMap<U256, U256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Post {
    hash: B256,
    logs: B256,
    txbytes: Bytes,
    expect_exception: Option<String>,
}

/// The rules that this node has.
const FORK: &str = "Cancun";

/// A precompile of the rollup's EVM that Ethereum does not have.
const P256VERIFY: Address = alloy::primitives::address!("0000000000000000000000000000000000000100");

/// Tests of accounts that no chain can have, with storage but neither code nor nonce (EIP-7610), which the EVM creates over; and one that
/// calls every address up to 700, where [`P256VERIFY`] is.
const LEFT_OUT: [&str; 6] = [
    "InitCollisionParis",
    "RevertInCreateInInitCreate2Paris",
    "RevertInCreateInInit_Paris",
    "create2collisionStorageParis",
    "dynamicAccountOverwriteEmpty_Paris",
    "failed_tx_xcf416c53_Paris",
];

/// What was run.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    refused: usize,
    left_out: usize,
    failed: Vec<String>,
}

impl Env {
    fn rules(&self) -> BlockRules {
        BlockRules {
            chain_id: 1,
            kind: ChainKind::Ethereum,
            number: self.current_number.to(),
            timestamp_s: self.current_timestamp.to(),
            beneficiary: self.current_coinbase,
            gas_limit: self.current_gas_limit.saturating_to(),
            base_fee_wei: self.current_base_fee.unwrap_or(U256::from(10u64)).to(),
            prev_randao: self.current_random.unwrap_or_default(),
            parent_beacon_root: B256::ZERO,
            parent_hash: B256::ZERO,
            base_fee_params: None,
            excess_blob_gas: self.current_excess_blob_gas.unwrap_or_default().to(),
        }
    }
}

fn state(pre: &BTreeMap<Address, Account>) -> StateChanges {
    let mut changes = StateChanges::default();
    for (address, account) in pre {
        let mut code_hash = KECCAK256_EMPTY;
        if !account.code.is_empty() {
            code_hash = keccak256(&account.code);
            changes.code.push((code_hash, account.code.clone()));
        }
        changes.accounts.push(AccountChange {
            address: *address,
            info: Some((account.nonce.to(), account.balance, code_hash)),
            wiped: false,
            storage: account.storage.iter().map(|(slot, value)| (*slot, *value)).collect(),
        });
    }
    changes
}

/// Runs the transactions of one test, each on the same state.
fn run(name: &str, test: &Test, tally: &mut Tally) {
    let Some(posts) = test.post.get(FORK) else { return };
    let to_precompile = test.transaction.to == P256VERIFY.to_string().to_lowercase();
    if to_precompile || test.pre.contains_key(&P256VERIFY) || LEFT_OUT.contains(&name) {
        tally.left_out += posts.len();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1 << 26).unwrap();
    let mut batch = store.begin().unwrap();
    let before = batch.apply_state(&state(&test.pre)).unwrap();
    let rules = test.env.rules();
    // The hash of block n is that of the digits of n.
    for number in rules.number.saturating_sub(4)..rules.number.max(1) {
        let header = Sealed::new_unchecked(Header { number, ..Header::default() }, keccak256(number.to_string()));
        batch
            .put_block(&NewBlock { header: &header, transactions: &[], receipts: &[], blobs: &[] }, Keep::undo(10))
            .unwrap();
    }
    batch.commit().unwrap();
    for (index, post) in posts.iter().enumerate() {
        let snapshot = store.snapshot().unwrap();
        let done = all_forced(std::slice::from_ref(&post.txbytes), rules.chain_id)
            .and_then(|forced| execute(&rules, snapshot.state(), &forced, &mut Best::nothing(), || true));
        let (root, logs, refused) = match done {
            Ok(done) => {
                let root = store.begin().unwrap().apply_state(&done.changes).unwrap();
                (root, done.receipts[0].logs.clone(), None)
            }
            Err(error) => (before, Vec::new(), Some(error.to_string())),
        };
        let logs = keccak256(alloy_rlp::encode(&logs));
        let expected = (post.hash, post.logs, post.expect_exception.is_some());
        if (root, logs, refused.is_some()) != expected {
            tally.failed.push(format!("{name} {index}: {root} {logs} {refused:?}, not {expected:?}"));
        } else {
            tally.passed += 1;
            tally.refused += usize::from(refused.is_some());
        }
    }
}

fn run_file(text: &str, tally: &mut Tally) {
    let tests: File = serde_json::from_str(text).unwrap();
    tests.iter().for_each(|(name, test)| run(name, test, tally));
}

#[test]
fn state_tests_filled_by_the_specification_pass() {
    let mut tally = Tally::default();
    run_file(include_str!("../../tests/data/state/cancun.json"), &mut tally);
    assert!(tally.failed.is_empty(), "{} failed:\n{}", tally.failed.len(), tally.failed.join("\n"));
    assert_eq!(tally.left_out, 0);
    assert!(tally.passed >= 500 && tally.refused >= 10, "{tally:?}");
}

/// A state test that expects something else must not pass.
#[test]
fn a_state_test_with_another_root_or_other_logs_fails() {
    let mut tests: File = serde_json::from_str(include_str!("../../tests/data/state/cancun.json")).unwrap();
    let mut tally = Tally::default();
    for (index, (name, test)) in tests.iter_mut().take(20).enumerate() {
        for post in test.post.get_mut(FORK).into_iter().flatten() {
            let wrong = if index % 2 == 0 { &mut post.hash } else { &mut post.logs };
            *wrong = keccak256(*wrong);
        }
        run(name, test, &mut tally);
    }
    assert!(tally.passed == 0 && tally.failed.len() >= 20, "{tally:?}");
}

/// Runs the state tests under the folder that `LOCKSTEP_STATE_TESTS` names, such as `GeneralStateTests` of Ethereum's own collection.
#[test]
#[ignore = "needs a collection of state tests, named by LOCKSTEP_STATE_TESTS"]
fn a_collection_of_state_tests_passes() {
    fn visit(path: &Path, tally: &mut Tally) {
        if path.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            entries.iter().for_each(|entry| visit(entry, tally));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let failed = tally.failed.len();
            run_file(&std::fs::read_to_string(path).unwrap(), tally);
            tally.failed[failed..].iter().for_each(|failure| println!("{}: {failure}", path.display()));
        }
    }
    let folder = std::env::var("LOCKSTEP_STATE_TESTS").expect("LOCKSTEP_STATE_TESTS names a folder");
    let mut tally = Tally::default();
    visit(Path::new(&folder), &mut tally);
    println!(
        "{} passed, {} of them refused; {} left out; {} failed",
        tally.passed,
        tally.refused,
        tally.left_out,
        tally.failed.len()
    );
    assert!(tally.passed > 0 && tally.failed.is_empty());
}
