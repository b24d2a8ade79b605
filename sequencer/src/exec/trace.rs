//! Running a transaction of a finished block again, watched.

use alloy::{
    primitives::{B256, Bytes},
    rpc::types::trace::geth::{GethDebugTracingOptions, GethTrace},
};
use revm::{ExecuteCommitEvm, InspectEvm, context::result::EVMError, database_interface::bal::EvmDatabaseError};
use revm_inspectors::tracing::{DebugInspector, TransactionContext};

use super::{
    attributes,
    block::{ExecuteError, before_transactions},
    call::CallError,
    env::{BlockRules, Working},
};
use crate::{error::StoreError, store::State};

/// Which transaction is traced.
pub(crate) struct Place<'a> {
    /// The hash of its block.
    pub(crate) block: B256,
    /// The block's transactions up to and including it.
    pub(crate) transactions: &'a [Bytes],
}

/// Traces the last of the transactions of a block, over the state before the block.
pub(crate) fn transaction(
    rules: &BlockRules,
    parent: State<'_>,
    place: &Place<'_>,
    options: GethDebugTracingOptions,
) -> Result<GethTrace, CallError> {
    let Some((last, before)) = place.transactions.split_last() else {
        return Err(CallError::Invalid("the block has no such transaction".into()));
    };
    let mut state = revm::database::State::builder().with_database_ref(parent).build();
    let decode = |raw: &Bytes| {
        attributes::forced(raw, rules.chain_id).map_err(|error| StoreError::Corrupt(format!("transaction: {error}")))
    };
    let mut evm = rules.evm(&mut state);
    before_transactions(rules, &mut evm).map_err(|error| match error {
        ExecuteError::Store(error) => CallError::Store(error),
        other => CallError::Halted(other.to_string()),
    })?;
    for raw in before {
        evm.transact_commit(decode(raw)?.env).map_err(failed)?;
    }
    drop(evm);
    let tx = decode(last)?;
    watch(rules, &mut state, place, tx.hash, tx.env, options)
}

fn watch(
    rules: &BlockRules,
    state: &mut Working<'_>,
    place: &Place<'_>,
    hash: B256,
    env: op_revm::OpTransaction<revm::context::TxEnv>,
    options: GethDebugTracingOptions,
) -> Result<GethTrace, CallError> {
    let mut inspector = DebugInspector::new(options).map_err(|error| CallError::Invalid(error.to_string()))?;
    let mut evm = rules.evm_watched(state, &mut inspector);
    let result = evm.inspect_tx(env.clone()).map_err(failed)?;
    drop(evm);
    let context = TransactionContext {
        block_hash: Some(place.block),
        tx_index: place.transactions.len().checked_sub(1),
        tx_hash: Some(hash),
    };
    let trace = inspector.get_result(Some(context), &env, &rules.block_env(), &result, state);
    trace.map_err(|error| CallError::Halted(error.to_string()))
}

/// A transaction that is in the chain has run before.
fn failed<E: std::fmt::Display>(error: EVMError<EvmDatabaseError<StoreError>, E>) -> CallError {
    match error {
        EVMError::Database(EvmDatabaseError::Database(error)) => error.into(),
        EVMError::Transaction(error) => CallError::Halted(error.to_string()),
        _ => CallError::Halted("the transaction could not be run again".into()),
    }
}
