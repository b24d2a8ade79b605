//! Proposing output roots to L1.

use std::sync::Arc;

use alloy::{
    primitives::{Address, Bytes, U256},
    providers::{Provider, RootProvider},
    rpc::types::TransactionRequest,
    sol,
    sol_types::SolCall,
};
use lockstep_derive::BlockId;

use super::{
    driver::SyncStatus,
    output::output,
    send::{Payload, Sender},
};
use crate::{chain::Chain, error::L1Error};

sol! {
    /// The contract that keeps output roots.
    interface L2OutputOracle {
        function nextBlockNumber() external view returns (uint256);
        function proposeL2Output(bytes32 outputRoot, uint256 l2BlockNumber, bytes32 l1BlockHash, uint256 l1BlockNumber)
            external payable;
    }
}

/// The newest L1 blocks whose hashes a contract surely knows when the proposal arrives: it knows 256.
const HASHES: u64 = 200;

/// Proposes outputs.
pub(crate) struct Proposer {
    chain: Arc<Chain>,
    l1: RootProvider,
    oracle: Address,
    sender: Sender,
    /// An L2 block, and the L1 block by which it and all before it were seen to be safe.
    seen: Option<(u64, BlockId)>,
}

impl Proposer {
    pub(crate) fn new(chain: Arc<Chain>, l1: RootProvider, oracle: Address, sender: Sender) -> Self {
        Self { chain, l1, oracle, sender, seen: None }
    }

    /// Proposes the next output once its block is safe by an L1 block that has another on top. Returns whether one was.
    pub(crate) async fn turn(&mut self, status: &SyncStatus) -> Result<bool, L1Error> {
        if let Some(sent) = self.sender.resume().await? {
            tracing::info!(hash = %sent.receipt.transaction_hash, "found the last proposal of an earlier run");
            self.sender.done()?;
        }
        let next = self.next().await?;
        if next > status.safe.number {
            return Ok(false);
        }
        let Some(by) = self.safe_by(next, status).await? else { return Ok(false) };
        let Some(proof) = output(&self.chain.head(), next)? else { return Ok(false) };
        let call = L2OutputOracle::proposeL2OutputCall {
            outputRoot: proof.root(),
            l2BlockNumber: U256::from(next),
            // The proposal fails if L1 no longer has the block that made the L2 block safe.
            l1BlockHash: by.hash,
            l1BlockNumber: U256::from(by.number),
        };
        let payload = Payload {
            to: self.oracle,
            input: call.abi_encode().into(),
            blobs: Vec::new(),
            note: serde_json::json!({ "l2_block": next }),
        };
        let sent = self.sender.send(payload).await?;
        self.sender.done()?;
        let hash = sent.receipt.transaction_hash;
        if !sent.receipt.status() {
            return Err(L1Error::Reverted { hash, what: format!("the proposal of block {next}") });
        }
        tracing::info!(l2_block = next, root = %proof.root(), %hash, "proposed an output");
        Ok(true)
    }

    async fn next(&self) -> Result<u64, L1Error> {
        let call = TransactionRequest::default()
            .to(self.oracle)
            .input(Bytes::from(L2OutputOracle::nextBlockNumberCall {}.abi_encode()).into());
        let answer = self.l1.call(call).await.map_err(L1Error::rpc)?;
        let next = L2OutputOracle::nextBlockNumberCall::abi_decode_returns(&answer).map_err(L1Error::rpc)?;
        Ok(next.saturating_to())
    }

    /// The L1 block by which `next` was seen to be safe, once a contract can tell its hash: that needs a later block, and not too
    /// many. It serves all blocks that were safe by then, so that whoever is behind proposes them one after the other.
    async fn safe_by(&mut self, next: u64, status: &SyncStatus) -> Result<Option<BlockId>, L1Error> {
        let newest = self.l1.get_block_number().await.map_err(L1Error::rpc)?;
        if let Some((safe, by)) = self.seen
            && next <= safe
            && newest.saturating_sub(by.number) < HASHES
        {
            let now = self.l1.get_block_by_number(by.number.into()).await.map_err(L1Error::rpc)?;
            if now.is_some_and(|now| now.header.hash == by.hash) {
                return Ok((newest > by.number).then_some(by));
            }
        }
        self.seen = Some((status.safe.number, status.l1_current.id));
        Ok(None)
    }
}
