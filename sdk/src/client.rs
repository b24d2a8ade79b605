//! The market and the game, typed: what requesters, solvers, verifiers and arbiters ask of the chain.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use alloy::{
    primitives::{Address, B256, Log, U256, keccak256},
    rpc::types::Filter,
    sol_types::{SolEvent, SolValue},
};
use lockstep_contracts::{Disputes, JobMarket};
use lockstep_dispute::Posted;

pub use lockstep_contracts::JobMarket::JobSpec;

use crate::{
    chain::{Chain, Outcome},
    deploy::Deployment,
    error::Error,
    moves::{self, MoveCall, Standing},
    wallet::Wallet,
};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// Waits for a solver.
    Open,
    /// A solver works on it, or its claim waits for the window to end.
    Taken,
    /// Every milestone is final and paid.
    Done,
    /// Withdrawn by the requester.
    Withdrawn,
    /// Nobody took it in time.
    Expired,
    /// The solver was convicted: waits to be reopened or withdrawn.
    Convicted,
}

impl JobStatus {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Open, Self::Taken, Self::Done, Self::Withdrawn, Self::Expired, Self::Convicted]
            .get(usize::from(code).checked_sub(1)?)
            .copied()
    }

    /// Whether nothing can happen to the job any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Open | Self::Taken | Self::Convicted)
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Taken => "taken",
            Self::Done => "done",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Convicted => "convicted",
        })
    }
}

/// A job as it stands.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// Where it stands.
    pub status: JobStatus,
    /// Who pays.
    pub requester: Address,
    /// Who works; zero while open.
    pub solver: Address,
    /// How often it was taken.
    pub attempt: u32,
    /// What a milestone pays; fixed when it is taken.
    pub price_wei: u128,
    /// Milestones of the job; fewer than its terms say after an early stop.
    pub milestones: u32,
    /// Milestones that are final and paid.
    pub final_milestones: u32,
    /// State root that the next milestone starts from.
    pub state_root: B256,
    /// Until when it may be taken, or the next milestone claimed; seconds since 1970.
    pub deadline_s: u64,
    /// Root over the checkpoints of the first claim that stands.
    pub claim_root: Option<B256>,
    /// What it is committed to, while it is not revealed.
    pub commitment: Option<B256>,
    /// Until when a commitment must be revealed; seconds since 1970.
    pub reveal_end_s: u64,
    /// End of its window; seconds since 1970.
    pub window_end_s: u64,
    /// Disputes that are played or wait over it.
    pub disputes: u32,
}

/// A claim with its checkpoints, from its event.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which milestone of the job.
    pub milestone: u32,
    /// In which attempt at the job.
    pub attempt: u32,
    /// Root over the state roots.
    pub claim_root: B256,
    /// State root at every checkpoint of the milestone.
    pub state_roots: Vec<B256>,
    /// Where the solver serves the states.
    pub uri: String,
}

/// How the steps of a job fall into milestones and checkpoints (docs/protocol.md, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Steps of the job.
    pub steps: u64,
    /// Steps per checkpoint.
    pub per_checkpoint: u64,
    /// Checkpoints per milestone.
    pub per_milestone: u64,
}

impl Schedule {
    /// The schedule of a job.
    #[must_use]
    pub fn of(spec: &JobSpec) -> Self {
        let per_milestone = u64::from(spec.checkpointsPerMilestone).max(1);
        Self { steps: spec.steps, per_checkpoint: spec.stepsPerCheckpoint.max(1), per_milestone }
    }

    /// Checkpoints of the job.
    #[must_use]
    pub fn checkpoints(self) -> u64 {
        self.steps.div_ceil(self.per_checkpoint)
    }

    /// Milestones of the job.
    #[must_use]
    pub fn milestones(self) -> u32 {
        self.checkpoints().div_ceil(self.per_milestone) as u32
    }

    /// Steps done at each checkpoint of a milestone.
    #[must_use]
    pub fn checkpoints_of(self, milestone: u32) -> Vec<u64> {
        let first = u64::from(milestone) * self.per_milestone;
        let last = (first + self.per_milestone).min(self.checkpoints());
        (first..last).map(|i| ((i + 1) * self.per_checkpoint).min(self.steps)).collect()
    }

    /// Steps done before a milestone.
    #[must_use]
    pub fn start_of(self, milestone: u32) -> u64 {
        (u64::from(milestone) * self.per_milestone * self.per_checkpoint).min(self.steps)
    }
}

