//! What the strategies of both sides share.

use lockstep_commit::ProgramTree;
use lockstep_ir::program::{Node, Program};

use crate::layout;
use crate::replay::{Replay, TensorSet};
use crate::state::{Phase, State};

/// Why a strategy has no move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoMove<E> {
    /// The replay failed. Retry when it can answer, before the clock runs out.
    #[error("replay: {0}")]
    Replay(E),
    /// It is the other side's turn, or the game is over. Wait for the next event.
    #[error("nothing to move in {phase:?}: the other side's turn, or the game is over")]
    NotMyTurn {
        /// The phase it is in.
        phase: Phase,
    },
    /// Challenger: everything posted equals the own run. The challenge is wrong, or the own run is; check that run,
    /// and let the clock decide if it stays so.
    #[error("in {phase:?} everything posted equals the own run: there is nothing to point at")]
    NoDifference {
        /// The phase it is in.
        phase: Phase,
    },
    /// The posted lists given to the strategy do not fit the state: events are missing. Read them again.
    #[error("posted lists do not fit the dispute: {what}; read its events again")]
    Incomplete {
        /// What is missing or too much.
        what: &'static str,
    },
    /// A tree or proof that the own run cannot give. The replay answers inconsistently; repair it.
    #[error("own run: {0}")]
    Commit(#[from] lockstep_commit::Error),
    /// The dispute names a node or tensor that the program does not have. The program given is another one; fix the input.
    #[error("the program has no {what} {index}: it is not this job's")]
    Program {
        /// Kind of thing.
        what: &'static str,
        /// Its index.
        index: u64,
    },
}

/// The program in dispute, in the forms that moves need.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The program.
    pub program: &'a Program,
    /// Its hashes.
    pub hashes: &'a ProgramTree,
}

impl<'a> Job<'a> {
    pub(crate) fn node<E>(self, index: u32) -> Result<&'a Node, NoMove<E>> {
        self.program.nodes.get(index as usize).ok_or(NoMove::Program { what: "node", index: u64::from(index) })
    }
}

/// The tensors whose tree is walked in `Nodes` and `States`.
pub(crate) fn walked(state: &State) -> TensorSet {
    match state.phase {
        Phase::States => TensorSet::State { steps: state.first_step + state.steps },
        _ => TensorSet::Trace { step: state.first_step },
    }
}

/// The own subtree hashes at the level under the cursor, in `Nodes`, `States` and `Chunks`.
pub(crate) fn own_level<R: Replay>(
    state: &State,
    replay: &mut R,
) -> Result<Vec<alloy_primitives::B256>, NoMove<R::Error>> {
    let level = state.level();
    if state.phase == Phase::Chunks {
        let hashes = replay.hashes(walked(state), state.node).map_err(NoMove::Replay)?;
        return Ok(hashes.tree().children(state.depth, state.index, level.levels)?.to_vec());
    }
    let tree = replay.roots(walked(state)).map_err(NoMove::Replay)?;
    Ok(tree.children(state.depth, state.index, level.levels)?.to_vec())
}

/// The own state roots after each part of the segment.
pub(crate) fn own_state_roots<R: Replay>(
    state: &State,
    replay: &mut R,
) -> Result<Vec<alloy_primitives::B256>, NoMove<R::Error>> {
    let after = |part| {
        let (start, steps) = layout::part(state.steps, part);
        replay.state_root(state.first_step + start + steps).map_err(NoMove::Replay)
    };
    (0..layout::parts(state.steps)).map(after).collect()
}
