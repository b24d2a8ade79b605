//! Blocks, transactions and receipts as clients see them.

use alloy::{
    consensus::{
        Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealed, Transaction as _, TxEnvelope,
        transaction::Recovered,
    },
    eips::{BlockId, BlockNumberOrTag, eip2718::Decodable2718, eip4895::Withdrawals},
    primitives::{Address, B256, Bytes},
    rpc::types::{Block, BlockTransactions, Header as RpcHeader, Log, Transaction, TransactionReceipt},
};
use jsonrpsee::core::RpcResult;

use super::error::failed;
use crate::{
    chain::Head,
    error::StoreError,
    exec::block::tx_type,
    pool::PooledTx,
    store::{State, StoredReceipt},
};

impl Head {
    /// The number behind a tag, `None` if there is no such block. There is no L1 yet, so what is built is final:
    /// `safe` and `finalized` are the newest block, and so is `pending`.
    pub(super) fn tag(&self, tag: BlockNumberOrTag) -> Option<u64> {
        match tag {
            BlockNumberOrTag::Earliest => Some(0),
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
    pub(super) fn block(&self, number: u64, full: bool) -> Result<Block, StoreError> {
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
    pub(super) fn transaction(&self, number: u64, index: u32) -> Result<Option<Transaction>, StoreError> {
        let raw = self.snapshot.transaction(number, index)?;
        let Some((raw, receipt)) = raw.zip(self.snapshot.receipt(number, index)?) else { return Ok(None) };
        mined(&self.header(number)?, index, &raw, &receipt).map(Some)
    }

    /// A receipt for clients.
    pub(super) fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, StoreError> {
        let Some((number, index)) = self.snapshot.location(hash)? else { return Ok(None) };
        let raw = self.snapshot.transaction(number, index)?;
        let Some((raw, stored)) = raw.zip(self.snapshot.receipt(number, index)?) else { return Ok(None) };
        receipt(&self.header(number)?, index, &raw, stored).map(Some)
    }

    /// All receipts of a block for clients.
    pub(super) fn receipts(&self, number: u64) -> Result<Vec<TransactionReceipt>, StoreError> {
        let header = self.header(number)?;
        let raws = self.snapshot.transactions(number)?;
        let stored = self.snapshot.receipts(number)?;
        let indexed = (0u32..).zip(raws.iter().zip(stored));
        indexed.map(|(index, (raw, stored))| receipt(&header, index, raw, stored)).collect()
    }
}

fn envelope(raw: &Bytes) -> Result<TxEnvelope, StoreError> {
    TxEnvelope::decode_2718_exact(raw).map_err(|error| StoreError::Corrupt(format!("transaction: {error}")))
}

fn mined(header: &Sealed<Header>, index: u32, raw: &Bytes, receipt: &StoredReceipt) -> Result<Transaction, StoreError> {
    Ok(Transaction {
        inner: Recovered::new_unchecked(envelope(raw)?, receipt.sender),
        block_hash: Some(header.hash()),
        block_number: Some(header.number),
        transaction_index: Some(index.into()),
        effective_gas_price: Some(receipt.effective_gas_price),
        block_timestamp: Some(header.timestamp),
    })
}

/// A waiting transaction for clients.
pub(super) fn waiting(tx: &PooledTx) -> Result<Transaction, StoreError> {
    Ok(Transaction {
        inner: Recovered::new_unchecked(envelope(&tx.raw)?, tx.sender),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    })
}

fn receipt(
    header: &Sealed<Header>,
    index: u32,
    raw: &Bytes,
    stored: StoredReceipt,
) -> Result<TransactionReceipt, StoreError> {
    let to = envelope(raw)?.to();
    let logs: Vec<Log> = receipt_logs(header, index, &stored).collect();
    let logs_bloom = alloy::primitives::logs_bloom(stored.logs.iter());
    let inner = Receipt { status: stored.success.into(), cumulative_gas_used: stored.cumulative_gas_used, logs };
    Ok(TransactionReceipt {
        inner: ReceiptEnvelope::from_typed(tx_type(stored.tx_type), ReceiptWithBloom::new(inner, logs_bloom)),
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
    })
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
