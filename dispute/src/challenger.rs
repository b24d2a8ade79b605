//! The side that points.

use alloy_primitives::B256;
use lockstep_commit::{Tree, tree};

use crate::moves::{Move, Posted};
use crate::replay::{Replay, TensorSet};
use crate::state::{Phase, Side, State};
use crate::strategy::{Job, NoMove, own_level, own_state_roots};
use crate::witness;

/// Walks down to the first place where what was posted differs from the own run. A challenger whose run keeps the
/// definition, and who opened at the first wrong checkpoint, wins against every defender.
///
/// It always points at the *first* difference. So everything before that place is agreed: the state before the segment,
/// the nodes before the node, the values before the block. That is why its witness holds.
#[derive(Clone, Copy, Debug)]
pub struct Challenger<'a> {
    job: Job<'a>,
}

impl<'a> Challenger<'a> {
    /// A challenger of a claim about `job`.
    #[must_use]
    pub fn new(job: Job<'a>) -> Self {
        Self { job }
    }

    /// The next move from `state`, which must be the challenger's turn; `posted` is all that the defender posted so far.
    /// In `Judge` and `JudgeState` that is the judgement.
    ///
    /// # Errors
    /// There is none to make now; see [`NoMove`].
    pub fn next<R: Replay>(&self, state: &State, posted: &Posted, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
        if state.turn != Side::Challenger {
            return Err(NoMove::NotMyTurn { phase: state.phase });
        }
        match state.phase {
            Phase::Steps => step(state, posted, replay),
            Phase::Nodes | Phase::States | Phase::Chunks => child(state, posted, replay),
            Phase::Chunk => element(state, posted, replay),
            Phase::Blocks => self.block(state, posted, replay),
            Phase::Judge => witness::judge(self.job, state, posted, replay),
            Phase::JudgeState => witness::judge_state(self.job, state, replay),
            phase => Err(NoMove::NotMyTurn { phase }),
        }
    }

    fn block<R: Replay>(&self, state: &State, posted: &Posted, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
        let node = self.job.node(state.node)?;
        let own = replay.blocks(node, state.first_step, state.element, state.block_list()).map_err(NoMove::Replay)?;
        let child = first_difference(&own, &posted.values, "block results")?;
        Ok(Move::PointBlock { child: child.map(|child| child as u32), values: posted.values.clone() })
    }
}

fn step<R: Replay>(state: &State, posted: &Posted, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
    let own = own_state_roots(state, replay)?;
    let roots = &posted.state_roots;
    let part = first_difference(&own, roots, "state roots")?.ok_or(NoMove::NoDifference { phase: state.phase })?;
    let tree = Tree::new(roots.clone());
    let (before_root, before_proof) = match part.checked_sub(1) {
        None => (state.before_root, vec![]),
        Some(before) => (roots[before], tree.prove(before as u64)?),
    };
    let after_proof = tree.prove(part as u64)?;
    Ok(Move::PointStep { part: part as u32, before_root, before_proof, after_root: roots[part], after_proof })
}

fn child<R: Replay>(state: &State, posted: &Posted, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
    let phase = state.phase;
    // The only list that may be empty: the first of a tree with one leaf, which is the cursor itself.
    let level = posted.level(phase).ok_or(NoMove::Incomplete { what: "no level of this walk" })?;
    let level = if level.is_empty() { &[state.cursor] } else { level };
    let own = own_level(state, replay)?;
    let Some(child) = first_difference(&own, level, "subtree hashes")? else {
        let may_leave = phase == Phase::Nodes && state.depth == tree::depth(state.count);
        return if may_leave { Ok(Move::PointState) } else { Err(NoMove::NoDifference { phase }) };
    };
    let proof = tree::prove_child(level, state.depth, state.level().levels, child as u64)?;
    Ok(Move::PointChild { child: child as u32, hash: level[child], proof })
}

fn element<R: Replay>(state: &State, posted: &Posted, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
    let set = TensorSet::Trace { step: state.first_step };
    let own = replay.tensor(set, state.node).map_err(NoMove::Replay)?;
    let own = lockstep_commit::tensor::chunk(own.bytes(), state.index);
    let own = own.ok_or(NoMove::Program { what: "chunk", index: state.index })?;
    let byte = first_difference(own, &posted.chunk, "bytes of the chunk")?;
    let byte = byte.ok_or(NoMove::NoDifference { phase: state.phase })?;
    let start = state.index * lockstep_commit::CHUNK_BYTES as u64;
    let element = (start + byte as u64) / u64::from(state.element_size);
    Ok(Move::PointElement { element, chunk: posted.chunk.clone() })
}

/// Index of the first entry that differs; lists of different lengths are not about the same thing.
fn first_difference<T: PartialEq, E>(own: &[T], posted: &[T], what: &'static str) -> Result<Option<usize>, NoMove<E>> {
    if own.len() != posted.len() {
        return Err(NoMove::Incomplete { what });
    }
    Ok(own.iter().zip(posted).position(|(own, posted)| own != posted))
}

/// The roots that a claim should have named, compared with the ones that it did: the first checkpoint to dispute.
#[must_use]
pub fn first_wrong_checkpoint(own: &[B256], claimed: &[B256]) -> Option<usize> {
    own.iter().zip(claimed).position(|(own, claimed)| own != claimed)
}
