//! The Rust SDK: what requesters, solvers, verifiers and arbiters share.
//!
//! ```text
//!                 ┌── client: market and game, typed ── chain: calls, transactions, reverts in words ──► node (JSON-RPC)
//!  your program ──┤── prepare: a job's program, state and data, checked ── artifact: by root, over HTTP ──► mirrors
//!                 ├── run: your own run of a job ── play: a side of a dispute, move by move
//!                 └── deploy, wallet, report, work: contracts, keys, events, the daemons' loop
//! ```
//!
//! ```no_run
//! use lockstep_sdk::{client::Client, deploy::Deployment, wallet::Wallet};
//! # async fn example() -> Result<(), lockstep_sdk::error::Error> {
//! let deployment = Deployment::read("deployment.json".as_ref())?;
//! let client = Client::connect("http://127.0.0.1:8545", deployment, Some(Wallet::dev(1)?)).await?;
//! for id in 1..=client.job_count().await? {
//!     println!("job {id} is {}", client.job(id).await?.status);
//! }
//! # Ok(())
//! # }
//! ```

pub mod account;
pub mod artifact;
pub mod assigned;
pub mod chain;
pub mod challenge;
pub mod client;
pub mod deploy;
pub mod error;
pub mod moves;
pub mod play;
pub mod prepare;
pub mod report;
pub mod run;
pub mod wallet;
pub mod work;
