//! Errors as clients see them.

use alloy::{
    primitives::Bytes,
    sol_types::{Panic, Revert, SolError},
};
use jsonrpsee::types::{ErrorObjectOwned, error::INVALID_PARAMS_CODE};

use crate::{
    error::{NodeError, PoolError, StoreError},
    exec::call::CallError,
};

/// The code of go-ethereum for a request that was understood and failed.
const FAILED: i32 = -32000;
/// EIP-1474: the request is over a limit.
const LIMIT: i32 = -32005;
/// The code of go-ethereum for a revert; its data is what the contract returned.
const REVERTED: i32 = 3;

/// The request failed.
pub(super) fn failed(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(FAILED, message, None::<()>)
}

/// The request is over a limit.
pub(super) fn over_limit(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(LIMIT, message, None::<()>)
}

/// A parameter is wrong.
pub(super) fn invalid(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS_CODE, message, None::<()>)
}

fn reverted(data: &Bytes) -> ErrorObjectOwned {
    let reason = Revert::abi_decode(data).map(|revert| revert.reason).ok();
    let reason = reason.or_else(|| Panic::abi_decode(data).map(|panic| panic.to_string()).ok());
    // Who knows the contract can decode the data; others at least learn which error it is.
    let custom = || data.first_chunk::<4>().map(|selector| format!("custom error 0x{}", alloy::hex::encode(selector)));
    let message =
        reason.or_else(custom).map_or("execution reverted".into(), |reason| format!("execution reverted: {reason}"));
    ErrorObjectOwned::owned(REVERTED, message, Some(data))
}

impl From<StoreError> for ErrorObjectOwned {
    fn from(error: StoreError) -> Self {
        if !matches!(error, StoreError::Pruned { .. }) {
            tracing::error!(%error, "a request failed");
        }
        failed(error.to_string())
    }
}

impl From<PoolError> for ErrorObjectOwned {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Store(error) => error.into(),
            error => failed(error.to_string()),
        }
    }
}

impl From<CallError> for ErrorObjectOwned {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Reverted(data) => reverted(&data),
            CallError::Store(error) => error.into(),
            error => failed(error.to_string()),
        }
    }
}

impl From<NodeError> for ErrorObjectOwned {
    fn from(error: NodeError) -> Self {
        tracing::error!(%error, "a request failed");
        failed(error.to_string())
    }
}
