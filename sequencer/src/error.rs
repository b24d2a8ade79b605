//! What can go wrong, and what to do about it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use alloy::primitives::{B256, U256};

/// The persistent store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the disk under it failed. Free space or repair the disk, then start again: nothing of an
    /// unfinished block was kept.
    #[error("store failed: {0}")]
    Backend(Arc<redb::Error>),
    /// Stored data contradicts itself. Give up on this data directory and restore or re-sync it.
    #[error("store is corrupt: {0}")]
    Corrupt(String),
    /// The state asked for is older than what is kept. Ask for a newer block, or keep more `history_blocks`.
    #[error("state of block {block} is not kept: the oldest kept is {oldest}")]
    Pruned {
        /// The block asked for.
        block: u64,
        /// The oldest block whose state can be read.
        oldest: u64,
    },
}

impl revm::database_interface::DBErrorMarker for StoreError {}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Backend(Arc::new(error.into()))
    }
}

macro_rules! from_redb {
    ($($kind:ident),*) => {$(
        impl From<redb::$kind> for StoreError {
            fn from(error: redb::$kind) -> Self {
                Self::Backend(Arc::new(error.into()))
            }
        }
    )*};
}
from_redb!(Error, DatabaseError, TransactionError, TableError, StorageError, CommitError);

/// Why a transaction is not accepted. The wording follows go-ethereum's, which tools parse.
///
/// All but [`Self::Full`] and [`Self::Store`] are to be fixed by the sender; these two can be retried later.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PoolError {
    /// The bytes are no signed transaction.
    #[error("transaction cannot be decoded: {0}")]
    Undecodable(String),
    /// The transaction is larger than the limit.
    #[error("oversized data: transaction size {size}, limit {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Blob and set-code transactions do not exist on this chain.
    #[error("transaction type not supported: type {0}")]
    Type(u8),
    /// The blobs are not those that the transaction commits to.
    #[error("invalid blobs: {0}")]
    Blobs(String),
    /// A legacy transaction without a chain id could be replayed here from another chain.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// The chain id in the transaction.
        have: u64,
        /// The chain id of this chain.
        want: u64,
    },
    /// The signature belongs to no key.
    #[error("invalid sender: {0}")]
    Signature(String),
    /// The very same transaction is already waiting.
    #[error("already known")]
    Known,
    /// The nonce was used already.
    #[error("nonce too low: next nonce {next}, tx nonce {tx}")]
    NonceTooLow {
        /// The sender's next nonce.
        next: u64,
        /// The nonce of the transaction.
        tx: u64,
    },
    /// The sender cannot pay for this and the transactions already waiting.
    #[error("insufficient funds for gas * price + value: balance {balance}, queued cost {queued}, tx cost {cost}")]
    Funds {
        /// The sender's balance in wei.
        balance: U256,
        /// What its waiting transactions can cost in wei.
        queued: U256,
        /// What this transaction can cost in wei.
        cost: U256,
    },
    /// The gas limit does not even pay for sending it.
    #[error("intrinsic gas too low: gas {gas}, minimum needed {needed}")]
    IntrinsicGas {
        /// The gas limit of the transaction.
        gas: u64,
        /// The least it needs.
        needed: u64,
    },
    /// It could not fit in any block.
    #[error("exceeds block gas limit: gas {gas}, limit {limit}")]
    GasLimit {
        /// The gas limit of the transaction.
        gas: u64,
        /// The gas limit of a block.
        limit: u64,
    },
    /// The tip is above the fee cap.
    #[error("max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas {tip}, maxFeePerGas {cap}")]
    TipAboveCap {
        /// The tip in wei per gas.
        tip: u128,
        /// The cap in wei per gas.
        cap: u128,
    },
    /// It would pay less per gas than any block will ever ask for.
    #[error("transaction underpriced: max fee per gas {cap}, minimum needed {floor}")]
    FeeCapTooLow {
        /// The cap in wei per gas.
        cap: u128,
        /// The least that is accepted.
        floor: u64,
    },
    /// Deployment code over the limit of EIP-3860.
    #[error("max initcode size exceeded: code size {size}, limit {limit}")]
    InitCode {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Accounts with code cannot send transactions.
    #[error("sender not an eoa: it has code")]
    SenderHasCode,
    /// Another transaction waits with this nonce and the price is not raised enough.
    #[error("replacement transaction underpriced: at least {percent}% more needed on fee cap and tip")]
    Underpriced {
        /// The required raise.
        percent: u64,
    },
    /// The sender has too many waiting.
    #[error("account limit exceeded: {limit} transactions of one sender may wait")]
    SenderFull {
        /// The limit.
        limit: usize,
    },
    /// The mempool is full of transactions that pay more.
    #[error("txpool is full: {limit} transactions wait, all pay more")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The sender's account could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a node did not start, stopped, or could not do what its handle was asked for.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A setting is wrong. Fix it.
    #[error("configuration: {0}")]
    Config(String),
    /// The data directory cannot be used. Fix its path or permissions, or stop the node that uses it.
    #[error("data directory {path}: {cause}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The data directory belongs to another chain. Choose another directory, or fix `chain_id` and `genesis`.
    #[error("data directory {path} holds chain {found}, not {wanted}")]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// Chain id and genesis hash found there.
        found: String,
        /// Chain id and genesis hash of the configuration.
        wanted: String,
    },
    /// The RPC server could not listen. Choose another port.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block could not be built for a reason that is no transaction's fault: a bug. Report it.
    #[error("block {number} on {parent} could not be built: {cause}")]
    Build {
        /// The number of the block.
        number: u64,
        /// The hash of its parent.
        parent: B256,
        /// What failed.
        cause: String,
    },
    /// The block that was asked for cannot be. Ask for another.
    #[error("no block on {parent} with these attributes: {cause}")]
    Refused {
        /// The hash of the parent that was named.
        parent: B256,
        /// What is wrong.
        cause: String,
    },
    /// The node has stopped. Start it again.
    #[error("the node has stopped: {0}")]
    Stopped(String),
}

