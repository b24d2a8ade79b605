//! The answers to requests.

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, Bytes, U64, U256, keccak256},
    rpc::types::{BlockNumberOrTag, FeeHistory, Filter, FilterChanges, Log, TransactionRequest, state::StateOverride},
};
use jsonrpsee::core::RpcResult;

use super::{
    Rpc,
    api::{DevApiServer, EthApiServer, InfoApiServer},
    blocks, fees, logs,
    types::{RpcBlock, RpcReceipt, RpcTransaction},
};

impl EthApiServer for Rpc {
    fn chain_id(&self) -> RpcResult<U64> {
        Ok(U64::from(self.chain.config.chain_id))
    }

    fn syncing(&self) -> RpcResult<bool> {
        Ok(false)
    }

    fn accounts(&self) -> RpcResult<Vec<Address>> {
        // The node holds no keys.
        Ok(Vec::new())
    }

    fn block_number(&self) -> RpcResult<U64> {
        Ok(U64::from(self.chain.head().header.number))
    }

    fn block_by_number(&self, number: BlockNumberOrTag, full: Option<bool>) -> RpcResult<Option<RpcBlock>> {
        self.find_block(number.into(), full)
    }

    fn block_by_hash(&self, hash: B256, full: Option<bool>) -> RpcResult<Option<RpcBlock>> {
        self.find_block(hash.into(), full)
    }

    fn transaction_count_by_number(&self, number: BlockNumberOrTag) -> RpcResult<Option<U64>> {
        self.count_transactions(number.into())
    }

    fn transaction_count_by_hash(&self, hash: B256) -> RpcResult<Option<U64>> {
        self.count_transactions(hash.into())
    }

    fn block_receipts(&self, block: BlockId) -> RpcResult<Option<Vec<RpcReceipt>>> {
        let head = self.chain.head();
        Ok(head.resolve(block)?.map(|number| head.receipts(number)).transpose()?)
    }

    fn transaction_by_hash(&self, hash: B256) -> RpcResult<Option<RpcTransaction>> {
        // The pool is asked first, and the head is taken after, so that a transaction on its way is in one of them.
        let waiting = self.chain.pool.get(hash);
        let head = self.chain.head();
        match head.snapshot.location(hash)? {
            Some((number, index)) => Ok(head.transaction(number, index)?),
            None => Ok(waiting.map(|tx| blocks::waiting(&tx)).transpose()?),
        }
    }

    fn transaction_by_number(&self, number: BlockNumberOrTag, index: U64) -> RpcResult<Option<RpcTransaction>> {
        self.nth_transaction(number.into(), index)
    }

    fn transaction_by_block_hash(&self, hash: B256, index: U64) -> RpcResult<Option<RpcTransaction>> {
        self.nth_transaction(hash.into(), index)
    }

    fn raw_transaction(&self, hash: B256) -> RpcResult<Option<Bytes>> {
        let waiting = self.chain.pool.get(hash);
        let head = self.chain.head();
        match head.snapshot.location(hash)? {
            Some((number, index)) => Ok(head.snapshot.transaction(number, index)?),
            None => Ok(waiting.map(|tx| tx.raw.clone())),
        }
    }

    fn transaction_receipt(&self, hash: B256) -> RpcResult<Option<RpcReceipt>> {
        Ok(self.chain.head().receipt(hash)?)
    }

    fn balance(&self, address: Address, block: Option<BlockId>) -> RpcResult<U256> {
        Ok(self.chain.head().state(block)?.account(address)?.unwrap_or_default().balance)
    }

    fn transaction_count(&self, address: Address, block: Option<BlockId>) -> RpcResult<U64> {
        let nonce = self.chain.head().state(block)?.account(address)?.unwrap_or_default().nonce;
        if block.is_some_and(|block| block.is_pending()) {
            return Ok(U64::from(self.chain.pool.pending_nonce(address, nonce)));
        }
        Ok(U64::from(nonce))
    }

    fn code(&self, address: Address, block: Option<BlockId>) -> RpcResult<Bytes> {
        let head = self.chain.head();
        let state = head.state(block)?;
        let account = state.account(address)?.unwrap_or_default();
        Ok(state.code(account.code_hash)?)
    }

