//! Changing a stored trie.

use std::mem;

use alloy::primitives::{B256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;

use super::{
    Key,
    node::{self, Node, NodeRef, OpenNode, Slot},
};
use crate::error::StoreError;

/// Where the nodes of one trie are kept, by path: nibbles, one per byte, the root at the empty path.
pub(crate) trait NodeStore {
    /// The node at a path.
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError>;
    /// Writes a node.
    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError>;
    /// Removes a node.
    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError>;
}

/// What a [`NodeStore`] returns of an encoded node. Only the root needs its hash; others are known by their parent's reference.
pub(crate) fn opened(path: &[u8], rlp: &[u8]) -> Result<(Node, NodeRef), StoreError> {
    Ok((node::decode(rlp)?, if path.is_empty() { NodeRef::to(rlp) } else { NodeRef::NONE }))
}

/// Nodes nearer to the root than this are worth keeping in memory: at most 70,000 of a trie.
const KEPT_DEPTH: usize = 5;

/// The upper nodes of a trie as they are stored, kept in memory from one change to the next.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    root: Slot,
    /// How many nodes these are.
    pub(crate) nodes: usize,
}

/// A stored trie being changed. Nothing is written before [`Trie::seal`].
pub(crate) struct Trie<S> {
    store: S,
    root: Slot,
    editor: Editor,
}

impl<S: NodeStore> Trie<S> {
    /// Opens the trie that a store holds.
    pub(crate) fn open(store: S) -> Result<Self, StoreError> {
        Self::open_kept(store, Kept::default())
    }

    /// Opens it with what was kept when it was sealed last. Whoever stores other nodes since must not give it.
    pub(crate) fn open_kept(store: S, kept: Kept) -> Result<Self, StoreError> {
        if !kept.root.is_empty() {
            return Ok(Self { store, root: kept.root, editor: Editor { kept: kept.nodes, ..Editor::default() } });
        }
        let root = match store.node(&[])? {
            None => Slot::Empty,
            Some((node, reference)) => {
                Slot::Open(Box::new(OpenNode { node, clean: Some(reference), stored: true, kept: false }))
            }
        };
        Ok(Self { store, root, editor: Editor::default() })
    }

    /// Sets the value of a key. An empty value removes it. Keys in rising order are the fastest.
    pub(crate) fn set(&mut self, key: &Key, value: Vec<u8>) -> Result<(), StoreError> {
        self.replace(key, &[], value)
    }

    /// The same where the value `old` is likely what the key has: its leaf is then known by its hash and not read.
    pub(crate) fn replace(&mut self, key: &Key, old: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        if value.is_empty() {
            self.editor.remove(&self.store, &mut self.root, key, 0, old)?;
        } else {
            self.editor.insert(&self.store, &mut self.root, key, 0, old, value)?;
        }
        Ok(())
    }

    /// Writes what changed and returns the root hash.
    pub(crate) fn seal(self) -> Result<B256, StoreError> {
        Ok(self.seal_kept()?.0)
    }

    /// The same, with what is worth keeping for the next change.
    pub(crate) fn seal_kept(mut self) -> Result<(B256, Kept), StoreError> {
        // Vanished nodes go first: another node may have come to their paths.
        for path in &self.editor.gone {
            self.store.drop_node(path)?;
        }
        if self.root.is_empty() {
            return Ok((EMPTY_ROOT_HASH, Kept::default()));
        }
        let reference = self.editor.seal(&mut self.store, &mut self.root, &mut Vec::with_capacity(64))?;
        let kept = match self.root {
            root @ Slot::Open(_) => Kept { root, nodes: self.editor.kept },
            _ => Kept::default(),
        };
        Ok((root_hash(&reference), kept))
    }
}

/// The root is hashed even if it is small enough to be inlined.
fn root_hash(reference: &NodeRef) -> B256 {
    let bytes = reference.as_slice();
    if reference.is_inline() { keccak256(bytes) } else { B256::from_slice(&bytes[1..]) }
}

