//! A development L1: Ethereum's fees, blobs, reorganisations.

use alloy::{
    consensus::{BlobTransactionSidecar, SidecarBuilder, SimpleCoder, Transaction as _},
    eips::{BlockId, eip4844::c_kzg::ethereum_kzg_settings},
    network::{EthereumWallet, TransactionBuilder, TransactionBuilder4844},
    primitives::{Address, B256, Bytes, U256},
    providers::{Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
};
use lockstep_sequencer::{DevL1, DevL1Config, dev_accounts};

async fn start() -> DevL1 {
    let mut config = DevL1Config::dev().unwrap();
    config.node.driven = true;
    config.node.finality_blocks = 4;
    DevL1::start(config).await.unwrap()
}

fn wallet(l1: &DevL1, account: usize) -> impl Provider + Clone + use<> {
    let key = dev_accounts().unwrap().swap_remove(account);
    ProviderBuilder::new().wallet(EthereumWallet::from(key)).connect_http(l1.node.http_url().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_checked_kept_and_served() {
    let l1 = start().await;
    let provider = wallet(&l1, 0);
    let sidecar: BlobTransactionSidecar = SidecarBuilder::<SimpleCoder>::from_slice(&[7u8; 200_000])
        .build_4844_with_settings(ethereum_kzg_settings(0))
        .unwrap();
    assert_eq!(sidecar.blobs.len(), 2);
    let tx = TransactionRequest::default()
        .with_to(Address::repeat_byte(9))
        .with_max_fee_per_blob_gas(1_000_000)
        .with_blob_sidecar_4844(sidecar.clone());
    let pending = provider.send_transaction(tx.clone()).await.unwrap();
    let hash = *pending.tx_hash();
    l1.node.mine().await.unwrap();
    let receipt = provider.get_transaction_receipt(hash).await.unwrap().unwrap();
    assert_eq!((receipt.blob_gas_used, receipt.blob_gas_price), (Some(2 * 131_072), Some(1)));
    let found = provider.get_transaction_by_hash(hash).await.unwrap().unwrap();
    let hashes: Vec<B256> = sidecar.versioned_hashes().collect();
    assert_eq!(found.blob_versioned_hashes(), Some(hashes.as_slice()));
    // The base fee is burned, the blob fee too.
    let block = provider.get_block(BlockId::latest()).await.unwrap().unwrap();
    assert_eq!(block.header.blob_gas_used, Some(2 * 131_072));
    assert_eq!(block.header.inner.hash_slow(), block.header.hash);
    let spent = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price) + U256::from(2 * 131_072);
    let key = dev_accounts().unwrap().swap_remove(0);
    let left = provider.get_balance(key.address()).await.unwrap();
    assert_eq!(left, U256::from(10_000u64) * U256::from(10u64.pow(18)) - spent);
    let vault: Address = "0x4200000000000000000000000000000000000019".parse().unwrap();
    assert_eq!(provider.get_balance(vault).await.unwrap(), U256::ZERO);
    // The beacon API has them.
    let genesis: serde_json::Value = get(&format!("{}/eth/v1/beacon/genesis", l1.beacon_url())).await;
    let genesis_s: u64 = genesis["data"]["genesis_time"].as_str().unwrap().parse().unwrap();
    let slot = block.header.timestamp - genesis_s;
    let served = get(&format!("{}/eth/v1/beacon/blob_sidecars/{slot}?indices=1", l1.beacon_url())).await;
    assert_eq!(served["data"].as_array().unwrap().len(), 1);
    let blob: Bytes = served["data"][0]["blob"].as_str().unwrap().parse().unwrap();
    assert_eq!(blob.as_ref(), sidecar.blobs[1].as_slice());
    let none = get(&format!("{}/eth/v1/beacon/blob_sidecars/{}", l1.beacon_url(), slot + 9)).await;
    assert_eq!(none["code"], 404);
    // A blob that is not the one named is refused.
    let mut other = sidecar;
    other.blobs[0][40] ^= 1;
    let error = provider.send_transaction(tx.with_blob_sidecar_4844(other)).await.unwrap_err().to_string();
    assert!(error.contains("invalid blobs"), "{error}");
    l1.shutdown().await.unwrap();
}

async fn get(url: &str) -> serde_json::Value {
    let bytes = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_takes_blocks_back_and_their_transactions_come_again() {
    let l1 = start().await;
    let provider = wallet(&l1, 1);
    let to = Address::repeat_byte(5);
    let mut hashes = Vec::new();
    let mut blocks = Vec::new();
    for _ in 0..6 {
        let tx = TransactionRequest::default().with_to(to).with_value(U256::ONE);
        hashes.push(*provider.send_transaction(tx).await.unwrap().tx_hash());
        blocks.push(l1.node.mine().await.unwrap());
    }
    assert_eq!(provider.get_balance(to).await.unwrap(), U256::from(6));
    let finalized = provider.get_block(BlockId::finalized()).await.unwrap().unwrap();
    assert_eq!(finalized.header.number, 2);
    let back = l1.node.unwind(3).await.unwrap();
    assert_eq!((back.number, back.state_root), (3, blocks[2].state_root));
    assert_eq!(provider.get_balance(to).await.unwrap(), U256::from(3));
    assert!(provider.get_transaction_receipt(hashes[4]).await.unwrap().is_none());
    assert!(provider.get_block_by_hash(blocks[4].hash).await.unwrap().is_none());
    let again = l1.node.mine().await.unwrap();
    assert_ne!(again.hash, blocks[3].hash);
    assert_eq!(provider.get_balance(to).await.unwrap(), U256::from(6));
    assert_eq!(provider.get_transaction_receipt(hashes[5]).await.unwrap().unwrap().block_number, Some(4));
    l1.shutdown().await.unwrap();
}
