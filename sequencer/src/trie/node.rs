//! Nodes of the trie and their encoding.

use alloy::primitives::{B256, keccak256};
use alloy_rlp::{Buf, BufMut, EMPTY_STRING_CODE, Header};

use crate::error::StoreError;

/// What a parent holds of a child: an RLP string with its hash, or the child itself if that is under 32 bytes.
///
/// Held in place: a branch has sixteen of them, and a block opens thousands of branches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeRef {
    len: u8,
    bytes: [u8; 33],
}

/// A place in the trie where a node may be.
#[derive(Debug, Default)]
pub(crate) enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// A node that has not been looked at.
    Closed(NodeRef),
    /// A node in memory.
    Open(Box<OpenNode>),
}

/// A node in memory.
#[derive(Debug)]
pub(crate) struct OpenNode {
    /// The node.
    pub(crate) node: Node,
    /// Its reference as stored; `None` once it or anything below it has changed.
    pub(crate) clean: Option<NodeRef>,
    /// Whether the store has it at its path: a leaf of this key with whatever value, otherwise a node of this version or an earlier one.
    pub(crate) stored: bool,
    /// Whether it is counted among those that stay in memory.
    pub(crate) kept: bool,
}

/// The three kinds of nodes. Paths are nibbles, one per byte.
#[derive(Debug)]
pub(crate) enum Node {
    /// The end of a path.
    Leaf(Leaf),
    /// A stretch without forks; the child is always a branch.
    Extension { prefix: Vec<u8>, child: Slot },
    /// A fork with at least two children.
    Branch { children: Box<[Slot; 16]> },
}

/// The end of a path and its value.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// What its key has after its path.
    pub(crate) suffix: Vec<u8>,
    /// Its value.
    pub(crate) value: Vec<u8>,
    /// What its key is the hash of. That is not in its encoding: `None` if it was decoded.
    pub(crate) of: Option<B256>,
}

impl Leaf {
    /// Appends its encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        encode_leaf(out, &self.suffix, &self.value);
    }

    /// Its encoding.
    pub(crate) fn rlp(&self) -> Vec<u8> {
        let mut rlp = Vec::new();
        self.encode(&mut rlp);
        rlp
    }
}

impl Node {
    /// Whether it is a leaf.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self, Self::Leaf(_))
    }
}

impl NodeRef {
    /// No child.
    pub(crate) const NONE: Self = Self { len: 0, bytes: [0; 33] };

    /// The reference to a node with this encoding.
    pub(crate) fn to(rlp: &[u8]) -> Self {
        if rlp.len() < 32 {
            return Self::copy(rlp);
        }
        let mut bytes = [0xa0; 33];
        bytes[1..].copy_from_slice(keccak256(rlp).as_slice());
        Self { len: 33, bytes }
    }

    /// A reference as its parent holds it, which is at most 33 bytes long.
    fn copy(reference: &[u8]) -> Self {
        let mut bytes = [0; 33];
        bytes[..reference.len()].copy_from_slice(reference);
        Self { len: reference.len() as u8, bytes }
    }

    /// Its bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether the node is inside the reference rather than in the store.
    pub(crate) fn is_inline(&self) -> bool {
        self.len > 0 && self.bytes[0] >= 0xc0
    }
}

impl std::fmt::Debug for NodeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", alloy::hex::encode(self.as_slice()))
    }
}

impl Slot {
    /// A node that differs from what is stored, at a path where nothing is stored.
    pub(crate) fn changed(node: Node) -> Self {
        Self::Open(Box::new(OpenNode { node, clean: None, stored: false, kept: false }))
    }

    /// A node as it was read: on its own, or out of its parent.
    pub(crate) fn unchanged(node: Node, reference: NodeRef, stored: bool) -> Self {
        Self::Open(Box::new(OpenNode { node, clean: Some(reference), stored, kept: false }))
    }

