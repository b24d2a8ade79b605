//! The methods and their parameters.

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, Bytes, U64, U256},
    rpc::types::{BlockNumberOrTag, FeeHistory, Filter, FilterChanges, Log, TransactionRequest, state::StateOverride},
};
use jsonrpsee::{core::RpcResult, proc_macros::rpc};

use super::types::{RpcBlock, RpcReceipt, RpcTransaction};

/// Methods of the `eth` namespace.
#[rpc(server, namespace = "eth")]
pub(super) trait EthApi {
    #[method(name = "chainId")]
    fn chain_id(&self) -> RpcResult<U64>;
    #[method(name = "syncing")]
    fn syncing(&self) -> RpcResult<bool>;
    #[method(name = "accounts")]
    fn accounts(&self) -> RpcResult<Vec<Address>>;
    #[method(name = "blockNumber")]
    fn block_number(&self) -> RpcResult<U64>;

    #[method(name = "getBlockByNumber", blocking)]
    fn block_by_number(&self, number: BlockNumberOrTag, full: Option<bool>) -> RpcResult<Option<RpcBlock>>;
    #[method(name = "getBlockByHash", blocking)]
    fn block_by_hash(&self, hash: B256, full: Option<bool>) -> RpcResult<Option<RpcBlock>>;
    #[method(name = "getBlockTransactionCountByNumber", blocking)]
    fn transaction_count_by_number(&self, number: BlockNumberOrTag) -> RpcResult<Option<U64>>;
    #[method(name = "getBlockTransactionCountByHash", blocking)]
    fn transaction_count_by_hash(&self, hash: B256) -> RpcResult<Option<U64>>;
    #[method(name = "getBlockReceipts", blocking)]
    fn block_receipts(&self, block: BlockId) -> RpcResult<Option<Vec<RpcReceipt>>>;
    #[method(name = "getTransactionByHash", blocking)]
    fn transaction_by_hash(&self, hash: B256) -> RpcResult<Option<RpcTransaction>>;
    #[method(name = "getTransactionByBlockNumberAndIndex", blocking)]
    fn transaction_by_number(&self, number: BlockNumberOrTag, index: U64) -> RpcResult<Option<RpcTransaction>>;
    #[method(name = "getTransactionByBlockHashAndIndex", blocking)]
    fn transaction_by_block_hash(&self, hash: B256, index: U64) -> RpcResult<Option<RpcTransaction>>;
    #[method(name = "getRawTransactionByHash", blocking)]
    fn raw_transaction(&self, hash: B256) -> RpcResult<Option<Bytes>>;
    #[method(name = "getTransactionReceipt", blocking)]
    fn transaction_receipt(&self, hash: B256) -> RpcResult<Option<RpcReceipt>>;

    #[method(name = "getBalance", blocking)]
    fn balance(&self, address: Address, block: Option<BlockId>) -> RpcResult<U256>;
    #[method(name = "getTransactionCount", blocking)]
    fn transaction_count(&self, address: Address, block: Option<BlockId>) -> RpcResult<U64>;
    #[method(name = "getCode", blocking)]
    fn code(&self, address: Address, block: Option<BlockId>) -> RpcResult<Bytes>;
    #[method(name = "getStorageAt", blocking)]
    fn storage_at(&self, address: Address, slot: U256, block: Option<BlockId>) -> RpcResult<B256>;

    #[method(name = "call", blocking)]
    fn call(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<Bytes>;
    #[method(name = "estimateGas", blocking)]
    fn estimate_gas(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<U64>;
    #[method(name = "sendRawTransaction", blocking)]
    fn send_raw_transaction(&self, raw: Bytes) -> RpcResult<B256>;

    #[method(name = "blobBaseFee")]
    fn blob_base_fee(&self) -> RpcResult<U256>;
    #[method(name = "gasPrice", blocking)]
    fn gas_price(&self) -> RpcResult<U256>;
    #[method(name = "maxPriorityFeePerGas")]
    fn max_priority_fee_per_gas(&self) -> RpcResult<U256>;
    #[method(name = "feeHistory", blocking)]
    fn fee_history(
        &self,
        blocks: U64,
        newest: BlockNumberOrTag,
        percentiles: Option<Vec<f64>>,
    ) -> RpcResult<FeeHistory>;

    #[method(name = "getLogs", blocking)]
    fn logs(&self, filter: Filter) -> RpcResult<Vec<Log>>;
    #[method(name = "newFilter", blocking)]
    fn new_filter(&self, filter: Filter) -> RpcResult<U256>;
    #[method(name = "newBlockFilter", blocking)]
    fn new_block_filter(&self) -> RpcResult<U256>;
    #[method(name = "getFilterChanges", blocking)]
    fn filter_changes(&self, id: U256) -> RpcResult<FilterChanges>;
    #[method(name = "getFilterLogs", blocking)]
    fn filter_logs(&self, id: U256) -> RpcResult<Vec<Log>>;
    #[method(name = "uninstallFilter", blocking)]
    fn uninstall_filter(&self, id: U256) -> RpcResult<bool>;
}

/// Methods about the node itself.
#[rpc(server)]
pub(super) trait InfoApi {
    #[method(name = "web3_clientVersion")]
    fn client_version(&self) -> RpcResult<String>;
    #[method(name = "web3_sha3")]
    fn sha3(&self, bytes: Bytes) -> RpcResult<B256>;
    #[method(name = "net_version")]
    fn net_version(&self) -> RpcResult<String>;
    #[method(name = "net_listening")]
    fn net_listening(&self) -> RpcResult<bool>;
}

/// Methods of development chains only.
#[rpc(server, namespace = "evm")]
pub(super) trait DevApi {
    /// Moves the clock forward; returns by how many seconds it is ahead in all.
    #[method(name = "increaseTime")]
    fn increase_time(&self, seconds: U64) -> RpcResult<U64>;
    /// Builds a block now.
    #[method(name = "mine", blocking)]
    fn mine(&self) -> RpcResult<String>;
}
