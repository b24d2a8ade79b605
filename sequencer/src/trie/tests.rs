//! Tries against alloy-trie, over stores that keep leaves and over stores that keep of what they are.

use std::{collections::BTreeMap, mem};

use alloy::primitives::{B256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles};
use proptest::prelude::*;

use super::{
    Change, Kept, Leaf, Node, NodeRef, NodeStore, Trie, nibbles,
    update::{opened, opened_leaf},
};
use crate::error::StoreError;

/// Keys with their new values.
type Batch = [(B256, Vec<u8>)];

/// What a store of leaves' values says of a key, in place of an address or a slot.
fn of(key: B256) -> B256 {
    !key
}

#[derive(Clone, Debug, Default)]
struct Store {
    /// Branches and extensions.
    nodes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Leaves as encoded, or of what they are.
    leaves: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Values as of the last batch, if leaves are kept by what they are of.
    values: Option<BTreeMap<B256, Vec<u8>>>,
    /// Paths of nodes and leaves that were written.
    written: Vec<Vec<u8>>,
}

impl Store {
    /// Keeps of what leaves are.
    fn pointing() -> Self {
        Self { values: Some(BTreeMap::new()), ..Self::default() }
    }

    fn leaf(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
        let Some(stored) = self.leaves.get(path) else { return Ok(None) };
        let Some(values) = &self.values else { return opened(path, stored).map(Some) };
        let of = B256::from_slice(stored);
        let suffix = nibbles(&!of).strip_prefix(path).expect("its path is not its key's").to_vec();
        let value = values.get(&!of).ok_or_else(|| StoreError::Corrupt(format!("{of} has no value")))?.clone();
        Ok(Some(opened_leaf(path, Leaf { suffix, value, of: Some(of) })))
    }

    /// Every node and leaf as encoded.
    fn all(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let leaf = |path: &Vec<u8>| match self.leaf(path).unwrap().unwrap() {
            (Node::Leaf(leaf), _) => (path.clone(), leaf.rlp()),
            other => panic!("{other:?} where a leaf should be"),
        };
        let mut all = self.nodes.clone();
        all.extend(self.leaves.keys().map(leaf));
        assert_eq!(all.len(), self.nodes.len() + self.leaves.len(), "a node and a leaf at the same path");
        all
    }

    fn apply(&mut self, batch: &Batch) -> B256 {
        self.apply_kept(batch, &mut Kept::default())
    }

    fn apply_kept(&mut self, batch: &Batch, kept: &mut Kept) -> B256 {
        self.apply_knowing(batch, kept, |_| Vec::new())
    }

    /// The same with what is believed to be the value of a key before the batch.
    fn apply_knowing(&mut self, batch: &Batch, kept: &mut Kept, old: impl Fn(B256) -> Vec<u8>) -> B256 {
        self.try_apply(batch, kept, old).unwrap()
    }

    fn try_apply(&mut self, batch: &Batch, kept: &mut Kept, old: impl Fn(B256) -> Vec<u8>) -> Result<B256, StoreError> {
        self.written.clear();
        let mut trie = Trie::open_kept(&mut *self, mem::take(kept))?;
        for (key, value) in batch {
            trie.apply(Change { key: *key, of: of(*key), old: old(*key), new: value.clone() })?;
        }
        let (root, next) = trie.seal_kept()?;
        *kept = next;
        if let Some(values) = &mut self.values {
            set(values, batch);
        }
        Ok(root)
    }
}

impl NodeStore for &mut Store {
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
        match self.nodes.get(path) {
            Some(rlp) => opened(path, rlp).map(Some),
            None => self.leaf(path),
        }
    }

    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError> {
        self.written.push(path.to_vec());
        self.nodes.insert(path.to_vec(), rlp.to_vec());
        Ok(())
    }

    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError> {
        assert!(self.nodes.remove(path).is_some(), "dropped a node that was not stored");
        Ok(())
    }

    fn put_leaf(&mut self, path: &[u8], leaf: &Leaf, came: bool) -> Result<(), StoreError> {
        assert_eq!(came, !self.leaves.contains_key(path), "came to {path:?}: {came}");
        let stored = match &self.values {
            None => leaf.rlp(),
            Some(_) if came => leaf.of.expect("nobody knows of what it is").to_vec(),
            Some(_) => return Ok(()),
        };
        self.written.push(path.to_vec());
        self.leaves.insert(path.to_vec(), stored);
        Ok(())
    }

    fn drop_leaf(&mut self, path: &[u8]) -> Result<(), StoreError> {
        assert!(self.leaves.remove(path).is_some(), "dropped a leaf that was not stored");
        Ok(())
    }
}

