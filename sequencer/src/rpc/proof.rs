//! `eth_getProof` and `eth_getAccount`.

use alloy::{
    eips::BlockId,
    primitives::Address,
    rpc::types::{Account, EIP1186AccountProofResponse, EIP1186StorageProof},
    serde::JsonStorageKey,
};
use jsonrpsee::{core::RpcResult, proc_macros::rpc};

use super::{Rpc, error::over_limit};

/// Slots that one request may ask for.
const MAX_SLOTS: usize = 1024;

/// Proofs.
#[rpc(server, namespace = "eth")]
pub(super) trait ProofApi {
    #[method(name = "getProof", blocking)]
    fn proof(
        &self,
        address: Address,
        slots: Vec<JsonStorageKey>,
        block: Option<BlockId>,
    ) -> RpcResult<EIP1186AccountProofResponse>;
    #[method(name = "getAccount", blocking)]
    fn account(&self, address: Address, block: Option<BlockId>) -> RpcResult<Option<Account>>;
}

impl ProofApiServer for Rpc {
    fn proof(
        &self,
        address: Address,
        slots: Vec<JsonStorageKey>,
        block: Option<BlockId>,
    ) -> RpcResult<EIP1186AccountProofResponse> {
        if slots.len() > MAX_SLOTS {
            return Err(over_limit(format!("{} slots, limit {MAX_SLOTS}: ask for fewer at a time", slots.len())));
        }
        let _room = self.room()?;
        let head = self.chain.head();
        let keys: Vec<_> = slots.iter().map(JsonStorageKey::as_b256).collect();
        let proof = head.state(block)?.prove(address, &keys)?;
        let storage = slots.into_iter().zip(proof.slots);
        Ok(EIP1186AccountProofResponse {
            address,
            balance: proof.account.balance,
            code_hash: proof.account.code_hash,
            nonce: proof.account.nonce,
            storage_hash: proof.account.storage_root,
            account_proof: proof.nodes,
            storage_proof: storage.map(|(key, (value, proof))| EIP1186StorageProof { key, value, proof }).collect(),
        })
    }

    fn account(&self, address: Address, block: Option<BlockId>) -> RpcResult<Option<Account>> {
        Ok(self.chain.head().state(block)?.account(address)?)
    }
}
