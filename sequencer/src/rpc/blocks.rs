//! Blocks, transactions and receipts as clients see them.

use alloy::{
    consensus::{
        Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealed, Transaction as _, TxEnvelope,
        transaction::Recovered,
    },
    eips::{BlockId, BlockNumberOrTag, eip2718::Decodable2718, eip4895::Withdrawals, eip7840::BlobParams},
    primitives::{Address, B256, Bytes, U256},
    rpc::types::{Block, BlockTransactions, Header as RpcHeader, Log, Transaction, TransactionReceipt},
};
use jsonrpsee::core::RpcResult;

use op_alloy::{
    consensus::{OpReceipt, OpTxEnvelope},
    rpc_types::{L1BlockInfo as RpcL1BlockInfo, OpTransactionReceipt},
};
use op_revm::L1BlockInfo;

use super::{
    error::failed,
    types::{RpcBlock, RpcReceipt, RpcTransaction},
};
use crate::{
    chain::Head,
    config::ChainKind,
    error::StoreError,
    exec::{
        attributes::DEPOSIT,
        block::{deposit_receipt, tx_type},
        l1_fee,
    },
    pool::PooledTx,
    store::{State, StoredReceipt},
};

impl Head {
    /// The number behind a tag, `None` if there is no such block. Without an L1 what is built is final: `safe` and
    /// `finalized` are the newest block, as `pending` always is.
    pub(super) fn tag(&self, tag: BlockNumberOrTag) -> Option<u64> {
        match tag {
            BlockNumberOrTag::Earliest => Some(0),
            BlockNumberOrTag::Safe => Some(self.safe),
            BlockNumberOrTag::Finalized => Some(self.finalized),
            BlockNumberOrTag::Number(number) => (number <= self.header.number).then_some(number),
            _ => Some(self.header.number),
        }
    }

    /// The number of a block, `None` if it is unknown.
    pub(super) fn resolve(&self, block: BlockId) -> Result<Option<u64>, StoreError> {
        match block {
            BlockId::Number(tag) => Ok(self.tag(tag)),
            BlockId::Hash(hash) => self.snapshot.number(hash.block_hash),
        }
    }

    /// The number of a block that must exist. The default is the newest.
    pub(super) fn require(&self, block: Option<BlockId>) -> RpcResult<u64> {
        let block = block.unwrap_or_default();
        self.resolve(block)?.ok_or_else(|| failed(format!("header not found: block {block}")))
    }

    /// The state as of a block. The default is the newest.
    pub(super) fn state(&self, block: Option<BlockId>) -> RpcResult<State<'_>> {
        Ok(self.snapshot.state_at(self.require(block)?, self.header.number)?)
    }

    /// A header that must exist.
    pub(super) fn header(&self, number: u64) -> Result<Sealed<Header>, StoreError> {
        self.snapshot.header(number)?.ok_or_else(|| StoreError::Corrupt(format!("block {number} has no header")))
    }

    /// A block for clients.
    pub(super) fn block(&self, number: u64, full: bool) -> Result<RpcBlock, StoreError> {
        let header = self.header(number)?;
        let receipts = self.snapshot.receipts(number)?;
        let transactions = if full {
            let raws = self.snapshot.transactions(number)?;
            let indexed = (0u32..).zip(raws.iter().zip(&receipts));
            let full: Result<_, _> =
                indexed.map(|(index, (raw, receipt))| mined(&header, index, raw, receipt)).collect();
            BlockTransactions::Full(full?)
        } else {
            BlockTransactions::Hashes(receipts.iter().map(|receipt| receipt.hash).collect())
        };
        let header = RpcHeader::from_consensus(header, None, None);
        Ok(Block::new(header, transactions).with_withdrawals(Some(Withdrawals::default())))
    }

    /// A transaction in a block for clients.
    pub(super) fn transaction(&self, number: u64, index: u32) -> Result<Option<RpcTransaction>, StoreError> {
        let raw = self.snapshot.transaction(number, index)?;
        let Some((raw, receipt)) = raw.zip(self.snapshot.receipt(number, index)?) else { return Ok(None) };
        mined(&self.header(number)?, index, &raw, &receipt).map(Some)
    }

    /// A receipt for clients.
    pub(super) fn receipt(&self, hash: B256) -> Result<Option<RpcReceipt>, StoreError> {
        let Some((number, index)) = self.snapshot.location(hash)? else { return Ok(None) };
        let raw = self.snapshot.transaction(number, index)?;
        let Some((raw, stored)) = raw.zip(self.snapshot.receipt(number, index)?) else { return Ok(None) };
        let fees = match (self.kind, index) {
            (ChainKind::Ethereum, _) => None,
            (ChainKind::Rollup | ChainKind::Isthmus, 0) => l1_fee::parameters(&raw),
            _ => self.snapshot.transaction(number, 0)?.as_ref().and_then(l1_fee::parameters),
        };
        receipt(self.kind, &self.header(number)?, index, &raw, stored, fees.as_ref()).map(Some)
    }

    /// All receipts of a block for clients.
    pub(super) fn receipts(&self, number: u64) -> Result<Vec<RpcReceipt>, StoreError> {
        let header = self.header(number)?;
        let raws = self.snapshot.transactions(number)?;
        let stored = self.snapshot.receipts(number)?;
        let fees = raws.first().and_then(l1_fee::parameters);
        let indexed = (0u32..).zip(raws.iter().zip(stored));
        indexed.map(|(index, (raw, stored))| receipt(self.kind, &header, index, raw, stored, fees.as_ref())).collect()
    }
}

