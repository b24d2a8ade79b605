//! Gas prices.

use alloy::{
    consensus::Header,
    eips::{eip4844::MAX_DATA_GAS_PER_BLOCK_DENCUN, eip7840::BlobParams},
    primitives::U256,
    rpc::types::{BlockNumberOrTag, FeeHistory},
};
use jsonrpsee::core::RpcResult;

use super::error::{failed, invalid};
use crate::{chain::Head, error::StoreError};

/// The tip that is suggested, in wei per gas: any tip gets into a block that is not full.
pub(super) const SUGGESTED_TIP_WEI: u64 = 1_000_000;

/// The most blocks that one request covers.
const HISTORY_BLOCKS: u64 = 1024;

/// The most percentiles that one request names.
const PERCENTILES: usize = 100;

/// What suffices for the next block.
pub(super) fn gas_price(head: &Head) -> U256 {
    U256::from(next_base_fee(head)) + U256::from(SUGGESTED_TIP_WEI)
}

/// What a unit of blob gas costs in the next block, in wei.
pub(super) fn blob_base_fee(head: &Head) -> u128 {
    next_blob_fee(&head.header)
}

fn next_blob_fee(header: &Header) -> u128 {
    header.next_block_blob_fee(BlobParams::cancun()).unwrap_or(1)
}

fn next_base_fee(head: &Head) -> u64 {
    head.kind.next_base_fee(&head.header)
}

/// Fees and fullness of recent blocks.
pub(super) fn history(
    head: &Head,
    blocks: u64,
    newest: BlockNumberOrTag,
    percentiles: Option<&[f64]>,
) -> RpcResult<FeeHistory> {
    let newest = head.tag(newest).ok_or_else(|| failed(format!("header not found: block {newest}")))?;
    check(percentiles.unwrap_or_default())?;
    let blocks = blocks.min(HISTORY_BLOCKS).min(newest + 1);
    let mut history = FeeHistory { oldest_block: newest + 1 - blocks, ..FeeHistory::default() };
    if blocks == 0 {
        return Ok(history);
    }
    let mut rewards = Vec::new();
    for number in history.oldest_block..=newest {
        let header = head.header(number)?;
        history.base_fee_per_gas.push(header.base_fee_per_gas.unwrap_or_default().into());
        history.gas_used_ratio.push(header.gas_used as f64 / header.gas_limit as f64);
        history.base_fee_per_blob_gas.push(header.blob_fee(BlobParams::cancun()).unwrap_or(1));
        let blob_gas = header.blob_gas_used.unwrap_or_default();
        history.blob_gas_used_ratio.push(blob_gas as f64 / MAX_DATA_GAS_PER_BLOCK_DENCUN as f64);
        if let Some(percentiles) = percentiles {
            rewards.push(rewards_of(head, number, header.gas_used, percentiles)?);
        }
    }
    history.base_fee_per_gas.push(head.kind.next_base_fee(head.header(newest)?.inner()).into());
    history.base_fee_per_blob_gas.push(next_blob_fee(head.header(newest)?.inner()));
    history.reward = percentiles.map(|_| rewards);
    Ok(history)
}

fn check(percentiles: &[f64]) -> RpcResult<()> {
    if percentiles.len() > PERCENTILES {
        return Err(invalid(format!("{} reward percentiles, limit {PERCENTILES}", percentiles.len())));
    }
    let in_range = percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile));
    if !in_range || !percentiles.is_sorted() {
        return Err(invalid("reward percentiles must rise from 0 to 100"));
    }
    Ok(())
}

/// The tips at the given percentiles of a block's gas.
fn rewards_of(head: &Head, number: u64, gas_used: u64, percentiles: &[f64]) -> Result<Vec<u128>, StoreError> {
    if gas_used == 0 {
        return Ok(vec![0; percentiles.len()]);
    }
    let base_fee = u128::from(head.header(number)?.base_fee_per_gas.unwrap_or_default());
    let receipts = head.snapshot.receipts(number)?;
    let mut tips: Vec<(u128, u64)> = receipts
        .iter()
        .map(|receipt| (receipt.effective_gas_price.saturating_sub(base_fee), receipt.gas_used))
        .collect();
    tips.sort_unstable();
    let at = |percentile: &f64| {
        let threshold = gas_used as f64 * percentile / 100.0;
        let mut sum = 0;
        let reached = tips.iter().find(|(_, gas)| {
            sum += gas;
            sum as f64 >= threshold
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    Ok(percentiles.iter().map(at).collect())
}
