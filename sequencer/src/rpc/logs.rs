//! `eth_getLogs`.

use std::ops::RangeInclusive;

use alloy::{
    consensus::{Header, Sealed},
    rpc::types::{Filter, FilterBlockOption, Log},
};
use jsonrpsee::core::RpcResult;

use super::{
    blocks::receipt_logs,
    error::{failed, invalid, over_limit},
};
use crate::{chain::Head, config::RpcLimits, store::StoredReceipt};

/// The logs that a filter selects.
pub(super) fn select(head: &Head, filter: &Filter, limits: &RpcLimits) -> RpcResult<Vec<Log>> {
    let mut found = Vec::new();
    let Some(range) = range(head, filter)? else { return Ok(found) };
    let span = range.end() - range.start() + 1;
    if span > limits.log_blocks {
        return Err(over_limit(format!(
            "query spans {span} blocks, limit {}: ask for smaller ranges",
            limits.log_blocks
        )));
    }
    for number in range {
        let header = head.header(number)?;
        if !filter.matches_bloom(header.logs_bloom) {
            continue;
        }
        found.extend(matching(filter, &header, &head.snapshot.receipts(number)?));
        if found.len() > limits.log_results {
            return Err(over_limit(format!(
                "query returned more than {} results: ask for smaller ranges",
                limits.log_results
            )));
        }
    }
    Ok(found)
}

/// The logs of one block that match.
pub(super) fn matching(filter: &Filter, header: &Sealed<Header>, receipts: &[StoredReceipt]) -> Vec<Log> {
    let indexed = (0u32..).zip(receipts);
    let logs = indexed.flat_map(|(index, receipt)| receipt_logs(header, index, receipt));
    logs.filter(|log| filter.matches_address(log.address()) && filter.matches_topics(log.topics())).collect()
}

/// The blocks that a filter spans as far as they exist.
fn range(head: &Head, filter: &Filter) -> RpcResult<Option<RangeInclusive<u64>>> {
    let newest = head.header.number;
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let number = head.snapshot.number(hash)?.ok_or_else(|| failed(format!("unknown block {hash}")))?;
            Ok(Some(number..=number))
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let from = from_block.map_or(newest, |tag| tag.as_number().or(head.tag(tag)).unwrap_or(newest));
            let to = to_block.map_or(newest, |tag| tag.as_number().or(head.tag(tag)).unwrap_or(newest));
            if from > to {
                return Err(invalid(format!("invalid block range: from {from} to {to}")));
            }
            Ok((from <= newest).then(|| from..=to.min(newest)))
        }
    }
}
