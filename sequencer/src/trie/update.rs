//! Changing a stored trie.

use std::mem;

use alloy::primitives::{B256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;

use super::{
    Key, nibbles,
    node::{self, Leaf, Node, NodeRef, OpenNode, Slot},
};
use crate::error::StoreError;

/// Where the nodes of one trie are kept, by path: nibbles, one per byte, the root at the empty path.
pub(crate) trait NodeStore {
    /// The node at a path.
    fn node(&self, path: &[u8]) -> Result<Option<(Node, NodeRef)>, StoreError>;
    /// Writes a branch or an extension.
    fn put_node(&mut self, path: &[u8], rlp: &[u8]) -> Result<(), StoreError>;
    /// Removes a branch or an extension.
    fn drop_node(&mut self, path: &[u8]) -> Result<(), StoreError>;
    /// Writes a leaf, whatever its size. It either `came` to this path, or it was there and has another value: then only a store
    /// that does not have the values elsewhere has anything to write.
    fn put_leaf(&mut self, path: &[u8], leaf: &Leaf, came: bool) -> Result<(), StoreError>;
    /// Removes a leaf.
    fn drop_leaf(&mut self, path: &[u8]) -> Result<(), StoreError>;
}

/// A key with a new value.
pub(crate) struct Change {
    /// The key.
    pub(crate) key: B256,
    /// What it is the hash of.
    pub(crate) of: B256,
    /// Its value before, if that is known: its leaf is then known by its hash and not read. Anything else does no harm.
    pub(crate) old: Vec<u8>,
    /// Its value, empty if it has none any more.
    pub(crate) new: Vec<u8>,
}

/// What a [`NodeStore`] returns of an encoded node. Only the root needs its hash; others are known by their parent's reference.
pub(crate) fn opened(path: &[u8], rlp: &[u8]) -> Result<(Node, NodeRef), StoreError> {
    Ok((node::decode(rlp)?, if path.is_empty() { NodeRef::to(rlp) } else { NodeRef::NONE }))
}

/// The same of a leaf that is not kept as encoded.
pub(crate) fn opened_leaf(path: &[u8], leaf: Leaf) -> (Node, NodeRef) {
    let reference = if path.is_empty() { NodeRef::to(&leaf.rlp()) } else { NodeRef::NONE };
    (Node::Leaf(leaf), reference)
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
            Some((node, reference)) => Slot::unchanged(node, reference, true),
        };
        Ok(Self { store, root, editor: Editor::default() })
    }

    /// Changes the value of a key. Keys in rising order are the fastest.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        let key = nibbles(&change.key);
        if change.new.is_empty() {
            self.editor.remove(&self.store, &mut self.root, &key, 0, &change)?;
        } else {
            self.editor.insert(&self.store, &mut self.root, &key, 0, change)?;
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
        for gone in &self.editor.gone {
            match gone {
                Gone::Leaf(path) => self.store.drop_leaf(path)?,
                Gone::Node(path) => self.store.drop_node(path)?,
            }
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

/// A path at which the store has a node that has vanished or moved.
enum Gone {
    /// A leaf.
    Leaf(Vec<u8>),
    /// A branch or an extension.
    Node(Vec<u8>),
}

/// Bookkeeping of a change.
#[derive(Default)]
struct Editor {
    /// What has vanished or moved.
    gone: Vec<Gone>,
    /// The encoding of the node that is being written.
    rlp: Vec<u8>,
    /// How many nodes are kept.
    kept: usize,
}

impl Editor {
    /// Brings the node of a slot, on the way to a key, into memory. It may be the key's leaf with the value before the change.
    fn open_for<S: NodeStore>(
        &mut self,
        store: &S,
        slot: &mut Slot,
        key: &Key,
        depth: usize,
        change: &Change,
    ) -> Result<(), StoreError> {
        if let Slot::Closed(reference) = *slot
            && !change.old.is_empty()
        {
            self.rlp.clear();
            node::encode_leaf(&mut self.rlp, &key[depth..], &change.old);
            if NodeRef::to(&self.rlp) == reference {
                let leaf = Leaf { suffix: key[depth..].to_vec(), value: change.old.clone(), of: Some(change.of) };
                *slot = Slot::unchanged(Node::Leaf(leaf), reference, true);
                return Ok(());
            }
        }
        self.open(store, slot, &key[..depth])
    }

    /// Brings the node of a slot into memory.
    fn open<S: NodeStore>(&mut self, store: &S, slot: &mut Slot, path: &[u8]) -> Result<(), StoreError> {
        let Slot::Closed(reference) = *slot else { return Ok(()) };
        if reference.is_inline() {
            let node = node::decode(reference.as_slice())?;
            // Of a leaf only the store knows of what it is.
            if !node.is_leaf() {
                *slot = Slot::unchanged(node, reference, false);
                return Ok(());
            }
        }
        let corrupt = |what| StoreError::Corrupt(format!("trie node {} {what}", alloy::hex::encode(path)));
        let (node, _) = store.node(path)?.ok_or_else(|| corrupt("is missing"))?;
        if let Node::Leaf(leaf) = &node {
            // Its value may be kept elsewhere: it must be that of this version.
            self.rlp.clear();
            leaf.encode(&mut self.rlp);
            if NodeRef::to(&self.rlp) != reference {
                return Err(corrupt("is not the leaf that its parent has"));
            }
        }
        *slot = Slot::unchanged(node, reference, true);
        Ok(())
    }

    /// Sets a value below a slot that is `depth` nibbles from the root. Returns whether anything changed.
    fn insert<S: NodeStore>(
        &mut self,
        store: &S,
        slot: &mut Slot,
        key: &Key,
        depth: usize,
        change: Change,
    ) -> Result<bool, StoreError> {
        self.open_for(store, slot, key, depth, &change)?;
        let rest = &key[depth..];
        let Slot::Open(open) = slot else {
            *slot = new_leaf(rest, change);
            return Ok(true);
        };
        let (changed, forked) = match &mut open.node {
            Node::Leaf(leaf) => match common(&leaf.suffix, rest) {
                all if all == leaf.suffix.len() => {
                    let differs = leaf.value != change.new;
                    leaf.value = change.new;
                    (differs, None)
                }
                shared => {
                    let (suffix, value) = (leaf.suffix[shared + 1..].to_vec(), mem::take(&mut leaf.value));
                    let other = Slot::changed(Node::Leaf(Leaf { suffix, value, of: leaf.of }));
                    (true, Some(fork(rest, shared, leaf.suffix[shared], other, change)))
                }
            },
            // The child's path is its path from the root, so it stays where it is if its parents split.
            Node::Extension { prefix, child } => match common(prefix, rest) {
                all if all == prefix.len() => (self.insert(store, child, key, depth + all, change)?, None),
                shared => {
                    let child = mem::take(child);
                    let below = if shared + 1 == prefix.len() {
                        child
                    } else {
                        Slot::changed(Node::Extension { prefix: prefix[shared + 1..].to_vec(), child })
                    };
                    (true, Some(fork(rest, shared, prefix[shared], below, change)))
                }
            },
            Node::Branch { children } => {
                (self.insert(store, &mut children[usize::from(rest[0])], key, depth + 1, change)?, None)
            }
        };
        if let Some(fork) = forked {
            self.turn(open, fork, &key[..depth]);
        }
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
        change: &Change,
    ) -> Result<bool, StoreError> {
        self.open_for(store, slot, key, depth, change)?;
        let rest = &key[depth..];
        let Slot::Open(open) = slot else { return Ok(false) };
        match &mut open.node {
            Node::Leaf(leaf) => {
                let found = leaf.suffix.as_slice() == rest;
                if found {
                    self.vanish(open, &key[..depth]);
                    *slot = Slot::Empty;
                }
                return Ok(found);
            }
            Node::Extension { prefix, child } => {
                let below = depth + prefix.len();
                if !rest.starts_with(prefix) || !self.remove(store, child, key, below, change)? {
                    return Ok(false);
                }
                let joined = self.join(prefix, mem::take(child), &key[..below]);
                self.turn(open, joined, &key[..depth]);
            }
            Node::Branch { children } => {
                if !self.remove(store, &mut children[usize::from(rest[0])], key, depth + 1, change)? {
                    return Ok(false);
                }
                if let Some(only) = only_child(children) {
                    let mut path = key[..depth].to_vec();
                    path.push(only);
                    let mut child = mem::take(&mut children[usize::from(only)]);
                    self.open(store, &mut child, &path)?;
                    let joined = self.join(&[only], child, &path);
                    self.turn(open, joined, &key[..depth]);
                }
            }
        }
        open.clean = None;
        Ok(true)
    }

    /// Makes a node another one at the same path. Leaves are stored apart from other nodes.
    fn turn(&mut self, open: &mut OpenNode, node: Node, path: &[u8]) {
        if open.stored && open.node.is_leaf() != node.is_leaf() {
            self.gone.push(gone(&open.node, path));
            open.stored = false;
        }
        open.node = node;
    }

    /// Notes that a node leaves its path.
    fn vanish(&mut self, open: &OpenNode, path: &[u8]) {
        self.kept -= usize::from(open.kept);
        if open.stored {
            self.gone.push(gone(&open.node, path));
        }
    }

    /// Puts a stretch in front of an opened node, merging where two stretches meet. `path` is the node's.
    fn join(&mut self, prefix: &[u8], child: Slot, path: &[u8]) -> Node {
        let Slot::Open(open) = child else { return Node::Extension { prefix: prefix.to_vec(), child } };
        if !matches!(open.node, Node::Branch { .. }) {
            self.vanish(&open, path);
        }
        match open.node {
            Node::Leaf(leaf) => Node::Leaf(Leaf { suffix: [prefix, &leaf.suffix].concat(), ..leaf }),
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
        let keep = path.len() < KEPT_DEPTH && open.stored && !open.node.is_leaf();
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
            Node::Leaf(leaf) => {
                self.rlp.clear();
                leaf.encode(&mut self.rlp);
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
        let stored = match &open.node {
            // Also if its parent has it: only the store says of what it is.
            Node::Leaf(leaf) => {
                store.put_leaf(path, leaf, !open.stored)?;
                true
            }
            _ if self.rlp.len() >= 32 || path.is_empty() => {
                store.put_node(path, &self.rlp)?;
                true
            }
            _ => {
                if open.stored {
                    store.drop_node(path)?;
                }
                false
            }
        };
        let reference = NodeRef::to(&self.rlp);
        (open.clean, open.stored) = (Some(reference), stored);
        Ok(reference)
    }
}

/// A branch (behind an extension, if anything is shared) between an old subtree and a new leaf.
fn fork(rest: &[u8], shared: usize, old_nibble: u8, old: Slot, change: Change) -> Node {
    let mut children: Box<[Slot; 16]> = Box::default();
    children[usize::from(old_nibble)] = old;
    children[usize::from(rest[shared])] = new_leaf(&rest[shared + 1..], change);
    let branch = Node::Branch { children };
    if shared == 0 { branch } else { Node::Extension { prefix: rest[..shared].to_vec(), child: Slot::changed(branch) } }
}

/// The leaf of a key that had no value.
fn new_leaf(suffix: &[u8], change: Change) -> Slot {
    Slot::changed(Node::Leaf(Leaf { suffix: suffix.to_vec(), value: change.new, of: Some(change.of) }))
}

/// What the store has of a node at its path goes.
fn gone(node: &Node, path: &[u8]) -> Gone {
    if node.is_leaf() { Gone::Leaf(path.to_vec()) } else { Gone::Node(path.to_vec()) }
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