fn envelope(raw: &Bytes) -> Result<TxEnvelope, StoreError> {
    TxEnvelope::decode_2718_exact(raw).map_err(|error| StoreError::Corrupt(format!("transaction: {error}")))
}

fn deposit(raw: &Bytes) -> Result<OpTxEnvelope, StoreError> {
    OpTxEnvelope::decode_2718_exact(raw).map_err(|error| StoreError::Corrupt(format!("deposit: {error}")))
}

fn mined(
    header: &Sealed<Header>,
    index: u32,
    raw: &Bytes,
    receipt: &StoredReceipt,
) -> Result<RpcTransaction, StoreError> {
    if receipt.tx_type == DEPOSIT {
        return Ok(RpcTransaction::Deposit(Box::new(op_alloy::rpc_types::Transaction {
            inner: placed(header, index, receipt, deposit(raw)?),
            deposit_nonce: Some(receipt.deposit_nonce),
            deposit_receipt_version: Some(1),
        })));
    }
    Ok(RpcTransaction::Signed(Box::new(placed(header, index, receipt, envelope(raw)?))))
}

fn placed<T>(header: &Sealed<Header>, index: u32, receipt: &StoredReceipt, tx: T) -> Transaction<T> {
    Transaction {
        inner: Recovered::new_unchecked(tx, receipt.sender),
        block_hash: Some(header.hash()),
        block_number: Some(header.number),
        transaction_index: Some(index.into()),
        effective_gas_price: Some(receipt.effective_gas_price),
        block_timestamp: Some(header.timestamp),
    }
}

/// A waiting transaction for clients.
pub(super) fn waiting(tx: &PooledTx) -> Result<RpcTransaction, StoreError> {
    Ok(RpcTransaction::Signed(Box::new(Transaction {
        inner: Recovered::new_unchecked(envelope(&tx.raw)?, tx.sender),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    })))
}

