//! What can go wrong, and what the caller should do about it.

use lockstep_commit::isa::IsaError;
use lockstep_ir::{Source, tensor::TensorError, validate::Invalid};

/// Why a plan cannot be made or a step cannot be run. Nothing here is worth a retry with the same inputs, except
/// [`Error::Memory`] once memory is free.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The program breaks a rule of the protocol. Give up on it, or fix what built it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Another number of tensors than the program declares. Fix the input.
    #[error("the program has {expected} {what} tensors, got {got}")]
    Count {
        /// `state` or `data`.
        what: &'static str,
        /// How many it declares.
        expected: usize,
        /// How many were given.
        got: usize,
    },
    /// A tensor of another type or shape than declared. Fix the input.
    #[error("tensor {at} should be {expected}, got {got}")]
    Declaration {
        /// Which tensor.
        at: Source,
        /// Type and shape declared.
        expected: String,
        /// Type and shape given.
        got: String,
    },
    /// A tensor's content is refused: it holds a NaN other than the canonical one. Such a job is invalid for everyone.
    #[error("tensor {at}: {source}")]
    Input {
        /// Which tensor.
        at: Source,
        /// What is wrong with it.
        source: TensorError,
    },
    /// The forced instruction set does not exist, or is not there. Force another one, or none.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// A thread's floating-point control word would change results (flush to zero, denormals are zero, or another rounding
    /// mode). Some other code in the process set it: reset it before computing.
    #[error(
        "floating-point control word {0:#x}: flushes subnormals or does not round to nearest even; reset it in the calling thread"
    )]
    ControlWord(u64),
    /// An output cannot be allocated. Free memory, or use a larger machine.
    #[error("node {node}: cannot allocate {bytes} bytes for its output")]
    Memory {
        /// Which node.
        node: usize,
        /// Size of the output.
        bytes: u64,
    },
    /// The system gives no memory for machine code, or refuses to make it executable. Allow it, or set `LOCKSTEP_ISA=portable`, which
    /// needs none and is slower.
    #[error("cannot make {bytes} bytes of machine code executable: {reason}; allow it, or set LOCKSTEP_ISA=portable")]
    Executable {
        /// Size of the code.
        bytes: usize,
        /// What the system says.
        reason: String,
    },
    /// Machine code cannot be made for a program: a fault of this crate. Report it, and set `LOCKSTEP_ISA=portable` until it is mended.
    #[error("machine code cannot be made: {0}; please report this, and set LOCKSTEP_ISA=portable meanwhile")]
    Assembler(String),
}
