//! Playing one side of a dispute, or judging it, move by move.

use std::sync::{Arc, Mutex};

use lockstep_commit::ProgramTree;
use lockstep_dispute::{Challenger, Defender, Job, Move, NoMove, Phase, Posted, Side, State, witness};
use lockstep_ir::Program;

use crate::{
    chain::Outcome,
    client::Client,
    error::Error,
    moves::{self, Standing},
    run::{Run, RunError},
};

/// What a party does in a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Posts; the solver of the claim.
    Defender,
    /// Points; whoever opened the dispute. Judges, too, if nobody else does.
    Challenger,
    /// Judges, for the tip.
    Arbiter,
}

/// What came of looking at a dispute once.
#[derive(Debug)]
pub enum Turn {
    /// A move was made.
    Played(Box<Played>),
    /// Somebody else is to move, until then (seconds since 1970).
    Waiting {
        /// Who.
        side: Side,
        /// Until when.
        deadline_s: u64,
    },
    /// The game is over.
    Over {
        /// Who won.
        winner: Side,
        /// The transaction that paid everybody, if nobody had sent it before.
        payment: Option<Box<Outcome>>,
    },
}

/// A move that got into a block.
#[derive(Clone, Debug)]
pub struct Played {
    /// Phase it was made in.
    pub phase: Phase,
    /// Name of the call.
    pub call: &'static str,
    /// What it posts, points at or proves.
    pub what: String,
    /// What it cost.
    pub outcome: Outcome,
    /// The transaction that paid everybody, if this move ended the game.
    pub payment: Option<Outcome>,
}

/// One party in one dispute.
pub struct Player {
    client: Client,
    dispute_id: u64,
    role: Role,
    program: Arc<Program>,
    hashes: Arc<ProgramTree>,
    run: Arc<Mutex<Run>>,
    judge_after_s: u64,
}

impl Player {
    /// A party with its own run of the job.
    #[must_use]
    pub fn new(client: Client, dispute_id: u64, role: Role, program: Arc<Program>, run: Arc<Mutex<Run>>) -> Self {
        let hashes = Arc::new(ProgramTree::new(&program));
        Self { client, dispute_id, role, program, hashes, run, judge_after_s: 0 }
    }

    /// A challenger leaves the judgement to an arbiter for so long before it judges itself; `u64::MAX`: it never does.
    #[must_use]
    pub fn judge_after_s(mut self, seconds: u64) -> Self {
        self.judge_after_s = seconds;
        self
    }

    /// Looks at the dispute and makes the move that is due, if it is this party's.
    ///
    /// # Errors
    /// The chain refuses or does not answer: look again. The run has no answer: see the class.
    pub async fn turn(&self) -> Result<Turn, Error> {
        let standing = self.client.dispute(self.dispute_id).await?;
        let state = &standing.state;
        if let Some(winner) = state.winner() {
            let payment = self.client.pay_verdict(self.dispute_id).await?.map(Box::new);
            return Ok(Turn::Over { winner, payment });
        }
        let now_s = self.client.chain().now_s().await?;
        let waiting = Turn::Waiting { side: state.turn, deadline_s: standing.deadline_s };
        let mv = if now_s > standing.deadline_s {
            if self.role == Role::Arbiter || self.side() == Some(state.turn) {
                return Ok(waiting);
            }
            Move::Timeout
        } else if self.is_mine(state, now_s) {
            let posted = self.client.posted(self.dispute_id).await?;
            self.choose(standing.clone(), posted).await?
        } else {
            return Ok(waiting);
        };
        let (phase, what) = (state.phase, moves::describe(&mv));
        let ends = matches!(mv, Move::Judge { .. } | Move::JudgeState { .. } | Move::Timeout);
        let call = moves::call(self.dispute_id, standing.position, self.hashes.header(), mv);
        let name = call.name;
        let outcome = self.client.play(call).await?;
        let payment = if ends { self.client.pay_verdict(self.dispute_id).await? } else { None };
        Ok(Turn::Played(Box::new(Played { phase, call: name, what, outcome, payment })))
    }

    fn side(&self) -> Option<Side> {
        match self.role {
            Role::Defender => Some(Side::Defender),
            Role::Challenger => Some(Side::Challenger),
            Role::Arbiter => None,
        }
    }

    fn is_mine(&self, state: &State, now_s: u64) -> bool {
        let judging = matches!(state.phase, Phase::Judge | Phase::JudgeState);
        match self.role {
            Role::Arbiter => judging,
            Role::Challenger if judging => now_s >= state.turn_started_s.saturating_add(self.judge_after_s),
            Role::Challenger => state.turn == Side::Challenger,
            Role::Defender => state.turn == Side::Defender,
        }
    }

    /// The move, found in the background because it may replay steps.
    async fn choose(&self, standing: Standing, posted: Posted) -> Result<Move, Error> {
        let (role, run) = (self.role, self.run.clone());
        let (program, hashes) = (self.program.clone(), self.hashes.clone());
        let found = tokio::task::spawn_blocking(move || {
            let mut run = run.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let job = Job { program: &program, hashes: &hashes };
            choose(role, job, &standing.state, &posted, &mut run)
        });
        let found = found.await.map_err(|e| Error::Task(e.to_string()))?;
        found.map_err(|e| Error::Game { dispute_id: self.dispute_id, reason: e.to_string() })
    }
}

fn choose(role: Role, job: Job<'_>, state: &State, posted: &Posted, run: &mut Run) -> Result<Move, NoMove<RunError>> {
    match (role, state.phase) {
        (_, Phase::Judge) => witness::judge(job, state, posted, run),
        (_, Phase::JudgeState) => witness::judge_state(job, state, run),
        (Role::Defender, _) => Defender::new(job).next(state, run),
        _ => Challenger::new(job).next(state, posted, run),
    }
}
