//! What the OP Stack's contracts became with Isthmus.

use alloy_primitives::Bytes;
use kona_hardforks::Isthmus;

/// Creation code that the upgrade to Isthmus published, for chains that begin with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// `L1Block`, which is told of the operator's fee too.
    pub l1_block: Bytes,
    /// `GasPriceOracle`, which tells it.
    pub gas_price_oracle: Bytes,
    /// `OperatorFeeVault`, which collects it.
    pub operator_fee_vault: Bytes,
    /// The contract that keeps block hashes (EIP-2935).
    pub block_hashes: Bytes,
}

impl Upgrade {
    /// That of Isthmus.
    pub fn isthmus() -> Self {
        Self {
            l1_block: Isthmus::l1_block_deployment_bytecode(),
            gas_price_oracle: Isthmus::gas_price_oracle_deployment_bytecode(),
            operator_fee_vault: Isthmus::operator_fee_vault_deployment_bytecode(),
            block_hashes: Isthmus::eip2935_creation_data(),
        }
    }
}