/// Bookkeeping of a change.
#[derive(Default)]
struct Editor {
    /// Paths at which the store holds a node that has vanished or moved.
    gone: Vec<Vec<u8>>,
    /// The encoding of the node that is being written.
    rlp: Vec<u8>,
    /// How many nodes are kept.
    kept: usize,
}

impl Editor {
    /// Brings the node of a slot, on the way to a key, into memory. It may be the leaf of the key with the value `old`.
    fn open_for<S: NodeStore>(
        &mut self,
        store: &S,
        slot: &mut Slot,
        key: &Key,
        depth: usize,
        old: &[u8],
    ) -> Result<(), StoreError> {
        if let Slot::Closed(reference) = *slot
            && !old.is_empty()
        {
            self.rlp.clear();
            node::encode_leaf(&mut self.rlp, &key[depth..], old);
            if NodeRef::to(&self.rlp) == reference {
                let node = Node::Leaf { suffix: key[depth..].to_vec(), value: old.to_vec() };
                let stored = !reference.is_inline();
                *slot = Slot::Open(Box::new(OpenNode { node, clean: Some(reference), stored, kept: false }));
                return Ok(());
            }
        }
        self.open(store, slot, &key[..depth])
    }

    /// Brings the node of a slot into memory.
    fn open<S: NodeStore>(&mut self, store: &S, slot: &mut Slot, path: &[u8]) -> Result<(), StoreError> {
        let Slot::Closed(reference) = *slot else { return Ok(()) };
        let stored = !reference.is_inline();
        let node = if stored {
            let missing = || StoreError::Corrupt(format!("trie node {} is missing", alloy::hex::encode(path)));
            store.node(path)?.ok_or_else(missing)?.0
        } else {
            node::decode(reference.as_slice())?
        };
        *slot = Slot::Open(Box::new(OpenNode { node, clean: Some(reference), stored, kept: false }));
        Ok(())
    }

    /// Sets a value below a slot that is `depth` nibbles from the root. Returns whether anything changed.
    fn insert<S: NodeStore>(
        &mut self,
        store: &S,
        slot: &mut Slot,
        key: &Key,
        depth: usize,
        old: &[u8],
        value: Vec<u8>,
    ) -> Result<bool, StoreError> {
        self.open_for(store, slot, key, depth, old)?;
        let rest = &key[depth..];
        let Slot::Open(open) = slot else {
            *slot = Slot::changed(Node::Leaf { suffix: rest.to_vec(), value });
            return Ok(true);
        };
        let changed = match &mut open.node {
            Node::Leaf { suffix, value: present } => match common(suffix, rest) {
                all if all == suffix.len() => {
                    let differs = *present != value;
                    *present = value;
                    differs
                }
                shared => {
                    let other = Node::Leaf { suffix: suffix[shared + 1..].to_vec(), value: mem::take(present) };
                    open.node = fork(rest, shared, suffix[shared], Slot::changed(other), value);
                    true
                }
            },
            // The child's path is its path from the root, so it stays where it is if its parents split.
            Node::Extension { prefix, child } => match common(prefix, rest) {
                all if all == prefix.len() => self.insert(store, child, key, depth + all, old, value)?,
                shared => {
                    let child = mem::take(child);
                    let below = if shared + 1 == prefix.len() {
                        child
                    } else {
                        Slot::changed(Node::Extension { prefix: prefix[shared + 1..].to_vec(), child })
                    };
                    open.node = fork(rest, shared, prefix[shared], below, value);
                    true
                }
            },
            Node::Branch { children } => {
                self.insert(store, &mut children[usize::from(rest[0])], key, depth + 1, old, value)?
            }
        };
        if changed {
            open.clean = None;
        }
        Ok(changed)
    }

