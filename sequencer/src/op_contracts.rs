//! The OP Stack's contracts, from the npm package that `cargo xtask op-contracts` trims: what the rollup has on L1, and the
//! system contracts of L2.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy::primitives::{Address, Bytes};
use serde::Deserialize;

static ALL: LazyLock<Result<OpContracts, serde_json::Error>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../op-contracts/contracts.json")));

/// What is checked in.
#[derive(Deserialize)]
struct OpContracts {
    /// Creation code by contract.
    contracts: BTreeMap<String, Bytes>,
    preinstalls: Vec<Preinstall>,
}

/// A contract that is the same on every chain.
#[derive(Deserialize)]
pub(crate) struct Preinstall {
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) code: Bytes,
}

fn all() -> Result<&'static OpContracts, String> {
    ALL.as_ref().map_err(|error| format!("op-contracts/contracts.json: {error}; run `cargo xtask op-contracts`"))
}

/// Creation code of a contract with its encoded arguments.
pub(crate) fn creation(name: &str, arguments: &[u8]) -> Result<Bytes, String> {
    let code = all()?.contracts.get(name).ok_or_else(|| format!("{name} is not among the OP Stack's contracts"))?;
    Ok([&code[..], arguments].concat().into())
}

/// The contracts that are the same on every chain.
pub(crate) fn preinstalls() -> Result<&'static [Preinstall], String> {
    Ok(&all()?.preinstalls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_the_code() {
        let code = creation("Proxy", &[1, 2, 3]).unwrap();
        assert!(code.len() > 1000 && code.ends_with(&[1, 2, 3]));
        assert!(creation("Prox", &[]).unwrap_err().contains("Prox"));
        assert_eq!(preinstalls().unwrap().len(), 12);
    }
}
