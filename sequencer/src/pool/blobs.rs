//! Blob transactions (EIP-4844) as they travel: the transaction, and the blobs that it only names by hash.

use alloy::{
    consensus::{SignableTransaction, TxEip4844Variant, TxEnvelope},
    eips::{
        eip2718::Encodable2718,
        eip4844::{
            BlobTransactionSidecar, MAX_BLOBS_PER_BLOCK_DENCUN,
            c_kzg::{KzgSettings, ethereum_kzg_settings},
        },
        eip7594::BlobTransactionSidecarVariant,
    },
    primitives::Bytes,
};

use super::Blob;
use crate::error::PoolError;

/// EIP-2718 type of a blob transaction.
pub(super) const TYPE: u8 = 3;

/// Room for six blobs with their cell proofs.
pub(super) const MAX_BYTES: usize = 6 * (131_072 + 128 * 48 + 256);

/// Ethereum's trusted setup, without the tables that would take seconds to fill and make single proofs faster.
pub(crate) fn kzg() -> &'static KzgSettings {
    ethereum_kzg_settings(0)
}

/// Takes the blobs off a transaction and checks that they are the ones it names. Returns the transaction as blocks hold
/// it, its encoding, and the blobs.
pub(super) fn split(tx: TxEnvelope) -> Result<(TxEnvelope, Bytes, Vec<Blob>), PoolError> {
    let wrong = |what: &str| PoolError::Blobs(what.into());
    let TxEnvelope::Eip4844(signed) = tx else { return Err(wrong("not a blob transaction")) };
    let (variant, signature, hash) = signed.into_parts();
    let TxEip4844Variant::TxEip4844WithSidecar(carrying) = variant else {
        return Err(wrong("none were sent with the transaction"));
    };
    let count = carrying.tx.blob_versioned_hashes.len();
    if !(1..=MAX_BLOBS_PER_BLOCK_DENCUN).contains(&count) {
        return Err(wrong(&format!("{count} in one transaction, not 1 to {MAX_BLOBS_PER_BLOCK_DENCUN}")));
    }
    let settings = kzg();
    carrying.validate_blob(settings).map_err(|error| wrong(&error.to_string()))?;
    let (tx, sidecar) = carrying.into_parts();
    let sidecar = match sidecar {
        BlobTransactionSidecarVariant::Eip4844(sidecar) => sidecar,
        // Cell proofs are of no use here: those who fetch blobs check the proof of the whole.
        BlobTransactionSidecarVariant::Eip7594(sidecar) => {
            BlobTransactionSidecar::try_from_blobs_with_settings(sidecar.blobs, settings)
                .map_err(|error| wrong(&error.to_string()))?
        }
    };
    let proven = sidecar.blobs.iter().zip(sidecar.commitments).zip(sidecar.proofs);
    let blobs = tx
        .blob_versioned_hashes
        .iter()
        .zip(proven)
        .map(|(hash, ((data, commitment), proof))| Blob {
            hash: *hash,
            commitment,
            proof,
            data: Bytes::copy_from_slice(data.as_slice()),
        })
        .collect();
    let bare = TxEnvelope::Eip4844(TxEip4844Variant::TxEip4844(tx).into_signed(signature));
    debug_assert_eq!(*bare.tx_hash(), hash);
    let raw = bare.encoded_2718().into();
    Ok((bare, raw, blobs))
}
