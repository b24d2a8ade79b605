//! Running the transactions of a block.

use alloy::{
    consensus::{
        Header, Receipt, ReceiptWithBloom, TxType, constants::EMPTY_WITHDRAWALS, proofs::ordered_trie_root_with_encoder,
    },
    eips::{
        eip2718::Encodable2718,
        eip2935::HISTORY_STORAGE_ADDRESS,
        eip4788::BEACON_ROOTS_ADDRESS,
        eip4844::{DATA_GAS_PER_BLOB, MAX_DATA_GAS_PER_BLOCK_DENCUN},
        eip7685::EMPTY_REQUESTS_HASH,
    },
    primitives::{Address, B256, Bloom, Bytes, KECCAK256_EMPTY, U256, logs_bloom},
};
use alloy_rlp::Encodable;
use op_alloy::consensus::{OpDepositReceipt, OpReceiptEnvelope};
use revm::{
    Database, ExecuteCommitEvm, ExecuteEvm, SystemCallEvm,
    context::{
        ContextTr,
        result::{EVMError, ExecutionResult},
    },
    database::{BundleState, State, states::bundle_state::BundleRetention},
    database_interface::bal::EvmDatabaseError,
};

use super::{
    attributes::DEPOSIT,
    env::{BlockRules, Evm, FEE_VAULTS},
};
use crate::{
    config::ChainKind,
    error::StoreError,
    pool::{Blob, PooledTx},
    store::{self, AccountChange, StateChanges, StoredReceipt},
};

/// The gas that the cheapest transaction uses.
const LEAST_GAS: u64 = 21_000;

/// Where a block's transactions come from.
pub(crate) trait Source {
    /// The next transaction to try, if there is one.
    fn next(&mut self) -> Option<std::sync::Arc<PooledTx>>;
    /// The last one is in the block.
    fn included(&mut self);
    /// The last one does not fit, so later ones of its sender cannot follow.
    fn postponed(&mut self);
    /// The last one can never be in a block.
    fn invalid(&mut self, why: String);
}

/// A block after its transactions were run, before it has a state root.
#[derive(Debug, Default)]
pub(crate) struct Executed {
    /// What changed.
    pub(crate) changes: StateChanges,
    /// The transactions as they were sent.
    pub(crate) transactions: Vec<Bytes>,
    /// What became of them.
    pub(crate) receipts: Vec<StoredReceipt>,
    /// Gas used by all.
    pub(crate) gas_used: u64,
    /// The blobs they carry, in order.
    pub(crate) blobs: Vec<Blob>,
}

