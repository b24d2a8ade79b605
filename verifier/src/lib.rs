//! The verifier: re-runs every claim on its own hardware and disputes the first checkpoint that differs.
//!
//! ```text
//! claim stands ──► own run to every checkpoint ──► equal: nothing to do
//!                                             └──► first difference ──► the same when run again ──► open a dispute ──► point, …
//! ```
//!
//! Its knowledge is its own run, which it can always repeat: killed at any point, it looks at the chain and carries on.
//!
//! ```
//! use lockstep_verifier::Config;
//! assert_eq!(Config::default().judge_after_s, 5);
//! ```

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lockstep_commit::B256;
use lockstep_dispute::{Side, first_wrong_checkpoint};
use lockstep_sdk::{
    artifact::{Fetcher, Kind},
    challenge::{Entry, EntryStatus},
    client::{Claim, Client, Job, JobStatus, Schedule},
    error::Error,
    play::{Player, Role, Turn},
    prepare::{Prepared, checkpoints, repeat, state_decls},
    report::Reporter,
    run::{Fault, Run},
    work::{Next, Stop, Worker, watch_numbered},
};

/// How a verifier works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Milliseconds between looks at the chain.
    pub poll_ms: u64,
    /// How long it leaves a judgement to an arbiter before it judges itself.
    pub judge_after_s: u64,
    /// A number altered on purpose in its own run, to show that a false challenge loses. `None` in production.
    pub fault: Option<Fault>,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll_ms: 500, judge_after_s: 5, fault: None }
    }
}

/// A verifier.
#[derive(Clone, Debug)]
pub struct Verifier {
    client: Client,
    fetcher: Fetcher,
    config: Config,
    report: Reporter,
}

impl Verifier {
    /// A verifier that keeps what it fetches in the store of `fetcher`.
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
        watch_numbered(poll, stop, count, |job_id| JobWatch::new(self.clone(), job_id)).await;
        Ok(())
    }
}

/// One job under the eyes of a verifier.
struct JobWatch {
    verifier: Verifier,
    job_id: u64,
    prepared: Option<Prepared>,
    run: Option<Arc<Mutex<Run>>>,
    /// Claim that was looked at last.
    checked: Option<B256>,
    dispute_id: Option<u64>,
}

impl Worker for JobWatch {
    async fn look(&mut self) -> Result<Next, Error> {
        if let Some(dispute_id) = self.dispute_id {
            return self.challenge(dispute_id).await;
        }
        let job = self.verifier.client.job(self.job_id).await?;
        if job.status.is_over() {
            return Ok(Next::Done);
        }
        if job.status != JobStatus::Taken || job.claim_root.is_none() || self.checked == job.claim_root {
            return Ok(Next::Wait);
        }
        if let Some(dispute_id) = self.ours(&job).await? {
            self.dispute_id = Some(dispute_id);
            return Ok(Next::Again);
        }
        self.check(&job).await
    }

    fn tell(&self, what: &'static str, why: String) {
        self.verifier.report.tell(self.job_id, what, why);
    }
}

impl JobWatch {
    fn new(verifier: Verifier, job_id: u64) -> Self {
        Self { verifier, job_id, prepared: None, run: None, checked: None, dispute_id: None }
    }

    /// After a restart: a challenge of our own that is played or waits.
    async fn ours(&self, job: &Job) -> Result<Option<u64>, Error> {
        let me = self.verifier.client.chain().address()?;
        let standing = self.verifier.client.challenges(job).await?;
        Ok(standing.iter().find(|entry| entry.challenger == me).map(|entry| entry.dispute_id))
    }

    /// Re-runs the standing claim, and disputes it if it differs.
    async fn check(&mut self, job: &Job) -> Result<Next, Error> {
        let client = self.verifier.client.clone();
        let claims = client.claims(job.id).await?;
        let Some(claim) = claims.iter().rev().find(|c| Some(c.claim_root) == job.claim_root) else {
            return Ok(Next::Wait);
        };
        let mirrors: Vec<String> = claims.iter().map(|c| c.uri.clone()).collect();
        if self.prepared.is_none() {
            self.prepared = Some(Prepared::fetch(&client, &self.verifier.fetcher, job.id, &mirrors).await?);
        }
        let run = self.own_run(job, &mirrors).await?;
        let Some(prepared) = &self.prepared else { return Ok(Next::Wait) };
        let spec = prepared.spec.clone();
        let started = Instant::now();
        let steps = Schedule::of(&spec).checkpoints_of(job.final_milestones);
        let states = checkpoints(&run, steps.clone()).await?;
        let own: Vec<_> = states.into_iter().map(|(root, _)| root).collect();
        self.checked = job.claim_root;
        let seconds = started.elapsed().as_secs_f64();
        match first_wrong_checkpoint(&own, &claim.state_roots) {
            None => {
                let detail =
                    format!("milestone {}: all {} checkpoints equal, in {seconds:.2} s", claim.milestone, own.len());
                self.verifier.report.tell(job.id, "verified", detail);
                Ok(Next::Again)
            }
            Some(checkpoint) => {
                let detail = format!("checkpoint {checkpoint} of milestone {} differs", claim.milestone);
                self.verifier.report.tell(job.id, "difference", detail);
                // A bond rests on it: what comes only once is an error of this machine.
                if repeat(&run, steps[checkpoint]).await? != own[checkpoint] {
                    let detail = "not disputed: these steps gave something else when they were run again. Check this machine's memory; \
                                  the run begins anew";
                    self.verifier.report.tell(job.id, "unsure", detail);
                    (self.run, self.checked) = (None, None);
                    return Ok(Next::Wait);
                }
                self.open(job, claim, checkpoint as u32).await
            }
        }
    }

