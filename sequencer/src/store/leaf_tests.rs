//! Leaves that are kept by what they are of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use proptest::prelude::*;

use super::{
    tables::{ACCOUNT_LEAVES, STORAGE_LEAVES, account_key, slot_key, storage_leaves},
    tests::{Model, apply_to_model, check_state, killed, model_root, open, write_block},
    *,
};
use crate::trie::nibbles;

/// Every account and slot has exactly one leaf, and nothing else has.
pub(super) fn check_leaves(snapshot: &Snapshot, model: &Model) {
    let found = |prefix: &[u8], of: fn(&[u8], &[u8]) -> Vec<u8>| {
        let all = snapshot.view.scan(prefix).unwrap();
        let set: BTreeSet<Vec<u8>> = all.iter().map(|(key, value)| of(key, value)).collect();
        assert_eq!(set.len(), all.len(), "one of them has two leaves");
        set
    };
    let accounts: BTreeSet<Vec<u8>> = model.keys().map(|address| address.to_vec()).collect();
    assert_eq!(found(&ACCOUNT_LEAVES, |_, of| of.to_vec()), accounts);
    let slots = model.iter().flat_map(|(address, (_, _, slots))| {
        slots.keys().map(move |slot| [address.as_slice(), &slot.to_be_bytes::<32>()].concat())
    });
    assert_eq!(found(&STORAGE_LEAVES, |key, of| [&key[1..21], of].concat()), slots.collect::<BTreeSet<_>>());
}

fn account(byte: u8, balance: u64, storage: Vec<(U256, U256)>) -> AccountChange {
    AccountChange {
        address: Address::repeat_byte(byte),
        info: Some((0, U256::from(balance), KECCAK256_EMPTY)),
        wiped: false,
        storage,
    }
}

