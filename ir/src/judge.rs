//! What judging the worst unit of a node takes: chunks of operands, and gas of the referee (docs/protocol.md, section 2.3).

mod image;

use alloc::collections::BTreeSet;

use crate::{
    program::{BLOCK, Node},
    scalar::{Instr, Op},
    validate::Rule,
};

/// Most distinct (operand, chunk) pairs that a unit may read.
pub const MAX_CHUNKS: u64 = 16;
/// Most gas of one application of `body` or `combine`.
pub const MAX_BODY_GAS: u64 = 3_000;
/// Most blocks that are looked at to find the worst one of an operand: different ones, the rest repeats.
pub const MAX_PATTERNS: u64 = 4_096;
/// The same for all operands of all nodes of a program, which bounds the validator's time.
pub const MAX_PROGRAM_PATTERNS: u64 = 262_144;

/// Worst case of judging a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Chunks read by the unit that reads most.
    pub chunks: u64,
    /// Gas of the dearest unit's scalar work; proofs and calldata come on top.
    pub gas: u64,
    /// Blocks that were looked at to find out.
    pub patterns: u64,
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

fn gas(code: &[Instr]) -> u64 {
    code.iter().map(|i| i.gas()).sum()
}

/// Worst case over all units of a node whose types and addresses are right.
///
/// # Errors
/// The node is not judgeable.
pub fn cost(n: &Node) -> Result<Cost, Rule> {
    let finish = read_by(n, &n.finish);
    let finish_gas = gas(&n.finish);
    let Some(fold) = &n.fold else {
        return within(Cost { chunks: finish.len() as u64, gas: finish_gas, patterns: 0 });
    };
    let (body_gas, combine_gas) = (gas(&fold.body), gas(&fold.combine));
    for (program, got) in [("body", body_gas), ("combine", combine_gas)] {
        if got > MAX_BODY_GAS {
            return Err(Rule::Gas { program, got });
        }
    }
    // Every operand that skips is loaded by the body, for nothing else may load it, and so its gathers are counted.
    let body = read_by(n, &fold.body);
    let (mut leaf, mut patterns) = (0, 0);
    for &i in &body {
        let worst = image::leaf_chunks(n, i)?;
        leaf += worst.chunks;
        patterns += worst.patterns;
    }
    let length = n.fold_length();
    let leaf_gas = length.min(BLOCK) * body_gas + 15 * combine_gas;
    let top_gas = length.div_ceil(BLOCK).min(BLOCK) * combine_gas + finish_gas;
    if length <= BLOCK {
        // One unit does both; what the body read already is not read again.
        let more = finish.difference(&body).count() as u64;
        within(Cost { chunks: leaf + more, gas: leaf_gas + finish_gas, patterns })
    } else {
        within(Cost { chunks: leaf.max(finish.len() as u64), gas: leaf_gas.max(top_gas), patterns })
    }
}

fn within(cost: Cost) -> Result<Cost, Rule> {
    if cost.chunks > MAX_CHUNKS { Err(Rule::Chunks { got: cost.chunks }) } else { Ok(cost) }
}
