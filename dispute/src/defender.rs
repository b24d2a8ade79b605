//! The side that posts.

use alloy_primitives::B256;
use lockstep_commit::{Tree, tensor};

use crate::layout;
use crate::moves::Move;
use crate::replay::{Replay, TensorSet};
use crate::state::{Phase, Side, State};
use crate::strategy::{Job, NoMove, own_level, own_state_roots};

/// Defends a claim by posting what the own run gave. A defender whose run keeps the definition wins against every
/// challenger, without ever building a witness.
#[derive(Clone, Copy, Debug)]
pub struct Defender<'a> {
    job: Job<'a>,
}

impl<'a> Defender<'a> {
    /// A defender of a claim about `job`.
    #[must_use]
    pub fn new(job: Job<'a>) -> Self {
        Self { job }
    }

    /// The next move from `state`, which must be the defender's turn.
    ///
    /// # Errors
    /// There is none to make now; see [`NoMove`].
    pub fn next<R: Replay>(&self, state: &State, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
        if state.turn != Side::Defender {
            return Err(NoMove::NotMyTurn { phase: state.phase });
        }
        match state.phase {
            Phase::Steps => Ok(Move::PostSteps { state_roots: own_state_roots(state, replay)? }),
            Phase::Trace => {
                let tree = replay.roots(TensorSet::Trace { step: state.first_step }).map_err(NoMove::Replay)?;
                Ok(Move::PostTrace { trace_root: tree.root(), children: first_level(&tree)? })
            }
            Phase::Nodes | Phase::States | Phase::Chunks => {
                Ok(Move::PostChildren { children: own_level(state, replay)? })
            }
            Phase::Tensor => self.tensor(state, replay),
            Phase::Chunk => {
                let output = replay.tensor(output_set(state), state.node).map_err(NoMove::Replay)?;
                let chunk = tensor::chunk(output.bytes(), state.index);
                let chunk = chunk.ok_or(NoMove::Program { what: "chunk", index: state.index })?;
                Ok(Move::PostChunk { chunk: chunk.to_vec() })
            }
            Phase::Blocks => {
                let node = self.job.node(state.node)?;
                let values = replay.blocks(node, state.first_step, state.element, state.block_list());
                Ok(Move::PostBlocks { values: values.map_err(NoMove::Replay)? })
            }
            phase => Err(NoMove::NotMyTurn { phase }),
        }
    }

    fn tensor<R: Replay>(&self, state: &State, replay: &mut R) -> Result<Move, NoMove<R::Error>> {
        let output = replay.hashes(output_set(state), state.node).map_err(NoMove::Replay)?;
        Ok(Move::PostTensor {
            node: self.job.node(state.node)?.encode(),
            node_proof: self.job.hashes.nodes().prove(u64::from(state.node))?,
            merkle_root: output.merkle_root(),
            children: first_level(output.tree())?,
        })
    }
}

fn output_set(state: &State) -> TensorSet {
    TensorSet::Trace { step: state.first_step }
}

/// What is posted first of a tree: nothing if it has one leaf.
fn first_level(tree: &Tree) -> Result<Vec<B256>, lockstep_commit::Error> {
    match tree.depth() {
        0 => Ok(vec![]),
        depth => Ok(tree.children(depth, 0, depth.min(layout::LEVELS))?.to_vec()),
    }
}
