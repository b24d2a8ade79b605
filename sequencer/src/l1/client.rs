//! L1 over JSON-RPC, every answer checked against its hash.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{
    consensus::{Header, proofs::ordered_trie_root_with_encoder},
    eips::{
        BlockId, BlockNumberOrTag,
        eip2718::Encodable2718,
        eip4844::{Blob as KzgBlob, kzg_to_versioned_hash},
    },
    primitives::{B256, Bytes},
    providers::{Provider, RootProvider},
    rpc::types::TransactionReceipt,
};
use lockstep_derive::{Header as HashedHeader, L1Source, SourceError};

use crate::{error::L1Error, pool::blobs::kzg};

/// Blocks whose transactions are kept for the next question.
const KEPT: usize = 16;

/// Where blobs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobSource {
    /// The beacon API at a URL.
    Beacon(String),
    /// anvil's own method on the execution RPC.
    Anvil,
}

/// A client of L1.
#[derive(Clone, Debug)]
pub struct L1Client {
    provider: RootProvider,
    blobs: BlobSource,
    http: reqwest::Client,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    order: VecDeque<B256>,
    transactions: HashMap<B256, Vec<Bytes>>,
    /// Genesis time and seconds in a slot of the beacon chain.
    slots: Option<(u64, u64)>,
}

impl L1Client {
    /// A client of the node at a URL; nothing is sent yet.
    ///
    /// # Errors
    /// [`L1Error::Url`] if the URL is none.
    pub fn new(url: &str, blobs: BlobSource) -> Result<Self, L1Error> {
        let parsed = url.parse().map_err(|error| L1Error::Url { url: url.into(), cause: format!("{error}") })?;
        Ok(Self { provider: RootProvider::new_http(parsed), blobs, http: reqwest::Client::new(), kept: Arc::default() })
    }

    /// The provider, for what is not part of derivation.
    pub(crate) fn provider(&self) -> &RootProvider {
        &self.provider
    }

    /// The header at a tag; `None` if there is no such block yet.
    pub(crate) async fn header_at(&self, tag: BlockNumberOrTag) -> Result<Option<(B256, Header)>, SourceError> {
        let block = self.provider.get_block(BlockId::Number(tag)).await.map_err(unavailable)?;
        block.map(|block| checked(block.header.hash, block.header.inner)).transpose()
    }

    async fn by_hash(&self, hash: B256) -> Result<Header, SourceError> {
        let block = self.provider.get_block_by_hash(hash).await.map_err(unavailable)?;
        let block = block.ok_or_else(|| SourceError::Missing(hash.to_string()))?;
        let (found, header) = checked(block.header.hash, block.header.inner)?;
        if found == hash { Ok(header) } else { Err(SourceError::Wrong(format!("asked for {hash}, got {found}"))) }
    }

    fn kept<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        f(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fetch_from_beacon(&self, url: &str, timestamp_s: u64, hashes: &[B256]) -> Result<Vec<Bytes>, SourceError> {
        let (genesis_s, slot_s) = self.slots(url).await?;
        let slot = timestamp_s.saturating_sub(genesis_s) / slot_s;
        let found = self.get(&format!("{url}/eth/v1/beacon/blob_sidecars/{slot}")).await?;
        let blobs = found["data"].as_array().ok_or_else(|| wrong("blob sidecars", "no list"))?;
        let mut by_hash: HashMap<B256, Bytes> = HashMap::new();
        for sidecar in blobs {
            let commitment: Bytes = field(sidecar, "kzg_commitment")?;
            let hash = kzg_to_versioned_hash(&commitment);
            if hashes.contains(&hash) {
                by_hash.insert(hash, field(sidecar, "blob")?);
            }
        }
        let missing = |hash: &B256| SourceError::Unavailable(format!("blob {hash} is not in slot {slot}"));
        hashes.iter().map(|hash| by_hash.get(hash).cloned().ok_or_else(|| missing(hash))).collect()
    }

    async fn slots(&self, url: &str) -> Result<(u64, u64), SourceError> {
        if let Some(slots) = self.kept(|kept| kept.slots) {
            return Ok(slots);
        }
        let number = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
        let genesis = self.get(&format!("{url}/eth/v1/beacon/genesis")).await?;
        let spec = self.get(&format!("{url}/eth/v1/config/spec")).await?;
        let slots = number(&genesis["data"]["genesis_time"]).zip(number(&spec["data"]["SECONDS_PER_SLOT"]));
        let slots =
            slots.filter(|(_, slot_s)| *slot_s > 0).ok_or_else(|| wrong("beacon genesis or spec", "no numbers"))?;
        self.kept(|kept| kept.slots = Some(slots));
        Ok(slots)
    }

    async fn get(&self, url: &str) -> Result<serde_json::Value, SourceError> {
        let unavailable = |error: reqwest::Error| SourceError::Unavailable(error.to_string());
        let answer = self.http.get(url).send().await.map_err(unavailable)?;
        let answer = answer.error_for_status().map_err(unavailable)?.bytes().await.map_err(unavailable)?;
        serde_json::from_slice(&answer).map_err(|error| wrong(url, &error.to_string()))
    }
}

fn unavailable(error: impl std::fmt::Display) -> SourceError {
    SourceError::Unavailable(error.to_string())
}

fn wrong(what: &str, cause: &str) -> SourceError {
    SourceError::Wrong(format!("{what}: {cause}"))
}

fn field(value: &serde_json::Value, name: &str) -> Result<Bytes, SourceError> {
    let text = value[name].as_str().ok_or_else(|| wrong(name, "missing"))?;
    text.parse().map_err(|error| wrong(name, &format!("{error}")))
}

/// A header whose hash is what the node says.
fn checked(hash: B256, header: Header) -> Result<(B256, Header), SourceError> {
    let computed = header.hash_slow();
    if computed == hash {
        Ok((hash, header))
    } else {
        Err(wrong("header", &format!("hashes to {computed}, not {hash}")))
    }
}

fn encoded_receipt(receipt: TransactionReceipt) -> Bytes {
    let envelope = receipt.inner.map_logs(|log| log.inner);
    envelope.encoded_2718().into()
}

fn root(items: &[Bytes]) -> B256 {
    ordered_trie_root_with_encoder(items, |item, out| out.extend_from_slice(item))
}

#[async_trait::async_trait]
impl L1Source for L1Client {
    async fn header_by_number(&self, number: u64) -> Result<HashedHeader, SourceError> {
        let found = self.header_at(number.into()).await?;
        let (hash, header) = found.ok_or_else(|| SourceError::Missing(number.to_string()))?;
        Ok(HashedHeader { hash, rlp: alloy_rlp::encode(header).into() })
    }

