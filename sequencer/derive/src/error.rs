//! What can go wrong, by what to do about it.

use kona_derive::{PipelineError, PipelineErrorKind, ResetError};

use crate::source::SourceError;

/// Why derivation gave no block.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeriveError {
    /// The rollup's description is no valid JSON of the OP Stack's form. Fix it.
    #[error("rollup configuration: {0}")]
    Config(String),
    /// A source could not answer. Retry later.
    #[error("derivation waits: {0}")]
    Retry(String),
    /// L1 was reorganised, or the chain does not fit it. Find the newest block whose origin is canonical and call
    /// [`crate::Derivation::reset`] with it.
    #[error("derivation must begin again: {0}")]
    Reset(String),
    /// Derivation cannot go on: L1 data or a stored block violates the protocol. Give up and report it.
    #[error("derivation failed: {0}")]
    Failed(String),
}

/// A source's error on its way through kona.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// By hash there is no such block any more.
    #[error("the block {0} is gone")]
    Gone(alloy_primitives::B256),
    /// Bytes could not be decoded.
    #[error("{what} cannot be decoded: {cause}")]
    Decode {
        /// What was being decoded.
        what: &'static str,
        /// What the decoder says.
        cause: String,
    },
}

impl From<ProviderError> for PipelineErrorKind {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Gone(hash) => ResetError::ReorgDetected(hash, Default::default()).reset(),
            ProviderError::Decode { .. } => PipelineError::Provider(error.to_string()).crit(),
            ProviderError::Source(_) => PipelineError::Provider(error.to_string()).temp(),
        }
    }
}

impl From<PipelineErrorKind> for DeriveError {
    fn from(error: PipelineErrorKind) -> Self {
        match error {
            PipelineErrorKind::Temporary(cause) => Self::Retry(cause.to_string()),
            PipelineErrorKind::Reset(cause) => Self::Reset(cause.to_string()),
            PipelineErrorKind::Critical(cause) => Self::Failed(cause.to_string()),
        }
    }
}
