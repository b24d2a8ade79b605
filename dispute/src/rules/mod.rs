//! The contract's checks, move by move.

mod element;
mod steps;
mod verdict;
mod walk;

use alloy_primitives::B256;

use crate::illegal::Illegal;
use crate::moves::Move;
use crate::state::{Phase, Side, State, Terms};

impl State {
    /// The state after `mv` at `now_s`, with exactly the contract's checks but for who sends it and the position it names.
    ///
    /// # Errors
    /// The move is refused; this state stands.
    pub fn apply(&self, terms: &Terms, mv: &Move, now_s: u64) -> Result<Self, Illegal> {
        if matches!(mv, Move::Timeout) {
            return self.timed_out(terms, now_s);
        }
        self.check_turn(mv)?;
        let deadline_s = self.deadline_s(terms);
        if now_s > deadline_s {
            return Err(Illegal::TimeIsUp { deadline_s });
        }
        let mut next = self.clone();
        next.charge(now_s);
        match mv {
            Move::PostSteps { state_roots } => next.post_steps(state_roots)?,
            Move::PointStep { part, before_root, before_proof, after_root, after_proof } => {
                next.point_step(u64::from(*part), (*before_root, before_proof), (*after_root, after_proof))?;
            }
            Move::PostTrace { trace_root, children } => next.post_trace(terms, *trace_root, children)?,
            Move::PostChildren { children } => next.post_children(children)?,
            Move::PostTensor { node, node_proof, merkle_root, children } => {
                next.post_tensor(terms, node, node_proof, *merkle_root, children)?;
            }
            Move::PointChild { child, hash, proof } => next.point_child(u64::from(*child), *hash, proof)?,
            Move::PointState => next.point_state(terms)?,
            Move::PostChunk { chunk } => next.post_chunk(chunk)?,
            Move::PointElement { element, chunk } => next.point_element(*element, chunk)?,
            Move::PostBlocks { values } => next.post_blocks(values)?,
            Move::PointBlock { child, values } => next.point_block(*child, values)?,
            Move::Judge { node, values, witness } => next.judge(terms, node, values, witness)?,
            Move::JudgeState { decl, decl_proof, source_root, source_proof } => {
                next.judge_state(terms, decl, decl_proof, *source_root, source_proof)?;
            }
            Move::Timeout => {}
        }
        // The move that ends the game starts no turn.
        if !next.phase.is_over() {
            next.turn_started_s = now_s;
        }
        Ok(next)
    }

    /// Phase and turn that the move belongs to. Judgements belong to anyone.
    fn check_turn(&self, mv: &Move) -> Result<(), Illegal> {
        use Phase::{Blocks, Chunk, Chunks, Judge, JudgeState, Nodes, States, Steps, Tensor, Trace};
        let (phases, side): (&[Phase], _) = match mv {
            Move::PostSteps { .. } => (&[Steps], Some(Side::Defender)),
            Move::PostTrace { .. } => (&[Trace], Some(Side::Defender)),
            Move::PostChildren { .. } => (&[Nodes, States, Chunks], Some(Side::Defender)),
            Move::PostTensor { .. } => (&[Tensor], Some(Side::Defender)),
            Move::PostChunk { .. } => (&[Chunk], Some(Side::Defender)),
            Move::PostBlocks { .. } => (&[Blocks], Some(Side::Defender)),
            Move::PointStep { .. } => (&[Steps], Some(Side::Challenger)),
            Move::PointChild { .. } => (&[Nodes, States, Chunks], Some(Side::Challenger)),
            Move::PointState => (&[Nodes], Some(Side::Challenger)),
            Move::PointElement { .. } => (&[Chunk], Some(Side::Challenger)),
            Move::PointBlock { .. } => (&[Blocks], Some(Side::Challenger)),
            Move::Judge { .. } => (&[Judge], None),
            Move::JudgeState { .. } => (&[JudgeState], None),
            Move::Timeout => return Ok(()),
        };
        if !phases.contains(&self.phase) {
            return Err(Illegal::WrongPhase { current: self.phase });
        }
        if side.is_some_and(|side| side != self.turn) {
            return Err(Illegal::WrongTurn { current: self.turn });
        }
        Ok(())
    }

    /// Takes the time since the turn began off the clock of the side to move.
    fn charge(&mut self, now_s: u64) {
        let elapsed_s = u32::try_from(now_s.saturating_sub(self.turn_started_s)).unwrap_or(u32::MAX);
        let clock_s = match self.turn {
            Side::Defender => &mut self.defender_clock_s,
            Side::Challenger => &mut self.challenger_clock_s,
        };
        *clock_s = clock_s.saturating_sub(elapsed_s);
    }

    fn timed_out(&self, terms: &Terms, now_s: u64) -> Result<Self, Illegal> {
        if self.phase.is_over() {
            return Err(Illegal::WrongPhase { current: self.phase });
        }
        let deadline_s = self.deadline_s(terms);
        if now_s <= deadline_s {
            return Err(Illegal::NotYetTimedOut { deadline_s });
        }
        let mut next = self.clone();
        next.resolve(self.turn.other());
        Ok(next)
    }

    fn to(&mut self, phase: Phase, turn: Side) {
        self.phase = phase;
        self.turn = turn;
    }

    fn resolve(&mut self, winner: Side) {
        self.phase = match winner {
            Side::Defender => Phase::DefenderWon,
            Side::Challenger => Phase::ChallengerWon,
        };
    }
}

fn check_hash(expected: B256, actual: B256) -> Result<(), Illegal> {
    if expected == actual { Ok(()) } else { Err(Illegal::WrongHash { expected, actual }) }
}

fn check_count(expected: u64, actual: usize) -> Result<(), Illegal> {
    let actual = actual as u64;
    if expected == actual { Ok(()) } else { Err(Illegal::WrongCount { expected, actual }) }
}