/// What a milestone pays to who takes an open job at `now_s`: it rises from the start price to the end price, as the market counts,
/// from `takeTimeoutS` before the deadline to take it.
#[must_use]
pub fn price_at(spec: &JobSpec, take_deadline_s: u64, now_s: u64) -> u128 {
    let elapsed_s = (now_s + u64::from(spec.takeTimeoutS)).saturating_sub(take_deadline_s);
    rising(spec.startPriceWei, spec.endPriceWei, spec.auctionS, elapsed_s)
}

fn rising(start_wei: u128, end_wei: u128, auction_s: u32, elapsed_s: u64) -> u128 {
    if elapsed_s >= u64::from(auction_s) {
        return end_wei;
    }
    // prices have 96 bits and times 25, so nothing saturates
    start_wei + end_wei.saturating_sub(start_wei).saturating_mul(elapsed_s.into()) / u128::from(auction_s)
}

const MARKET: &str = "JobMarket";
const DISPUTES: &str = "Disputes";

/// A party's view of one deployment.
#[derive(Clone, Debug)]
pub struct Client {
    chain: Chain,
    deployment: Deployment,
    /// Terms of jobs, which never change.
    specs: Arc<Mutex<HashMap<u64, JobSpec>>>,
}

impl Client {
    /// Connects to the chain of `deployment`.
    ///
    /// # Errors
    /// No node answers, or it is another chain.
    pub async fn connect(url: &str, deployment: Deployment, wallet: Option<Wallet>) -> Result<Self, Error> {
        let chain = Chain::connect(url, wallet).await?;
        if chain.chain_id() != deployment.chain_id {
            let (expected, got) = (deployment.chain_id, chain.chain_id());
            return Err(Error::OtherChain { url: url.into(), expected, got });
        }
        Ok(Self { chain, deployment, specs: Arc::default() })
    }

    /// The connection.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The contracts' addresses.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// How many jobs were ever posted; they are numbered from 1.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn job_count(&self) -> Result<u64, Error> {
        let count = self.chain.call(MARKET, self.deployment.market, JobMarket::jobCountCall {}).await?;
        Ok(count.saturating_to())
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// There is no such job, or the node does not answer.
    pub async fn job(&self, job_id: u64) -> Result<Job, Error> {
        let j =
            self.chain.call(MARKET, self.deployment.market, JobMarket::jobCall { jobId: U256::from(job_id) }).await?;
        let Some(status) = JobStatus::from_code(j.status) else {
            let count = self.job_count().await?;
            return Err(Error::UnknownJob { job_id, market: self.deployment.market, count });
        };
        let key = JobMarket::claimOfCall { jobId: U256::from(job_id), milestone: j.finalMilestones };
        let claim = match j.standingClaims {
            0 => None,
            _ => Some(self.chain.call(MARKET, self.deployment.market, key).await?),
        };
        let initial = j.stateRoot.is_zero();
        let state_root = if initial { self.spec(job_id).await?.initialStateRoot } else { j.stateRoot };
        Ok(Job {
            id: job_id,
            status,
            requester: j.requester,
            solver: j.solver,
            attempt: j.attempt,
            price_wei: j.priceWei.to(),
            milestones: j.milestones,
            final_milestones: j.finalMilestones,
            state_root,
            deadline_s: j.deadlineS,
            claim_root: claim.as_ref().map(|c| c.claimRoot).filter(|root| !root.is_zero()),
            commitment: claim.as_ref().filter(|c| c.claimRoot.is_zero()).map(|c| c.commitment),
            reveal_end_s: claim.as_ref().map_or(0, |c| c.revealEndS),
            window_end_s: claim.as_ref().map_or(0, |c| c.windowEndS),
            disputes: claim.map_or(0, |c| c.disputes),
        })
    }

