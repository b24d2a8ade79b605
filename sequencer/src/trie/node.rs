//! Nodes of the trie and their encoding.

use alloy::primitives::keccak256;
use alloy_rlp::{Buf, EMPTY_STRING_CODE, Header};

use crate::error::StoreError;

/// What a parent holds of a child: an RLP string with its hash, or the child itself if that is under 32 bytes.
pub(crate) type NodeRef = Vec<u8>;

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
}

/// The three kinds of nodes. Paths are nibbles, one per byte.
#[derive(Debug)]
pub(crate) enum Node {
    /// The end of a path and its value.
    Leaf { suffix: Vec<u8>, value: Vec<u8> },
    /// A stretch without forks; the child is always a branch.
    Extension { prefix: Vec<u8>, child: Slot },
    /// A fork with at least two children.
    Branch { children: Box<[Slot; 16]> },
}

impl Slot {
    /// A node that differs from what is stored.
    pub(crate) fn changed(node: Node) -> Self {
        Self::Open(Box::new(OpenNode { node, clean: None }))
    }

    /// Whether nothing is here.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

/// The reference to a node with this encoding.
pub(crate) fn reference(rlp: Vec<u8>) -> NodeRef {
    if rlp.len() < 32 {
        return rlp;
    }
    let mut hashed = Vec::with_capacity(33);
    hashed.push(0xa0);
    hashed.extend_from_slice(keccak256(&rlp).as_slice());
    hashed
}

/// Whether the node behind this reference is inside it rather than in the store.
pub(crate) fn is_inline(reference: &[u8]) -> bool {
    reference.first().is_some_and(|byte| *byte >= 0xc0)
}

/// Encodes a leaf.
pub(crate) fn encode_leaf(suffix: &[u8], value: &[u8]) -> Vec<u8> {
    let path = compact(suffix, true);
    let mut payload = Vec::with_capacity(path.len() + value.len() + 8);
    put_string(&mut payload, &path);
    put_string(&mut payload, value);
    list(&payload)
}

/// Encodes an extension over a child's reference.
pub(crate) fn encode_extension(prefix: &[u8], child: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(child.len() + prefix.len() + 4);
    put_string(&mut payload, &compact(prefix, false));
    payload.extend_from_slice(child);
    list(&payload)
}

/// Encodes a branch from its children's references, an empty one for none.
pub(crate) fn encode_branch(children: &[NodeRef; 16]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(17 + children.iter().map(Vec::len).sum::<usize>());
    for child in children {
        if child.is_empty() {
            payload.push(EMPTY_STRING_CODE);
        } else {
            payload.extend_from_slice(child);
        }
    }
    payload.push(EMPTY_STRING_CODE);
    list(&payload)
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
    let mut items = Vec::with_capacity(17);
    while !rlp.is_empty() {
        items.push(item(&mut rlp)?);
    }
    match items.len() {
        2 => parse_short(items[0], items[1]),
        17 => {
            let mut children: Box<[Slot; 16]> = Box::default();
            for (slot, child) in children.iter_mut().zip(&items) {
                if *child != [EMPTY_STRING_CODE] {
                    *slot = Slot::Closed(child.to_vec());
                }
            }
            Some(Node::Branch { children })
        }
        _ => None,
    }
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
        Some(Node::Leaf { suffix: nibbles, value: string(rest)?.to_vec() })
    } else {
        Some(Node::Extension { prefix: nibbles, child: Slot::Closed(rest.to_vec()) })
    }
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

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    alloy_rlp::Encodable::encode(bytes, out);
}

fn list(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 4);
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(payload);
    out
}
