//! The store against a plain model of the state.

use std::{collections::BTreeMap, path::Path};

use alloy::{
    consensus::{Header, Sealed},
    primitives::{Address, B256, KECCAK256_EMPTY, U256},
};
use alloy_trie::{TrieAccount, root};
use proptest::prelude::*;

use super::*;
use crate::error::NodeError;

pub(super) type Model = BTreeMap<Address, (u64, U256, BTreeMap<U256, U256>)>;

pub(super) fn model_root(model: &Model) -> B256 {
    root::state_root_unhashed(model.iter().map(|(address, (nonce, balance, slots))| {
        let storage_root = root::storage_root_unhashed(slots.iter().map(|(slot, value)| (B256::from(*slot), *value)));
        let account = TrieAccount { nonce: *nonce, balance: *balance, storage_root, code_hash: KECCAK256_EMPTY };
        (*address, account)
    }))
}

pub(super) fn apply_to_model(model: &mut Model, changes: &StateChanges) {
    for change in &changes.accounts {
        let Some((nonce, balance, _)) = change.info else {
            model.remove(&change.address);
            continue;
        };
        let entry = model.entry(change.address).or_default();
        (entry.0, entry.1) = (nonce, balance);
        if change.wiped {
            entry.2.clear();
        }
        for (slot, value) in &change.storage {
            if value.is_zero() {
                entry.2.remove(slot);
            } else {
                entry.2.insert(*slot, *value);
            }
        }
    }
}

/// Opens a store with little memory.
pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, 1 << 26).unwrap()
}

pub(super) fn write_block(store: &Store, number: u64, changes: &StateChanges, keep: Keep) -> B256 {
    let mut batch = store.begin().unwrap();
    let state_root = batch.apply_state(changes).unwrap();
    let header = Sealed::new(Header { number, state_root, ..Header::default() });
    batch.put_block(&NewBlock { header: &header, transactions: &[], receipts: &[], blobs: &[] }, keep).unwrap();
    batch.commit().unwrap();
    state_root
}

/// Every account and slot is proven against the state root of its block, and so is the absence of others.
pub(super) fn check_proofs(state: &State<'_>, model: &Model) {
    use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, proof::verify_proof};
    let root = model_root(model);
    let hashed = |bytes: &[u8]| Nibbles::unpack(alloy::primitives::keccak256(bytes));
    for byte in 0..8 {
        let address = Address::repeat_byte(byte);
        let keys: Vec<B256> = (0..6u64).map(|slot| U256::from(slot).into()).collect();
        let proof = state.prove(address, &keys).unwrap();
        let wanted = model.get(&address);
        let account = wanted.map(|_| alloy_rlp::encode(proof.account));
        if root == EMPTY_ROOT_HASH {
            assert!(proof.nodes.is_empty() && wanted.is_none());
            continue;
        }
        verify_proof(root, hashed(address.as_slice()), account, &proof.nodes).unwrap();
        for (key, (value, nodes)) in keys.iter().zip(&proof.slots) {
            let expected = wanted.and_then(|account| account.2.get(&U256::from_be_bytes(key.0))).copied();
            assert_eq!(*value, expected.unwrap_or_default());
            if proof.account.storage_root == EMPTY_ROOT_HASH {
                assert!(nodes.is_empty() && expected.is_none());
            } else {
                let leaf = expected.map(alloy_rlp::encode);
                verify_proof(proof.account.storage_root, hashed(key.as_slice()), leaf, nodes).unwrap();
            }
        }
    }
}

pub(super) fn check_state(state: &State<'_>, model: &Model) {
    for byte in 0..8 {
        let address = Address::repeat_byte(byte);
        let found = state.account(address).unwrap().map(|account| (account.nonce, account.balance));
        assert_eq!(found, model.get(&address).map(|(nonce, balance, _)| (*nonce, *balance)));
        for slot in (0..6).map(U256::from) {
            let wanted = model.get(&address).and_then(|account| account.2.get(&slot)).copied().unwrap_or_default();
            assert_eq!(state.slot(address, slot).unwrap(), wanted);
        }
    }
}

fn change() -> impl Strategy<Value = AccountChange> {
    let slots = prop::collection::btree_map(0u64..6, prop_oneof![Just(0u64), 1..1000u64], 0..5);
    (0u8..8, prop::option::weighted(0.85, (0u64..50, 1u64..u64::MAX)), prop::bool::weighted(0.1), slots).prop_map(
        |(byte, info, wiped, slots)| AccountChange {
            address: Address::repeat_byte(byte),
            info: info.map(|(nonce, balance)| (nonce, U256::from(balance), KECCAK256_EMPTY)),
            wiped: wiped || info.is_none(),
            storage: match info {
                Some(_) => slots.into_iter().map(|(slot, value)| (U256::from(slot), U256::from(value))).collect(),
                None => Vec::new(),
            },
        },
    )
}