    async fn open(&mut self, job: &Job, claim: &Claim, checkpoint: u32) -> Result<Next, Error> {
        let client = self.verifier.client.clone();
        let Some(prepared) = &self.prepared else { return Ok(Next::Wait) };
        let opened = client.open_dispute(job, &prepared.spec, claim, checkpoint).await;
        if opened.is_err() {
            // The claim may have become void, or an announcement is too young: look again.
            self.checked = None;
        }
        let (dispute_id, outcome) = opened?;
        let detail = format!("checkpoint {checkpoint}, bond {} locked", prepared.spec.bondWei);
        self.verifier.report.dispute_sent(job.id, dispute_id, "disputed", detail, &outcome);
        self.dispute_id = Some(dispute_id);
        Ok(Next::Again)
    }

    /// Our run up to the start of the milestone; from the chain's state if ours differs there, for that one is final.
    async fn own_run(&mut self, job: &Job, mirrors: &[String]) -> Result<Arc<Mutex<Run>>, Error> {
        let fault = self.verifier.config.fault;
        let Some(prepared) = &self.prepared else { return Err(Error::Task("the job was not prepared".into())) };
        let start = Schedule::of(&prepared.spec).start_of(job.final_milestones);
        let run = match &self.run {
            Some(run) => run.clone(),
            None => Arc::new(Mutex::new(prepared.run()?.with_fault(fault))),
        };
        self.run = Some(run.clone());
        let at_start = checkpoints(&run, vec![start]).await?;
        if at_start.first().is_some_and(|(root, _)| *root != job.state_root) {
            let decls = state_decls(&prepared.program);
            let state = self.verifier.fetcher.fetch_tensors(mirrors, Kind::State, job.state_root, &decls).await?;
            let mut own = run.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *own = Run::new(&prepared.program, prepared.data.clone(), start, state)?.with_fault(fault);
        }
        Ok(run)
    }

    async fn challenge(&mut self, dispute_id: u64) -> Result<Next, Error> {
        let client = self.verifier.client.clone();
        let job_id = self.job_id;
        if self.prepared.is_none() || self.run.is_none() {
            let job = client.job(job_id).await?;
            let mirrors: Vec<String> = client.claims(job_id).await?.into_iter().map(|c| c.uri).collect();
            self.prepared = Some(Prepared::fetch(&client, &self.verifier.fetcher, job_id, &mirrors).await?);
            self.own_run(&job, &mirrors).await?;
        }
        let (Some(prepared), Some(run)) = (&self.prepared, &self.run) else { return Ok(Next::Wait) };
        let entry = client.entry(dispute_id).await?;
        match entry.status {
            EntryStatus::Queued | EntryStatus::Active if !client.stands(&entry).await? => {
                let outcome = client.reclaim(dispute_id).await?;
                let detail = "the claim became void without it; the bond is back";
                self.verifier.report.dispute_sent(job_id, dispute_id, "reclaimed", detail, &outcome);
                return self.over().await;
            }
            EntryStatus::Refunded => return self.over().await,
            EntryStatus::Queued => return self.start(&entry).await,
            _ => {}
        }
        let player = Player::new(client, dispute_id, Role::Challenger, prepared.program.clone(), run.clone())
            .judge_after_s(self.verifier.config.judge_after_s);
        match player.turn().await? {
            Turn::Played(played) => {
                self.verifier.report.played(job_id, dispute_id, &played);
                Ok(Next::Again)
            }
            Turn::Waiting { .. } => Ok(Next::Wait),
            Turn::Over { winner, payment } => {
                if let Some(payment) = payment {
                    self.verifier.report.paid(job_id, dispute_id, &payment);
                }
                let (what, detail) = match winner {
                    Side::Challenger => ("won", "the solver is convicted; bond back, bounty paid"),
                    Side::Defender => {
                        ("lost", "the claim stands; the bond is lost. Check this machine before verifying on")
                    }
                };
                self.verifier.report.dispute(job_id, dispute_id, what, detail);
                self.over().await
            }
        }
    }

    /// The dispute is over: what it brought goes to the wallet.
    async fn over(&mut self) -> Result<Next, Error> {
        let id = self.dispute_id.take();
        if let (Some(outcome), Some(id)) = (self.verifier.client.withdraw().await?, id) {
            self.verifier.report.dispute_sent(
                self.job_id,
                id,
                "withdrew",
                "bond and bounty are in the wallet",
                &outcome,
            );
        }
        Ok(Next::Again)
    }

    /// Starts our game once its place is free.
    async fn start(&self, entry: &Entry) -> Result<Next, Error> {
        let client = &self.verifier.client;
        let (job, claims) = (client.job(self.job_id).await?, client.claims(self.job_id).await?);
        let theirs = claims.iter().rev().find(|c| c.attempt == entry.attempt && c.milestone == entry.milestone);
        let Some(claim) = theirs else { return Ok(Next::Wait) };
        match client.activate(&job, entry, claim).await {
            Ok(_) => Ok(Next::Again),
            Err(Error::Reverted { reason, .. }) if reason.starts_with("NoPlace") => Ok(Next::Wait),
            Err(e) => Err(e),
        }
    }
}
