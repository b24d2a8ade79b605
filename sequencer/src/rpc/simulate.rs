//! `eth_call` and `eth_estimateGas`.

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
        let balance = state.load_account(message.base.caller).map_err(call::CallError::from)?.info.balance;
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
        Ok(BlockRules::of(self.chain.config.chain_id, &header))
    }

    fn room(&self) -> RpcResult<tokio::sync::SemaphorePermit<'_>> {
        self.calls
            .try_acquire()
            .map_err(|_| over_limit(format!("{} calls run already: retry later", self.chain.config.rpc.calls_at_once)))
    }
}
