//! The solver: takes jobs, trains them, claims checkpoints, defends its claims, collects.
//!
//! ```text
//! job open ──► fetch, check every root, validate, measure ──► take ──► train ──► claim ──► window ──► settle
//!                         │ refuse, with the reason                       ▲            │
//!                         ▼                                               │            ▼
//!                       (next job)                              states served     dispute: post
//! ```
//!
//! Everything it needs after a restart is on the chain and in its artifact store: killed at any point, it looks at the chain and
//! carries on.
//!
//! ```
//! use lockstep_solver::Config;
//! let config = Config { min_milestone_price_wei: 10, ..Config::default() };
//! assert_eq!(config.poll_ms, 500);
//! ```

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lockstep_commit::B256;
use lockstep_sdk::{
    artifact::{Fetcher, Kind},
    assigned::{SeatStatus, claim_key},
    challenge::EntryStatus,
    client::{Client, Job, JobSpec, JobStatus, Schedule, price_at},
    error::Error,
    play::{Player, Role, Turn},
    prepare::{Prepared, checkpoints, state_decls},
    report::Reporter,
    run::{Fault, Run},
    work::{Next, Stop, Worker, watch_numbered},
};

/// Steps that are timed before a job is taken.
const MEASURED_STEPS: u64 = 5;
/// Part of the time to claim that training may take by that measure; the rest is for what cannot be foreseen.
const USABLE_TIME: f64 = 0.5;

/// How a solver works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Milliseconds between looks at the chain.
    pub poll_ms: u64,
    /// Where its artifacts are served, as others reach it.
    pub uri: String,
    /// Least price of a milestone.
    pub min_milestone_price_wei: u128,
    /// A number altered on purpose, to show and test that it is found. `None` in production.
    pub fault: Option<Fault>,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll_ms: 500, uri: String::new(), min_milestone_price_wei: 0, fault: None }
    }
}

/// A solver.
#[derive(Clone, Debug)]
pub struct Solver {
    client: Client,
    fetcher: Fetcher,
    config: Config,
    report: Reporter,
}

impl Solver {
    /// A solver that keeps its artifacts in the store of `fetcher`.
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
        let count = || self.client.job_count();
        watch_numbered(poll, stop, count, |job_id| JobWorker::new(self.clone(), job_id)).await;
        Ok(())
    }
}

/// What the auction of a job offers now.
enum Offer {
    /// So much a milestone, which is enough.
    Enough(u128),
    /// Not enough yet.
    Rising,
    /// Never enough.
    TooLittle,
}

/// One job in the hands of a solver.
struct JobWorker {
    solver: Solver,
    job_id: u64,
    prepared: Option<Prepared>,
    run: Option<Arc<Mutex<Run>>>,
    told: Option<String>,
}

impl Worker for JobWorker {
    async fn look(&mut self) -> Result<Next, Error> {
        let job = self.solver.client.job(self.job_id).await?;
        let mine = job.solver == self.solver.client.chain().address()?;
        match job.status {
            JobStatus::Open => self.consider(&job).await,
            JobStatus::Taken if mine => self.carry_on(&job).await,
            status if mine => {
                self.solver.report.tell(job.id, "over", format!("the job is {status}"));
                self.collect(job.id).await?;
                Ok(Next::Done)
            }
            // its solver may be late or convicted; then the job is back on the market
            JobStatus::Taken | JobStatus::Convicted => Ok(Next::Wait),
            _ => Ok(Next::Done),
        }
    }

    fn tell(&self, what: &'static str, why: String) {
        self.solver.report.tell(self.job_id, what, why);
    }
}

impl JobWorker {
    fn new(solver: Solver, job_id: u64) -> Self {
        Self { solver, job_id, prepared: None, run: None, told: None }
    }

    /// Takes an open job if everything it names is right and it pays.
    async fn consider(&mut self, job: &Job) -> Result<Next, Error> {
        let client = self.solver.client.clone();
        let spec = client.spec(job.id).await?;
        let now_s = client.chain().now_s().await?;
        if now_s > job.deadline_s {
            return Ok(Next::Done);
        }
        if client.barred(job.id).await? {
            self.solver.report.tell(job.id, "refused", "this solver was convicted or late in it before");
            return Ok(Next::Done);
        }
        let price_wei = match self.offer(job, &spec, now_s) {
            Offer::Enough(price_wei) => price_wei,
            Offer::Rising => return Ok(Next::Wait),
            Offer::TooLittle => return Ok(Next::Done),
        };
        let prepared = self.prepared().await?.clone();
        let step_s = self.measure(&prepared).await?;
        let milestone_steps = Schedule::of(&spec).checkpoints_of(0).last().copied().unwrap_or(spec.steps);
        let needed_s = step_s * milestone_steps as f64;
        if needed_s > f64::from(spec.claimTimeoutS) * USABLE_TIME {
            let detail = format!(
                "a milestone takes about {needed_s:.0} s here, and must be claimed within {} s",
                spec.claimTimeoutS
            );
            self.solver.report.tell(job.id, "refused", detail);
            return Ok(Next::Done);
        }
        let outcome = client.take(job, &spec, price_wei).await?;
        let detail = format!("program, state and data checked; {:.2} ms a step; stake locked", step_s * 1e3);
        self.solver.report.sent(job.id, "taken", detail, &outcome);
        Ok(Next::Again)
    }

