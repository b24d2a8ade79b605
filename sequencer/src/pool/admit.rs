//! What a transaction must meet before the mempool looks at it.

use alloy::{
    consensus::{Transaction, TxEnvelope, Typed2718, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::{Bytes, KECCAK256_EMPTY, U256},
};
use alloy_trie::TrieAccount;
use revm::{context_interface::cfg::gas::calculate_initial_tx_gas_for_tx, primitives::eip3860::MAX_INITCODE_SIZE};

use super::{PoolRules, PooledTx};
use crate::{
    error::PoolError,
    exec::env::{SPEC, tx_env},
};

/// Checks everything that needs no state.
pub(super) fn check(rules: &PoolRules, raw: Bytes) -> Result<PooledTx, PoolError> {
    if raw.len() > rules.limits.tx_bytes {
        return Err(PoolError::TooLarge { size: raw.len(), limit: rules.limits.tx_bytes });
    }
    let tx = TxEnvelope::decode_2718_exact(&raw).map_err(|error| PoolError::Undecodable(error.to_string()))?;
    if tx.ty() > 2 {
        return Err(PoolError::Type(tx.ty()));
    }
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
    if tx.kind().is_create() && tx.input().len() > MAX_INITCODE_SIZE {
        return Err(PoolError::InitCode { size: tx.input().len(), limit: MAX_INITCODE_SIZE });
    }
    let sender = tx.recover_signer().map_err(|error| PoolError::Signature(error.to_string()))?;
    let env = tx_env(&tx, sender, raw.clone());
    let needed = calculate_initial_tx_gas_for_tx(&env.base, SPEC.into_eth_spec()).initial_total_gas;
    if tx.gas_limit() < needed {
        return Err(PoolError::IntrinsicGas { gas: tx.gas_limit(), needed });
    }
    let gas_cost = U256::from(tx.gas_limit()).saturating_mul(U256::from(cap));
    Ok(PooledTx { hash: *tx.tx_hash(), sender, nonce: tx.nonce(), cost: gas_cost.saturating_add(tx.value()), raw, env })
}

/// Checks the transaction against its sender's account.
pub(super) fn check_sender(tx: &PooledTx, account: &TrieAccount) -> Result<(), PoolError> {
    if tx.nonce < account.nonce {
        return Err(PoolError::NonceTooLow { next: account.nonce, tx: tx.nonce });
    }
    if account.code_hash != KECCAK256_EMPTY {
        return Err(PoolError::SenderHasCode);
    }
    Ok(())
}
