//! A Merkle Patricia trie that lives in the store and is updated in place.
//!
//! Nodes are kept by their path from the root, so the store always holds exactly one version of the trie: a change
//! rewrites the nodes on the paths it touches and nothing else, whatever the number of accounts.
//!
//! ```text
//!   changed keys --> open the touched paths --> insert / remove --> seal: write changed nodes, drop vanished ones
//!                      (nodes by path)            (in memory)         --> root hash
//! ```
//!
//! Keys are hashes of 32 bytes, so no key is a prefix of another and branches hold no values.
//!
//! A leaf repeats what the store has elsewhere: the value of an account or a slot. So a store may keep at a leaf's path only of
//! what it is, which changes when the leaf comes, moves or goes, but not with its value.

mod node;
mod proof;
mod update;

#[cfg(test)]
mod tests;

pub(crate) use node::{Leaf, Node, NodeRef};
pub(crate) use proof::{NodeReader, Overlay};
pub(crate) use update::{Change, Kept, NodeStore, Trie, opened, opened_leaf};

/// Length of a key in nibbles.
pub(crate) const KEY_NIBBLES: usize = 64;

/// A key, one nibble per byte.
pub(crate) type Key = [u8; KEY_NIBBLES];

/// Splits a hash into nibbles, most significant first.
pub(crate) fn nibbles(hash: &[u8; 32]) -> Key {
    let mut key = [0; KEY_NIBBLES];
    for (pair, byte) in key.chunks_exact_mut(2).zip(hash) {
        pair[0] = byte >> 4;
        pair[1] = byte & 15;
    }
    key
}
