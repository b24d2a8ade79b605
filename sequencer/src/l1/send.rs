//! Transactions to L1, each paid for once.
//!
//! ```text
//!   payload --> journal: nonce, every version signed so far --> L1 --> receipt --> journal cleared
//!                   ^                        |
//!                   +---- dearer version <---+ not in a block after a while
//! ```
//!
//! What is being sent is on disk before it is sent. After a crash the same payload goes on with the same nonce, so that at most one
//! version of it can ever be in a block.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::{
    consensus::{
        BlobTransactionSidecar, SignableTransaction, TxEip1559, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar,
        TxEnvelope,
    },
    eips::{eip2718::Encodable2718, eip4844::Blob, eip7594::BlobTransactionSidecarVariant},
    network::TxSignerSync,
    primitives::{Address, B256, Bytes, TxKind},
    providers::{Provider, RootProvider},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::kept;
use crate::{error::L1Error, pool::blobs::kzg};

/// How often a receipt is asked for.
const POLL: Duration = Duration::from_millis(250);

/// How many times in a row a nonce must look taken by somebody else's transaction. L1 is not asked everything in one moment, so once
/// may be a reorganisation in between: then what looks lost waits there again, and would be paid for twice.
const TAKEN_LOOKS: u32 = 12;

/// How long a single transaction of a tool may take to be in a block.
const PATIENCE: Duration = Duration::from_secs(120);

/// By how many percent a blob transaction must raise all its fees to be replaced; others need ten.
const RAISE_PERCENT: u128 = 100;

/// The most a version pays per gas, in wei, whatever L1 asks for.
const FEE_LIMIT_WEI: u128 = 2_000_000_000_000;

/// What a transaction carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload {
    /// To whom.
    pub(crate) to: Address,
    /// Its calldata.
    pub(crate) input: Bytes,
    /// Its blobs.
    pub(crate) blobs: Vec<Bytes>,
    /// What the sender's owner needs to know when it is in a block.
    pub(crate) note: serde_json::Value,
}

/// What is being sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Journal {
    nonce: u64,
    payload: Payload,
    versions: Vec<Version>,
}

/// A signed version.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version {
    hash: B256,
    raw: Bytes,
    fee_cap_wei: u128,
    tip_wei: u128,
    blob_fee_cap_wei: u128,
}

/// What became of a payload.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The receipt.
    pub(crate) receipt: TransactionReceipt,
    /// Bytes of L1 data that it took: calldata, and blobs whole.
    pub(crate) bytes: usize,
    /// The note of the payload.
    pub(crate) note: serde_json::Value,
}

/// What L1 says of a payload.
enum Fate {
    /// A version of it is in a block.
    Mined(Box<TransactionReceipt>),
    /// None is yet.
    Waits,
    /// Its nonce is used and none of its versions has a receipt.
    Taken,
}

/// The one who sends with a key. There must be no other.
#[derive(Debug)]
pub(crate) struct Sender {
    l1: RootProvider,
    key: PrivateKeySigner,
    chain_id: u64,
    journal: PathBuf,
    resend_after: Duration,
}

impl Sender {
    /// A sender that keeps its journal in `journal`, and makes a dearer version of what is in no block after `resend_after`.
    pub(crate) async fn new(
        l1: RootProvider,
        key: PrivateKeySigner,
        journal: PathBuf,
        resend_after: Duration,
    ) -> Result<Self, L1Error> {
        let chain_id = l1.get_chain_id().await.map_err(L1Error::rpc)?;
        Ok(Self { l1, key, chain_id, journal, resend_after })
    }

    /// Who sends.
    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    /// Sends a payload and waits until it is in a block. Call [`Self::done`] once that is noted: until then a restart finds
    /// the same outcome again.
    pub(crate) async fn send(&self, payload: Payload) -> Result<Sent, L1Error> {
        // After a reorganisation L1 has what was in a block before waiting again, and its nonces are taken.
        let nonce = self.l1.get_transaction_count(self.address()).pending().await.map_err(L1Error::rpc)?;
        self.finish(Journal { nonce, payload, versions: Vec::new() }).await
    }

