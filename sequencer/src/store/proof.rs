//! Merkle proofs of accounts and slots, at the head and at every block whose state is kept.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};

use super::{
    snapshot::{Overwritten, State},
    tries::{ViewNodes, Which},
};
use crate::{
    error::StoreError,
    trie::{Change, NodeReader, NodeStore, Overlay, Trie, nibbles},
};

/// An account with what proves it.
pub(crate) struct AccountProof {
    /// The account, that of nobody if it does not exist.
    pub(crate) account: TrieAccount,
    /// Nodes from the state root.
    pub(crate) nodes: Vec<Bytes>,
    /// Value and nodes from the storage root, for each slot that was asked for.
    pub(crate) slots: Vec<(U256, Vec<Bytes>)>,
}

impl State<'_> {
    /// Proves an account and some of its slots. At an earlier block the tries are taken back in memory first, which costs as
    /// much as the blocks since then changed.
    pub(crate) fn prove(&self, address: Address, slots: &[B256]) -> Result<AccountProof, StoreError> {
        let account = self.account(address)?.unwrap_or_default();
        let mut accounts = Overlay::new(ViewNodes { state: &self.snapshot.view, which: Which::Accounts });
        let past = self.overwritten()?;
        let back = |(address, before): (&Address, &Bytes)| Change {
            key: keccak256(address),
            of: address.into_word(),
            old: Vec::new(),
            new: before.to_vec(),
        };
        rewind(&mut accounts, past.accounts.iter().map(back))?;
        let nodes = accounts.prove(&nibbles(&keccak256(address)))?;
        let slots = self.prove_slots(address, account.storage_root, slots, &past)?;
        Ok(AccountProof { account, nodes, slots })
    }

    fn prove_slots(
        &self,
        address: Address,
        root: B256,
        slots: &[B256],
        past: &Overwritten,
    ) -> Result<Vec<(U256, Vec<Bytes>)>, StoreError> {
        if slots.is_empty() || root == EMPTY_ROOT_HASH {
            return Ok(vec![(U256::ZERO, Vec::new()); slots.len()]);
        }
        let mut storage = Overlay::new(ViewNodes { state: &self.snapshot.view, which: Which::Slots(address) });
        let before = past.slots.iter().filter(|((of, _), _)| *of == address);
        let encode = |value: &U256| if value.is_zero() { Vec::new() } else { alloy_rlp::encode(value) };
        let back = |((_, slot), before): (&(Address, U256), &U256)| {
            let of = B256::from(*slot);
            Change { key: keccak256(of), of, old: Vec::new(), new: encode(before) }
        };
        let rewound = rewind(&mut storage, before.map(back))?;
        if rewound != root {
            return Err(StoreError::Corrupt(format!(
                "storage of {address} has root {rewound}, its account says {root}"
            )));
        }
        let prove = |slot: &B256| Ok((self.slot(address, (*slot).into())?, storage.prove(&nibbles(&keccak256(slot)))?));
        slots.iter().map(prove).collect()
    }
}

/// Gives leaves their earlier values and returns the root.
fn rewind<R: NodeReader>(trie: &mut Overlay<R>, before: impl Iterator<Item = Change>) -> Result<B256, StoreError>
where
    for<'a> &'a mut Overlay<R>: NodeStore,
{
    let mut changes: Vec<_> = before.collect();
    changes.sort_unstable_by_key(|change| change.key);
    let mut trie = Trie::open(trie)?;
    for change in changes {
        trie.apply(change)?;
    }
    trie.seal()
}