/// Why something on L1 failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum L1Error {
    /// The URL of L1 is none. Fix it.
    #[error("{url} is no URL of an L1: {cause}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong.
        cause: String,
    },
    /// L1 did not answer, or not with what was asked for. Retry, or use another node.
    #[error("L1: {0}")]
    Rpc(String),
    /// A transaction is in a block and failed. Look at why before sending another.
    #[error("{what}: transaction {hash} failed on L1")]
    Reverted {
        /// The transaction.
        hash: alloy::primitives::TxHash,
        /// What it was to do.
        what: String,
    },
    /// Somebody else sends with the key. Give every sender its own.
    #[error("nonce {nonce} of {sender} was used by somebody else: stop whoever shares the key")]
    NonceTaken {
        /// Whose nonce.
        sender: alloy::primitives::Address,
        /// The nonce.
        nonce: u64,
    },
    /// The key cannot sign. Use another.
    #[error("the key cannot sign: {0}")]
    Key(String),
    /// Data cannot be put into a blob: a bug. Report it.
    #[error("blob: {0}")]
    Blob(String),
    /// A checked-in artifact is damaged. Restore it.
    #[error("a contract's artifact cannot be read: {0}")]
    Artifact(String),
    /// What is being sent could not be written down or read. Free space or repair the disk.
    #[error("{path}: {cause}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// Derivation failed.
    #[error(transparent)]
    Derive(#[from] lockstep_derive::DeriveError),
    /// The L2 chain failed.
    #[error("L2: {0}")]
    Chain(Arc<NodeError>),
}

impl L1Error {
    /// Whether trying again can help.
    pub(crate) fn may_pass(&self) -> bool {
        use lockstep_derive::DeriveError;
        matches!(self, Self::Rpc(_) | Self::NonceTaken { .. } | Self::Reverted { .. })
            || matches!(self, Self::Derive(DeriveError::Retry(_) | DeriveError::Reset(_)))
    }

    /// An answer of L1 that is an error.
    pub(crate) fn rpc(error: impl std::fmt::Display) -> Self {
        Self::Rpc(error.to_string())
    }
}

impl From<NodeError> for L1Error {
    fn from(error: NodeError) -> Self {
        Self::Chain(Arc::new(error))
    }
}

impl From<StoreError> for L1Error {
    fn from(error: StoreError) -> Self {
        NodeError::from(error).into()
    }
}
