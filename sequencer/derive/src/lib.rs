//! The rollup's blocks derived from L1 alone, and the encoding of batches, on kona's derivation pipeline.
//!
//! ```text
//!   L1Source: headers, receipts,         +--------------------- Derivation ---------------------+
//!   transactions, blobs ---------------> | frames -> channels -> batches -> attributes of blocks | --> execute
//!                                        +-------------------------------------------------------+        |
//!   L2Source: blocks so far <-------------------------------------------------------------------------- +
//!
//!   sequencer: Preparation (deposits and L1 attributes of the next block)
//!   batcher:   span_batch -> compress -> frames -> calldata, or to_blob
//! ```
//!
//! kona pins the 1.x line of alloy, the rest of the node uses 2.x: what crosses this crate's border are bytes.
//!
//! # Example
//! From blocks to what is sent to L1:
//! ```
//! use lockstep_derive::{BatchBlock, L2Head, Rollup, compress, frames, span_batch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rollup = Rollup::parse(lockstep_derive::EXAMPLE_ROLLUP)?;
//! let head = L2Head { number: 1, timestamp_s: rollup.l2_genesis_time_s() + 1, ..L2Head::default() };
//! let batch = span_batch(&rollup, &[BatchBlock { head, transactions: Vec::new() }])?;
//! let pieces = frames(&compress(&batch), 100_000);
//! assert_eq!(pieces.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Hostile batches
//! Only who holds the batcher's key can submit them. A channel is inflated up to the protocol's 100 MB and no further; a
//! batch that cannot be decoded, makes the decoder panic, or lies in the future is dropped; kona bounds the channels that are
//! open at a time. What remains costs its sender L1 fees and derivation some milliseconds.

mod batch;
mod channel;
mod error;
mod isthmus;
mod patient;
mod pipeline;
mod provider;
mod reader;
mod rollup;
mod source;

pub use batch::{BatchBlock, single_batches, span_batch};
pub use channel::{BLOB_DATA_BYTES, compress, frames, to_blob};
pub use error::DeriveError;
pub use isthmus::Upgrade;
pub use pipeline::{Derivation, DerivedAttributes, Preparation, Step};
pub use rollup::{BlockId, L1Ref, L2Head, Rollup};
pub use source::{Header, L1Source, L2Block, L2Source, SourceError};

/// A `rollup.json` for examples and tests: block time one second, Granite from the start.
pub const EXAMPLE_ROLLUP: &str = include_str!("../data/rollup.json");