    /// Removes a key below a slot. Returns whether it was there.
    fn remove<S: NodeStore>(
        &mut self,
        store: &S,
        slot: &mut Slot,
        key: &Key,
        depth: usize,
        old: &[u8],
    ) -> Result<bool, StoreError> {
        self.open_for(store, slot, key, depth, old)?;
        let rest = &key[depth..];
        let Slot::Open(open) = slot else { return Ok(false) };
        match &mut open.node {
            Node::Leaf { suffix, .. } => {
                let found = suffix.as_slice() == rest;
                if found {
                    self.vanish(open, &key[..depth]);
                    *slot = Slot::Empty;
                }
                return Ok(found);
            }
            Node::Extension { prefix, child } => {
                let below = depth + prefix.len();
                if !rest.starts_with(prefix) || !self.remove(store, child, key, below, old)? {
                    return Ok(false);
                }
                let joined = self.join(prefix, mem::take(child), &key[..below]);
                open.node = joined;
            }
            Node::Branch { children } => {
                if !self.remove(store, &mut children[usize::from(rest[0])], key, depth + 1, old)? {
                    return Ok(false);
                }
                if let Some(only) = only_child(children) {
                    let mut path = key[..depth].to_vec();
                    path.push(only);
                    let mut child = mem::take(&mut children[usize::from(only)]);
                    self.open(store, &mut child, &path)?;
                    open.node = self.join(&[only], child, &path);
                }
            }
        }
        open.clean = None;
        Ok(true)
    }

    /// Notes that a node leaves its path.
    fn vanish(&mut self, open: &OpenNode, path: &[u8]) {
        self.kept -= usize::from(open.kept);
        if open.stored {
            self.gone.push(path.to_vec());
        }
    }

    /// Puts a stretch in front of an opened node, merging where two stretches meet. `path` is the node's.
    fn join(&mut self, prefix: &[u8], child: Slot, path: &[u8]) -> Node {
        let Slot::Open(open) = child else { return Node::Extension { prefix: prefix.to_vec(), child } };
        if !matches!(open.node, Node::Branch { .. }) {
            self.vanish(&open, path);
        }
        match open.node {
            Node::Leaf { suffix, value } => Node::Leaf { suffix: [prefix, &suffix].concat(), value },
            Node::Extension { prefix: more, child } => Node::Extension { prefix: [prefix, &more].concat(), child },
            Node::Branch { .. } => Node::Extension { prefix: prefix.to_vec(), child: Slot::Open(open) },
        }
    }

    /// Writes changed nodes below a slot and returns the slot's reference. What is not worth keeping is closed.
    fn seal<S: NodeStore>(
        &mut self,
        store: &mut S,
        slot: &mut Slot,
        path: &mut Vec<u8>,
    ) -> Result<NodeRef, StoreError> {
        let open = match slot {
            Slot::Empty => return Ok(NodeRef::NONE),
            Slot::Closed(reference) => return Ok(*reference),
            Slot::Open(open) => open,
        };
        let reference = match open.clean {
            Some(reference) => reference,
            None => self.write(store, open, path)?,
        };
        let keep = path.len() < KEPT_DEPTH && open.stored && !matches!(open.node, Node::Leaf { .. });
        self.kept = self.kept + usize::from(keep) - usize::from(open.kept);
        open.kept = keep;
        if !keep {
            *slot = Slot::Closed(reference);
        }
        Ok(reference)
    }

    /// Writes a changed node and those below it.
    fn write<S: NodeStore>(
        &mut self,
        store: &mut S,
        open: &mut OpenNode,
        path: &mut Vec<u8>,
    ) -> Result<NodeRef, StoreError> {
        match &mut open.node {
            Node::Leaf { suffix, value } => {
                self.rlp.clear();
                node::encode_leaf(&mut self.rlp, suffix, value);
            }
            Node::Extension { prefix, child } => {
                path.extend_from_slice(prefix);
                let child = self.seal(store, child, path)?;
                path.truncate(path.len() - prefix.len());
                self.rlp.clear();
                node::encode_extension(&mut self.rlp, prefix, &child);
            }
            Node::Branch { children } => {
                let mut references = [NodeRef::NONE; 16];
                for (nibble, (reference, child)) in (0u8..).zip(references.iter_mut().zip(children.iter_mut())) {
                    path.push(nibble);
                    *reference = self.seal(store, child, path)?;
                    path.pop();
                }
                self.rlp.clear();
                node::encode_branch(&mut self.rlp, &references);
            }
        }
        let stored = self.rlp.len() >= 32 || path.is_empty();
        if stored {
            store.put_node(path, &self.rlp)?;
        } else if open.stored {
            store.drop_node(path)?;
        }
        let reference = NodeRef::to(&self.rlp);
        (open.clean, open.stored) = (Some(reference), stored);
        Ok(reference)
    }
}

