use alloy_primitives::B256;
use lockstep_ir::abi::DecodeError;

use crate::referee::RefereeError;
use crate::state::{Phase, Side};

/// Why the contract refuses a move. The game stands where it stood, and the clock of the side to move runs on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Illegal {
    /// The move belongs to another phase. Read the dispute again.
    #[error("the dispute is in phase {current:?}, which has no such move")]
    WrongPhase {
        /// The phase it is in.
        current: Phase,
    },
    /// It is the other side's turn. Wait.
    #[error("it is the {current:?}'s turn")]
    WrongTurn {
        /// Who moves.
        current: Side,
    },
    /// The mover's time ran out; only a timeout is left.
    #[error("the time to move ended at {deadline_s} s")]
    TimeIsUp {
        /// When it ended.
        deadline_s: u64,
    },
    /// The side to move still has time. Wait until then.
    #[error("the side to move has time until {deadline_s} s")]
    NotYetTimedOut {
        /// When it ends.
        deadline_s: u64,
    },
    /// A list or value is not as long as tree, tensor or fold dictate. Fix the move.
    #[error("{actual} entries where {expected} are due")]
    WrongCount {
        /// What is due.
        expected: u64,
        /// What was given.
        actual: u64,
    },
    /// What was given does not hash to the commitment. Fix the move.
    #[error("hashes to {actual}, committed is {expected}")]
    WrongHash {
        /// The commitment.
        expected: B256,
        /// What was given, or what it hashes to.
        actual: B256,
    },
    /// The pointer names something that is not there. Fix the move.
    #[error("points at {given}, but there are {count}")]
    PastTheEnd {
        /// Real ones.
        count: u64,
        /// The pointer.
        given: u64,
    },
    /// A proof that does not hold. Fix the move.
    #[error("proof: {0}")]
    Proof(#[from] lockstep_commit::Error),
    /// The challenger may leave the nodes for the state only before it pointed below the trace's root.
    #[error("the walk is already at subtree {index}, {depth} levels above the leaves")]
    NotAtRoot {
        /// Where the walk is.
        index: u64,
        /// Levels below it.
        depth: u8,
    },
    /// The element is not in the chunk that was posted. Fix the move.
    #[error("element {element} is not in chunk {chunk}")]
    NotInChunk {
        /// The posted chunk.
        chunk: u64,
        /// The pointer.
        element: u64,
    },
    /// The bytes are not a node. The program is malformed; nobody should have accepted the job.
    #[error("node: {0}")]
    Node(#[from] DecodeError),
    /// The referee refuses the witness, which is no judgement. Fix the witness.
    #[error("referee: {0}")]
    Referee(#[from] RefereeError),
}
