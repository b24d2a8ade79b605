//! What every benchmark shares, so that all tables read alike and one program can compare them from release to release.
//!
//! ```text
//!  contenders ──interleaved──▶ Samples ──best, paired ratio──▶ Record ──▶ JSON, one object a line   (--json)
//!                                                                 └─────▶ table, docs/benchmarks/<suite>.md
//! ```
//!
//! A suite only yields [`Record`]s; `cargo xtask bench` prints and keeps them. Contenders take turns, so that whatever slows the
//! machine down slows all of them down: see [`interleaved`].
//!
//! ```
//! use std::time::Duration;
//! use lockstep_bench::{Clock, Record, interleaved, table};
//!
//! let numbers: Vec<u64> = (0..4096).collect();
//! let sum = |numbers: &mut dyn Iterator<Item = &u64>| _ = std::hint::black_box(numbers.sum::<u64>());
//! let mut ours = || sum(&mut numbers.iter());
//! let mut theirs = || sum(&mut numbers.iter().rev());
//! let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut theirs], Duration::from_millis(5));
//!
//! let record = Record::new("sums", "4,096 numbers", "numbers/s", 4096.0 / samples.best(0))
//!     .against("backwards", 4096.0 / samples.best(1), samples.ratio(0, 1))
//!     .of_limit(1e10);
//! assert!(table(std::slice::from_ref(&record)).contains("| 4,096 numbers |"));
//! assert_eq!(record.line().parse::<Record>()?.peer_name.as_deref(), Some("backwards"));
//! # Ok::<(), serde_json::Error>(())
//! ```

mod record;
mod timing;

pub use record::{Record, table};
pub use timing::{Clock, Samples, Timed, in_pieces, interleaved, machine, self_timed};