    /// Finishes what was being sent when the process ended, if anything was.
    pub(crate) async fn resume(&self) -> Result<Option<Sent>, L1Error> {
        match kept::read(&self.journal)? {
            Some(journal) => self.finish(journal).await.map(Some),
            None => Ok(None),
        }
    }

    /// Forgets what was sent last.
    pub(crate) fn done(&self) -> Result<(), L1Error> {
        remove(&self.journal)
    }

    async fn finish(&self, mut journal: Journal) -> Result<Sent, L1Error> {
        if journal.versions.is_empty() {
            self.sign_another(&mut journal).await?;
        }
        let mut taken = 0;
        loop {
            if let Some(version) = journal.versions.last() {
                self.broadcast(version).await?;
            }
            let deadline = Instant::now() + self.resend_after;
            while Instant::now() < deadline {
                match self.fate(&journal).await? {
                    Fate::Mined(receipt) => {
                        let blobs: usize = journal.payload.blobs.iter().map(|blob| blob.len()).sum();
                        let bytes = journal.payload.input.len() + blobs;
                        return Ok(Sent { receipt: *receipt, bytes, note: journal.payload.note });
                    }
                    Fate::Waits => taken = 0,
                    Fate::Taken => taken += 1,
                }
                if taken == TAKEN_LOOKS {
                    // The key is shared: nothing of the payload can ever be in a block.
                    remove(&self.journal)?;
                    return Err(L1Error::NonceTaken { sender: self.address(), nonce: journal.nonce });
                }
                tokio::time::sleep(POLL).await;
            }
            if taken == 0 {
                self.sign_another(&mut journal).await?;
            }
        }
    }

    async fn fate(&self, journal: &Journal) -> Result<Fate, L1Error> {
        // Before the receipts, so that one that comes in between is seen.
        let next = self.l1.get_transaction_count(self.address()).await.map_err(L1Error::rpc)?;
        for version in journal.versions.iter().rev() {
            let receipt = self.l1.get_transaction_receipt(version.hash).await.map_err(L1Error::rpc)?;
            if let Some(receipt) = receipt.filter(|receipt| receipt.block_hash.is_some()) {
                return Ok(Fate::Mined(Box::new(receipt)));
            }
        }
        Ok(if next > journal.nonce { Fate::Taken } else { Fate::Waits })
    }

    async fn broadcast(&self, version: &Version) -> Result<(), L1Error> {
        match self.l1.send_raw_transaction(&version.raw).await {
            Ok(_) => Ok(()),
            // L1 may know it already, or have it in a block; a transport that fails is another matter.
            Err(error) if error.as_error_resp().is_some() => {
                tracing::debug!(%error, hash = %version.hash, "L1 did not take a transaction again");
                Ok(())
            }
            Err(error) => Err(L1Error::rpc(error)),
        }
    }

    /// Signs a version, dearer than the one before, and writes it down.
    async fn sign_another(&self, journal: &mut Journal) -> Result<(), L1Error> {
        let fees = self.l1.estimate_eip1559_fees().await.map_err(L1Error::rpc)?;
        let blob_fee = match journal.payload.blobs.is_empty() {
            true => 0,
            false => self.l1.get_blob_base_fee().await.map_err(L1Error::rpc)?.max(1) * 2,
        };
        let raised = |old: u128| old.saturating_add(old.saturating_mul(RAISE_PERCENT) / 100);
        let (fee_cap, tip, blob_fee_cap) = match journal.versions.last() {
            None => (fees.max_fee_per_gas, fees.max_priority_fee_per_gas, blob_fee),
            Some(old) => (
                fees.max_fee_per_gas.max(raised(old.fee_cap_wei)),
                fees.max_priority_fee_per_gas.max(raised(old.tip_wei)),
                blob_fee.max(raised(old.blob_fee_cap_wei)),
            ),
        };
        if fee_cap > FEE_LIMIT_WEI || blob_fee_cap > FEE_LIMIT_WEI {
            tracing::warn!(
                fee_cap,
                blob_fee_cap,
                limit = FEE_LIMIT_WEI,
                "L1 is too dear; waiting for it to be cheaper"
            );
            return Ok(());
        }
        let version = self.sign(journal, fee_cap, tip.min(fee_cap), blob_fee_cap).await?;
        if !journal.versions.is_empty() {
            tracing::info!(nonce = journal.nonce, fee_cap, hash = %version.hash, "raised the fee of a transaction to L1");
        }
        journal.versions.push(version);
        kept::write(&self.journal, journal)
    }