    async fn header_by_hash(&self, hash: B256) -> Result<Bytes, SourceError> {
        Ok(alloy_rlp::encode(self.by_hash(hash).await?).into())
    }

    async fn transactions(&self, hash: B256) -> Result<Vec<Bytes>, SourceError> {
        if let Some(transactions) = self.kept(|kept| kept.transactions.get(&hash).cloned()) {
            return Ok(transactions);
        }
        let block = self.provider.get_block_by_hash(hash).full().await.map_err(unavailable)?;
        let block = block.ok_or_else(|| SourceError::Missing(hash.to_string()))?;
        let (_, header) = checked(block.header.hash, block.header.inner)?;
        let transactions: Vec<Bytes> =
            block.transactions.txns().map(|tx| tx.inner.inner().encoded_2718().into()).collect();
        let found = root(&transactions);
        if found != header.transactions_root || header.hash_slow() != hash {
            return Err(wrong("transactions", &format!("root {found} is not that of block {hash}")));
        }
        self.kept(|kept| {
            kept.order.push_back(hash);
            kept.transactions.insert(hash, transactions.clone());
            if kept.order.len() > KEPT
                && let Some(old) = kept.order.pop_front()
            {
                kept.transactions.remove(&old);
            }
        });
        Ok(transactions)
    }

    async fn receipts(&self, hash: B256) -> Result<Vec<Bytes>, SourceError> {
        let header = self.by_hash(hash).await?;
        let receipts = self.provider.get_block_receipts(BlockId::hash(hash)).await.map_err(unavailable)?;
        let receipts = receipts.ok_or_else(|| SourceError::Missing(hash.to_string()))?;
        let encoded: Vec<Bytes> = receipts.into_iter().map(encoded_receipt).collect();
        let found = root(&encoded);
        if found != header.receipts_root {
            return Err(wrong("receipts", &format!("root {found} is not that of block {hash}")));
        }
        Ok(encoded)
    }

    async fn blobs(&self, timestamp_s: u64, hashes: &[B256]) -> Result<Vec<Bytes>, SourceError> {
        let blobs = match &self.blobs {
            BlobSource::Beacon(url) => self.fetch_from_beacon(url, timestamp_s, hashes).await?,
            BlobSource::Anvil => {
                let mut blobs = Vec::new();
                for hash in hashes {
                    let blob = self.provider.raw_request("anvil_getBlobByHash".into(), (*hash,)).await;
                    let blob: Option<Bytes> = blob.map_err(unavailable)?;
                    blobs.push(blob.ok_or_else(|| SourceError::Unavailable(format!("blob {hash} is not kept")))?);
                }
                blobs
            }
        };
        for (blob, hash) in blobs.iter().zip(hashes) {
            check_blob(blob, *hash)?;
        }
        Ok(blobs)
    }
}

/// Checks that a blob is the one that a transaction named.
fn check_blob(blob: &Bytes, hash: B256) -> Result<(), SourceError> {
    let blob = KzgBlob::try_from(blob.as_ref()).map_err(|_| wrong("blob", &format!("{} bytes", blob.len())))?;
    let commitment = kzg().blob_to_kzg_commitment(&blob.0.into());
    let commitment = commitment.map_err(|error| wrong("blob", &error.to_string()))?;
    let found = kzg_to_versioned_hash(commitment.as_slice());
    if found == hash { Ok(()) } else { Err(wrong("blob", &format!("it hashes to {found}, not {hash}"))) }
}
