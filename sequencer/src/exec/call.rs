//! `eth_call`: running a message without keeping what it did.

use alloy::{
    primitives::{Address, Bytes, TxKind, U256},
    rpc::types::{TransactionRequest, state::StateOverride},
};
use op_revm::{OpHaltReason, OpTransaction, OpTransactionError};
use revm::{
    ExecuteEvm,
    bytecode::Bytecode,
    context::{
        TxEnv,
        result::{EVMError, ExecutionResult},
    },
    context_interface::either::Either,
    database::AccountStatus,
    database_interface::bal::EvmDatabaseError,
};

use super::env::{BlockRules, Working};
use crate::{config::ChainKind, error::StoreError, store::State};

/// Why a call did not produce output.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The contract reverted.
    #[error("execution reverted")]
    Reverted(Bytes),
    /// The EVM stopped for another reason.
    #[error("{0}")]
    Halted(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// No gas limit within what is allowed suffices.
    #[error("gas required exceeds allowance ({0})")]
    Allowance(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A finished run.
pub(crate) type Outcome = ExecutionResult<OpHaltReason>;

/// Prepares state for a call.
pub(crate) fn state<'a>(state: State<'a>, overrides: Option<StateOverride>) -> Result<Working<'a>, CallError> {
    let mut working = revm::database::State::builder().with_database_ref(state).build();
    for (address, change) in overrides.into_iter().flatten() {
        let invalid = |what: String| CallError::Invalid(format!("override of {address}: {what}"));
        if change.state.is_some() && change.state_diff.is_some() {
            return Err(invalid("state and stateDiff exclude each other".into()));
        }
        let cached = working.load_cache_account(address)?;
        let account = cached.account.get_or_insert_default();
        if let Some(balance) = change.balance {
            account.info.balance = balance;
        }
        if let Some(nonce) = change.nonce {
            account.info.nonce = nonce;
        }
        if let Some(code) = change.code {
            let code = Bytecode::new_raw_checked(code).map_err(|error| invalid(format!("code: {error}")))?;
            account.info.code_hash = code.hash_slow();
            account.info.code = Some(code);
        }
        // Where all storage is given, or there was none, slots that are not named are zero.
        if change.state.is_some() || cached.status == AccountStatus::LoadedNotExisting {
            cached.status = AccountStatus::InMemoryChange;
        }
        for (slot, value) in change.state.into_iter().chain(change.state_diff).flatten() {
            account.storage.insert(slot.into(), value.into());
        }
    }
    Ok(working)
}

/// A request as the EVM takes it. `gas_cap` bounds the gas, and is used where the request names none.
pub(crate) fn message(
    rules: &BlockRules,
    request: &TransactionRequest,
    gas_cap: u64,
) -> Result<OpTransaction<TxEnv>, CallError> {
    let invalid = |what: &str| Err(CallError::Invalid(what.into()));
    if request.gas_price.is_some() && (request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some())
    {
        return invalid("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified");
    }
    let blob_hashes = request.blob_versioned_hashes.clone().unwrap_or_default();
    let takes_blobs = rules.kind == ChainKind::Ethereum;
    let authorizations = request.authorization_list.clone().unwrap_or_default();
    let sets_code = rules.kind == ChainKind::Isthmus;
    if (!blob_hashes.is_empty() && !takes_blobs) || (!authorizations.is_empty() && !sets_code) {
        return invalid("blob and set-code transactions are not supported");
    }
    if request.chain_id.is_some_and(|id| id != rules.chain_id) {
        return invalid(&format!("chainId {:?} is not that of this chain, {}", request.chain_id, rules.chain_id));
    }
    let input = match (&request.input.input, &request.input.data) {
        (Some(input), Some(data)) if input != data => return invalid("input and data differ"),
        (Some(bytes), _) | (None, Some(bytes)) => bytes.clone(),
        (None, None) => Bytes::new(),
    };
    let gas_price = request.max_fee_per_gas.or(request.gas_price).unwrap_or_default();
    let tip = request.max_priority_fee_per_gas;
    if tip.is_some_and(|tip| tip > gas_price && gas_price != 0) {
        return invalid("maxPriorityFeePerGas is higher than maxFeePerGas");
    }
    let base = TxEnv {
        tx_type: match (blob_hashes.is_empty(), request.max_fee_per_gas) {
            _ if !authorizations.is_empty() => 4,
            (false, _) => 3,
            (true, Some(_)) => 2,
            (true, None) => u8::from(request.access_list.is_some()),
        },
        caller: request.from.unwrap_or_default(),
        gas_limit: request.gas.unwrap_or(gas_cap).min(gas_cap),
        gas_price,
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: input,
        nonce: 0,
        chain_id: Some(rules.chain_id),
        access_list: request.access_list.clone().unwrap_or_default(),
        gas_priority_fee: request.max_fee_per_gas.and(tip),
        max_fee_per_blob_gas: request.max_fee_per_blob_gas.unwrap_or_else(|| rules.blob_fee_wei()),
        blob_hashes,
        authorization_list: authorizations.into_iter().map(Either::Left).collect(),
    };
    // The L1 fee of a message that is never sent is not charged, so its encoding does not matter.
    Ok(OpTransaction { base, enveloped_tx: Some(Bytes::new()), deposit: Default::default() })
}

