//! What a transaction must meet before the mempool looks at it.

use alloy::{
    consensus::{Transaction, TxEnvelope, Typed2718, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::{Bytes, U256},
};
use alloy_trie::TrieAccount;
use revm::{
    bytecode::eip7702::EIP7702_MAGIC_BYTES, context_interface::cfg::gas::calculate_initial_tx_gas_for_tx,
    primitives::eip3860::MAX_INITCODE_SIZE,
};

use std::sync::Arc;

use super::{PoolRules, PooledTx, blobs};
use crate::{config::ChainKind, error::PoolError, exec::env::tx_env};

/// Checks everything that needs no state.
pub(super) fn check(rules: &PoolRules, raw: Bytes) -> Result<PooledTx, PoolError> {
    let limit = match (rules.kind, raw.first()) {
        (ChainKind::Ethereum, Some(&blobs::TYPE)) => rules.limits.tx_bytes + blobs::MAX_BYTES,
        _ => rules.limits.tx_bytes,
    };
    if raw.len() > limit {
        return Err(PoolError::TooLarge { size: raw.len(), limit });
    }
    let tx = TxEnvelope::decode_2718_exact(&raw).map_err(|error| PoolError::Undecodable(error.to_string()))?;
    let (tx, raw, blobs) = match tx.ty() {
        0..=2 => (tx, raw, None),
        blobs::TYPE if rules.kind == ChainKind::Ethereum => {
            let (tx, raw, blobs) = blobs::split(tx)?;
            (tx, raw, Some(Arc::new(blobs)))
        }
        4 if rules.kind == ChainKind::Isthmus => (tx, raw, None),
        other => return Err(PoolError::Type(other)),
    };
    match tx.chain_id() {
        None => return Err(PoolError::Unprotected),
        Some(have) if have != rules.chain_id => return Err(PoolError::ChainId { have, want: rules.chain_id }),
        Some(_) => (),
    }
    if tx.gas_limit() > rules.gas_limit {
        return Err(PoolError::GasLimit { gas: tx.gas_limit(), limit: rules.gas_limit });
    }
    let (tip, cap) = (tx.max_priority_fee_per_gas().unwrap_or_default(), tx.max_fee_per_gas());
    if tip > cap {
        return Err(PoolError::TipAboveCap { tip, cap });
    }
    if cap < rules.limits.fee_cap_floor_wei.into() {
        return Err(PoolError::FeeCapTooLow { cap, floor: rules.limits.fee_cap_floor_wei });
    }
    if tx.kind().is_create() && tx.input().len() > MAX_INITCODE_SIZE {
        return Err(PoolError::InitCode { size: tx.input().len(), limit: MAX_INITCODE_SIZE });
    }
    let sender = tx.recover_signer().map_err(|error| PoolError::Signature(error.to_string()))?;
    let env = tx_env(&tx, sender, raw.clone());
    let gas = calculate_initial_tx_gas_for_tx(&env.base, rules.kind.spec().into_eth_spec());
    let needed = gas.initial_total_gas.max(gas.floor_gas);
    if tx.gas_limit() < needed {
        return Err(PoolError::IntrinsicGas { gas: tx.gas_limit(), needed });
    }
    let gas_cost = U256::from(tx.gas_limit()).saturating_mul(U256::from(cap));
    let blob_cap = U256::from(tx.max_fee_per_blob_gas().unwrap_or_default());
    let blob_cost = U256::from(tx.blob_gas_used().unwrap_or_default()).saturating_mul(blob_cap);
    let cost = gas_cost.saturating_add(blob_cost).saturating_add(tx.value());
    Ok(PooledTx { hash: *tx.tx_hash(), sender, nonce: tx.nonce(), cost, raw, env, blobs })
}

/// Checks the transaction against its sender's account and its code.
pub(super) fn check_sender(tx: &PooledTx, account: &TrieAccount, code: &[u8]) -> Result<(), PoolError> {
    if tx.nonce < account.nonce {
        return Err(PoolError::NonceTooLow { next: account.nonce, tx: tx.nonce });
    }
    // Who only delegates to code (EIP-7702) still signs for itself.
    if !code.is_empty() && !code.starts_with(EIP7702_MAGIC_BYTES) {
        return Err(PoolError::SenderHasCode);
    }
    Ok(())
}
