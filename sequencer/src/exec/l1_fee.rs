//! What a rollup's transaction pays for its place on L1.

use alloy::primitives::{Bytes, U256};
use op_revm::L1BlockInfo;

use super::{attributes::DEPOSIT, env::SPEC};

/// Selector of `setL1BlockValuesEcotone`, whose arguments are packed.
const SET_L1_BLOCK_VALUES: [u8; 4] = [0x44, 0x0a, 0x5e, 0x20];

/// Length of its calldata.
const CALLDATA_LEN: usize = 164;

/// The L1 fee parameters that a block's first transaction sets, if it is the L1-attributes deposit.
pub(crate) fn parameters(first: &Bytes) -> Option<L1BlockInfo> {
    use alloy::eips::eip2718::Decodable2718;
    use op_alloy::consensus::OpTxEnvelope;
    if first.first() != Some(&DEPOSIT) {
        return None;
    }
    let OpTxEnvelope::Deposit(deposit) = OpTxEnvelope::decode_2718_exact(first).ok()? else { return None };
    let input = deposit.input.as_ref();
    if input.len() != CALLDATA_LEN || input[..4] != SET_L1_BLOCK_VALUES {
        return None;
    }
    Some(L1BlockInfo {
        l1_base_fee_scalar: U256::from_be_slice(&input[4..8]),
        l1_blob_base_fee_scalar: Some(U256::from_be_slice(&input[8..12])),
        l1_base_fee: U256::from_be_slice(&input[36..68]),
        l1_blob_base_fee: Some(U256::from_be_slice(&input[68..100])),
        ..L1BlockInfo::default()
    })
}

/// The fee in wei of an encoded transaction.
pub(crate) fn fee_wei(parameters: &L1BlockInfo, raw: &Bytes) -> U256 {
    parameters.clone().calculate_tx_l1_cost(raw, SPEC)
}

/// What the fee's gas is counted as: EIP-2028 calldata gas of the compressed size.
pub(crate) fn data_gas(parameters: &L1BlockInfo, raw: &Bytes) -> U256 {
    parameters.data_gas(raw, SPEC)
}