    /// What a milestone pays now, if that is enough for this solver; waits for the price to rise to it.
    fn offer(&mut self, job: &Job, spec: &JobSpec, now_s: u64) -> Offer {
        let least_wei = self.solver.config.min_milestone_price_wei;
        if spec.endPriceWei < least_wei {
            let detail = format!("a milestone pays {}, this solver wants at least {least_wei}", spec.endPriceWei);
            self.solver.report.tell(job.id, "refused", detail);
            return Offer::TooLittle;
        }
        let price_wei = price_at(spec, job.deadline_s, now_s);
        if price_wei < least_wei {
            self.wait(job.id, format!("the price is rising to {}", spec.endPriceWei));
            return Offer::Rising;
        }
        Offer::Enough(price_wei)
    }

    async fn prepared(&mut self) -> Result<&Prepared, Error> {
        if self.prepared.is_none() {
            let prepared = Prepared::fetch(&self.solver.client, &self.solver.fetcher, self.job_id, &[]).await?;
            self.prepared = Some(prepared);
        }
        self.prepared.as_ref().ok_or_else(|| Error::Task("the job was not prepared".into()))
    }

    async fn measure(&self, prepared: &Prepared) -> Result<f64, Error> {
        let run = Arc::new(Mutex::new(prepared.run()?));
        checkpoints(&run, vec![1]).await?;
        let start = Instant::now();
        checkpoints(&run, vec![1 + MEASURED_STEPS]).await?;
        Ok(start.elapsed().as_secs_f64() / MEASURED_STEPS as f64)
    }

    /// The next thing to do for a job of ours.
    async fn carry_on(&mut self, job: &Job) -> Result<Next, Error> {
        let client = self.solver.client.clone();
        let Some(claim_root) = job.claim_root else {
            return if job.commitment.is_some() { self.reveal(job).await } else { self.train(job).await };
        };
        if job.disputes != 0 {
            return self.defend_all(job).await;
        }
        let now_s = client.chain().now_s().await?;
        if now_s > job.window_end_s {
            let outcome = client.settle(job.id, claim_root).await?;
            let detail = format!("milestone {} is final and paid", job.final_milestones);
            self.solver.report.sent(job.id, "settled", detail, &outcome);
            return Ok(Next::Again);
        }
        self.wait(job.id, format!("window of milestone {} open until {}", job.final_milestones, job.window_end_s));
        Ok(Next::Wait)
    }

    fn wait(&mut self, job_id: u64, why: String) {
        if self.told.as_ref() != Some(&why) {
            self.solver.report.tell(job_id, "waiting", &why);
            self.told = Some(why);
        }
    }

    /// Our run, at least up to the start of the current milestone.
    async fn our_run(&mut self, job: &Job) -> Result<Arc<Mutex<Run>>, Error> {
        if let Some(run) = &self.run {
            return Ok(run.clone());
        }
        let fault = self.solver.config.fault;
        let store = self.solver.fetcher.store().clone();
        let prepared = self.prepared().await?;
        let mut run = prepared.run()?.with_fault(fault);
        let start = Schedule::of(&prepared.spec).start_of(job.final_milestones);
        // After a restart, the state that the milestone starts from is in the store; without it the run starts over.
        if store.has(Kind::State, job.state_root) {
            run.pin(start, store.tensors(Kind::State, job.state_root, &state_decls(&prepared.program))?);
        }
        let run = Arc::new(Mutex::new(run));
        self.run = Some(run.clone());
        Ok(run)
    }

