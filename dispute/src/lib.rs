//! The dispute game as a pure state machine, with the strategies of both sides (docs/protocol.md, section 5).
mod challenger;
mod defender;
mod illegal;
pub mod layout;
mod memory;
mod moves;
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