    /// A job's terms, from the event that posted it.
    ///
    /// # Errors
    /// There is no such job, or the node does not answer.
    pub async fn spec(&self, job_id: u64) -> Result<JobSpec, Error> {
        let known = self.specs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&job_id).cloned();
        if let Some(spec) = known {
            return Ok(spec);
        }
        let filter = Filter::new()
            .address(self.deployment.market)
            .event_signature(JobMarket::JobPosted::SIGNATURE_HASH)
            .topic1(U256::from(job_id));
        let logs = self.chain.logs(filter, self.deployment.block).await?;
        let posted = logs.iter().find_map(|log| JobMarket::JobPosted::decode_log(&log.inner).ok());
        let Some(posted) = posted else {
            let count = self.job_count().await?;
            return Err(Error::UnknownJob { job_id, market: self.deployment.market, count });
        };
        let spec = posted.data.spec;
        self.specs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(job_id, spec.clone());
        Ok(spec)
    }

    /// Posts a job: escrows its whole price.
    ///
    /// # Errors
    /// The terms are refused, or the escrow is not covered.
    pub async fn post(&self, spec: JobSpec) -> Result<(u64, Outcome), Error> {
        let milestones = Schedule::of(&spec).milestones();
        let each_wei = spec.verifierFeeWei.saturating_mul(spec.verifiers.into()).saturating_add(spec.endPriceWei);
        self.allow(each_wei.saturating_mul(u128::from(milestones)), "the job's escrow").await?;
        let outcome = self.chain.send(MARKET, self.deployment.market, JobMarket::postCall { spec }).await?;
        let posted = outcome.logs.iter().find_map(|log| JobMarket::JobPosted::decode_log(log).ok());
        let missing =
            || Error::Refused { what: "posting the job".into(), reason: "the receipt has no JobPosted".into() };
        Ok((posted.ok_or_else(missing)?.jobId.saturating_to(), outcome))
    }

    /// Withdraws a job that nobody has, or whose solver was convicted: what is not paid out becomes a balance.
    ///
    /// # Errors
    /// It was taken, or is another requester's.
    pub async fn withdraw_job(&self, job_id: u64) -> Result<Outcome, Error> {
        self.pay_conviction(job_id).await?;
        let call = JobMarket::withdrawCall { jobId: U256::from(job_id), spec: self.spec(job_id).await? };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Puts a job whose solver was convicted back on the market.
    ///
    /// # Errors
    /// It waits for something else.
    pub async fn reopen(&self, job_id: u64) -> Result<Outcome, Error> {
        self.pay_conviction(job_id).await?;
        let call = JobMarket::reopenCall { jobId: U256::from(job_id), spec: self.spec(job_id).await? };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Ends a job after the milestone in work.
    ///
    /// # Errors
    /// It is not taken, is another requester's, or the milestone in work is the last one.
    pub async fn stop(&self, job_id: u64) -> Result<Outcome, Error> {
        let call = JobMarket::stopCall { jobId: U256::from(job_id), spec: self.spec(job_id).await? };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Whether this party was convicted or late in a job, and so may not take it again.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn barred(&self, job_id: u64) -> Result<bool, Error> {
        let call = JobMarket::barredCall { jobId: U256::from(job_id), solver: self.chain.address()? };
        self.chain.call(MARKET, self.deployment.market, call).await
    }

    /// Takes a job for at least `min_price_wei` a milestone: registers for its hardware class and puts up the stake, as far as
    /// that is missing, and locks it.
    ///
    /// # Errors
    /// Somebody else was faster, the price is not there yet, or the stake is not covered.
    pub async fn take(&self, job: &Job, spec: &JobSpec, min_price_wei: u128) -> Result<Outcome, Error> {
        self.put_up(spec.stakeWei, "the solver's stake").await?;
        self.be_solver(spec.hardwareClass).await?;
        let call = JobMarket::takeCall { jobId: U256::from(job.id), spec: spec.clone(), minPriceWei: min_price_wei };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Claims the next milestone.
    ///
    /// # Errors
    /// The deadline is over, or the job is another solver's.
    pub async fn claim(&self, job: &Job, state_roots: Vec<B256>, uri: String) -> Result<Outcome, Error> {
        let call = JobMarket::claimCall {
            jobId: U256::from(job.id),
            spec: self.spec(job.id).await?,
            milestone: job.final_milestones,
            stateRoots: state_roots,
            uri,
        };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Commits to the next milestone of a job with assigned verifiers. The salt comes from the wallet and need not be kept.
    ///
    /// # Errors
    /// The deadline is over, or the job is another solver's.
    pub async fn commit_claim(&self, job: &Job, state_roots: &[B256]) -> Result<Outcome, Error> {
        let root = lockstep_commit::Tree::new(state_roots.to_vec()).root();
        let call = JobMarket::commitClaimCall {
            jobId: U256::from(job.id),
            spec: self.spec(job.id).await?,
            milestone: job.final_milestones,
            commitment: keccak256((root, self.claim_salt(job)?).abi_encode()),
        };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Reveals what [`Self::commit_claim`] committed to.
    ///
    /// # Errors
    /// Verifiers may still commit, it is too late, or these are other roots.
    pub async fn reveal_claim(&self, job: &Job, state_roots: Vec<B256>, uri: String) -> Result<Outcome, Error> {
        let call = JobMarket::revealClaimCall {
            jobId: U256::from(job.id),
            spec: self.spec(job.id).await?,
            milestone: job.final_milestones,
            stateRoots: state_roots,
            salt: self.claim_salt(job)?,
            uri,
        };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    fn claim_salt(&self, job: &Job) -> Result<B256, Error> {
        let label = ("claim".to_owned(), U256::from(job.id), job.attempt, job.final_milestones);
        self.chain.secret(&label.abi_encode_params())
    }

    /// Ends the window of the first claim that stands: pays the solver.
    ///
    /// # Errors
    /// The window or a dispute is open, or another claim stands.
    pub async fn settle(&self, job_id: u64, claim_root: B256) -> Result<Outcome, Error> {
        let spec = self.spec(job_id).await?;
        let call = JobMarket::settleCall { jobId: U256::from(job_id), spec, claimRoot: claim_root };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Ends the wait of a job whose deadline passed.
    ///
    /// # Errors
    /// The deadline has not passed.
    pub async fn expire(&self, job_id: u64) -> Result<Outcome, Error> {
        let call = JobMarket::expireCall { jobId: U256::from(job_id), spec: self.spec(job_id).await? };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// All claims of a job so far, in order.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn claims(&self, job_id: u64) -> Result<Vec<Claim>, Error> {
        let filter = Filter::new()
            .address(self.deployment.market)
            .event_signature(JobMarket::MilestoneClaimed::SIGNATURE_HASH)
            .topic1(U256::from(job_id));
        let logs = self.chain.logs(filter, self.deployment.block).await?;
        let claims = logs.iter().filter_map(|log| JobMarket::MilestoneClaimed::decode_log(&log.inner).ok());
        Ok(claims
            .map(|log| log.data)
            .map(|e| Claim {
                milestone: e.milestone,
                attempt: e.attempt,
                claim_root: e.claimRoot,
                state_roots: e.stateRoots,
                uri: e.uri,
            })
            .collect())
    }

    /// A dispute as it stands.
    ///
    /// # Errors
    /// It is not played yet, there is none, or the node does not answer.
    pub async fn dispute(&self, dispute_id: u64) -> Result<Standing, Error> {
        let id = U256::from(dispute_id);
        if dispute_id == 0 || dispute_id > self.dispute_count().await? {
            return Err(Error::UnknownDispute(dispute_id));
        }
        let d = self.chain.call(DISPUTES, self.deployment.disputes, Disputes::disputeCall { disputeId: id }).await?;
        if d.phase == 0 {
            return Err(Error::NotPlayed(dispute_id));
        }
        let deadline = Disputes::deadlineSCall { disputeId: id };
        let deadline_s = self.chain.call(DISPUTES, self.deployment.disputes, deadline).await?;
        moves::standing(dispute_id, &d, deadline_s).ok_or(Error::UnknownDispute(dispute_id))
    }

    /// Everything the defender posted so far.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn posted(&self, dispute_id: u64) -> Result<Posted, Error> {
        let filter = Filter::new().address(self.deployment.disputes).topic1(U256::from(dispute_id));
        let logs = self.chain.logs(filter, self.deployment.block).await?;
        let logs: Vec<Log> = logs.into_iter().map(|log| log.inner).collect();
        Ok(moves::posted(&logs))
    }

    /// Makes a move.
    ///
    /// # Errors
    /// The contract refuses it: somebody was faster, or time is up.
    pub async fn play(&self, call: MoveCall) -> Result<Outcome, Error> {
        self.chain.send_raw(DISPUTES, self.deployment.disputes, call.name, call.calldata).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_rises_linearly_and_stays() {
        let at = |auction_s, elapsed_s| rising(100, 333, auction_s, elapsed_s);
        assert_eq!([0, 20, 40, 79, 80, 900].map(|s| at(80, s)), [100, 158, 216, 330, 333, 333]);
        assert_eq!(at(0, 0), 333);
    }

    #[test]
    fn the_last_checkpoint_is_the_last_step() {
        let schedule = Schedule { steps: 10, per_checkpoint: 3, per_milestone: 3 };
        assert_eq!(schedule.checkpoints(), 4);
        assert_eq!(schedule.milestones(), 2);
        assert_eq!(schedule.checkpoints_of(0), [3, 6, 9]);
        assert_eq!(schedule.checkpoints_of(1), [10]);
        assert_eq!(schedule.start_of(1), 9);
    }
}