fn set(values: &mut BTreeMap<B256, Vec<u8>>, batch: &Batch) {
    for (key, value) in batch {
        if value.is_empty() {
            values.remove(key)
        } else {
            values.insert(*key, value.clone())
        };
    }
}

fn reference_root(values: &BTreeMap<B256, Vec<u8>>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in values {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

/// Keys that share long prefixes, so that extensions, deep leaves and inlined nodes all occur.
fn key() -> impl Strategy<Value = B256> {
    let tight = (0usize..32, prop::collection::vec(0u8..4, 3)).prop_map(|(at, bytes)| {
        let mut key = [0x11; 32];
        for (offset, byte) in bytes.into_iter().enumerate() {
            key[(at + offset) % 32] = byte << (4 * (offset % 2));
        }
        key.into()
    });
    let end = (0u8..4, 0u8..16).prop_map(|(a, b)| ends_with(a, b));
    prop_oneof![tight, end, any::<[u8; 32]>().prop_map(B256::from)]
}

fn ends_with(a: u8, b: u8) -> B256 {
    let mut key = B256::ZERO;
    (key[30], key[31]) = (a, b);
    key
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec(1u8..=255, 1..4),
        1 => prop::collection::vec(1u8..=255, 30..80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Batches of insertions, changes and removals give the roots that alloy-trie builds from scratch, and the store never keeps a
    /// node of an earlier version. Where it keeps of what leaves are, it keeps that of every leaf, where the leaf is.
    #[test]
    fn roots_are_those_of_alloy_trie(
        batches in prop::collection::vec(prop::collection::vec((key(), value()), 1..40), 1..8)
    ) {
        let (mut store, mut values) = (Store::default(), BTreeMap::new());
        let mut pointing = Store::pointing();
        let (mut store_kept, mut kept) = (Store::default(), Kept::default());
        let (mut store_known, mut kept_known) = (Store::default(), Kept::default());
        let (mut pointing_known, mut kept_pointing) = (Store::pointing(), Kept::default());
        for batch in &batches {
            let before: BTreeMap<B256, Vec<u8>> = values.clone();
            set(&mut values, batch);
            let root = reference_root(&values);
            prop_assert_eq!(store.apply(batch), root);
            let all = store.all();
            prop_assert_eq!(pointing.apply(batch), root);
            prop_assert_eq!(&pointing.all(), &all);
            // With the upper nodes in memory all is the same.
            prop_assert_eq!(store_kept.apply_kept(batch, &mut kept), root);
            prop_assert_eq!(&store_kept.all(), &all);
            // And so with the values of before, which a batch that names a key twice makes wrong on the way.
            let old = |key: B256| before.get(&key).cloned().unwrap_or_else(|| vec![key[31]; 2]);
            prop_assert_eq!(store_known.apply_knowing(batch, &mut kept_known, old), root);
            prop_assert_eq!(&store_known.all(), &all);
            prop_assert_eq!(pointing_known.apply_knowing(batch, &mut kept_pointing, old), root);
            prop_assert_eq!(&pointing_known.all(), &all);
        }
        let mut fresh = Store::default();
        let all: Vec<_> = values.into_iter().collect();
        fresh.apply(&all);
        prop_assert_eq!(store.all(), fresh.all());
        prop_assert_eq!(store.leaves.len(), all.len());
        let gone: Vec<_> = all.into_iter().map(|(key, _)| (key, Vec::new())).collect();
        for mut store in [store, pointing] {
            prop_assert_eq!(store.apply(&gone), EMPTY_ROOT_HASH);
            prop_assert!(store.nodes.is_empty() && store.leaves.is_empty());
        }
    }
}

#[test]
fn a_missing_node_is_reported_with_its_path() {
    let mut store = Store::default();
    let batch: Vec<_> = (0..64u8).map(|byte| (B256::repeat_byte(byte.wrapping_mul(37)), vec![byte + 1; 40])).collect();
    store.apply(&batch);
    let lost = store.nodes.keys().find(|path| path.len() == 1).cloned().unwrap();
    store.nodes.remove(&lost);
    let mut key = B256::ZERO;
    key[0] = lost[0] << 4;
    let error = store.try_apply(&[(key, vec![1])], &mut Kept::default(), |_| Vec::new()).unwrap_err();
    assert!(error.to_string().contains(&format!("trie node {:02x} is missing", lost[0])), "{error}");
}

fn many(count: u32) -> Vec<(B256, Vec<u8>)> {
    (0..count).map(|i| (keccak256(i.to_be_bytes()), vec![(i % 200) as u8 + 1; 40])).collect()
}

#[test]
fn a_leaf_whose_value_is_known_is_not_read() {
    let mut store = Store::default();
    let batch = many(2000);
    store.apply(&batch);
    // The leaf itself is not there: whoever read it would fail.
    let (key, old) = batch[7].clone();
    let path = nibbles(&key);
    let path = store.leaves.keys().find(|leaf| path.starts_with(leaf)).unwrap().clone();
    let leaf = store.leaves.get_mut(&path).unwrap();
    let rlp = mem::replace(leaf, vec![0xff]);
    assert!(store.clone().try_apply(&[(key, vec![9; 9])], &mut Kept::default(), |_| Vec::new()).is_err());
    assert!(opened(&path, &rlp).unwrap().0.is_leaf());
    let root = store.apply_knowing(&[(key, vec![9; 9])], &mut Kept::default(), |_| old.clone());
    let mut values: BTreeMap<_, _> = batch.into_iter().collect();
    values.insert(key, vec![9; 9]);
    assert_eq!(root, reference_root(&values));
}

/// The branches above a leaf, and nothing of the leaf if its value is elsewhere.
#[test]
fn a_change_of_a_value_writes_only_the_path_to_its_leaf() {
    let batch = many(2000);
    let (key, old) = batch[7].clone();
    for mut store in [Store::default(), Store::pointing()] {
        store.apply(&batch);
        let above: Vec<_> = store.nodes.keys().filter(|path| nibbles(&key).starts_with(path)).cloned().collect();
        assert!((2..=5).contains(&above.len()), "{above:?}");
        for (value, known) in [(vec![9; 9], true), (vec![8; 50], false), (vec![7; 1], true)] {
            let before = store.values.as_ref().map_or(old.clone(), |values| values[&key].clone());
            store.apply_knowing(
                &[(key, value)],
                &mut Kept::default(),
                |_| if known { before.clone() } else { Vec::new() },
            );
            store.written.sort();
            let leaf = store.leaves.keys().find(|path| nibbles(&key).starts_with(path)).unwrap();
            let leaf = store.values.is_none().then_some(leaf);
            let wanted: Vec<_> = above.iter().chain(leaf).collect();
            assert_eq!(store.written.iter().collect::<Vec<_>>(), wanted);
        }
    }
}

/// A leaf that stays in its parent's encoding as long as it has a neighbour, and does not fit there once it has none.
#[test]
fn a_leaf_inside_its_parent_is_known_when_it_moves() {
    let mut store = Store::pointing();
    let batch = [(ends_with(0, 1), vec![1]), (ends_with(0, 2), vec![2]), (B256::repeat_byte(0x11), vec![3; 40])];
    let mut values = BTreeMap::new();
    for batch in [&batch[..], &[(ends_with(0, 2), Vec::new())]] {
        set(&mut values, batch);
        assert_eq!(store.apply(batch), reference_root(&values));
    }
    assert_eq!(store.leaves[&vec![0]], of(ends_with(0, 1)).to_vec());
}

/// One key's leaf takes the place of another's, by way of a branch, in one batch.
#[test]
fn a_leaf_that_comes_to_anothers_path_is_written() {
    let (one, other) = (B256::repeat_byte(0x21), B256::repeat_byte(0x22));
    let first = [(one, vec![1; 40]), (B256::repeat_byte(0x31), vec![3; 40])];
    let second = [(other, vec![1; 40]), (one, Vec::new())];
    for steps in [vec![&first[..], &second], vec![&first, &second[..1], &second[1..]]] {
        let (mut store, mut values) = (Store::pointing(), BTreeMap::new());
        for batch in steps {
            set(&mut values, batch);
            assert_eq!(store.apply(batch), reference_root(&values));
        }
        assert_eq!(store.leaves[&vec![2]], of(other).to_vec());
    }
}

/// A leaf's value that is not there, or not that of this version, is no value.
#[test]
fn a_leaf_that_is_not_its_parents_is_reported_with_its_path() {
    let (one, other) = (B256::repeat_byte(0x21), B256::repeat_byte(0x22));
    let mut store = Store::pointing();
    store.apply(&[(one, vec![1; 40]), (B256::repeat_byte(0x31), vec![3; 40])]);
    store.values.as_mut().unwrap().insert(one, vec![2; 40]);
    let error = store.try_apply(&[(other, vec![1; 40])], &mut Kept::default(), |_| Vec::new()).unwrap_err();
    assert!(error.to_string().contains("trie node 02 is not the leaf that its parent has"), "{error}");
}
