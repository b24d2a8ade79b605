//! Execution: the EVM with Granite rules over the store's state.
//!
//! ```text
//!   parent header --> BlockRules --> block::execute(transactions) --> StateChanges + receipts
//!                         \-------> call::run / estimate::gas      --> output, revert data, gas
//! ```
//!
//! Without the `L1Block` contract in genesis the L1 data fee is zero, which is what `op-revm` charges when that
//! contract's fee scalars are not set.

pub(crate) mod block;
pub(crate) mod call;
pub(crate) mod env;
pub(crate) mod estimate;

#[cfg(test)]
mod tests;