/// Why a block could not be executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    /// A transaction that the block must hold cannot be in it.
    #[error("transaction {index}, {hash}: {cause}")]
    Forced {
        /// Its index in the block.
        index: usize,
        /// Its hash.
        hash: B256,
        /// What the EVM says.
        cause: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Version of a deposit's receipt since Canyon.
const DEPOSIT_RECEIPT_VERSION: u64 = 1;

/// Runs the forced transactions, then others until the source has no more, the block is full, or `enough` says so.
pub(crate) fn execute(
    rules: &BlockRules,
    parent: store::State<'_>,
    forced: &[PooledTx],
    source: &mut impl Source,
    mut enough: impl FnMut() -> bool,
) -> Result<Executed, ExecuteError> {
    let mut state = State::builder().with_database_ref(parent).with_bundle_update().build();
    let mut done = Executed::default();
    let mut evm = rules.evm(&mut state);
    before_transactions(rules, &mut evm)?;
    run_forced(rules, &mut evm, forced, &mut done)?;
    while rules.gas_limit - done.gas_used >= LEAST_GAS && !enough() {
        let Some(tx) = source.next() else { break };
        if tx.env.base.gas_limit > rules.gas_limit - done.gas_used || !done.has_blob_room(&tx) {
            source.postponed();
            continue;
        }
        match evm.transact_commit(tx.env.clone()) {
            Ok(result) => {
                done.push(rules, &tx, tx.nonce, result);
                source.included();
            }
            Err(error) => {
                // A refused transaction leaves what it loaded in the journal, which would make it warm for the next.
                evm.finalize();
                match error {
                    EVMError::Database(EvmDatabaseError::Database(error)) => return Err(error.into()),
                    error => source.invalid(error.to_string()),
                }
            }
        }
    }
    drop(evm);
    state.merge_transitions(BundleRetention::PlainState);
    done.changes = changes(state.take_bundle());
    if rules.kind == ChainKind::Ethereum {
        done.changes.accounts.retain(|change| !FEE_VAULTS.contains(&change.address));
    }
    Ok(done)
}

/// What a block does before its transactions: notes the parent's hash in the contract of EIP-2935, since Isthmus, and the root of the parent
/// beacon block in that of EIP-4788, where there is one.
pub(super) fn before_transactions(rules: &BlockRules, evm: &mut Evm<'_, '_>) -> Result<(), ExecuteError> {
    if rules.kind == ChainKind::Isthmus {
        tell(evm, HISTORY_STORAGE_ADDRESS, rules.parent_hash)?;
    }
    tell(evm, BEACON_ROOTS_ADDRESS, rules.parent_beacon_root)
}

/// Tells a contract a word before the block's transactions, where the contract is there.
fn tell(evm: &mut Evm<'_, '_>, contract: Address, word: B256) -> Result<(), ExecuteError> {
    let account = evm.0.ctx.db_mut().basic(contract).map_err(database)?;
    if account.is_none_or(|account| account.code_hash == KECCAK256_EMPTY) {
        return Ok(());
    }
    match evm.system_call(contract, Bytes::copy_from_slice(word.as_slice())) {
        Ok(outcome) => {
            let mut state = outcome.state;
            state.retain(|address, _| *address == contract);
            evm.commit(state);
            Ok(())
        }
        Err(EVMError::Database(error)) => Err(database(error)),
        Err(error) => Err(StoreError::Corrupt(format!("{contract} could not be told: {error}")).into()),
    }
}

fn database(error: EvmDatabaseError<StoreError>) -> ExecuteError {
    match error {
        EvmDatabaseError::Database(error) => error.into(),
        error => StoreError::Corrupt(error.to_string()).into(),
    }
}

fn run_forced(
    rules: &BlockRules,
    evm: &mut Evm<'_, '_>,
    forced: &[PooledTx],
    done: &mut Executed,
) -> Result<(), ExecuteError> {
    for (index, tx) in forced.iter().enumerate() {
        let refuse = |cause: String| ExecuteError::Forced { index, hash: tx.hash, cause };
        let room = rules.gas_limit.saturating_sub(done.gas_used);
        if tx.env.base.gas_limit > room {
            return Err(refuse(format!("its gas limit is {}, and {room} is left", tx.env.base.gas_limit)));
        }
        let nonce = match tx.env.base.tx_type {
            DEPOSIT => evm.0.ctx.db_mut().basic(tx.sender).map_err(database)?.unwrap_or_default().nonce,
            _ => tx.nonce,
        };
        match evm.transact_commit(tx.env.clone()) {
            Ok(result) => done.push(rules, tx, nonce, result),
            Err(EVMError::Database(error)) => return Err(database(error)),
            Err(error) => return Err(refuse(error.to_string())),
        }
    }
    Ok(())
}

impl Executed {
    /// Whether a transaction's blobs still fit.
    fn has_blob_room(&self, tx: &PooledTx) -> bool {
        let more = tx.blobs.as_ref().map_or(0, |blobs| blobs.len());
        (self.blobs.len() + more) as u64 * DATA_GAS_PER_BLOB <= MAX_DATA_GAS_PER_BLOCK_DENCUN
    }

    fn push<H>(&mut self, rules: &BlockRules, tx: &PooledTx, nonce: u64, result: ExecutionResult<H>) {
        let gas_used = result.tx_gas_used();
        self.gas_used += gas_used;
        let created = match tx.env.base.kind.is_create() && result.is_success() {
            true => tx.sender.create(nonce).to_vec().into(),
            false => Bytes::new(),
        };
        let first_log = self.receipts.last().map_or(0, |last| last.first_log + last.logs.len() as u64);
        self.receipts.push(StoredReceipt {
            hash: tx.hash,
            sender: tx.sender,
            tx_type: tx.env.base.tx_type,
            success: result.is_success(),
            gas_used,
            cumulative_gas_used: self.gas_used,
            effective_gas_price: match tx.env.base.tx_type {
                DEPOSIT => 0,
                _ => tx.effective_gas_price(rules.base_fee_wei),
            },
            deposit_nonce: if tx.env.base.tx_type == DEPOSIT { nonce } else { 0 },
            first_log,
            created,
            // Logs of a reverted transaction never happened.
            logs: if result.is_success() { result.into_logs() } else { Vec::new() },
        });
        self.transactions.push(tx.raw.clone());
        self.blobs.extend(tx.blobs.iter().flat_map(|blobs| blobs.iter().cloned()));
    }

    /// The block's header once its state root is known. Under Isthmus the withdrawals' root is for the caller to set.
    pub(crate) fn header(&self, rules: &BlockRules, parent_hash: B256, state_root: B256) -> Header {
        let mut bloom = Bloom::ZERO;
        let receipts_root = ordered_trie_root_with_encoder(&self.receipts, |receipt, out| {
            bloom |= encode_receipt(receipt, out);
        });
        Header {
            parent_hash,
            beneficiary: rules.beneficiary,
            state_root,
            transactions_root: ordered_trie_root_with_encoder(&self.transactions, |raw, out| {
                out.extend_from_slice(raw);
            }),
            receipts_root,
            logs_bloom: bloom,
            number: rules.number,
            gas_limit: rules.gas_limit,
            gas_used: self.gas_used,
            timestamp: rules.timestamp_s,
            mix_hash: rules.prev_randao,
            base_fee_per_gas: Some(rules.base_fee_wei),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(self.blobs.len() as u64 * DATA_GAS_PER_BLOB),
            excess_blob_gas: Some(rules.excess_blob_gas),
            parent_beacon_block_root: Some(rules.parent_beacon_root),
            extra_data: rules.kind.extra_data(rules.base_fee_params),
            requests_hash: (rules.kind == ChainKind::Isthmus).then_some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        }
    }
}

/// A receipt as the receipts root commits to it. Returns the bloom of its logs.
pub(super) fn encode_receipt(receipt: &StoredReceipt, out: &mut Vec<u8>) -> Bloom {
    let bloom = logs_bloom(&receipt.logs);
    if receipt.tx_type == DEPOSIT {
        let inner = Receipt {
            status: receipt.success.into(),
            cumulative_gas_used: receipt.cumulative_gas_used,
            logs: receipt.logs.clone(),
        };
        let deposit = ReceiptWithBloom::new(deposit_receipt(receipt, inner), bloom);
        OpReceiptEnvelope::Deposit(deposit).encode_2718(out);
        return bloom;
    }
    // As `ReceiptEnvelope` does, without a copy of the logs.
    if receipt.tx_type != 0 {
        out.push(receipt.tx_type);
    }
    let (success, gas) = (receipt.success, receipt.cumulative_gas_used);
    let payload_length = success.length() + gas.length() + bloom.length() + receipt.logs.length();
    alloy_rlp::Header { list: true, payload_length }.encode(out);
    success.encode(out);
    gas.encode(out);
    bloom.encode(out);
    receipt.logs.encode(out);
    bloom
}

/// A deposit's receipt with what only deposits have.
pub(crate) fn deposit_receipt<T>(receipt: &StoredReceipt, inner: Receipt<T>) -> OpDepositReceipt<T> {
    OpDepositReceipt {
        inner,
        deposit_nonce: Some(receipt.deposit_nonce),
        deposit_receipt_version: Some(DEPOSIT_RECEIPT_VERSION),
    }
}

/// The mempool lets in types 0, 1 and 2 only, on Ethereum 3 and under Isthmus 4 as well.
pub(crate) fn tx_type(byte: u8) -> TxType {
    TxType::try_from(byte).unwrap_or_default()
}

/// What a block's transactions changed, in a fixed order.
fn changes(bundle: BundleState) -> StateChanges {
    let mut accounts: Vec<AccountChange> =
        bundle.state.into_iter().map(|(address, account)| account_change(address, account)).collect();
    accounts.sort_unstable_by_key(|change| change.address);
    let code = bundle.contracts.into_iter().map(|(hash, code)| (hash, code.original_bytes())).collect();
    StateChanges { accounts, code }
}

fn account_change(address: Address, account: revm::database::BundleAccount) -> AccountChange {
    let wiped = account.was_destroyed();
    let mut storage: Vec<(U256, U256)> = account
        .storage
        .iter()
        .filter(|(_, slot)| wiped || slot.is_changed())
        .map(|(slot, value)| (*slot, value.present_value))
        .collect();
    storage.sort_unstable();
    AccountChange { address, info: account.info.map(|info| (info.nonce, info.balance, info.code_hash)), wiped, storage }
}
