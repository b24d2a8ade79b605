//! What a rollup cannot be without in its first block.

use alloy::primitives::{Address, Bytes, address, hex};

use super::output::MESSAGE_PASSER;
use crate::config::GenesisAccount;

/// Keeps what the L1-attributes deposit says; L1 fees are computed from it.
const L1_BLOCK: Address = address!("4200000000000000000000000000000000000015");

/// Adds the contracts that L1 fees and withdrawals need, where the genesis does not name them.
pub(crate) fn with_predeploys(mut genesis: Vec<GenesisAccount>) -> Vec<GenesisAccount> {
    let predeploys = [
        (L1_BLOCK, include_str!("../../op-contracts/l2/L1Block.hex")),
        (MESSAGE_PASSER, include_str!("../../op-contracts/l2/L2ToL1MessagePasser.hex")),
    ];
    for (address, code) in predeploys {
        if genesis.iter().all(|account| account.address != address) {
            // A test decodes both.
            let code = hex::decode(code.trim()).map(Bytes::from).unwrap_or_default();
            genesis.push(GenesisAccount::contract(address, code));
        }
    }
    genesis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predeploys_are_added_once() {
        let genesis = with_predeploys(Vec::new());
        assert!(genesis.iter().all(|account| account.code.len() > 500));
        assert_eq!(with_predeploys(genesis.clone()), genesis);
    }
}