pub(super) fn block() -> impl Strategy<Value = StateChanges> {
    prop::collection::vec(change(), 1..6).prop_map(|mut accounts| {
        accounts.sort_by_key(|change| change.address);
        accounts.dedup_by_key(|change| change.address);
        StateChanges { accounts, code: Vec::new() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Roots are those of a trie built from scratch, every kept past state reads as it was, older ones are refused,
    /// and all of it is the same after reopening.
    #[test]
    fn roots_and_past_states_are_those_of_the_model(blocks in prop::collection::vec(block(), 1..10)) {
        const HISTORY: u64 = 5;
        let dir = tempfile::tempdir().unwrap();
        let mut models = Vec::new();
        let mut model = Model::new();
        let store = open(dir.path());
        for (number, changes) in (0u64..).zip(&blocks) {
            apply_to_model(&mut model, changes);
            prop_assert_eq!(write_block(&store, number, changes, Keep::undo(HISTORY)), model_root(&model));
            models.push(model.clone());
        }
        drop(store);
        let store = open(dir.path());
        let head = blocks.len() as u64 - 1;
        let snapshot = store.snapshot().unwrap();
        for (number, model) in (0u64..).zip(&models) {
            match snapshot.state_at(number, head) {
                Ok(state) => {
                    check_state(&state, model);
                    check_proofs(&state, model);
                }
                Err(StoreError::Pruned { block, oldest }) => {
                    prop_assert!(number + HISTORY < head + 1 && block == number);
                    prop_assert_eq!(oldest, head - HISTORY);
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
        check_state(&snapshot.state(), models.last().unwrap());
        check_proofs(&snapshot.state(), models.last().unwrap());
    }
}

#[test]
fn a_dropped_batch_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let changes = |balance: u64| StateChanges {
        accounts: vec![AccountChange {
            address: Address::repeat_byte(1),
            info: Some((0, U256::from(balance), KECCAK256_EMPTY)),
            wiped: false,
            storage: vec![(U256::ONE, U256::from(balance))],
        }],
        code: Vec::new(),
    };
    let root = write_block(&store, 0, &changes(5), Keep::undo(10));
    let mut batch = store.begin().unwrap();
    assert_ne!(batch.apply_state(&changes(6)).unwrap(), root);
    drop(batch);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.state().slot(Address::repeat_byte(1), U256::ONE).unwrap(), U256::from(5u64));
    assert_eq!(store.begin().unwrap().apply_state(&StateChanges::default()).unwrap(), root);
}

/// Copies a store as a kill would leave it at a moment at which nothing is being written.
pub(super) fn killed(store: &Store) -> tempfile::TempDir {
    store.shared.gate.still(&store.shared);
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(store.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Killed after any block, or unwound and killed, a store opens with the very state, labels and past that it had.
    #[test]
    fn what_only_the_log_holds_is_there_after_a_kill(
        blocks in prop::collection::vec(block(), 1..10), back in prop::option::of(0u64..3), torn in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let (mut models, mut model) = (Vec::new(), Model::new());
        let mut head = 0;
        for (number, changes) in (0u64..).zip(&blocks) {
            apply_to_model(&mut model, changes);
            write_block(&store, number, changes, Keep::undo(5));
            models.push(model.clone());
            head = number;
            let mut batch = store.begin().unwrap();
            batch.put_labels(number, number / 2);
            batch.commit().unwrap();
        }
        let back = back.filter(|back| *back <= head);
        if let Some(back) = back {
            let mut batch = store.begin().unwrap();
            head -= back;
            batch.unwind(head).unwrap();
            batch.commit().unwrap();
        }
        let dir = killed(&store);
        if torn {
            // The record of a block that was never announced.
            use std::io::Write;
            let mut log = std::fs::OpenOptions::new().append(true).open(dir.path().join(log::FILES[1])).unwrap();
            log.write_all(&[7; 100]).unwrap();
        }
        let reopened = open(dir.path());
        check_state(&reopened.snapshot().unwrap().state(), &models[head as usize]);
        check_proofs(&reopened.snapshot().unwrap().state(), &models[head as usize]);
        let newest = blocks.len() as u64 - 1;
        prop_assert_eq!(reopened.labels(), Some((newest, newest / 2)));
        prop_assert!(reopened.snapshot().unwrap().header(head + 1).unwrap().is_none());
        if head > 0 {
            check_state(&reopened.snapshot().unwrap().state_at(head - 1, head).unwrap(), &models[head as usize - 1]);
        }
        // It goes on, and so does a copy of it that is killed again.
        let next = StateChanges::default();
        let root = write_block(&reopened, head + 1, &next, Keep::undo(5));
        prop_assert_eq!(root, model_root(&models[head as usize]));
        let again = open(killed(&reopened).path());
        check_state(&again.snapshot().unwrap().state(), &models[head as usize]);
        prop_assert!(again.snapshot().unwrap().header(head + 1).unwrap().is_some());
    }
}

/// The log took block 1, the database did not, and it was never announced. After a kill it is there, whole and once; where the
/// node went on instead, the block that took its place is.
#[test]
fn a_block_that_only_the_log_took_is_there_once_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let changes = |slot: u64| StateChanges {
        accounts: vec![AccountChange {
            address: Address::repeat_byte(1),
            info: Some((slot, U256::ONE, KECCAK256_EMPTY)),
            wiped: false,
            storage: vec![(U256::from(slot), U256::from(7u64))],
        }],
        code: Vec::new(),
    };
    let values = |store: &Store| {
        let snapshot = store.snapshot().unwrap();
        [1u64, 2, 3].map(|slot| snapshot.state().slot(Address::repeat_byte(1), U256::from(slot)).unwrap().to::<u64>())
    };
    let mut first = store.begin().unwrap();
    first.put_chain_id(901).unwrap();
    first.commit().unwrap();
    write_block(&store, 0, &changes(1), Keep::undo(10));
    let begun = || {
        let mut batch = store.begin().unwrap();
        let state_root = batch.apply_state(&changes(2)).unwrap();
        let header = Sealed::new(Header { number: 1, state_root, ..Header::default() });
        batch
            .put_block(&NewBlock { header: &header, transactions: &[], receipts: &[], blobs: &[] }, Keep::undo(10))
            .unwrap();
        batch.commit_refused();
        header.hash()
    };
    let hash = begun();
    assert_eq!((store.chain(), values(&store)), (Some((901, 0)), [7, 0, 0]));
    let (now, later) = (killed(&store), {
        write_block(&store, 1, &changes(3), Keep::undo(10));
        killed(&store)
    });
    let now = open(now.path());
    assert_eq!((now.chain(), values(&now)), (Some((901, 1)), [7, 7, 0]));
    assert_eq!(now.snapshot().unwrap().hash(1).unwrap(), Some(hash));
    now.begin().unwrap().unwind(0).unwrap();
    let later = open(later.path());
    assert_eq!((later.chain(), values(&later)), (Some((901, 1)), [7, 0, 7]));
    assert_ne!(later.snapshot().unwrap().hash(1).unwrap(), Some(hash));
}

#[test]
fn what_blocks_overwrite_does_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    let mut number = 0;
    for _ in 0..6 {
        let store = open(dir.path());
        for _ in 0..15 {
            let slots = (0..1000u64).map(|slot| (U256::from(slot), U256::from(slot + number + 1)));
            let account = AccountChange {
                address: Address::repeat_byte(1),
                info: Some((number, U256::ONE, KECCAK256_EMPTY)),
                wiped: false,
                storage: slots.collect(),
            };
            write_block(&store, number, &StateChanges { accounts: vec![account], code: Vec::new() }, Keep::undo(4));
            number += 1;
        }
        drop(store);
        sizes.push(std::fs::metadata(dir.path().join("chain.redb")).unwrap().len());
    }
    // A round overwrites 900 kB of slots, and as much again of nodes. Pages that are free for the next round come and go.
    assert!(sizes[5] < 2 * sizes[1], "{sizes:?}");
}

#[test]
fn a_snapshot_does_not_see_later_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_block(&store, 0, &StateChanges::default(), Keep::undo(10));
    let before = store.snapshot().unwrap();
    write_block(&store, 1, &StateChanges::default(), Keep::undo(10));
    assert!(before.header(1).unwrap().is_none());
    assert!(store.snapshot().unwrap().header(1).unwrap().is_some());
}

#[test]
fn a_file_that_is_no_database_is_refused_with_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("chain.redb"), b"this is no database, but longer than its header".repeat(200))
        .unwrap();
    let error = open_error(dir.path());
    assert!(matches!(&error, NodeError::DataDir { path, .. } if path == dir.path()), "{error}");
    let file = dir.path().join("chain.redb");
    let error = open_error(&file);
    assert!(error.to_string().contains("chain.redb"), "{error}");
}

#[test]
fn a_directory_of_an_earlier_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let write = store.shared.database.begin_write().unwrap();
    write.open_table(tables::META).unwrap().insert(tables::META_LAYOUT, [tables::LAYOUT - 1].as_slice()).unwrap();
    write.commit().unwrap();
    drop(store);
    let error = open_error(dir.path()).to_string();
    let told = format!("layout Some([{}]) is not {}", tables::LAYOUT - 1, tables::LAYOUT);
    assert!(error.contains(&told) && error.contains("use the version that wrote it"), "{error}");
}

fn open_error(dir: &Path) -> NodeError {
    match Store::open(dir, 1 << 26) {
        Ok(_) => panic!("opened {}", dir.display()),
        Err(error) => error,
    }
}
