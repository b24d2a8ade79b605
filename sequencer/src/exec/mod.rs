//! Execution: the EVM with Granite rules over the store's state.
//!
//! ```text
//!   parent header --> BlockRules --> block::execute(transactions) --> StateChanges + receipts
//!                         \-------> call::run / estimate::gas      --> output, revert data, gas
//! ```
//!
//! A block whose [`attributes::Attributes`] are given begins with the transactions they force: deposits and, on a
//! follower, everything that was derived from L1.
//!
//! Without the `L1Block` contract in genesis the L1 data fee is zero, which is what `op-revm` charges when that
//! contract's fee scalars are not set.

pub(crate) mod attributes;
pub(crate) mod block;
pub(crate) mod call;
pub(crate) mod env;
pub(crate) mod estimate;
pub(crate) mod l1_fee;
pub(crate) mod trace;

#[cfg(test)]
mod kona;
#[cfg(test)]
mod random;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;