    /// Whether nothing is here.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

/// Encodes a leaf.
pub(crate) fn encode_leaf(out: &mut Vec<u8>, suffix: &[u8], value: &[u8]) {
    let path = compact(suffix, true);
    let payload_length = string_length(&path) + string_length(value);
    start_list(out, payload_length);
    put_string(out, &path);
    put_string(out, value);
}

/// Encodes an extension over a child's reference.
pub(crate) fn encode_extension(out: &mut Vec<u8>, prefix: &[u8], child: &NodeRef) {
    let path = compact(prefix, false);
    start_list(out, string_length(&path) + child.as_slice().len());
    put_string(out, &path);
    out.extend_from_slice(child.as_slice());
}

/// Encodes a branch from its children's references.
pub(crate) fn encode_branch(out: &mut Vec<u8>, children: &[NodeRef; 16]) {
    let payload_length = 1 + children.iter().map(|child| usize::from(child.len.max(1))).sum::<usize>();
    start_list(out, payload_length);
    for child in children {
        if child.len == 0 {
            out.push(EMPTY_STRING_CODE);
        } else {
            out.extend_from_slice(child.as_slice());
        }
    }
    out.push(EMPTY_STRING_CODE);
}

/// Decodes a stored or inline node.
pub(crate) fn decode(rlp: &[u8]) -> Result<Node, StoreError> {
    parse(rlp).ok_or_else(|| StoreError::Corrupt(format!("no trie node: {}", alloy::hex::encode(rlp))))
}

fn parse(mut rlp: &[u8]) -> Option<Node> {
    let header = Header::decode(&mut rlp).ok()?;
    if !header.list || header.payload_length != rlp.len() {
        return None;
    }
    let first = item(&mut rlp)?;
    let second = item(&mut rlp)?;
    if rlp.is_empty() {
        return parse_short(first, second);
    }
    let mut children: Box<[Slot; 16]> = Box::default();
    for (index, slot) in children.iter_mut().enumerate() {
        let child = match index {
            0 => first,
            1 => second,
            _ => item(&mut rlp)?,
        };
        if child != [EMPTY_STRING_CODE] {
            *slot = Slot::Closed(child_reference(child)?);
        }
    }
    (rlp == [EMPTY_STRING_CODE]).then_some(Node::Branch { children })
}

fn parse_short(path: &[u8], rest: &[u8]) -> Option<Node> {
    let path = string(path)?;
    let (first, bytes) = path.split_first()?;
    let mut nibbles = Vec::with_capacity(path.len() * 2);
    if first & 0x10 != 0 {
        nibbles.push(first & 15);
    }
    for byte in bytes {
        nibbles.extend([byte >> 4, byte & 15]);
    }
    if first & 0x20 != 0 {
        Some(Node::Leaf(Leaf { suffix: nibbles, value: string(rest)?.to_vec(), of: None }))
    } else {
        Some(Node::Extension { prefix: nibbles, child: Slot::Closed(child_reference(rest)?) })
    }
}

/// A hash, or a node that is small enough to be inlined.
fn child_reference(item: &[u8]) -> Option<NodeRef> {
    let inline = item.first().is_some_and(|byte| *byte >= 0xc0) && item.len() < 32;
    let hash = item.len() == 33 && item[0] == 0xa0;
    (inline || hash).then(|| NodeRef::copy(item))
}

/// Takes one item with its header.
fn item<'a>(rlp: &mut &'a [u8]) -> Option<&'a [u8]> {
    let start = *rlp;
    let header = Header::decode(rlp).ok()?;
    if header.payload_length > rlp.len() {
        return None;
    }
    rlp.advance(header.payload_length);
    Some(&start[..start.len() - rlp.len()])
}

/// The payload of a string item.
fn string(mut item: &[u8]) -> Option<&[u8]> {
    Header::decode_bytes(&mut item, false).ok()
}

/// The hex-prefix encoding of a path.
fn compact(nibbles: &[u8], leaf: bool) -> Vec<u8> {
    let flag = if leaf { 0x20 } else { 0 };
    let mut out = Vec::with_capacity(nibbles.len() / 2 + 1);
    let rest = if nibbles.len() % 2 == 1 {
        out.push(flag | 0x10 | nibbles[0]);
        &nibbles[1..]
    } else {
        out.push(flag);
        nibbles
    };
    out.extend(rest.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
    out
}

fn string_length(bytes: &[u8]) -> usize {
    alloy_rlp::Encodable::length(bytes)
}

fn put_string(out: &mut dyn BufMut, bytes: &[u8]) {
    alloy_rlp::Encodable::encode(bytes, out);
}

fn start_list(out: &mut dyn BufMut, payload_length: usize) {
    Header { list: true, payload_length }.encode(out);
}
