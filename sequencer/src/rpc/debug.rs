//! Traces and raw data: the `debug` namespace.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{B256, Bytes},
    rlp,
    rpc::types::trace::geth::{GethDebugTracingOptions, GethTrace, TraceResult},
};
use jsonrpsee::{core::RpcResult, proc_macros::rpc};

use super::{
    Rpc,
    error::{failed, over_limit},
};
use crate::{
    chain::Head,
    exec::{
        env::BlockRules,
        trace::{self, Place},
    },
};

/// Gas of a transaction whose every step may be recorded: a few hundred megabytes at worst.
const STEP_GAS: u64 = 3_000_000;

/// Traces. They run the block again up to the transaction, on the state before it, which must still be kept.
#[rpc(server, namespace = "debug")]
pub(super) trait DebugApi {
    #[method(name = "traceTransaction", blocking)]
    fn trace_transaction(&self, hash: B256, options: Option<GethDebugTracingOptions>) -> RpcResult<GethTrace>;
    #[method(name = "traceBlockByNumber", blocking)]
    fn trace_block_by_number(
        &self,
        number: BlockNumberOrTag,
        options: Option<GethDebugTracingOptions>,
    ) -> RpcResult<Vec<TraceResult>>;
    #[method(name = "traceBlockByHash", blocking)]
    fn trace_block_by_hash(&self, hash: B256, options: Option<GethDebugTracingOptions>) -> RpcResult<Vec<TraceResult>>;
    #[method(name = "getRawHeader", blocking)]
    fn raw_header(&self, block: BlockId) -> RpcResult<Bytes>;
    #[method(name = "getRawTransaction", blocking)]
    fn raw_transaction(&self, hash: B256) -> RpcResult<Option<Bytes>>;
}

impl DebugApiServer for Rpc {
    fn trace_transaction(&self, hash: B256, options: Option<GethDebugTracingOptions>) -> RpcResult<GethTrace> {
        let _room = self.room()?;
        let head = self.chain.head();
        let (number, index) = head.snapshot.location(hash)?.ok_or_else(|| failed("transaction not found"))?;
        self.trace(&head, number, index, options.unwrap_or_default())
    }

    fn trace_block_by_number(
        &self,
        number: BlockNumberOrTag,
        options: Option<GethDebugTracingOptions>,
    ) -> RpcResult<Vec<TraceResult>> {
        self.trace_block(number.into(), options.unwrap_or_default())
    }

    fn trace_block_by_hash(&self, hash: B256, options: Option<GethDebugTracingOptions>) -> RpcResult<Vec<TraceResult>> {
        self.trace_block(hash.into(), options.unwrap_or_default())
    }

    fn raw_header(&self, block: BlockId) -> RpcResult<Bytes> {
        let head = self.chain.head();
        Ok(rlp::encode(head.header(head.require(Some(block))?)?.inner()).into())
    }

    fn raw_transaction(&self, hash: B256) -> RpcResult<Option<Bytes>> {
        let head = self.chain.head();
        let place = head.snapshot.location(hash)?;
        Ok(place.map(|(number, index)| head.snapshot.transaction(number, index)).transpose()?.flatten())
    }
}

impl Rpc {
    fn trace_block(&self, block: BlockId, options: GethDebugTracingOptions) -> RpcResult<Vec<TraceResult>> {
        let _room = self.room()?;
        let head = self.chain.head();
        let number = head.require(Some(block))?;
        let header = head.header(number)?;
        if options.tracer.is_none() && header.gas_used > STEP_GAS {
            return Err(steps(header.gas_used));
        }
        let receipts = head.snapshot.receipts(number)?;
        let one = |(index, hash)| {
            Ok(TraceResult::new_success(self.trace(&head, number, index, options.clone())?, Some(hash)))
        };
        (0u32..).zip(receipts.iter().map(|receipt| receipt.hash)).map(one).collect()
    }

    fn trace(&self, head: &Head, number: u64, index: u32, options: GethDebugTracingOptions) -> RpcResult<GethTrace> {
        let header = head.header(number)?;
        let gas_used = head.snapshot.receipt(number, index)?.map_or(0, |receipt| receipt.gas_used);
        if options.tracer.is_none() && gas_used > STEP_GAS {
            return Err(steps(gas_used));
        }
        let mut transactions = head.snapshot.transactions(number)?;
        transactions.truncate(index as usize + 1);
        let parent = head.snapshot.state_at(number.saturating_sub(1), head.header.number)?;
        let rules = BlockRules::of(self.chain.config.chain_id, self.chain.config.kind, &header);
        let place = Place { block: header.hash(), transactions: &transactions };
        Ok(trace::transaction(&rules, parent, &place, options)?)
    }
}

fn steps(gas: u64) -> jsonrpsee::types::ErrorObjectOwned {
    over_limit(format!("{gas} gas were used, and steps are recorded for up to {STEP_GAS}: use callTracer"))
}
