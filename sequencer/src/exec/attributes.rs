//! What a block is made of when the mempool alone does not decide.

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::{B64, B256, Bytes, U256, keccak256},
};
use op_alloy::consensus::{OpTxEnvelope, TxDeposit};
use op_revm::{OpTransaction, transaction::deposit::DepositTransactionParts};
use rayon::prelude::*;
use revm::context::TxEnv;

use super::{block::ExecuteError, env::tx_env};
use crate::pool::PooledTx;

/// EIP-2718 type of a deposit.
pub(crate) const DEPOSIT: u8 = 0x7e;

/// What a block is made of: the payload attributes of the Engine API, less what never differs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Seconds since 1970.
    pub timestamp_s: u64,
    /// The value of PREVRANDAO.
    pub prev_randao: B256,
    /// Root of the parent of the L1 origin's beacon block.
    pub parent_beacon_root: B256,
    /// Gas that the block's transactions may use together.
    pub gas_limit: u64,
    /// Under Isthmus the parameters of the base fee after this block, denominator and elasticity in four bytes each. `None` or zero: the
    /// usual ones.
    pub base_fee_params: Option<B64>,
    /// Transactions that the block begins with, encoded (EIP-2718).
    pub forced: Vec<Bytes>,
    /// Whether the mempool fills the rest.
    pub from_pool: bool,
}

/// As many transactions are worth a task of their own.
const A_TASK_WORTH: usize = 16;

/// Decodes the transactions that a block must hold; their senders are recovered on all cores.
pub(crate) fn all_forced(raws: &[Bytes], chain_id: u64) -> Result<Vec<PooledTx>, ExecuteError> {
    let decode = |(index, raw): (usize, &Bytes)| {
        forced(raw, chain_id).map_err(|cause| ExecuteError::Forced { index, hash: keccak256(raw), cause })
    };
    raws.par_iter().enumerate().with_min_len(A_TASK_WORTH).map(decode).collect()
}

/// Decodes a transaction that a block must hold.
pub(crate) fn forced(raw: &Bytes, chain_id: u64) -> Result<PooledTx, String> {
    if raw.first() == Some(&DEPOSIT) {
        return match OpTxEnvelope::decode_2718_exact(raw) {
            Ok(OpTxEnvelope::Deposit(deposit)) => Ok(from_deposit(raw, deposit.hash(), &deposit)),
            Ok(_) => Err("type 126 did not decode as a deposit".into()),
            Err(error) => Err(error.to_string()),
        };
    }
    let tx = TxEnvelope::decode_2718_exact(raw).map_err(|error| error.to_string())?;
    if tx.chain_id().is_some_and(|id| id != chain_id) {
        return Err(format!("chain id {:?} is not {chain_id}", tx.chain_id()));
    }
    let sender = tx.recover_signer().map_err(|error| error.to_string())?;
    let env = tx_env(&tx, sender, raw.clone());
    // Whether the sender can pay is for execution to say.
    Ok(PooledTx {
        hash: *tx.tx_hash(),
        sender,
        nonce: tx.nonce(),
        cost: U256::ZERO,
        raw: raw.clone(),
        env,
        blobs: None,
    })
}

fn from_deposit(raw: &Bytes, hash: B256, deposit: &TxDeposit) -> PooledTx {
    let base = TxEnv {
        tx_type: DEPOSIT,
        caller: deposit.from,
        gas_limit: deposit.gas_limit,
        kind: deposit.to,
        value: deposit.value,
        data: deposit.input.clone(),
        ..TxEnv::default()
    };
    let mint = (deposit.mint != 0).then_some(deposit.mint);
    let parts = DepositTransactionParts::new(deposit.source_hash, mint, deposit.is_system_transaction);
    let env = OpTransaction { base, enveloped_tx: Some(raw.clone()), deposit: parts };
    PooledTx { hash, sender: deposit.from, nonce: 0, cost: U256::ZERO, raw: raw.clone(), env, blobs: None }
}