/// Runs a message.
pub(crate) fn run(
    rules: &BlockRules,
    state: &mut Working<'_>,
    message: OpTransaction<TxEnv>,
) -> Result<Outcome, CallError> {
    let free = message.base.gas_price == 0;
    if free && balance(state, message.base.caller)? < message.base.value {
        let (from, value) = (message.base.caller, message.base.value);
        return Err(CallError::Invalid(format!("insufficient funds for transfer: address {from}, value {value}")));
    }
    let mut evm = rules.evm_with(state, |cfg| {
        cfg.disable_nonce_check = true;
        cfg.disable_block_gas_limit = true;
        cfg.disable_eip3607 = true;
        cfg.disable_base_fee = free;
        cfg.disable_fee_charge = free;
    });
    match evm.transact(message) {
        Ok(done) => Ok(done.result),
        Err(EVMError::Database(EvmDatabaseError::Database(error))) => Err(error.into()),
        Err(EVMError::Transaction(error)) => Err(CallError::Invalid(describe(&error))),
        Err(error) => Err(CallError::Halted(error.to_string())),
    }
}

/// An account's balance.
pub(crate) fn balance(state: &mut Working<'_>, address: Address) -> Result<U256, StoreError> {
    let account = state.load_cache_account(address)?.account_info();
    Ok(account.map_or(U256::ZERO, |account| account.balance))
}

/// The output of a finished run.
pub(crate) fn output(outcome: Outcome) -> Result<Bytes, CallError> {
    match outcome {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(CallError::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(CallError::Halted(halt(&reason))),
    }
}

/// Names a halt as go-ethereum does where tools look for it.
pub(crate) fn halt(reason: &OpHaltReason) -> String {
    match reason {
        OpHaltReason::Base(revm::context::result::HaltReason::OutOfGas(_)) => "out of gas".into(),
        OpHaltReason::Base(reason) => reason.to_string(),
        OpHaltReason::FailedDeposit => "failed deposit".into(),
    }
}

/// Names a refusal as go-ethereum does where tools look for it.
fn describe(error: &OpTransactionError) -> String {
    use revm::context::result::InvalidTransaction as Invalid;
    match error {
        OpTransactionError::Base(Invalid::LackOfFundForMaxFee { fee, balance }) => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        OpTransactionError::Base(Invalid::CallGasCostMoreThanGasLimit { initial_gas, gas_limit }) => {
            format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}")
        }
        OpTransactionError::Base(Invalid::GasPriceLessThanBasefee) => "max fee per gas less than block base fee".into(),
        other => other.to_string(),
    }
}

/// The most gas that a caller can pay for at a price, `None` if gas is free.
pub(crate) fn affordable(balance: U256, value: U256, gas_price: u128) -> Option<u64> {
    if gas_price == 0 {
        return None;
    }
    let gas = balance.saturating_sub(value) / U256::from(gas_price);
    Some(u64::try_from(gas).unwrap_or(u64::MAX))
}
