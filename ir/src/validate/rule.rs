//! What a program can break.

use alloc::string::String;

use super::{MAX_OPERANDS, MAX_TENSORS};
use crate::{
    judge::{MAX_CHUNKS, MAX_PROGRAM_PATTERNS, MAX_UNIT_GAS},
    program::Source,
    scalar::MAX_INSTRUCTIONS,
    types::Ty,
};

/// Which rule of docs/protocol.md a program breaks, and where. Give up on the program, or fix what built it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    /// Too many tensors of one kind.
    #[error("the program has {got} {what}, more than {MAX_TENSORS}")]
    TooMany {
        /// Nodes, state tensors or data tensors.
        what: &'static str,
        /// How many.
        got: usize,
    },
    /// No nodes, or no state.
    #[error("the program has no {0}")]
    Empty(&'static str),
    /// A declared tensor has a refused shape.
    #[error("{at} has shape {shape}: at most 6 dimensions, none of them 0, at most 2^40 elements")]
    Shape {
        /// Which tensor.
        at: Source,
        /// Its shape.
        shape: String,
    },
    /// A state tensor's next value does not exist or is of another type or shape.
    #[error("state tensor s{state} should become {next}, which is missing or has another type or shape")]
    Next {
        /// Which state tensor.
        state: u32,
        /// The source named.
        next: Source,
    },
    /// Checking the folds of the program would take too long.
    #[error(
        "the folds up to node {node} have more than {MAX_PROGRAM_PATTERNS} different blocks; make inner factors multiples or divisors of 256"
    )]
    Patterns {
        /// The node that goes over the limit.
        node: usize,
    },
    /// A rule of nodes.
    #[error("node {node}: {rule}")]
    Node {
        /// Which node.
        node: usize,
        /// The rule it breaks.
        rule: Rule,
    },
}

/// Rules of docs/protocol.md, sections 2.1 to 2.3, that a node can break.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rule {
    /// A refused shape.
    #[error("{what} {shape} is refused: at most 6 factors, none of them 0, at most 2^40 elements (2^32-1 for a fold)")]
    Shape {
        /// Output, domain, view or fold.
        what: &'static str,
        /// The shape.
        shape: String,
    },
    /// Domain or view with another number of elements than what it factors.
    #[error("{what} {got} has not as many elements as {expected}")]
    Elements {
        /// Domain or view.
        what: &'static str,
        /// Shape found.
        got: String,
        /// Shape factored.
        expected: String,
    },
    /// Too many operands.
    #[error("{0} operands, more than {MAX_OPERANDS}")]
    TooManyOperands(usize),
    /// An operand names a tensor that does not exist, or not yet.
    #[error("operand {operand} reads {from}, which does not exist before this node")]
    NoSource {
        /// Which operand.
        operand: usize,
        /// What it names.
        from: Source,
    },
    /// An operand's declaration differs from its source's.
    #[error("operand {operand} declares {got}, but {from} is {expected}")]
    Declaration {
        /// Which operand.
        operand: usize,
        /// What it reads.
        from: Source,
        /// What it declares.
        got: String,
        /// What the source is.
        expected: String,
    },
    /// The access matrix has a wrong size.
    #[error("operand {operand} has {got} access numbers, its ranks need {expected}")]
    Access {
        /// Which operand.
        operand: usize,
        /// Numbers found.
        got: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// A gather breaks a rule.
    #[error(
        "operand {operand}: a gather must name an ascending dimension and an integer operand that itself neither gathers nor skips"
    )]
    Gather {
        /// Which operand.
        operand: usize,
    },
    /// A coordinate could leave 64 bits.
    #[error("operand {operand}: coordinate {dim} could leave 64 bits")]
    CoordinateRange {
        /// Which operand.
        operand: usize,
        /// Which dimension.
        dim: usize,
    },
    /// Nothing loads the operand.
    #[error("operand {0} is never read")]
    Unused(usize),
    /// A constant, initial value or fill that is a NaN other than the canonical one.
    #[error("{0} is a NaN other than 0x7fc00000")]
    Nan(&'static str),
    /// A scalar program is empty where one is needed.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A scalar program that is never used.
    #[error("`combine` is given, but a chain of at most 256 never combines")]
    Needless,
    /// Too many instructions.
    #[error("`{0}` has more than {MAX_INSTRUCTIONS} instructions")]
    TooLong(&'static str),
    /// An instruction whose argument does not come before it.
    #[error("`{program}` instruction {at}: argument {argument} is not an earlier value")]
    Argument {
        /// Which scalar program.
        program: &'static str,
        /// Which instruction.
        at: usize,
        /// The value named.
        argument: u16,
    },
    /// An instruction with a field set that it does not use, which could not be encoded.
    #[error("`{program}` instruction {at}: `{op}` has a field set that it does not use")]
    Field {
        /// Which scalar program.
        program: &'static str,
        /// Which instruction.
        at: usize,
        /// Its name.
        op: &'static str,
    },
    /// An instruction whose argument has a wrong type.
    #[error("`{program}` instruction {at}, `{op}`: expected {expected}, got {got}")]
    Type {
        /// Which scalar program.
        program: &'static str,
        /// Which instruction.
        at: usize,
        /// Its name.
        op: &'static str,
        /// Type needed.
        expected: Ty,
        /// Type found.
        got: Ty,
    },
    /// An input that this scalar program does not have.
    #[error("`{program}` instruction {at}: `{op}` is not available here")]
    Input {
        /// Which scalar program.
        program: &'static str,
        /// Which instruction.
        at: usize,
        /// Its name.
        op: &'static str,
    },
    /// The last value has a wrong type.
    #[error("`{program}` gives {got}, {expected} is needed")]
    Result {
        /// Which scalar program.
        program: &'static str,
        /// Type needed.
        expected: Ty,
        /// Type found.
        got: Ty,
    },
    /// `finish` loads an operand that depends on the fold or skips.
    #[error("`finish` loads operand {0}, which depends on the fold position or skips")]
    FinishLoad(usize),
    /// Not judgeable: a unit reads too many chunks.
    #[error("not judgeable: one unit reads up to {got} chunks, more than {max}; copy the operand into the fold's order first", max = MAX_CHUNKS)]
    Chunks {
        /// Worst case.
        got: u64,
    },
    /// Not judgeable: a unit is too dear.
    #[error("not judgeable: {unit} can cost {got} gas, more than {max}; move work into a map of its own", max = MAX_UNIT_GAS)]
    Gas {
        /// Which kind of unit.
        unit: &'static str,
        /// Worst case.
        got: u64,
    },
    /// Not judgeable: the fold's factors give more block patterns than can be checked.
    #[error(
        "not judgeable: the fold's factors {0} give too many different blocks; make the inner factors multiples or divisors of 256"
    )]
    Patterns(String),
}
