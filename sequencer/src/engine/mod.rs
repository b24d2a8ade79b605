//! Execution behind the Engine API, so that op-geth or op-reth can take the place of the embedded engine.
//!
//! ```text
//!   sequencer, follower --> dyn Engine --+--> LocalEngine: the embedded chain
//!                                        \--> EngineClient --HTTP + JWT--> op-reth, op-geth ...
//! ```
//!
//! The methods are those of the published interface in the versions that the payloads of Granite (V3) and of Isthmus (V4, which states the
//! withdrawals' root) have, with the OP Stack's additions to the payload attributes. A chain takes those of its own fork alone.

mod client;
mod jwt;
mod local;

use alloy::{
    primitives::B256,
    rpc::types::engine::{ExecutionPayloadV3, ForkchoiceState, ForkchoiceUpdated, PayloadId, PayloadStatus},
};
use jsonrpsee::core::async_trait;
use op_alloy::rpc_types_engine::{
    OpExecutionPayloadEnvelopeV3, OpExecutionPayloadEnvelopeV4, OpExecutionPayloadV4, OpPayloadAttributes,
};

pub use client::EngineClient;
pub use jwt::JwtSecret;
pub use local::LocalEngine;

/// What executes blocks.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Makes a block the head, notes what is safe and finalized and, with attributes, begins a block on the head.
    ///
    /// # Errors
    /// See [`EngineError`].
    async fn forkchoice_updated(
        &self,
        state: ForkchoiceState,
        attributes: Option<OpPayloadAttributes>,
    ) -> Result<ForkchoiceUpdated, EngineError>;

    /// The block that was begun.
    ///
    /// # Errors
    /// [`EngineError::Rpc`] with code -38001 if there is none under this id; see [`EngineError`] for the rest.
    async fn get_payload(&self, id: PayloadId) -> Result<OpExecutionPayloadEnvelopeV3, EngineError>;

    /// Executes a block and says whether it is valid.
    ///
    /// # Errors
    /// See [`EngineError`].
    async fn new_payload(
        &self,
        payload: ExecutionPayloadV3,
        parent_beacon_block_root: B256,
    ) -> Result<PayloadStatus, EngineError>;

    /// The block that was begun, on a chain with the rules of Isthmus.
    ///
    /// # Errors
    /// As [`Self::get_payload`]; [`EngineError::Rpc`] with code -38005 on another chain.
    async fn get_payload_v4(&self, id: PayloadId) -> Result<OpExecutionPayloadEnvelopeV4, EngineError>;

    /// Executes a block on a chain with the rules of Isthmus and says whether it is valid.
    ///
    /// # Errors
    /// [`EngineError::Rpc`] with code -38005 on another chain; see [`EngineError`] for the rest.
    async fn new_payload_v4(
        &self,
        payload: OpExecutionPayloadV4,
        parent_beacon_block_root: B256,
    ) -> Result<PayloadStatus, EngineError>;
}

/// Why an engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot be reached or did not answer in time. Retry.
    #[error("engine at {url} does not answer: {cause}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// The engine does not take our token. Give both sides the same secret, and the same time of day.
    #[error("engine at {url} refuses the token (HTTP {status}): is it the same secret, and are both clocks right?")]
    Unauthorized {
        /// Its address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// What came back is not of the published form. Give up on this engine, or upgrade one side.
    #[error("engine at {url} answered out of form: {cause}")]
    Malformed {
        /// Its address.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The engine refused the request; codes from -38001 on are those of the Engine API. Fix the request.
    #[error("engine refused {method}: {message} (code {code})")]
    Rpc {
        /// The method.
        method: &'static str,
        /// Its code.
        code: i64,
        /// Its words.
        message: String,
    },
    /// The secret is not 32 bytes in hexadecimal. Fix the file.
    #[error("engine secret: {0}")]
    Secret(String),
}