    /// State roots at the checkpoints of the current milestone; the states are served once the roots are public.
    async fn roots(&mut self, job: &Job) -> Result<Vec<B256>, Error> {
        let run = self.our_run(job).await?;
        let schedule = Schedule::of(&self.prepared().await?.spec);
        let steps = schedule.checkpoints_of(job.final_milestones);
        let (first, last) = (schedule.start_of(job.final_milestones), steps.last().copied().unwrap_or_default());
        self.solver.report.tell(job.id, "training", format!("steps {first} to {last}, {} checkpoints", steps.len()));
        let started = Instant::now();
        let mut roots = Vec::with_capacity(steps.len());
        let secret = self.prepared().await?.spec.verifiers != 0 && job.commitment.is_none();
        for (root, state) in checkpoints(&run, steps).await? {
            if !secret {
                self.solver.fetcher.store().put_state(&state)?;
            }
            roots.push(root);
        }
        let seconds = started.elapsed().as_secs_f64();
        let detail = format!("milestone {}: {} steps in {seconds:.2} s", job.final_milestones, last - first);
        self.solver.report.tell(job.id, "trained", detail);
        Ok(roots)
    }

    async fn train(&mut self, job: &Job) -> Result<Next, Error> {
        let roots = self.roots(job).await?;
        let client = self.solver.client.clone();
        let milestone = job.final_milestones;
        if self.prepared().await?.spec.verifiers == 0 {
            let outcome = client.claim(job, roots, self.solver.config.uri.clone()).await?;
            self.solver.report.sent(job.id, "claimed", format!("milestone {milestone}"), &outcome);
        } else {
            let outcome = client.commit_claim(job, &roots).await?;
            self.solver.report.sent(job.id, "committed", format!("milestone {milestone}"), &outcome);
        }
        Ok(Next::Again)
    }

    /// Reveals the claim once no verifier may commit any more, and serves its states.
    async fn reveal(&mut self, job: &Job) -> Result<Next, Error> {
        let client = self.solver.client.clone();
        let key = claim_key(job, job.final_milestones);
        let draw = client.draw_of(key).await?;
        let now_s = client.chain().now_s().await?;
        if now_s <= draw.request.commitEndS {
            let seats = client.seats(key).await?;
            let waits = seats.len() < usize::from(draw.request.count)
                || seats.iter().any(|seat| seat.status == SeatStatus::Drawn);
            if waits {
                self.wait(job.id, format!("assigned verifiers commit until {}", draw.request.commitEndS));
                return Ok(Next::Wait);
            }
        }
        let roots = self.roots(job).await?;
        let outcome = client.reveal_claim(job, roots, self.solver.config.uri.clone()).await?;
        self.solver.report.sent(job.id, "claimed", format!("milestone {}", job.final_milestones), &outcome);
        Ok(Next::Again)
    }

    /// Answers every dispute over the claim that is played, and starts those that wait for a place.
    async fn defend_all(&mut self, job: &Job) -> Result<Next, Error> {
        let mut next = Next::Wait;
        for entry in self.solver.client.challenges(job).await? {
            let moved = match entry.status {
                EntryStatus::Active => self.defend(job, entry.dispute_id).await?,
                _ => self.start(job, entry.dispute_id).await?,
            };
            if moved == Next::Again {
                next = Next::Again;
            }
        }
        Ok(next)
    }

    /// A challenge that waits holds the pay up until it is played; its challenger may not be in a hurry.
    async fn start(&mut self, job: &Job, dispute_id: u64) -> Result<Next, Error> {
        let client = self.solver.client.clone();
        let entry = client.entry(dispute_id).await?;
        let claims = client.claims(job.id).await?;
        let ours = claims.iter().rev().find(|c| c.attempt == entry.attempt && c.milestone == entry.milestone);
        let Some(claim) = ours else { return Ok(Next::Wait) };
        match client.activate(job, &entry, claim).await {
            Ok(outcome) => {
                self.solver.report.dispute_sent(job.id, dispute_id, "started", "it waited for its place", &outcome);
                Ok(Next::Again)
            }
            Err(Error::Reverted { reason, .. }) if reason.starts_with("NoPlace") => Ok(Next::Wait),
            Err(e) => Err(e),
        }
    }

    /// Takes what was earned into the wallet.
    async fn collect(&self, job_id: u64) -> Result<(), Error> {
        if let Some(outcome) = self.solver.client.withdraw().await? {
            self.solver.report.sent(job_id, "withdrew", "pay is in the wallet", &outcome);
        }
        Ok(())
    }

    async fn defend(&mut self, job: &Job, dispute_id: u64) -> Result<Next, Error> {
        let run = self.our_run(job).await?;
        let program = self.prepared().await?.program.clone();
        let player = Player::new(self.solver.client.clone(), dispute_id, Role::Defender, program, run);
        match player.turn().await? {
            Turn::Played(played) => {
                self.solver.report.played(job.id, dispute_id, &played);
                Ok(Next::Again)
            }
            Turn::Waiting { deadline_s, .. } => {
                self.wait(job.id, format!("dispute {dispute_id}: the challenger is to move until {deadline_s}"));
                Ok(Next::Wait)
            }
            Turn::Over { .. } => Ok(Next::Again),
        }
    }
}