    fn storage_at(&self, address: Address, slot: U256, block: Option<BlockId>) -> RpcResult<B256> {
        Ok(self.chain.head().state(block)?.slot(address, slot)?.into())
    }

    fn call(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<Bytes> {
        self.run_call(&request, block, overrides)
    }

    fn estimate_gas(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<U64> {
        self.run_estimate(&request, block, overrides).map(U64::from)
    }

    fn send_raw_transaction(&self, raw: Bytes) -> RpcResult<B256> {
        Ok(self.chain.submit(raw)?)
    }

    fn blob_base_fee(&self) -> RpcResult<U256> {
        Ok(U256::from(fees::blob_base_fee(&self.chain.head())))
    }

    fn gas_price(&self) -> RpcResult<U256> {
        Ok(fees::gas_price(&self.chain.head()))
    }

    fn max_priority_fee_per_gas(&self) -> RpcResult<U256> {
        Ok(U256::from(fees::SUGGESTED_TIP_WEI))
    }

    fn fee_history(
        &self,
        blocks: U64,
        newest: BlockNumberOrTag,
        percentiles: Option<Vec<f64>>,
    ) -> RpcResult<FeeHistory> {
        fees::history(&self.chain.head(), blocks.to(), newest, percentiles.as_deref())
    }

    fn logs(&self, filter: Filter) -> RpcResult<Vec<Log>> {
        logs::select(&self.chain.head(), &filter, &self.chain.config.rpc)
    }

    fn new_filter(&self, filter: Filter) -> RpcResult<U256> {
        self.filters.logs(filter, &self.chain.head())
    }

    fn new_block_filter(&self) -> RpcResult<U256> {
        self.filters.blocks(&self.chain.head())
    }

    fn filter_changes(&self, id: U256) -> RpcResult<FilterChanges> {
        self.filters.changes(id, &self.chain.head(), &self.chain.config.rpc)
    }

    fn filter_logs(&self, id: U256) -> RpcResult<Vec<Log>> {
        self.filters.all_logs(id, &self.chain.head(), &self.chain.config.rpc)
    }

    fn uninstall_filter(&self, id: U256) -> RpcResult<bool> {
        Ok(self.filters.uninstall(id))
    }
}

impl Rpc {
    fn find_block(&self, block: BlockId, full: Option<bool>) -> RpcResult<Option<RpcBlock>> {
        let head = self.chain.head();
        let number = head.resolve(block)?;
        Ok(number.map(|number| head.block(number, full.unwrap_or(false))).transpose()?)
    }

    fn count_transactions(&self, block: BlockId) -> RpcResult<Option<U64>> {
        let head = self.chain.head();
        let number = head.resolve(block)?;
        let receipts = number.map(|number| head.snapshot.receipts(number)).transpose()?;
        Ok(receipts.map(|receipts| U64::from(receipts.len())))
    }

    fn nth_transaction(&self, block: BlockId, index: U64) -> RpcResult<Option<RpcTransaction>> {
        let head = self.chain.head();
        let number = head.resolve(block)?;
        let index = u32::try_from(index.to::<u64>()).ok();
        let found = number.zip(index).map(|(number, index)| head.transaction(number, index));
        Ok(found.transpose().map(Option::flatten)?)
    }
}

impl InfoApiServer for Rpc {
    fn client_version(&self) -> RpcResult<String> {
        Ok(format!("lockstep/v{}", env!("CARGO_PKG_VERSION")))
    }

    fn sha3(&self, bytes: Bytes) -> RpcResult<B256> {
        Ok(keccak256(bytes))
    }

    fn net_version(&self) -> RpcResult<String> {
        Ok(self.chain.config.chain_id.to_string())
    }

    fn net_listening(&self) -> RpcResult<bool> {
        Ok(true)
    }
}

impl DevApiServer for Rpc {
    fn increase_time(&self, seconds: U64) -> RpcResult<U64> {
        Ok(U64::from(self.chain.advance_clock(seconds.to())))
    }

    fn mine(&self) -> RpcResult<String> {
        self.chain.build(true)?;
        Ok("0x0".into())
    }
}
