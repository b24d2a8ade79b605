//! Running the transactions of a block.

use alloy::{
    consensus::{
        Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, TxType,
        constants::EMPTY_WITHDRAWALS,
        proofs::{calculate_receipt_root, ordered_trie_root_with_encoder},
    },
    primitives::{Address, B256, Bytes, Log, U256, logs_bloom},
};
use revm::{
    ExecuteCommitEvm, ExecuteEvm,
    context::result::{EVMError, ExecutionResult},
    database::{BundleState, State, states::bundle_state::BundleRetention},
    database_interface::bal::EvmDatabaseError,
};

use super::env::{BlockRules, FEE_RECIPIENT};
use crate::{
    error::StoreError,
    pool::PooledTx,
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
}

/// Runs transactions until the source has no more, the block is full, or `enough` says so.
pub(crate) fn execute(
    rules: &BlockRules,
    parent: store::State<'_>,
    source: &mut impl Source,
    mut enough: impl FnMut() -> bool,
) -> Result<Executed, StoreError> {
    let mut state = State::builder().with_database_ref(parent).with_bundle_update().build();
    let mut done = Executed::default();
    let mut evm = rules.evm(&mut state);
    while rules.gas_limit - done.gas_used >= LEAST_GAS && !enough() {
        let Some(tx) = source.next() else { break };
        if tx.env.base.gas_limit > rules.gas_limit - done.gas_used {
            source.postponed();
            continue;
        }
        match evm.transact_commit(tx.env.clone()) {
            Ok(result) => {
                done.push(rules, &tx, result);
                source.included();
            }
            Err(error) => {
                // A refused transaction leaves what it loaded in the journal, which would make it warm for the next.
                evm.finalize();
                match error {
                    EVMError::Database(EvmDatabaseError::Database(error)) => return Err(error),
                    error => source.invalid(error.to_string()),
                }
            }
        }
    }
    drop(evm);
    state.merge_transitions(BundleRetention::PlainState);
    done.changes = changes(state.take_bundle());
    Ok(done)
}

impl Executed {
    fn push<H>(&mut self, rules: &BlockRules, tx: &PooledTx, result: ExecutionResult<H>) {
        let gas_used = result.tx_gas_used();
        self.gas_used += gas_used;
        let created = match tx.env.base.kind.is_create() && result.is_success() {
            true => tx.sender.create(tx.nonce).to_vec().into(),
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
            effective_gas_price: tx.effective_gas_price(rules.base_fee_wei),
            first_log,
            created,
            // Logs of a reverted transaction never happened.
            logs: if result.is_success() { result.into_logs() } else { Vec::new() },
        });
        self.transactions.push(tx.raw.clone());
    }

    /// The block's header once its state root is known.
    pub(crate) fn header(&self, rules: &BlockRules, parent_hash: B256, state_root: B256) -> Header {
        let envelopes: Vec<_> = self.receipts.iter().map(envelope).collect();
        let logs = self.receipts.iter().flat_map(|receipt| &receipt.logs);
        Header {
            parent_hash,
            beneficiary: FEE_RECIPIENT,
            state_root,
            transactions_root: ordered_trie_root_with_encoder(&self.transactions, |raw, out| {
                out.extend_from_slice(raw);
            }),
            receipts_root: calculate_receipt_root(&envelopes),
            logs_bloom: logs_bloom(logs),
            number: rules.number,
            gas_limit: rules.gas_limit,
            gas_used: self.gas_used,
            timestamp: rules.timestamp_s,
            mix_hash: rules.prev_randao,
            base_fee_per_gas: Some(rules.base_fee_wei),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        }
    }
}

/// A receipt as the receipts root commits to it.
fn envelope(receipt: &StoredReceipt) -> ReceiptEnvelope<Log> {
    let inner = Receipt {
        status: receipt.success.into(),
        cumulative_gas_used: receipt.cumulative_gas_used,
        logs: receipt.logs.clone(),
    };
    ReceiptEnvelope::from_typed(tx_type(receipt.tx_type), ReceiptWithBloom::from(inner))
}

/// The mempool lets in types 0, 1 and 2 only.
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
