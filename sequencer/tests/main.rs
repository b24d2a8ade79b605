//! The node from outside: processes, sockets, tools. One binary, because each would link the whole node again.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

mod common;

mod anvil;
mod attributes;
mod bridge;
mod engine_client;
mod engine_local;
#[cfg(unix)]
mod faults;
mod hostile;
mod kill;
mod l1_dev;
mod operations;
mod outages;
mod provider;
mod rollup;
mod rollup_faults;
mod rollup_genesis;
mod rollup_isthmus;
mod rollup_kill;
mod rollup_reorg;
mod rollup_window;
mod viem;
