//! Output roots, and the proofs that withdrawals rest on.

use alloy::primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, proof::ProofRetainer};
use serde::{Deserialize, Serialize};

use crate::{chain::Head, error::StoreError};

/// Holds the hash of every withdrawal on L2.
pub(crate) const MESSAGE_PASSER: Address = address!("4200000000000000000000000000000000000016");

/// What an output root is the hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputRootProof {
    /// Zero: the only version there is.
    pub version: B256,
    /// State root of the L2 block.
    pub state_root: B256,
    /// Storage root of the message passer in it.
    pub message_passer_storage_root: B256,
    /// Hash of the L2 block.
    pub latest_blockhash: B256,
}

impl OutputRootProof {
    /// The output root.
    #[must_use]
    pub fn root(&self) -> B256 {
        let parts = [self.version, self.state_root, self.message_passer_storage_root, self.latest_blockhash];
        keccak256(parts.map(|part| part.0).concat())
    }
}

/// What L1 needs to believe in a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawalProof {
    /// The L2 block whose output it is proven against.
    pub l2_block_number: u64,
    /// What that output is the hash of.
    pub output_root_proof: OutputRootProof,
    /// Nodes of the message passer's storage trie from the root to the withdrawal.
    pub withdrawal_proof: Vec<Bytes>,
}

/// The output of a block; `None` if there is no such block.
pub(crate) fn output(head: &Head, number: u64) -> Result<Option<OutputRootProof>, StoreError> {
    let Some(header) = head.snapshot.header(number)? else { return Ok(None) };
    let account = head.snapshot.state_at(number, head.header.number)?.account(MESSAGE_PASSER)?;
    Ok(Some(OutputRootProof {
        version: B256::ZERO,
        state_root: header.state_root,
        message_passer_storage_root: account.map_or(EMPTY_ROOT_HASH, |account| account.storage_root),
        latest_blockhash: header.hash(),
    }))
}

/// The slot that says that a withdrawal with this hash was made.
fn slot(withdrawal: B256) -> U256 {
    keccak256([withdrawal.0, [0; 32]].concat()).into()
}

/// The proof that a withdrawal was made by a block; `None` if there is no such block or it was not.
pub(crate) fn withdrawal(head: &Head, withdrawal: B256, number: u64) -> Result<Option<WithdrawalProof>, StoreError> {
    let Some(output) = output(head, number)? else { return Ok(None) };
    let state = head.snapshot.state_at(number, head.header.number)?;
    let target = Nibbles::unpack(keccak256(slot(withdrawal).to_be_bytes::<32>()));
    let mut leaves: Vec<(Nibbles, U256)> = state
        .slots(MESSAGE_PASSER)?
        .into_iter()
        .map(|(slot, value)| (Nibbles::unpack(keccak256(slot.to_be_bytes::<32>())), value))
        .collect();
    leaves.sort_unstable();
    if leaves.binary_search_by(|(path, _)| path.cmp(&target)).is_err() {
        return Ok(None);
    }
    let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(vec![target]));
    for (path, value) in leaves {
        builder.add_leaf(path, &alloy_rlp::encode(value));
    }
    let root = builder.root();
    if root != output.message_passer_storage_root {
        let cause = format!("the message passer's slots at block {number} make {root}");
        return Err(StoreError::Corrupt(cause));
    }
    let nodes = builder.take_proof_nodes().into_nodes_sorted().into_iter().map(|(_, node)| node).collect();
    Ok(Some(WithdrawalProof { l2_block_number: number, output_root_proof: output, withdrawal_proof: nodes }))
}
