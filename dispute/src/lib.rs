//! The dispute game as a pure state machine, with the strategies of both sides (docs/protocol.md, section 5).
//! No I/O, no clock, no chain: time comes in as a number, and a [`Move`] goes out.
//!
//! ```text
//!             events              ┌───────────────────────────────┐
//!  contract ──────────▶ State ───▶│ Defender::next                │──▶ Move ──▶ the caller turns it
//!     ▲                 Posted ──▶│ Challenger::next, witness     │             into a call
//!     │                           └──────────────▲────────────────┘                │
//!     │                                          │ Replay: the party's own run      │
//!     └──────────────────────────────────────────┼──────────────────────────────────┘
//!                         State::apply: the same checks as the contract, for trying a move first
//!
//!  Steps ─▶ Trace ─▶ Nodes ─▶ Tensor ─▶ Chunks ─▶ Chunk ─▶ Blocks ─▶ Judge
//!                      └────▶ States ──────────────────────────────▶ JudgeState
//! ```
//!
//! * [`State`] mirrors the contract's `Dispute`; [`State::apply`] refuses what the contract refuses.
//! * [`Defender`] posts what its run gave. [`Challenger`] points at the first difference. Whichever of them has run the job
//!   as defined wins, whatever the other does; `tests/simulation` plays that out.
//! * [`Replay`] is all that a party must know of its run. [`witness`] builds judgements, which anyone may submit.
//! * [`money`] says what every ending pays.
//! * [`reads`] says what a judgement reads; [`referee`] recomputes a unit from its witness, as the contract does.
//!
//! Try a move with [`State::apply`] before sending it: a move that is refused there would revert.
//!
//! ```
//! use lockstep_commit::ProgramTree;
//! use lockstep_dispute::{Challenger, Defender, Job, MemoryReplay, Posted, Replay, Side, State, TensorSet, Terms};
//! use lockstep_ir::{DType, Tensor, build::{NodeBuilder, ProgramBuilder, o}, eval, expr::{load, u}};
//!
//! // One step doubles a number.
//! let mut p = ProgramBuilder::new();
//! let x = p.state(DType::U32, &[1]);
//! let y = p.node(NodeBuilder::new(DType::U32, &[1]).operand(x.at([o(0)])).finish(load(0).mul(&u(2))))?;
//! p.set(&x, &y);
//! let program = p.build()?;
//! let hashes = ProgramTree::new(&program);
//! let job = Job { program: &program, hashes: &hashes };
//!
//! // The challenger ran it; the defender says that 2 · 21 is 43.
//! let start = Tensor::from_u32(&[1], &[21])?;
//! let (mut own, mut claimed) = (MemoryReplay::new(vec![start.clone()], vec![]), MemoryReplay::new(vec![start], vec![]));
//! let step = eval::step(&program, &[Tensor::from_u32(&[1], &[21])?], &[])?;
//! own.push(step.trace, step.state);
//! let wrong = Tensor::from_u32(&[1], &[43])?;
//! claimed.push(vec![wrong.clone()], vec![wrong]);
//!
//! let data_root = own.roots(TensorSet::Data)?.root();
//! let terms = Terms { header: hashes.header().clone(), data_root, clock_s: 600, grace_s: 60 };
//! let mut state = State::open(&terms, 0, 1, own.state_root(0)?, claimed.state_root(1)?, 0);
//! let mut posted = Posted::default();
//! while state.winner().is_none() {
//!     let mv = match state.turn {
//!         Side::Defender => Defender::new(job).next(&state, &mut claimed)?,
//!         Side::Challenger => Challenger::new(job).next(&state, &posted, &mut own)?,
//!     };
//!     let next = state.apply(&terms, &mv, 1)?;
//!     posted.record(state.phase, &mv);
//!     state = next;
//! }
//! assert_eq!(state.winner(), Some(Side::Challenger));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod challenger;
mod defender;
mod illegal;
pub mod layout;
mod memory;
pub mod money;
mod moves;
pub mod reads;
pub mod referee;
mod replay;
mod rules;
mod state;
mod strategy;
pub mod witness;

pub use challenger::{Challenger, first_wrong_checkpoint};
pub use defender::Defender;
pub use illegal::Illegal;
pub use memory::{MemoryReplay, OutsideRun};
pub use moves::{ChunkWitness, Move, OperandWitness, Posted, pack, unpack};
pub use replay::{Replay, TensorSet, evaluate_blocks};
pub use state::{Phase, Side, State, Terms, UnitKind};
pub use strategy::{Job, NoMove};
