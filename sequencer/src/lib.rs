//! The rollup node: execution on a persistent store, blocks, JSON-RPC.

mod chain;
mod config;
mod dev;
mod error;
mod exec;
mod node;
mod pool;
mod rpc;
mod store;
mod trie;

pub use config::{GenesisAccount, NodeConfig, PoolLimits, RpcLimits};
pub use dev::{DEV_ACCOUNTS, DEV_MNEMONIC, dev_accounts};
pub use error::{NodeError, PoolError, StoreError};
pub use node::{BlockRef, Node, NodeHandle};
