//! The sources as kona asks for them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use alloy_consensus::{Header, Receipt, ReceiptEnvelope, TxEnvelope};
use alloy_eips::{
    eip2718::Decodable2718,
    eip4844::{Blob, IndexedBlobHash},
};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use async_trait::async_trait;
use kona_derive::{BlobProvider, BlobProviderError, ChainProvider, L2ChainProvider};
use kona_genesis::{RollupConfig, SystemConfig};
use kona_protocol::{BatchValidationProvider, BlockInfo, L2BlockInfo, to_system_config};
use op_alloy_consensus::{OpBlock, OpTxEnvelope};

use crate::{
    error::ProviderError,
    source::{L1Source, L2Source, SourceError},
};

/// L1 blocks whose headers and receipts are kept for the next question.
const KEPT: usize = 128;

/// First byte of a blob that decodes to nothing, which is what an empty one does too.
const UNDECODABLE: u8 = 0xff;

/// L1 for kona.
#[derive(Clone, Debug)]
pub(crate) struct L1<S> {
    source: S,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    order: VecDeque<B256>,
    headers: HashMap<B256, Header>,
    receipts: HashMap<B256, Arc<Vec<Receipt>>>,
}

impl Kept {
    fn touch(&mut self, hash: B256) {
        if self.headers.contains_key(&hash) || self.receipts.contains_key(&hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > KEPT
            && let Some(old) = self.order.pop_front()
        {
            self.headers.remove(&old);
            self.receipts.remove(&old);
        }
    }
}

impl<S: L1Source> L1<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source, kept: Arc::default() }
    }

    fn kept<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        // What is kept can only be whole: each change is one insertion.
        f(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn header(&self, hash: B256) -> Result<Header, ProviderError> {
        if let Some(header) = self.kept(|kept| kept.headers.get(&hash).cloned()) {
            return Ok(header);
        }
        let rlp = self.source.header_by_hash(hash).await.map_err(gone(hash))?;
        let header: Header = decode("L1 header", &rlp)?;
        self.keep_header(hash, &header);
        Ok(header)
    }

    fn keep_header(&self, hash: B256, header: &Header) {
        self.kept(|kept| {
            kept.touch(hash);
            kept.headers.insert(hash, header.clone());
        });
    }
}

/// By hash, what is missing was there before.
fn gone(hash: B256) -> impl Fn(SourceError) -> ProviderError {
    move |error| match error {
        SourceError::Missing(_) => ProviderError::Gone(hash),
        error => error.into(),
    }
}

fn decode<T: Decodable>(what: &'static str, mut bytes: &[u8]) -> Result<T, ProviderError> {
    T::decode(&mut bytes).map_err(|error| ProviderError::Decode { what, cause: error.to_string() })
}

fn decode_2718<T: Decodable2718>(what: &'static str, bytes: &Bytes) -> Result<T, ProviderError> {
    T::decode_2718_exact(bytes).map_err(|error| ProviderError::Decode { what, cause: error.to_string() })
}

fn info(hash: B256, header: &Header) -> BlockInfo {
    BlockInfo::new(hash, header.number, header.parent_hash, header.timestamp)
}

#[async_trait]
impl<S: L1Source> ChainProvider for L1<S> {
    type Error = ProviderError;

    async fn header_by_hash(&mut self, hash: B256) -> Result<Header, ProviderError> {
        self.header(hash).await
    }

    async fn block_info_by_number(&mut self, number: u64) -> Result<BlockInfo, ProviderError> {
        let found = self.source.header_by_number(number).await?;
        let header: Header = decode("L1 header", &found.rlp)?;
        self.keep_header(found.hash, &header);
        Ok(info(found.hash, &header))
    }

    async fn receipts_by_hash(&mut self, hash: B256) -> Result<Vec<Receipt>, ProviderError> {
        if let Some(receipts) = self.kept(|kept| kept.receipts.get(&hash).cloned()) {
            return Ok(receipts.to_vec());
        }
        let encoded = self.source.receipts(hash).await.map_err(gone(hash))?;
        let receipts: Result<Vec<Receipt>, _> = encoded.iter().map(receipt).collect();
        let receipts = receipts?;
        self.kept(|kept| {
            kept.touch(hash);
            kept.receipts.insert(hash, Arc::new(receipts.clone()));
        });
        Ok(receipts)
    }

