//! Output roots, and the proofs that withdrawals rest on.

use alloy::primitives::{Address, B256, Bytes, address, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
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

/// The proof that a withdrawal was made by a block; `None` if there is no such block or it was not.
pub(crate) fn withdrawal(head: &Head, withdrawal: B256, number: u64) -> Result<Option<WithdrawalProof>, StoreError> {
    let Some(output_root_proof) = output(head, number)? else { return Ok(None) };
    // The slot that says that a withdrawal with this hash was made.
    let slot = keccak256([withdrawal.0, [0; 32]].concat());
    let state = head.snapshot.state_at(number, head.header.number)?;
    let proven = state.prove(MESSAGE_PASSER, &[slot])?.slots.pop().filter(|(value, _)| !value.is_zero());
    let proof =
        |(_, withdrawal_proof)| WithdrawalProof { l2_block_number: number, output_root_proof, withdrawal_proof };
    Ok(proven.map(proof))
}
