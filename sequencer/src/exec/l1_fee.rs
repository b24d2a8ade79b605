//! What a rollup's transaction pays for its place on L1.

use alloy::primitives::{Bytes, U256};
use op_revm::{L1BlockInfo, OpSpecId};

use super::attributes::DEPOSIT;

/// Selectors of `setL1BlockValuesEcotone` and `setL1BlockValuesIsthmus`, whose arguments are packed, and the lengths of their calldata.
const ECOTONE: ([u8; 4], usize) = ([0x44, 0x0a, 0x5e, 0x20], 164);
const ISTHMUS: ([u8; 4], usize) = ([0x09, 0x89, 0x99, 0xbe], 176);

/// L1 fees are counted in one way since Fjord.
const RULES: OpSpecId = OpSpecId::GRANITE;

/// The L1 fee parameters that a block's first transaction sets, if it is the L1-attributes deposit.
pub(crate) fn parameters(first: &Bytes) -> Option<L1BlockInfo> {
    use alloy::eips::eip2718::Decodable2718;
    use op_alloy::consensus::OpTxEnvelope;
    if first.first() != Some(&DEPOSIT) {
        return None;
    }
    let OpTxEnvelope::Deposit(deposit) = OpTxEnvelope::decode_2718_exact(first).ok()? else { return None };
    let input = deposit.input.as_ref();
    let is = |(selector, length): ([u8; 4], usize)| input.len() == length && input[..4] == selector;
    if !is(ECOTONE) && !is(ISTHMUS) {
        return None;
    }
    let operator = |range: std::ops::Range<usize>| is(ISTHMUS).then(|| U256::from_be_slice(&input[range]));
    Some(L1BlockInfo {
        l1_base_fee_scalar: U256::from_be_slice(&input[4..8]),
        l1_blob_base_fee_scalar: Some(U256::from_be_slice(&input[8..12])),
        l1_base_fee: U256::from_be_slice(&input[36..68]),
        l1_blob_base_fee: Some(U256::from_be_slice(&input[68..100])),
        operator_fee_scalar: operator(164..168),
        operator_fee_constant: operator(168..176),
        ..L1BlockInfo::default()
    })
}

/// The fee in wei of an encoded transaction.
pub(crate) fn fee_wei(parameters: &L1BlockInfo, raw: &Bytes) -> U256 {
    parameters.clone().calculate_tx_l1_cost(raw, RULES)
}

/// What the fee's gas is counted as: EIP-2028 calldata gas of the compressed size.
pub(crate) fn data_gas(parameters: &L1BlockInfo, raw: &Bytes) -> U256 {
    parameters.data_gas(raw, RULES)
}
