//! The whole loop across processes: the `lockstep` binary, real sockets, real files, kill -9.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod bad_input;
mod bad_jobs;
mod crash;
mod demo;
mod docs;
mod honest;
#[cfg(unix)]
mod pages;
mod process;
mod rollup;
mod wallet;
mod world;
