//! Blocks, transactions and receipts in the form that the chain's clients expect.

use alloy::rpc::types::{Block, Transaction, TransactionReceipt};
use op_alloy::rpc_types::OpTransactionReceipt;
use serde::Serialize;

/// A transaction: only deposits differ from Ethereum's.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum RpcTransaction {
    /// Somebody signed it.
    Signed(Box<Transaction>),
    /// L1 forced it.
    Deposit(Box<op_alloy::rpc_types::Transaction>),
}

/// A receipt.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum RpcReceipt {
    /// As Ethereum has it.
    Ethereum(Box<TransactionReceipt>),
    /// With the L1 fee, and with what only deposits have.
    Rollup(Box<OpTransactionReceipt>),
}

/// A block.
pub(super) type RpcBlock = Block<RpcTransaction>;