    async fn block_info_and_transactions_by_hash(
        &mut self,
        hash: B256,
    ) -> Result<(BlockInfo, Vec<TxEnvelope>), ProviderError> {
        let header = self.header(hash).await?;
        let encoded = self.source.transactions(hash).await.map_err(gone(hash))?;
        // Types that batches cannot come in, or that are newer than this, are of no concern.
        let known = encoded.iter().filter_map(|raw| TxEnvelope::decode_2718_exact(raw).ok());
        Ok((info(hash, &header), known.collect()))
    }
}

fn receipt(encoded: &Bytes) -> Result<Receipt, ProviderError> {
    let envelope: ReceiptEnvelope = decode_2718("L1 receipt", encoded)?;
    envelope.as_receipt().cloned().ok_or(ProviderError::Decode { what: "L1 receipt", cause: "unknown type".into() })
}

#[async_trait]
impl<S: L1Source> BlobProvider for L1<S> {
    type Error = BlobProviderError;

    async fn get_blobs(
        &mut self,
        block: &BlockInfo,
        hashes: &[IndexedBlobHash],
    ) -> Result<Vec<Box<Blob>>, BlobProviderError> {
        let wanted: Vec<B256> = hashes.iter().map(|indexed| indexed.hash).collect();
        let found = self.source.blobs(block.timestamp, &wanted).await;
        let found = found.map_err(|error| BlobProviderError::Backend(error.to_string()))?;
        if found.len() != wanted.len() {
            return Err(BlobProviderError::Backend(format!("{} blobs of {} were found", found.len(), wanted.len())));
        }
        found.iter().map(blob).collect()
    }
}

fn blob(bytes: &Bytes) -> Result<Box<Blob>, BlobProviderError> {
    let mut blob = Blob::try_from(bytes.as_ref())
        .map(Box::new)
        .map_err(|_| BlobProviderError::Backend(format!("a blob has {} bytes", bytes.len())))?;
    if blob.is_zero() {
        // kona takes an empty blob for a missing one and would stop for good.
        blob[0] = UNDECODABLE;
    }
    Ok(blob)
}

/// L2 for kona.
#[derive(Clone, Debug)]
pub(crate) struct L2<S> {
    source: S,
    config: Arc<RollupConfig>,
}

impl<S: L2Source> L2<S> {
    pub(crate) fn new(source: S, config: Arc<RollupConfig>) -> Self {
        Self { source, config }
    }

    async fn block(&self, number: u64, all: bool) -> Result<OpBlock, ProviderError> {
        let block = self.source.block(number, all).await?;
        op_block(&block.header, &block.transactions)
    }
}

/// A block of kona's from its parts.
pub(crate) fn op_block(header: &[u8], transactions: &[Bytes]) -> Result<OpBlock, ProviderError> {
    let header: Header = decode("L2 header", header)?;
    let transactions: Result<Vec<OpTxEnvelope>, _> =
        transactions.iter().map(|raw| decode_2718("L2 transaction", raw)).collect();
    let body = alloy_consensus::BlockBody { transactions: transactions?, ..Default::default() };
    Ok(OpBlock { header, body })
}

#[async_trait]
impl<S: L2Source> BatchValidationProvider for L2<S> {
    type Error = ProviderError;

    async fn l2_block_info_by_number(&mut self, number: u64) -> Result<L2BlockInfo, ProviderError> {
        let block = self.block(number, false).await?;
        L2BlockInfo::from_block_and_genesis(&block, &self.config.genesis)
            .map_err(|error| ProviderError::Decode { what: "L1 origin of an L2 block", cause: error.to_string() })
    }

    async fn block_by_number(&mut self, number: u64) -> Result<OpBlock, ProviderError> {
        self.block(number, true).await
    }
}

#[async_trait]
impl<S: L2Source> L2ChainProvider for L2<S> {
    type Error = ProviderError;

    async fn system_config_by_number(
        &mut self,
        number: u64,
        config: Arc<RollupConfig>,
    ) -> Result<SystemConfig, ProviderError> {
        let block = self.block(number, false).await?;
        to_system_config(&block, &config)
            .map_err(|error| ProviderError::Decode { what: "system config of an L2 block", cause: error.to_string() })
    }
}