    async fn sign(
        &self,
        journal: &Journal,
        fee_cap_wei: u128,
        tip_wei: u128,
        blob_fee_cap_wei: u128,
    ) -> Result<Version, L1Error> {
        let Payload { to, input, blobs, .. } = &journal.payload;
        let gas_limit = self.gas(journal).await?;
        let envelope = if blobs.is_empty() {
            let mut tx = TxEip1559 {
                chain_id: self.chain_id,
                nonce: journal.nonce,
                gas_limit,
                max_fee_per_gas: fee_cap_wei,
                max_priority_fee_per_gas: tip_wei,
                to: TxKind::Call(*to),
                input: input.clone(),
                ..TxEip1559::default()
            };
            let signature = self.key.sign_transaction_sync(&mut tx).map_err(|error| L1Error::Key(error.to_string()))?;
            TxEnvelope::from(tx.into_signed(signature))
        } else {
            let sidecar = sidecar(blobs)?;
            let mut tx = TxEip4844 {
                chain_id: self.chain_id,
                nonce: journal.nonce,
                gas_limit,
                max_fee_per_gas: fee_cap_wei,
                max_priority_fee_per_gas: tip_wei,
                to: *to,
                input: input.clone(),
                blob_versioned_hashes: sidecar.versioned_hashes().collect(),
                max_fee_per_blob_gas: blob_fee_cap_wei,
                ..TxEip4844::default()
            };
            let signature = self.key.sign_transaction_sync(&mut tx).map_err(|error| L1Error::Key(error.to_string()))?;
            let carrying = TxEip4844WithSidecar { tx, sidecar: BlobTransactionSidecarVariant::Eip4844(sidecar) };
            TxEnvelope::Eip4844(TxEip4844Variant::TxEip4844WithSidecar(carrying).into_signed(signature))
        };
        let (hash, raw) = (*envelope.tx_hash(), envelope.encoded_2718().into());
        Ok(Version { hash, raw, fee_cap_wei, tip_wei, blob_fee_cap_wei })
    }

    /// Batches run no code, so their gas is known; calls of contracts are estimated.
    async fn gas(&self, journal: &Journal) -> Result<u64, L1Error> {
        let Payload { to, input, blobs, .. } = &journal.payload;
        let code = self.l1.get_code_at(*to).await.map_err(L1Error::rpc)?;
        if code.is_empty() || !blobs.is_empty() {
            // EIP-7623 asks for up to 40 gas per byte.
            return Ok(21_000 + 40 * input.len() as u64);
        }
        let call = alloy::rpc::types::TransactionRequest {
            from: Some(self.address()),
            to: Some(TxKind::Call(*to)),
            input: input.clone().into(),
            ..Default::default()
        };
        let estimate = self.l1.estimate_gas(call).await.map_err(L1Error::rpc)?;
        Ok(estimate + estimate / 4)
    }
}

fn sidecar(blobs: &[Bytes]) -> Result<BlobTransactionSidecar, L1Error> {
    let decode = |blob: &Bytes| Blob::try_from(blob.as_ref()).map_err(|error| L1Error::Blob(error.to_string()));
    let blobs: Result<Vec<Blob>, _> = blobs.iter().map(decode).collect();
    BlobTransactionSidecar::try_from_blobs_with_settings(blobs?, kzg())
        .map_err(|error| L1Error::Blob(error.to_string()))
}

/// Waits for a transaction to be in a block.
pub(crate) async fn await_receipt(l1: &RootProvider, hash: B256) -> Result<TransactionReceipt, L1Error> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(receipt) = l1.get_transaction_receipt(hash).await.map_err(L1Error::rpc)? {
            return Ok(receipt);
        }
        tokio::time::sleep(POLL).await;
    }
    Err(L1Error::Rpc(format!("transaction {hash} is in no block after {PATIENCE:?}")))
}

