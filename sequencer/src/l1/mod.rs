//! Everything that touches L1.
//!
//! ```text
//!   DevL1: the same engine under Ethereum's rules + blobs over HTTP (beacon API)
//! ```

mod beacon;
mod dev;

pub use dev::{DevL1, DevL1Config};
