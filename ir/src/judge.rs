//! What judging the worst unit of a node takes: chunks of operands, and gas of the referee (docs/protocol.md, section 2.3).

mod gas;
mod image;

use alloc::{collections::BTreeSet, vec};

use crate::{
    program::{BLOCK, Node, Program},
    scalar::{Instr, Op},
    validate::Rule,
};

/// Most distinct (operand, chunk) pairs that a unit may read.
pub const MAX_CHUNKS: u64 = 16;
/// Most gas of the transaction that judges a unit, whatever its operands hold, under the rules of Granite.
pub const MAX_UNIT_GAS: u64 = 1_000_000;
/// Gas that `Disputes.judge` spends around the referee: state and events; who is owed what is paid in a transaction of its own.
/// tests/court/assigned.rs holds this to a conviction with assigned verifiers.
pub const DISPUTE_GAS: u64 = 180_000;
/// Most blocks that are looked at to find the worst one of an operand: different ones, the rest repeats.
pub const MAX_PATTERNS: u64 = 4_096;
/// The same for all operands of all nodes of a program, which bounds the validator's time.
pub const MAX_PROGRAM_PATTERNS: u64 = 262_144;

/// Worst case of judging a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Chunks read by the unit that reads most.
    pub chunks: u64,
    /// Gas of judging the dearest unit: the whole transaction, with calldata, proofs and what pays out.
    pub gas: u64,
    /// Blocks that were looked at to find out.
    pub patterns: u64,
}

/// How many tensors there are of each kind, and so how long the proof of a root is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sources {
    /// State tensors.
    pub state: u64,
    /// Data tensors.
    pub data: u64,
    /// Nodes.
    pub nodes: u64,
}

impl Sources {
    /// Those of a program.
    #[must_use]
    pub const fn of(program: &Program) -> Self {
        Self { state: program.state.len() as u64, data: program.data.len() as u64, nodes: program.nodes.len() as u64 }
    }
}

/// Whether the address of operand `i`, without its gathers, depends on the fold position.
#[must_use]
pub fn depends_on_fold(n: &Node, i: usize) -> bool {
    let (ro, rk) = (n.domain.len(), n.fold_factors().len());
    n.operands[i].access.chunks_exact(1 + ro + rk).any(|row| row[1 + ro..].iter().any(|&c| c != 0))
}

/// Operands a scalar program reads, with those it gathers through.
fn read_by(n: &Node, code: &[Instr]) -> BTreeSet<usize> {
    let mut read = BTreeSet::new();
    for instr in code {
        if let Instr::Op { op: Op::Load, a, .. } = *instr {
            read.insert(usize::from(a));
            read.extend(n.operands[usize::from(a)].gathers.iter().map(|g| usize::from(g.operand)));
        }
    }
    read
}

/// Worst case over all units of a node whose types and addresses are right.
///
/// # Errors
/// The node is not judgeable.
pub fn cost(n: &Node, sources: &Sources) -> Result<Cost, Rule> {
    let finish = read_by(n, &n.finish);
    let mut leaf = vec![0; n.operands.len()];
    let Some(fold) = &n.fold else { return within(n, sources, &leaf, finish.len() as u64, 0) };
    // Every operand that skips is loaded by the body, for nothing else may load it, and so its gathers are counted.
    let body = read_by(n, &fold.body);
    let mut patterns = 0;
    for &i in &body {
        let worst = image::leaf_chunks(n, i)?;
        leaf[i] = worst.chunks;
        patterns += worst.patterns;
    }
    let of_leaf = leaf.iter().sum::<u64>();
    let chunks = if n.fold_length() <= BLOCK {
        // One unit does both; what the body read already is not read again.
        of_leaf + finish.difference(&body).count() as u64
    } else {
        of_leaf.max(finish.len() as u64)
    };
    within(n, sources, &leaf, chunks, patterns)
}

fn within(n: &Node, sources: &Sources, leaf: &[u64], chunks: u64, patterns: u64) -> Result<Cost, Rule> {
    if chunks > MAX_CHUNKS {
        return Err(Rule::Chunks { got: chunks });
    }
    let (gas, unit) = gas::worst(n, sources, leaf);
    if gas > MAX_UNIT_GAS { Err(Rule::Gas { unit, got: gas }) } else { Ok(Cost { chunks, gas, patterns }) }
}
