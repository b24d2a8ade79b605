//! From a model to a program: a graph with reverse-mode differentiation, an optimiser, a model, data, and the job they make.
//!
//! ```text
//!  job.toml ─► job_file ─► job ────────────► TrainingJob { program, state, data }
//!                           │                      ▲
//!     model, data           ▼                      │
//!     ops, optim ───────► graph ─► grad ─► lower ──┘      init, philox: first state
//!                         shapes   adds    operations become
//!                         checked  nodes   nodes of a program
//! ```
//!
//! - [`graph`]: tensors and operations; [`ops`]: one operation per file, with shape rule, gradient and lowering.
//! - [`grad`]: gradients, as more of the same graph; [`optim`]: from gradients to the next parameters.
//! - [`lower`]: the program (docs/protocol.md), with copies where a fold could otherwise not be judged.
//! - [`model`], [`init`], [`data`], [`philox`]: what is trained, from where, on what.
//! - [`job_file`]: `job.toml`; [`job`]: all of it together, and the score of a trained state on held-out data.
//!   `cargo run --release -p lockstep-train --example train -- train/examples/mlp-digits.toml` trains one here.
//!
//! ```
//! use lockstep_ir::{DType, Tensor, eval};
//! use lockstep_train::{grad::gradients, graph::Graph, lower::lower};
//!
//! // One step of gradient descent on x·w.
//! let mut g = Graph::new();
//! let w = g.state("w", DType::F32, &[1, 2])?;
//! let x = g.data("x", DType::F32, &[1, 2])?;
//! let y = g.matmul_transposed(x, w)?;
//! let zero = g.data("zero", DType::U32, &[1])?;
//! let picked = g.pick(y, zero)?;
//! let loss = g.mean(picked)?;
//! let dw = gradients(&mut g, loss, &[w])?[0];
//! let next = g.scale_add(-0.5, dw, w)?;
//! g.set(w, next)?;
//! let program = lower(&g)?.program;
//!
//! let state = [Tensor::from_f32(&[1, 2], &[1.0, 1.0])?];
//! let data = [Tensor::from_f32(&[1, 2], &[2.0, -4.0])?, Tensor::from_u32(&[1], &[0])?];
//! let after = eval::step(&program, &state, &data)?.state;
//! assert_eq!(after[0].to_f32(), Some(vec![0.0, 3.0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod data;
pub mod grad;
pub mod graph;
pub mod init;
pub mod job;
pub mod job_file;
mod layout;
pub mod lower;
pub mod model;
pub mod ops;
pub mod optim;
pub mod philox;

pub use job::{Accuracy, JobError, TrainingJob};
pub use job_file::{JobFile, JobFileError};
