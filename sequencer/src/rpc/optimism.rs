//! The methods of a rollup node.

use alloy::primitives::{B256, U64};
use jsonrpsee::{core::RpcResult, proc_macros::rpc};
use lockstep_derive::{L1Ref, L2Head};
use serde_json::{Value, json};

use super::{Rpc, error::failed};
use crate::l1::{RollupView, UnsafeBlock, output, withdrawal};

/// Methods of the OP Stack's rollup nodes, and a few of our own under `rollup_`.
#[rpc(server)]
pub(super) trait OptimismApi {
    #[method(name = "optimism_outputAtBlock", blocking)]
    fn output_at_block(&self, number: U64) -> RpcResult<Value>;
    #[method(name = "optimism_syncStatus")]
    fn sync_status(&self) -> RpcResult<Value>;
    #[method(name = "optimism_rollupConfig")]
    fn rollup_config(&self) -> RpcResult<Value>;
    #[method(name = "optimism_version")]
    fn version(&self) -> RpcResult<String>;
    /// What L1 needs to believe in a withdrawal: its hash, and the L2 block of the output it is proven against.
    #[method(name = "rollup_withdrawalProof", blocking)]
    fn withdrawal_proof(&self, withdrawal: B256, number: U64) -> RpcResult<Value>;
    /// A block with what it takes to build it again, for followers.
    #[method(name = "rollup_unsafeBlock", blocking)]
    fn unsafe_block(&self, number: u64) -> RpcResult<Option<UnsafeBlock>>;
    /// What was submitted to L1.
    #[method(name = "rollup_batcherStats")]
    fn batcher_stats(&self) -> RpcResult<Value>;
}

impl Rpc {
    fn rollup(&self) -> RpcResult<&RollupView> {
        self.chain.rollup.get().ok_or_else(|| failed("this chain has no L1"))
    }
}

fn l1_ref(block: &L1Ref) -> Value {
    json!({
        "hash": block.id.hash,
        "number": block.id.number,
        "parentHash": block.parent_hash,
        "timestamp": block.timestamp_s,
    })
}

fn l2_ref(head: &L2Head) -> Value {
    json!({
        "hash": head.hash,
        "number": head.number,
        "parentHash": head.parent_hash,
        "timestamp": head.timestamp_s,
        "l1origin": { "hash": head.l1_origin.hash, "number": head.l1_origin.number },
        "sequenceNumber": head.sequence_number,
    })
}

fn json(value: impl serde::Serialize) -> RpcResult<Value> {
    serde_json::to_value(value).map_err(|error| failed(error.to_string()))
}

impl OptimismApiServer for Rpc {
    fn output_at_block(&self, number: U64) -> RpcResult<Value> {
        let view = self.rollup()?;
        let head = self.chain.head();
        let number = number.to();
        let proof = output(&head, number)?.ok_or_else(|| failed(format!("there is no block {number}")))?;
        let block = head.l2_head(&view.rollup, number).map_err(|error| failed(error.to_string()))?;
        Ok(json!({
            "version": proof.version,
            "outputRoot": proof.root(),
            "blockRef": l2_ref(&block),
            "withdrawalStorageRoot": proof.message_passer_storage_root,
            "stateRoot": proof.state_root,
            "syncStatus": self.sync_status()?,
        }))
    }

    fn sync_status(&self) -> RpcResult<Value> {
        let view = self.rollup()?;
        let status = *view.status.borrow();
        let head = self.chain.head();
        let newest = head.l2_head(&view.rollup, head.header.number).map_err(|error| failed(error.to_string()))?;
        Ok(json!({
            "current_l1": l1_ref(&status.l1_current),
            "current_l1_finalized": l1_ref(&status.l1_finalized),
            "head_l1": l1_ref(&status.l1_head),
            "safe_l1": l1_ref(&status.l1_safe),
            "finalized_l1": l1_ref(&status.l1_finalized),
            "unsafe_l2": l2_ref(&newest),
            "safe_l2": l2_ref(&status.safe),
            "finalized_l2": l2_ref(&status.finalized),
            "pending_safe_l2": l2_ref(&status.safe),
        }))
    }

    fn rollup_config(&self) -> RpcResult<Value> {
        Ok(self.rollup()?.json.clone())
    }

    fn version(&self) -> RpcResult<String> {
        Ok(format!("lockstep/v{}", env!("CARGO_PKG_VERSION")))
    }

    fn withdrawal_proof(&self, hash: B256, number: U64) -> RpcResult<Value> {
        let number = number.to();
        let found = withdrawal(&self.chain.head(), hash, number)?;
        json(found.ok_or_else(|| failed(format!("block {number} knows no withdrawal {hash}; name a later block")))?)
    }

    fn unsafe_block(&self, number: u64) -> RpcResult<Option<UnsafeBlock>> {
        Ok(UnsafeBlock::read(&self.chain.head(), number)?)
    }

    fn batcher_stats(&self) -> RpcResult<Value> {
        let stats = *self.rollup()?.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        json(stats)
    }
}