fn remove(path: &Path) -> Result<(), L1Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(kept::failed(path)(error.to_string())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dev::dev_accounts,
        l1::{DevL1, DevL1Config},
    };

    async fn l1() -> (DevL1, RootProvider) {
        let mut config = DevL1Config::dev().unwrap();
        config.node.driven = true;
        let l1 = DevL1::start(config).await.unwrap();
        let provider = RootProvider::new_http(l1.node.http_url().parse().unwrap());
        (l1, provider)
    }

    fn payload(byte: u8) -> Payload {
        let input = Bytes::from(vec![byte; 1000]);
        Payload { to: Address::repeat_byte(0xff), input, blobs: Vec::new(), note: serde_json::json!({ "byte": byte }) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sender_that_is_killed_pays_once() {
        let (l1, provider) = l1().await;
        let dir = tempfile::tempdir().unwrap();
        let key = dev_accounts().unwrap().swap_remove(6);
        let journal = dir.path().join("sending.json");
        let sender = async || {
            Sender::new(provider.clone(), key.clone(), journal.clone(), Duration::from_millis(400)).await.unwrap()
        };
        // Killed again and again at any moment, while the fee is raised.
        let first = sender().await;
        let sending = tokio::spawn(async move { first.send(payload(1)).await.map(drop) });
        while kept::read::<Journal>(&journal).unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sending.abort();
        let mut round = 0;
        let raised = || kept::read::<Journal>(&journal).unwrap().unwrap().versions.len() > 1;
        while round < 4 || !raised() {
            assert!(round < 100, "the fee was never raised");
            let next = sender().await;
            let resuming = tokio::spawn(async move { next.resume().await.map(drop) });
            tokio::time::sleep(Duration::from_millis(150 + 170 * (round % 4))).await;
            resuming.abort();
            let _ = resuming.await;
            round += 1;
        }
        let versions = kept::read::<Journal>(&journal).unwrap().unwrap().versions;
        assert!(versions.windows(2).all(|pair| pair[1].fee_cap_wei >= 2 * pair[0].fee_cap_wei));
        l1.node.mine().await.unwrap();
        let next = sender().await;
        let sent = next.resume().await.unwrap().unwrap();
        assert_eq!((sent.bytes, sent.note["byte"].as_u64()), (1000, Some(1)));
        // Killed before it was noted: the same outcome again. Noted: nothing is left.
        assert_eq!(
            sender().await.resume().await.unwrap().unwrap().receipt.transaction_hash,
            sent.receipt.transaction_hash
        );
        next.done().unwrap();
        assert!(next.resume().await.unwrap().is_none());
        l1.node.mine().await.unwrap();
        assert_eq!(provider.get_transaction_count(key.address()).await.unwrap(), 1);
        assert_eq!(l1.node.waiting_transactions(), 0);
        l1.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_shared_key_is_noticed() {
        let (l1, provider) = l1().await;
        let dir = tempfile::tempdir().unwrap();
        let key = dev_accounts().unwrap().swap_remove(6);
        let open = async |name: &str| {
            let journal = dir.path().join(name);
            Sender::new(provider.clone(), key.clone(), journal, Duration::from_secs(60)).await.unwrap()
        };
        let (one, other) = (open("one").await, open("other").await);
        // Both have chosen their nonce, and L1 has one of the two.
        let first = |payload| Journal { nonce: 0, payload, versions: Vec::new() };
        let both =
            tokio::spawn(async move { tokio::join!(one.finish(first(payload(1))), other.finish(first(payload(2)))) });
        let chosen = |name: &str| kept::read::<Journal>(&dir.path().join(name)).unwrap().is_some();
        while l1.node.waiting_transactions() == 0 || !chosen("one") || !chosen("other") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        l1.node.mine().await.unwrap();
        let (one, other) = both.await.unwrap();
        assert_eq!([&one, &other].iter().filter(|sent| sent.is_ok()).count(), 1);
        let lost = one.err().or(other.err()).unwrap();
        assert!(matches!(lost, L1Error::NonceTaken { nonce: 0, .. }), "{lost}");
        l1.shutdown().await.unwrap();
    }
}
