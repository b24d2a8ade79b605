//! The rollup node: execution on a persistent store, blocks, JSON-RPC.
//!
//! It runs an OP Stack chain under Granite rules, or those of Isthmus ([`Fork`]): alone ([`Node`], where what a block holds is final once it is announced), or as
//! a rollup on an L1 ([`RollupNode`], with deposits, batches, output proposals and followers; [`Devnet`] brings the L1 with it).
//!
//! ```text
//!   eth_sendRawTransaction                              eth_call, eth_getLogs, eth_subscribe, ...
//!          |                                                          ^
//!          v                                                          | reads, each from one head
//!   pool: signature, nonce,      every block_time_ms          chain: newest block
//!   funds, limits, replacement ---------------------> build --------> + snapshot
//!                                 best tips first      |              ^
//!                                                      v              |
//!                        exec: op-revm          -->  changes, receipts
//!                                                      |              |
//!                                                      v              |
//!                        store: redb, one durable write per block ----+
//!                          accounts, slots, code --> trie: changed paths only --> state root
//!                          headers, transactions, receipts, undo records
//! ```
//!
//! A block is announced only after it is on disk, so a node that is killed at any moment comes back at a head that
//! includes every receipt it ever returned. A journal beside the store brings back what waited.
//!
//! # Example
//! A chain from nothing, a transfer, and the end:
//! ```
//! use alloy::{
//!     network::{EthereumWallet, TransactionBuilder},
//!     primitives::{Address, U256},
//!     providers::{Provider, ProviderBuilder},
//!     rpc::types::TransactionRequest,
//! };
//! use lockstep_sequencer::{Node, NodeConfig, dev_accounts};
//!
//! # #[tokio::main(flavor = "multi_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Ten funded accounts, a temporary directory, any free port; 100 ms instead of one second between blocks.
//! let node = Node::start(NodeConfig { block_time_ms: 100, ..NodeConfig::dev()? }).await?;
//!
//! let wallet = EthereumWallet::from(dev_accounts()?.swap_remove(0));
//! let provider = ProviderBuilder::new().wallet(wallet).connect_http(node.http_url().parse()?);
//! let transfer = TransactionRequest::default().with_to(Address::repeat_byte(7)).with_value(U256::from(5));
//! let receipt = provider.send_transaction(transfer).await?.get_receipt().await?;
//!
//! assert!(receipt.status());
//! assert_eq!(provider.get_balance(Address::repeat_byte(7)).await?, U256::from(5));
//! node.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What clients should know
//! - Without an L1, `safe` and `finalized` blocks are the newest block, as `pending` always is. `eth_call` at `pending` runs under the rules of
//!   the next block; `eth_estimateGas` does so unless told otherwise.
//! - State can be read at the newest block and [`NodeConfig::history_blocks`] behind it; blocks, receipts and logs
//!   are kept for good.
//! - With [`NodeConfig::block_time_ms`] under 1000, neighbouring blocks may share a timestamp.
//! - Without an L1 there is no randomness to take from it: `PREVRANDAO` is then a hash of the parent's hash, known in advance.
//! - The node holds no keys, so `eth_sendTransaction` does not exist.

mod chain;
mod config;
mod dev;
pub mod engine;
mod error;
mod exec;
mod l1;
mod metrics;
mod node;
mod op_contracts;
mod pool;
mod predeploys;
mod rpc;
mod settings;
mod status;
mod store;
mod trie;

pub use config::{ChainKind, Fork, GenesisAccount, NodeConfig, PoolLimits, RpcLimits};
pub use dev::{DEV_ACCOUNTS, DEV_MNEMONIC, dev_accounts};
pub use error::{L1Error, NodeError, PoolError, StoreError};
pub use exec::attributes::Attributes;
pub use l1::{
    BatcherConfig, BatcherStats, BlobSource, DeployConfig, DevL1, DevL1Config, Devnet, DevnetConfig, DevnetRecord,
    L1Client, L1Deployment, OutputRootProof, Role, RollupConfig, RollupNode, SequencerConfig, SyncStatus, UnsafeBlock,
    WithdrawalProof, batch_inbox, deploy, rollup_json,
};
pub use metrics::Timings;
pub use node::{BlockRef, Node, NodeHandle};
pub use predeploys::SystemContracts;
