//! Everything that touches L1.
//!
//! ```text
//!                 Sequencing: L1 origin, deposits, mempool --> blocks
//!                                                               |  ^
//!   L1 <-- Sender <-- Batcher: span batches, channels, frames <-+  | taken back when L1 says otherwise
//!    |       ^                                                     |
//!    |       +------- Proposer: output roots <-- safe blocks <-- Driver <-- Derivation (kona)
//!    +--- L1Client: headers, receipts, blobs, all checked -----------^
//!
//!   DevL1: the same engine under Ethereum's rules, with blobs over the beacon API
//!   Devnet: DevL1, the OP Stack's contracts and a sequencer in one process
//! ```

mod batcher;
mod beacon;
mod client;
mod deploy;
mod dev;
mod devnet;
mod driver;
mod feed;
mod kept;
mod local;
mod made;
mod output;
mod proposer;
mod restart;
mod rollup;
mod send;
mod sequence;
mod submitted;
mod window;

pub use batcher::{BatcherConfig, BatcherStats};
pub use client::{BlobSource, L1Client};
pub use deploy::{DeployConfig, L1Deployment, batch_inbox, deploy, rollup_json};
pub use dev::{DevL1, DevL1Config};
pub use devnet::{Devnet, DevnetConfig, DevnetRecord};
pub use driver::SyncStatus;
pub use feed::UnsafeBlock;
pub use output::{OutputRootProof, WithdrawalProof};
pub use rollup::{Role, RollupConfig, RollupNode, SequencerConfig};

pub(crate) use output::{MESSAGE_PASSER, output, withdrawal};
pub(crate) use rollup::RollupView;