/// Many accounts and slots come, change and go, so that leaves next to each other come, move and go in the same block.
fn crowd() -> impl Strategy<Value = StateChanges> {
    let slots = prop::collection::btree_map(0u64..48, prop_oneof![2 => Just(0u64), 3 => 1..1000u64], 0..16);
    let change = (prop::option::weighted(0.7, 1u64..1000), prop::bool::weighted(0.05), slots);
    let change = change.prop_map(|(balance, wiped, slots)| {
        let slots = slots.into_iter().map(|(slot, value)| (U256::from(slot), U256::from(value))).collect();
        match balance {
            Some(balance) => AccountChange { wiped, ..account(0, balance, slots) },
            None => AccountChange { info: None, wiped: true, ..account(0, 0, Vec::new()) },
        }
    });
    prop::collection::btree_map(0u8..64, change, 1..24).prop_map(|accounts| {
        let at = |(byte, change)| AccountChange { address: Address::repeat_byte(byte), ..change };
        StateChanges { accounts: accounts.into_iter().map(at).collect(), code: Vec::new() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Block by block, after blocks were taken back at once, and after a kill.
    #[test]
    fn every_account_and_slot_has_its_leaf(
        blocks in prop::collection::vec((crowd(), prop::option::weighted(0.2, 1usize..4)), 1..10)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut models = vec![];
        for (changes, back) in &blocks {
            let mut model: Model = models.last().cloned().unwrap_or_default();
            apply_to_model(&mut model, changes);
            let root = write_block(&store, models.len() as u64, changes, Keep::undo(10));
            prop_assert_eq!(root, model_root(&model));
            check_leaves(&store.snapshot().unwrap(), &model);
            models.push(model);
            if let Some(back) = back.filter(|back| *back < models.len()) {
                models.truncate(models.len() - back);
                let mut batch = store.begin().unwrap();
                batch.unwind(models.len() as u64 - 1).unwrap();
                batch.commit().unwrap();
                check_leaves(&store.snapshot().unwrap(), models.last().unwrap());
            }
        }
        let copy = killed(&store);
        drop(store);
        for dir in [&dir, &copy] {
            let store = open(dir.path());
            let snapshot = store.snapshot().unwrap();
            check_leaves(&snapshot, models.last().unwrap());
            check_state(&snapshot.state(), models.last().unwrap());
        }
    }
}

const TOKEN: u8 = 200;

/// Accounts of ether, and a token with as many balances.
fn world(dir: &std::path::Path) -> Store {
    let store = open(dir);
    let slots = (0..1000u64).map(|slot| (U256::from(slot), U256::from(10_000 + slot)));
    let mut accounts = vec![account(TOKEN, 1, slots.collect())];
    for number in 0..1000u64 {
        let address = Address::from_word(keccak256(number.to_be_bytes()));
        accounts.push(AccountChange { address, ..account(0, number + 1, Vec::new()) });
    }
    write_block(&store, 0, &StateChanges { accounts, code: Vec::new() }, Keep::undo(10));
    store
}

/// Two new balances of a token are two slots, one account and the branches above them: none of the leaves.
#[test]
fn a_transfer_writes_no_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let store = world(dir.path());
    let slots = [7u64, 8].map(U256::from);
    let snapshot = store.snapshot().unwrap();
    let proof = snapshot.state().prove(Address::repeat_byte(TOKEN), &slots.map(Into::into)).unwrap();
    let above = |nodes: &[Bytes]| nodes[..nodes.len() - 1].iter().cloned().collect::<BTreeSet<_>>();
    let slot_nodes: BTreeSet<_> = proof.slots.iter().flat_map(|(_, nodes)| above(nodes)).collect();
    let (accounts, slot_nodes) = (above(&proof.nodes).len(), slot_nodes.len());
    assert!(accounts >= 2 && slot_nodes >= 3, "{accounts} and {slot_nodes} branches are no tries to speak of");
    let transfer = slots.map(|slot| (slot, U256::from(20_000u64) + slot));
    let changes = StateChanges { accounts: vec![account(TOKEN, 1, transfer.to_vec())], code: Vec::new() };
    let mut batch = store.begin().unwrap();
    batch.apply_state(&changes).unwrap();
    assert_eq!(batch.changed_entries(), 1 + accounts + 2 + slot_nodes);
    let mut kinds = BTreeMap::new();
    for key in batch.changed_keys() {
        *kinds.entry(char::from(key[0])).or_insert(0) += 1;
    }
    assert_eq!(kinds, BTreeMap::from([('a', 1), ('t', accounts), ('s', 2), ('u', slot_nodes)]));
}

/// Sets an entry of the state behind the store's back, and says what then becomes of a proof.
fn broken(store: &Store, key: Vec<u8>, value: Option<Bytes>) -> String {
    let mut batch = store.begin().unwrap();
    batch.set_entry(key, value);
    batch.commit().unwrap();
    let slot = U256::from(7u64).into();
    match store.snapshot().unwrap().state().prove(Address::repeat_byte(TOKEN), &[slot]) {
        Ok(_) => "nothing".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_leaf_of_nothing_is_reported_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let store = world(dir.path());
    let token = Address::repeat_byte(TOKEN);
    let slot = U256::from(7u64);
    let path_of = |prefix: &[u8], hash: B256| {
        let leaves = store.snapshot().unwrap().view.scan(prefix).unwrap();
        let path = leaves.keys().map(|key| &key[prefix.len()..]).find(|path| nibbles(&hash).starts_with(path));
        path.unwrap().to_vec()
    };
    let of_token = path_of(&ACCOUNT_LEAVES, keccak256(token));
    let of_slot = path_of(&storage_leaves(&token), keccak256(slot.to_be_bytes::<32>()));
    let hex = |bytes: &[u8]| alloy::hex::encode(bytes);
    let leaf = [&storage_leaves(&token), of_slot.as_slice()].concat();
    let entry = slot_key(&token, &slot).to_vec();
    let value = Bytes::from(U256::from(10_007u64).to_be_bytes::<32>());
    for (key, wrong, right, told) in [
        (&entry, None, value, "which has no value"),
        (&leaf, Some(Bytes::from(vec![1; 32])), slot.to_be_bytes::<32>().into(), "whose leaf is elsewhere"),
        (&leaf, Some(Bytes::from(vec![1; 20])), slot.to_be_bytes::<32>().into(), &hex(&[1; 20])),
    ] {
        let error = broken(&store, key.clone(), wrong);
        assert!(error.contains(told) && error.contains(&hex(&of_slot)), "{error}");
        assert_eq!(broken(&store, key.clone(), Some(right)), "nothing");
    }
    let error = broken(&store, leaf, None);
    assert!(error.contains("is missing") && error.contains(&hex(&of_slot)), "{error}");
    let error = broken(&store, account_key(&token).to_vec(), None);
    assert!(error.contains("which has no value") && error.contains(&hex(&of_token)), "{error}");
}

/// A change of the state meets the same.
#[test]
fn a_leaf_of_another_value_stops_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Two slots whose leaves are next to each other: without one, the other moves, and is read.
    let first = |slot: u64| keccak256(U256::from(slot).to_be_bytes::<32>())[0] >> 4;
    let other = (2u64..).find(|slot| first(*slot) == first(1)).unwrap();
    let apart = (2u64..).find(|slot| first(*slot) != first(1)).unwrap();
    let storage = [1, other, apart].map(|slot| (U256::from(slot), U256::from(5u64)));
    let changes = StateChanges { accounts: vec![account(TOKEN, 1, storage.to_vec())], code: Vec::new() };
    write_block(&store, 0, &changes, Keep::undo(10));
    let mut batch = store.begin().unwrap();
    let entry = slot_key(&Address::repeat_byte(TOKEN), &U256::from(1u64)).to_vec();
    batch.set_entry(entry, Some(U256::from(6u64).to_be_bytes::<32>().into()));
    let gone = vec![(U256::from(other), U256::ZERO)];
    let changes = StateChanges { accounts: vec![account(TOKEN, 1, gone)], code: Vec::new() };
    let error = batch.apply_state(&changes).unwrap_err().to_string();
    assert!(error.contains("is not the leaf that its parent has"), "{error}");
}

/// Two slots whose hashes share eight digits, as anyone can find them: their leaves are so short that the branch above has them.
/// Without one of them, the other moves up, is longer, and must be known.
#[test]
fn a_leaf_that_was_part_of_its_parent_can_move() {
    let mut seen = HashMap::new();
    let hash = |slot: u64| keccak256(U256::from(slot).to_be_bytes::<32>());
    let pair = (0u64..).find_map(|slot| seen.insert(hash(slot)[..4].to_vec(), slot).map(|other| [other, slot]));
    let pair = pair.unwrap().map(U256::from);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let token = Address::repeat_byte(1);
    let mut model = Model::new();
    let mut number = 0;
    let mut write = |storage: Vec<(U256, U256)>| {
        let changes = StateChanges { accounts: vec![account(1, number + 1, storage)], code: Vec::new() };
        apply_to_model(&mut model, &changes);
        assert_eq!(write_block(&store, number, &changes, Keep::undo(10)), model_root(&model));
        check_leaves(&store.snapshot().unwrap(), &model);
        number += 1;
    };
    write((100u64..120).map(|slot| (U256::from(slot), U256::from(1u64 << 40))).collect());
    write(pair.map(|slot| (slot, U256::ONE)).to_vec());
    let snapshot = store.snapshot().unwrap();
    let leaves = snapshot.view.scan(&storage_leaves(&token)).unwrap();
    let deep = leaves.keys().filter(|key| key.len() > 21 + 8).count();
    assert_eq!(deep, 2, "the slots' leaves are not deep");
    let proof = snapshot.state().prove(token, &[pair[0].into()]).unwrap();
    let branch = proof.slots[0].1.last().unwrap();
    assert!(branch.len() > 60, "the branch does not have its leaf within");
    // One grows out of its parent and shrinks again; then the other goes.
    write(vec![(pair[0], U256::MAX)]);
    write(vec![(pair[0], U256::ONE)]);
    write(vec![(pair[1], U256::ZERO)]);
    write(vec![(pair[0], U256::from(2u64))]);
    assert_eq!(store.snapshot().unwrap().view.scan(&storage_leaves(&token)).unwrap().len(), 21);
}
