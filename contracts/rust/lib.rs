//! Bytecode and bindings of the contracts, from the artifacts that `cargo xtask contracts` checks in: no Node is needed to
//! build against them.
//!
//! ```text
//! contracts/src/*.sol ──forge──► artifacts/*.json ──sol!──► JobMarket, Docket, Disputes, Referee, … ──► sdk, tests
//! ```
//!
//! Every module holds the contract's calls (`postCall`, …), events, errors and structures with their ABI encoding, and
//! `BYTECODE`, to which the encoded constructor arguments are appended for deployment:
//!
//! ```
//! use alloy_sol_types::{SolCall, SolValue};
//! use lockstep_contracts::JobMarket;
//!
//! let call = JobMarket::jobCountCall {}.abi_encode();
//! assert_eq!(call, JobMarket::jobCountCall::SELECTOR);
//! assert!(JobMarket::BYTECODE.len() > 1_000);
//! ```

#[allow(missing_docs, clippy::too_many_arguments)]
mod bindings {
    use alloy_sol_types::sol;

    sol!(
        #[derive(Debug, PartialEq, Eq)]
        JobMarket,
        "artifacts/JobMarket.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Disputes,
        "artifacts/Disputes.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Docket,
        "artifacts/Docket.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Stakes,
        "artifacts/Stakes.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Parameters,
        "artifacts/Parameters.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Timelock,
        "artifacts/Timelock.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        VerifierDraw,
        "artifacts/VerifierDraw.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Deliveries,
        "artifacts/Deliveries.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        DevL1Block,
        "artifacts/DevL1Block.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Referee,
        "artifacts/Referee.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        DevToken,
        "artifacts/DevToken.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        Float32Harness,
        "artifacts/Float32Harness.json"
    );
    sol!(
        #[derive(Debug, PartialEq, Eq)]
        ScalarVmHarness,
        "artifacts/ScalarVmHarness.json"
    );
}

pub use bindings::{
    Deliveries, DevL1Block, DevToken, Disputes, Docket, JobMarket, Parameters, Referee, Stakes, Timelock, VerifierDraw,
};

/// Contracts that only tests call: they make the libraries callable from outside.
pub mod harness {
    pub use crate::bindings::{Float32Harness, ScalarVmHarness};
}
