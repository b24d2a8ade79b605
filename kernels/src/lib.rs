//! Programs run fast, bit-equal to the reference evaluator ([`lockstep_ir::eval`]).
//!
//! ```text
//!                  Program
//!                     │ Plan::new: validate, prove addresses in bounds, compile scalar code, find lifetimes
//!                     ▼
//!  state, data ──► Plan::step ──► new state            outputs of nodes live until their last reader
//!        │
//!        └───────► Plan::trace ─► visit(0, &mut out), visit(1, &mut out), … ─► new state
//! ```
//!
//! A step runs fewer nodes than a trace: what is only read once is computed where it is read, and maps that belong together run as one
//! loop. Loops are machine code, made with the plan: scalar programs element by element in registers, folds along memory or across it,
//! or on copies of what lies otherwise.
//! Matrix products have tiles of their own, and gradients of gathered tables add only the rows that were gathered. What is left (odd access patterns, machines without AVX2) is evaluated in blocks of up to
//! 256 lanes, each scalar instruction over a whole block before the next one. A node is cut into pieces for threads. The instruction
//! set is found at run time; `LOCKSTEP_ISA=portable|avx2|avx512` forces one.
//! Results depend on neither, nor on the number of threads, for no order of evaluation is ever changed.
//!
//! ```
//! use std::ops::ControlFlow;
//! use lockstep_ir::{DType, Order, Tensor, build::{NodeBuilder, ProgramBuilder, k, o}, expr::{acc, f, load}};
//! use lockstep_kernels::Plan;
//!
//! // One step: x becomes A·x.
//! let mut p = ProgramBuilder::new();
//! let x = p.state(DType::F32, &[2]);
//! let a = p.data(DType::F32, &[2, 2]);
//! let y = p.node(
//!     NodeBuilder::new(DType::F32, &[2])
//!         .operand(a.at([o(0), k(0)]))
//!         .operand(x.at([k(0)]))
//!         .fold(&[2], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
//!         .finish(acc()),
//! )?;
//! p.set(&x, &y);
//! let plan = Plan::new(&p.build()?)?;
//!
//! let state = vec![Tensor::from_f32(&[2], &[1.0, 2.0])?];
//! let data = [Tensor::from_f32(&[2, 2], &[1.0, 1.0, 0.0, 3.0])?];
//! plan.check_inputs(&state, &data)?;
//! let after = plan.step(&state, &data)?;
//! assert_eq!(after[0].to_f32(), Some(vec![3.0, 6.0]));
//!
//! // The same step, with a look at every node's output.
//! let mut seen = Vec::new();
//! let traced = plan.trace(&state, &data, |node, out| {
//!     seen.push((node, out.to_f32()));
//!     ControlFlow::<()>::Continue(())
//! })?;
//! assert_eq!(traced, ControlFlow::Continue(after));
//! assert_eq!(seen, [(0, Some(vec![3.0, 6.0]))]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod blocks;
mod code;
mod compile;
mod elide;
mod error;
mod folds;
mod gemm;
mod group;
mod inline;
mod isa;
mod levels;
mod lifetimes;
mod lines;
mod memory;
mod parallel;
mod plan;
mod scatter;
mod schedule;
mod segments;
mod tables;
#[doc(hidden)]
pub mod testing;
mod vector;
mod worker;

pub use error::Error;
pub use isa::{ISA_VARIABLE, Isa, IsaError};
pub use plan::{Options, Plan};
