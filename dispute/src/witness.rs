//! The judgement: what proves that the referee's inputs are the ones committed to.
//!
//! State and data are agreed, so their proofs come from the own trees. Of the trace, only the nodes before the disputed
//! one are agreed; the siblings right of it are the defender's, and stand in the lists that it posted:
//!
//! ```text
//!            trace root                 proof of a:  b   own hash, left of n
//!           /          \                             C   holds n: folded from the posted list
//!         AB            C
//!        /  \         /   \             Every sibling that is neither left of n nor empty lies under a cursor
//!       a    b     ..n..   posted       on the path to n, so its parts were posted.
//! ```

use alloy_primitives::B256;
use lockstep_commit::{Tree, tensor, tree};
use lockstep_ir::program::Source;
use lockstep_ir::tensor::Tensor;

use crate::layout;
use crate::moves::{ChunkWitness, Move, OperandWitness, Posted};
use crate::reads::reads;
use crate::referee::Unit;
use crate::replay::{Replay, TensorSet, operands};
use crate::state::{State, UnitKind};
use crate::strategy::{Job, NoMove};

/// The judgement in `Judge`. Anyone whose run agrees with the defender up to the disputed node can build it.
///
/// # Errors
/// See [`NoMove`].
pub fn judge<R: Replay>(
    job: Job<'_>,
    state: &State,
    posted: &Posted,
    replay: &mut R,
) -> Result<Move, NoMove<R::Error>> {
    let node = job.node(state.node)?;
    let tensors = operands(replay, node, state.first_step).map_err(NoMove::Replay)?;
    let tensors: Vec<&Tensor> = tensors.iter().map(AsRef::as_ref).collect();
    let combines = matches!(state.unit_kind, UnitKind::Combine | UnitKind::Top);
    let values = if combines { posted.values.clone() } else { vec![] };
    let unit = Unit { kind: state.unit_kind, element: state.element, block_index: state.block_index };
    let reads = reads(node, &unit, &tensors[..]);
    let mut witness = Vec::with_capacity(tensors.len());
    for (index, (operand, tensor)) in node.operands.iter().zip(&tensors).enumerate() {
        let chunks: Vec<u64> = reads.chunks.iter().filter(|read| read.0 == index).map(|read| read.1).collect();
        witness.push(if reads.operands.contains(&index) {
            prove_operand(state, posted, replay, operand.source, tensor, &chunks)?
        } else {
            OperandWitness::default()
        });
    }
    Ok(Move::Judge { node: node.encode(), values, witness })
}

fn prove_operand<R: Replay>(
    state: &State,
    posted: &Posted,
    replay: &mut R,
    source: Source,
    operand: &Tensor,
    chunks: &[u64],
) -> Result<OperandWitness, NoMove<R::Error>> {
    let (set, index) = TensorSet::of(source, state.first_step);
    let own = replay.roots(set).map_err(NoMove::Replay)?;
    let root_proof = match set {
        TensorSet::Trace { .. } => trace_proof(&own, &posted.trace_levels, state.node, index)?,
        _ => own.prove(u64::from(index))?,
    };
    let hashes = replay.hashes(set, index).map_err(NoMove::Replay)?;
    let mut proven = OperandWitness { merkle_root: hashes.merkle_root(), root_proof, chunks: vec![] };
    for &chunk in chunks {
        let data = tensor::chunk(operand.bytes(), chunk).ok_or(NoMove::Program { what: "chunk", index: chunk })?;
        proven.chunks.push(ChunkWitness { index: chunk, data: data.to_vec(), proof: hashes.tree().prove(chunk)? });
    }
    Ok(proven)
}

/// Path of leaf `leaf` < `node` under the defender's trace root: own hashes left of `node`, posted ones elsewhere.
fn trace_proof<E>(own: &Tree, levels: &[Vec<B256>], node: u32, leaf: u32) -> Result<Vec<B256>, NoMove<E>> {
    let (node, leaf) = (u64::from(node), u64::from(leaf));
    let sibling = |height: u8| {
        let index = (leaf >> height) ^ 1;
        if index < node >> height {
            return own.node(height, index).ok_or(NoMove::Program { what: "node", index: leaf });
        }
        if index >= tree::subtree_count(own.count(), height) {
            return Ok(tree::empty(height));
        }
        posted_subtree(own.count(), levels, height, index)
    };
    (0..own.depth()).map(sibling).collect()
}

/// Hash of the real subtree `index` of `height` in the defender's tree: entries posted below it, folded.
fn posted_subtree<E>(count: u64, levels: &[Vec<B256>], height: u8, index: u64) -> Result<B256, NoMove<E>> {
    let mut cursor = tree::depth(count);
    for entries in levels {
        let below = cursor - cursor.min(layout::LEVELS);
        if height >= below {
            // Lists hold a whole number of subtrees, so the place within the list is the index's remainder.
            let span = height - below;
            let first = ((index << span) & ((1 << (cursor - below)) - 1)) as usize;
            let real = tree::real_children(count, height, index, span) as usize;
            let part = entries.get(first..first + real).ok_or(NoMove::Incomplete { what: "a level of the trace" })?;
            return Ok(tree::subtree_hash(part, height, span)?);
        }
        cursor = below;
    }
    Err(NoMove::Incomplete { what: "levels of the trace" })
}

/// The judgement in `JudgeState`. Anyone whose run agrees with the defender's trace can build it.
///
/// # Errors
/// See [`NoMove`].
pub fn judge_state<R: Replay>(job: Job<'_>, state: &State, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
    let missing = NoMove::Program { what: "state tensor", index: state.index };
    let decl = usize::try_from(state.index).ok().and_then(|index| job.program.state.get(index)).ok_or(missing)?;
    let (set, index) = TensorSet::of(decl.next, state.first_step);
    let tree = replay.roots(set).map_err(NoMove::Replay)?;
    let missing = NoMove::Program { what: "tensor", index: u64::from(index) };
    Ok(Move::JudgeState {
        decl: decl.clone(),
        decl_proof: job.hashes.state_decls().prove(state.index)?,
        source_root: *tree.leaves().get(index as usize).ok_or(missing)?,
        source_proof: tree.prove(u64::from(index))?,
    })
}