/// A branch (behind an extension, if anything is shared) between an old subtree and a new leaf.
fn fork(rest: &[u8], shared: usize, old_nibble: u8, old: Slot, value: Vec<u8>) -> Node {
    let mut children: Box<[Slot; 16]> = Box::default();
    children[usize::from(old_nibble)] = old;
    children[usize::from(rest[shared])] = Slot::changed(Node::Leaf { suffix: rest[shared + 1..].to_vec(), value });
    let branch = Node::Branch { children };
    if shared == 0 { branch } else { Node::Extension { prefix: rest[..shared].to_vec(), child: Slot::changed(branch) } }
}

/// The nibble of the only child left, if only one is.
fn only_child(children: &[Slot; 16]) -> Option<u8> {
    let mut left = (0u8..).zip(children).filter(|(_, child)| !child.is_empty());
    match (left.next(), left.next()) {
        (Some((nibble, _)), None) => Some(nibble),
        _ => None,
    }
}

/// How many leading nibbles two paths share.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy_trie::{HashBuilder, Nibbles};
    use proptest::prelude::*;

    use super::*;
    use crate::trie::nibbles;

    type Nodes = BTreeMap<Vec<u8>, Vec<u8>>;

    impl NodeStore for &mut Nodes {
        fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError> {
            self.get(path).map(|rlp| opened(path, rlp)).transpose()
        }
        fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError> {
            self.insert(path.to_vec(), rlp.to_vec());
            Ok(())
        }
        fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError> {
            assert!(self.remove(path).is_some(), "dropped a node that was not stored");
            Ok(())
        }
    }

    fn reference_root(entries: &BTreeMap<[u8; 32], Vec<u8>>) -> B256 {
        let mut builder = HashBuilder::default();
        for (key, value) in entries {
            builder.add_leaf(Nibbles::unpack(key), value);
        }
        builder.root()
    }

    fn apply(nodes: &mut Nodes, batch: &[([u8; 32], Vec<u8>)]) -> B256 {
        apply_kept(nodes, batch, &mut Kept::default())
    }

    fn apply_kept(nodes: &mut Nodes, batch: &[([u8; 32], Vec<u8>)], kept: &mut Kept) -> B256 {
        apply_knowing(nodes, batch, kept, |_| Vec::new())
    }

    /// The same with what is believed to be the value of a key before the batch.
    fn apply_knowing(
        nodes: &mut Nodes,
        batch: &[([u8; 32], Vec<u8>)],
        kept: &mut Kept,
        old: impl Fn(&[u8; 32]) -> Vec<u8>,
    ) -> B256 {
        let mut trie = Trie::open_kept(nodes, mem::take(kept)).unwrap();
        for (key, value) in batch {
            trie.replace(&nibbles(key), &old(key), value.clone()).unwrap();
        }
        let (root, next) = trie.seal_kept().unwrap();
        *kept = next;
        root
    }

    /// Keys that share long prefixes, so that extensions, deep leaves and inlined nodes all occur.
    fn key() -> impl Strategy<Value = [u8; 32]> {
        let tight = (0usize..32, prop::collection::vec(0u8..4, 3)).prop_map(|(at, bytes)| {
            let mut key = [0x11; 32];
            for (offset, byte) in bytes.into_iter().enumerate() {
                key[(at + offset) % 32] = byte << (4 * (offset % 2));
            }
            key
        });
        let end = (0u8..4, 0u8..16).prop_map(|(a, b)| {
            let mut key = [0; 32];
            key[30] = a;
            key[31] = b;
            key
        });
        prop_oneof![tight, end, any::<[u8; 32]>()]
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

        /// Batches of insertions, changes and removals give the roots that alloy-trie builds from scratch, and the
        /// store never keeps a node of an earlier version.
        #[test]
        fn roots_are_those_of_alloy_trie(
            batches in prop::collection::vec(prop::collection::vec((key(), value()), 1..40), 1..8)
        ) {
            let (mut nodes, mut nodes_kept, mut kept) = (Nodes::new(), Nodes::new(), Kept::default());
            let (mut nodes_known, mut kept_known) = (Nodes::new(), Kept::default());
            let mut entries = BTreeMap::new();
            for batch in &batches {
                let before: BTreeMap<[u8; 32], Vec<u8>> = entries.clone();
                for (key, value) in batch {
                    if value.is_empty() { entries.remove(key); } else { entries.insert(*key, value.clone()); }
                }
                prop_assert_eq!(apply(&mut nodes, batch), reference_root(&entries));
                // With the upper nodes in memory all is the same.
                prop_assert_eq!(apply_kept(&mut nodes_kept, batch, &mut kept), reference_root(&entries));
                prop_assert_eq!(&nodes_kept, &nodes);
                // And so with the values of before, which a batch that names a key twice makes wrong on the way.
                let old = |key: &[u8; 32]| before.get(key).cloned().unwrap_or_else(|| vec![key[31]; 2]);
                prop_assert_eq!(apply_knowing(&mut nodes_known, batch, &mut kept_known, old), reference_root(&entries));
                prop_assert_eq!(&nodes_known, &nodes);
            }
            let mut fresh = Nodes::new();
            let all: Vec<_> = entries.into_iter().collect();
            apply(&mut fresh, &all);
            prop_assert_eq!(&nodes, &fresh);
            let gone: Vec<_> = all.into_iter().map(|(key, _)| (key, Vec::new())).collect();
            prop_assert_eq!(apply(&mut nodes, &gone), EMPTY_ROOT_HASH);
            prop_assert!(nodes.is_empty());
        }
    }

    #[test]
    fn a_missing_node_is_reported_with_its_path() {
        let mut nodes = Nodes::new();
        let batch: Vec<_> = (0..64u8).map(|byte| ([byte.wrapping_mul(37); 32], vec![byte + 1; 40])).collect();
        apply(&mut nodes, &batch);
        let lost = nodes.keys().find(|path| path.len() == 1).cloned().unwrap();
        nodes.remove(&lost);
        let mut key = nibbles(&[0; 32]);
        key[0] = lost[0];
        let error = Trie::open(&mut nodes).unwrap().set(&key, vec![1]).unwrap_err();
        assert!(error.to_string().contains(&format!("{:02x}", lost[0])), "{error}");
    }

    #[test]
    fn a_leaf_whose_value_is_known_is_not_read() {
        let mut nodes = Nodes::new();
        let key = |i: u32| keccak256(i.to_be_bytes()).0;
        let batch: Vec<_> = (0..2000u32).map(|i| (key(i), vec![(i % 200) as u8 + 1; 40])).collect();
        apply(&mut nodes, &batch);
        // The leaf itself is gone from the store: whoever read it would fail.
        let path = (1..64).map(|depth| nibbles(&key(7))[..depth].to_vec()).rfind(|path| nodes.contains_key(path));
        let leaf = nodes.remove(&path.unwrap()).unwrap();
        assert!(leaf.len() < 100, "no leaf");
        let change = [(key(7), vec![9; 9])];
        let root = apply_knowing(&mut nodes, &change, &mut Kept::default(), |_| vec![8; 40]);
        let mut entries: BTreeMap<_, _> = batch.into_iter().collect();
        entries.extend(change);
        assert_eq!(root, reference_root(&entries));
    }

    #[test]
    fn a_change_writes_only_its_path() {
        let mut nodes = Nodes::new();
        let batch: Vec<_> = (0..2000u32).map(|i| (keccak256(i.to_be_bytes()).0, i.to_be_bytes().to_vec())).collect();
        apply(&mut nodes, &batch);
        let before = nodes.clone();
        apply(&mut nodes, &[(keccak256(7u32.to_be_bytes()).0, vec![9; 9])]);
        let written = nodes.iter().filter(|(path, rlp)| before.get(*path) != Some(*rlp)).count();
        assert!((2..=6).contains(&written), "{written} nodes written");
    }
}
