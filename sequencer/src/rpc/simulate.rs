//! `eth_call` and `eth_estimateGas`.

use std::time::Duration;

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::Bytes,
    rpc::types::{TransactionRequest, state::StateOverride},
};
use jsonrpsee::core::RpcResult;

use super::{Rpc, error::over_limit};
use crate::{
    chain::Head,
    exec::{call, env::BlockRules, estimate},
};

/// How long a call waits while others run.
const PATIENCE: Duration = Duration::from_secs(10);

impl Rpc {
    pub(super) fn run_call(
        &self,
        request: &TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<Bytes> {
        let _room = self.room()?;
        let head = self.chain.head();
        let rules = self.rules(&head, block.unwrap_or_default())?;
        let mut state = call::state(head.state(block)?, overrides)?;
        let message = call::message(&rules, request, self.chain.config.rpc.call_gas)?;
        Ok(call::output(call::run(&rules, &mut state, message)?)?)
    }

    pub(super) fn run_estimate(
        &self,
        request: &TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<u64> {
        let _room = self.room()?;
        let head = self.chain.head();
        // What is estimated is about to be sent, so it is run as part of the next block.
        let block = block.unwrap_or(BlockId::Number(BlockNumberOrTag::Pending));
        let rules = self.rules(&head, block)?;
        let mut state = call::state(head.state(Some(block))?, overrides)?;
        let mut message = call::message(&rules, request, rules.gas_limit)?;
        let balance = call::balance(&mut state, message.base.caller)?;
        if let Some(most) = call::affordable(balance, message.base.value, message.base.gas_price) {
            message.base.gas_limit = message.base.gas_limit.min(most);
        }
        Ok(estimate::gas(&rules, &mut state, message)?)
    }

    /// The rules to run by: those of the named block, or of the next one for `pending`.
    fn rules(&self, head: &Head, block: BlockId) -> RpcResult<BlockRules> {
        if block.is_pending() {
            return Ok(self.chain.next_rules(&head.header));
        }
        let header = head.header(head.require(Some(block))?)?;
        Ok(BlockRules::of(self.chain.config.chain_id, self.chain.config.kind, &header))
    }

    /// Waits for its turn; runs on a thread that may block.
    pub(super) fn room(&self) -> RpcResult<tokio::sync::SemaphorePermit<'_>> {
        let limit = self.chain.config.rpc.calls_at_once;
        let turn = tokio::time::timeout(PATIENCE, self.calls.acquire());
        match tokio::runtime::Handle::current().block_on(turn) {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(over_limit(format!("{limit} calls have been running for {PATIENCE:?}: retry later"))),
        }
    }
}
