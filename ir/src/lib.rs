//! What a job is: programs of scalar code. No I/O, no clock, `no_std` with `alloc`.
//!
//! ```text
//!  expr, build ──► Program ──► validate ──► accepted, with the cost of judging each node
//!                  │  ▲  │
//!     abi::encode  ▼  │  └───► eval: step, node, element, unit   (the definition of every result)
//!                 bytes        number: one instruction
//! ```
//!
//! - [`program`]: programs, nodes, operands; [`scalar`]: packed scalar code; [`types`], [`tensor`]: what they work on.
//! - [`build`] and [`expr`]: writing programs. [`func`]: `exp`, `log`, Philox as scalar code.
//! - [`abi`]: the canonical encoding, shared with Solidity. [`text`] and [`parse`]: a form for people.
//! - [`mod@validate`] and [`judge`]: which programs are accepted, and what judging them costs.
//! - [`number`] and [`eval`]: the reference evaluator; everything else is tested against it.
//! - `sample`, a feature: random programs for tests. [`SplitMix64`]: numbers from a seed, the one generator of all tests.
//!
//! ```
//! use lockstep_ir::{DType, Order, Tensor, build::{NodeBuilder, ProgramBuilder, k, o}, eval, expr::{acc, f, load}};
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
//! let program = p.build()?;
//!
//! let state = [Tensor::from_f32(&[2], &[1.0, 2.0])?];
//! let data = [Tensor::from_f32(&[2, 2], &[1.0, 1.0, 0.0, 3.0])?];
//! let after = eval::step(&program, &state, &data)?.state;
//! assert_eq!(after[0].to_f32(), Some(vec![3.0, 6.0]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

extern crate alloc;

pub mod abi;
pub mod build;
pub mod eval;
pub mod expr;
pub mod func;
pub mod judge;
mod lex;
pub mod number;
pub mod parse;
pub mod program;
#[cfg(feature = "sample")]
pub mod sample;
pub mod scalar;
mod split_mix;
pub mod tensor;
pub mod text;
pub mod types;
pub mod validate;

pub use program::{Fold, Gather, Node, Operand, Order, Program, Source, StateDecl, TensorDecl, VERSION};
pub use split_mix::SplitMix64;
pub use tensor::Tensor;
pub use types::{DType, Ty};
pub use validate::validate;