fn receipt(
    kind: ChainKind,
    header: &Sealed<Header>,
    index: u32,
    raw: &Bytes,
    stored: StoredReceipt,
    fees: Option<&L1BlockInfo>,
) -> Result<RpcReceipt, StoreError> {
    let logs: Vec<Log> = receipt_logs(header, index, &stored).collect();
    let logs_bloom = alloy::primitives::logs_bloom(stored.logs.iter());
    let inner = Receipt { status: stored.success.into(), cumulative_gas_used: stored.cumulative_gas_used, logs };
    if kind == ChainKind::Ethereum {
        let tx = envelope(raw)?;
        let blob_gas_used = tx.blob_gas_used();
        let blob_gas_price = blob_gas_used.and_then(|_| header.blob_fee(BlobParams::cancun()));
        let inner = ReceiptEnvelope::from_typed(tx_type(stored.tx_type), ReceiptWithBloom::new(inner, logs_bloom));
        let receipt = fill(header, index, &stored, tx.to(), inner);
        return Ok(RpcReceipt::Ethereum(Box::new(TransactionReceipt { blob_gas_used, blob_gas_price, ..receipt })));
    }
    let (to, inner) = match stored.tx_type {
        DEPOSIT => (deposit(raw)?.to(), OpReceipt::Deposit(deposit_receipt(&stored, inner))),
        0 => (envelope(raw)?.to(), OpReceipt::Legacy(inner)),
        1 => (envelope(raw)?.to(), OpReceipt::Eip2930(inner)),
        4 => (envelope(raw)?.to(), OpReceipt::Eip7702(inner)),
        _ => (envelope(raw)?.to(), OpReceipt::Eip1559(inner)),
    };
    Ok(RpcReceipt::Rollup(Box::new(OpTransactionReceipt {
        inner: fill(header, index, &stored, to, ReceiptWithBloom::new(inner, logs_bloom)),
        l1_block_info: fees.map(|fees| l1_block_info(fees, raw)).unwrap_or_default(),
        op_gas_refund: None,
    })))
}

fn fill<T>(
    header: &Sealed<Header>,
    index: u32,
    stored: &StoredReceipt,
    to: Option<Address>,
    inner: T,
) -> TransactionReceipt<T> {
    TransactionReceipt {
        inner,
        transaction_hash: stored.hash,
        transaction_index: Some(index.into()),
        block_hash: Some(header.hash()),
        block_number: Some(header.number),
        gas_used: stored.gas_used,
        effective_gas_price: stored.effective_gas_price,
        blob_gas_used: None,
        blob_gas_price: None,
        from: stored.sender,
        to,
        contract_address: (stored.created.len() == 20).then(|| Address::from_slice(&stored.created)),
    }
}

/// What a transaction paid for its place on L1. Deposits pay nothing: they came from there.
fn l1_block_info(fees: &L1BlockInfo, raw: &Bytes) -> RpcL1BlockInfo {
    let (gas, fee) = match raw.first() {
        Some(&DEPOSIT) => (U256::ZERO, U256::ZERO),
        _ => (l1_fee::data_gas(fees, raw), l1_fee::fee_wei(fees, raw)),
    };
    RpcL1BlockInfo {
        l1_gas_price: Some(fees.l1_base_fee.saturating_to()),
        l1_gas_used: Some(gas.saturating_to()),
        l1_fee: Some(fee.saturating_to()),
        l1_base_fee_scalar: Some(fees.l1_base_fee_scalar.saturating_to()),
        l1_blob_base_fee: fees.l1_blob_base_fee.map(|fee| fee.saturating_to()),
        l1_blob_base_fee_scalar: fees.l1_blob_base_fee_scalar.map(|scalar| scalar.saturating_to()),
        operator_fee_scalar: fees.operator_fee_scalar.map(|scalar| scalar.saturating_to()),
        operator_fee_constant: fees.operator_fee_constant.map(|constant| constant.saturating_to()),
        ..RpcL1BlockInfo::default()
    }
}

/// The logs of a receipt for clients.
pub(super) fn receipt_logs<'a>(
    header: &'a Sealed<Header>,
    index: u32,
    stored: &'a StoredReceipt,
) -> impl Iterator<Item = Log> + 'a {
    (stored.first_log..).zip(&stored.logs).map(move |(log_index, log)| Log {
        inner: log.clone(),
        block_hash: Some(header.hash()),
        block_number: Some(header.number),
        block_timestamp: Some(header.timestamp),
        transaction_hash: Some(stored.hash),
        transaction_index: Some(index.into()),
        log_index: Some(log_index),
        removed: false,
    })
}
