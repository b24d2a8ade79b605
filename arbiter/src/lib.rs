//! The arbiter: judges disputes for the tip. Anyone may run one; it decides nothing, it only brings the referee the inputs.
//!
//! ```text
//! dispute at Judge ──► fetch program, data and the last agreed checkpoint ──► replay to the node ──► say who is right
//!                                                                                        └──► witness ──► referee ──► tip
//! ```
//!
//! ```
//! use lockstep_arbiter::Config;
//! assert_eq!(Config::default().poll_ms, 500);
//! ```

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lockstep_dispute::{Phase, Replay, TensorSet};
use lockstep_ir::Program;
use lockstep_sdk::{
    artifact::{Fetcher, Kind},
    challenge::EntryStatus,
    client::{Client, Schedule},
    error::Error,
    moves::Standing,
    play::{Player, Role, Turn},
    prepare::{Prepared, state_decls},
    report::Reporter,
    run::{Run, RunError},
    work::{Next, Stop, Worker, watch_numbered},
};

/// How an arbiter works.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Milliseconds between looks at the chain.
    pub poll_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll_ms: 500 }
    }
}

/// One dispute under the eyes of an arbiter.
struct Case {
    arbiter: Arbiter,
    dispute_id: u64,
}

impl Worker for Case {
    async fn look(&mut self) -> Result<Next, Error> {
        self.arbiter.look(self.dispute_id).await
    }

    fn tell(&self, what: &'static str, why: String) {
        self.arbiter.report.dispute(0, self.dispute_id, what, why);
    }
}

/// An arbiter.
#[derive(Clone, Debug)]
pub struct Arbiter {
    client: Client,
    fetcher: Fetcher,
    config: Config,
    report: Reporter,
}

impl Arbiter {
    /// An arbiter that keeps what it fetches in the store of `fetcher`.
    #[must_use]
    pub fn new(client: Client, fetcher: Fetcher, config: Config, report: Reporter) -> Self {
        Self { client, fetcher, config, report }
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// It has no wallet.
    pub async fn run(self, stop: Stop) -> Result<(), Error> {
        self.client.chain().address()?;
        let poll = Duration::from_millis(self.config.poll_ms);
        let count = || self.client.dispute_count();
        watch_numbered(poll, stop, count, |dispute_id| Case { arbiter: self.clone(), dispute_id }).await;
        Ok(())
    }

    async fn look(&self, dispute_id: u64) -> Result<Next, Error> {
        let entry = self.client.entry(dispute_id).await?;
        let standing = match entry.status {
            EntryStatus::Active => self.client.dispute(dispute_id).await?,
            EntryStatus::Announced | EntryStatus::Queued => return Ok(Next::Wait),
            _ => return Ok(Next::Done),
        };
        match standing.state.phase {
            phase if phase.is_over() => Ok(Next::Done),
            Phase::Judge | Phase::JudgeState => self.judge(standing).await,
            _ => Ok(Next::Wait),
        }
    }

    async fn judge(&self, standing: Standing) -> Result<Next, Error> {
        let (job_id, dispute_id) = (standing.job_id, standing.dispute_id);
        let (program, run) = self.replay(&standing).await?;
        let verdict = self.verdict(&standing, &program, &run).await?;
        self.report.dispute(job_id, dispute_id, "verdict", verdict);
        let player = Player::new(self.client.clone(), dispute_id, Role::Arbiter, program, run);
        match player.turn().await? {
            Turn::Played(played) => {
                self.report.played(job_id, dispute_id, &played);
                if let Some(outcome) = self.client.withdraw().await? {
                    self.report.dispute_sent(job_id, dispute_id, "withdrew", "the tip is in the wallet", &outcome);
                }
            }
            Turn::Waiting { .. } | Turn::Over { .. } => {}
        }
        Ok(Next::Again)
    }

    /// A run from the last state before the dispute that somebody serves: the checkpoint before the disputed one, or the first.
    async fn replay(&self, standing: &Standing) -> Result<(Arc<Program>, Arc<Mutex<Run>>), Error> {
        let job = self.client.job(standing.job_id).await?;
        let claims = self.client.claims(standing.job_id).await?;
        let mirrors: Vec<String> = claims.iter().rev().map(|c| c.uri.clone()).collect();
        let prepared = Prepared::fetch(&self.client, &self.fetcher, standing.job_id, &mirrors).await?;
        let claim = claims.iter().rev().find(|c| c.milestone == standing.milestone && c.attempt == job.attempt);
        let schedule = Schedule::of(&prepared.spec);
        let checkpoint = standing.checkpoint.checked_sub(1).map(|before| before as usize);
        let (steps, root) = match checkpoint.and_then(|i| Some((i, *claim?.state_roots.get(i)?))) {
            Some((i, root)) => (schedule.checkpoints_of(standing.milestone)[i], root),
            None => (schedule.start_of(standing.milestone), job.state_root),
        };
        let decls = state_decls(&prepared.program);
        let run = match self.fetcher.fetch_tensors(&mirrors, Kind::State, root, &decls).await {
            Ok(state) => Run::new(&prepared.program, prepared.data, steps, state)?,
            Err(e) => {
                self.report.dispute(standing.job_id, standing.dispute_id, "replaying", format!("from the start: {e}"));
                prepared.run()?
            }
        };
        Ok((prepared.program, Arc::new(Mutex::new(run))))
    }

    /// Who is right, in words.
    async fn verdict(&self, standing: &Standing, program: &Program, run: &Arc<Mutex<Run>>) -> Result<String, Error> {
        let (run, state) = (run.clone(), standing.state.clone());
        let outputs = program.nodes.get(state.node as usize).map(|n| n.out.clone());
        let work = move || -> Result<String, RunError> {
            let mut run = run.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let step = state.first_step;
            if state.phase == Phase::JudgeState {
                let right = run.tensor(TensorSet::State { steps: step + 1 }, state.index as u32)?;
                let root = lockstep_commit::roots::root_of_tensor(&right);
                let who = if root == state.cursor { "the solver is right" } else { "the challenger is right" };
                return Ok(format!(
                    "state tensor s{} after step {step}: should be {root}, the solver says {}: {who}",
                    state.index, state.cursor
                ));
            }
            let right = run.tensor(TensorSet::Trace { step }, state.node)?.stored(state.element);
            let kind = outputs.map(|o| o.dtype.name()).unwrap_or_default();
            let place = format!("step {step}, node n{}, element {} ({kind})", state.node, state.element);
            if state.block_level > 0 {
                return Ok(format!(
                    "{place}: block {} of its fold is disputed; the referee recomputes it",
                    state.block_index
                ));
            }
            let who = if right == state.value { "the solver is right" } else { "the challenger is right" };
            Ok(format!("{place}: {right:#010x} by definition, the solver says {:#010x}: {who}", state.value))
        };
        let verdict = tokio::task::spawn_blocking(work).await.map_err(|e| Error::Task(e.to_string()))?;
        Ok(verdict?)
    }
}
