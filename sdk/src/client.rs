//! The market and the game, typed: what requesters, solvers, verifiers and arbiters ask of the chain.

use alloy::{
    primitives::{Address, B256, Log, U256},
    rpc::types::Filter,
    sol_types::SolEvent,
};
use lockstep_contracts::{DevToken, Disputes, JobMarket};
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
    /// Withdrawn by the requester before it was taken.
    Cancelled,
    /// Not taken, or not claimed, in time.
    Expired,
    /// The solver was convicted.
    Convicted,
}

impl JobStatus {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Open, Self::Taken, Self::Done, Self::Cancelled, Self::Expired, Self::Convicted]
            .get(usize::from(code).checked_sub(1)?)
            .copied()
    }

    /// Whether nothing can happen to the job any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Open | Self::Taken)
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Taken => "taken",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
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
    /// Hash of its terms.
    pub spec_hash: B256,
    /// Milestones that are final and paid.
    pub final_milestones: u32,
    /// State root that the next milestone starts from.
    pub state_root: B256,
    /// Until when it may be taken, or the next milestone claimed; seconds since 1970.
    pub deadline_s: u64,
    /// Root over the checkpoints of the standing claim.
    pub claim_root: Option<B256>,
    /// End of the standing claim's window; seconds since 1970.
    pub window_end_s: u64,
    /// Dispute open against the standing claim.
    pub dispute_id: Option<u64>,
}

/// A claim with its checkpoints, from its event.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which milestone of the job.
    pub milestone: u32,
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

const MARKET: &str = "JobMarket";
const DISPUTES: &str = "Disputes";
const TOKEN: &str = "the payment token";

/// A party's view of one deployment.
#[derive(Clone, Debug)]
pub struct Client {
    chain: Chain,
    deployment: Deployment,
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
        Ok(Self { chain, deployment })
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

    /// Balance of the payment token.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn balance_wei(&self, of: Address) -> Result<u128, Error> {
        let call = DevToken::balanceOfCall { account: of };
        Ok(self.chain.call(TOKEN, self.deployment.token, call).await?.saturating_to())
    }

    /// Sends payment tokens.
    ///
    /// # Errors
    /// No wallet, or too few tokens.
    pub async fn transfer(&self, to: Address, amount_wei: u128) -> Result<Outcome, Error> {
        let call = DevToken::transferCall { to, value: U256::from(amount_wei) };
        self.chain.send(TOKEN, self.deployment.token, call).await
    }

    /// Lets `spender` draw `amount_wei`, after checking that it is there.
    async fn allow(&self, spender: Address, amount_wei: u128, purpose: &'static str) -> Result<(), Error> {
        let holder = self.chain.address()?;
        let have_wei = self.balance_wei(holder).await?;
        if have_wei < amount_wei {
            return Err(Error::Balance { holder, have_wei, need_wei: amount_wei, purpose });
        }
        let call = DevToken::approveCall { spender, value: U256::from(amount_wei) };
        self.chain.send(TOKEN, self.deployment.token, call).await.map(|_| ())
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
        Ok(Job {
            id: job_id,
            status,
            requester: j.requester,
            solver: j.solver,
            spec_hash: j.specHash,
            final_milestones: j.finalMilestones,
            state_root: j.stateRoot,
            deadline_s: j.deadlineS,
            claim_root: Some(j.claimRoot).filter(|root| !root.is_zero()),
            window_end_s: j.windowEndS,
            dispute_id: Some(j.disputeId.saturating_to()).filter(|&id| id != 0),
        })
    }

    /// A job's terms.
    ///
    /// # Errors
    /// There is no such job, or the node does not answer.
    pub async fn spec(&self, job_id: u64) -> Result<JobSpec, Error> {
        self.job(job_id).await?;
        let call = JobMarket::specCall { jobId: U256::from(job_id) };
        self.chain.call(MARKET, self.deployment.market, call).await
    }

    /// Posts a job: escrows its whole price.
    ///
    /// # Errors
    /// The terms are refused, or the escrow is not covered.
    pub async fn post(&self, spec: JobSpec) -> Result<(u64, Outcome), Error> {
        let milestones = Schedule::of(&spec).milestones();
        let escrow_wei = spec.milestonePriceWei.saturating_mul(u128::from(milestones));
        self.allow(self.deployment.market, escrow_wei, "the job's escrow").await?;
        let outcome = self.chain.send(MARKET, self.deployment.market, JobMarket::postCall { spec_: spec }).await?;
        let posted = outcome.logs.iter().find_map(|log| JobMarket::JobPosted::decode_log(log).ok());
        let missing =
            || Error::Refused { what: "posting the job".into(), reason: "the receipt has no JobPosted".into() };
        Ok((posted.ok_or_else(missing)?.jobId.saturating_to(), outcome))
    }

    /// Withdraws a job that nobody has taken.
    ///
    /// # Errors
    /// It was taken, or is another requester's.
    pub async fn cancel(&self, job_id: u64) -> Result<Outcome, Error> {
        let call = JobMarket::cancelCall { jobId: U256::from(job_id) };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Takes a job: locks the stake.
    ///
    /// # Errors
    /// Somebody else was faster, the terms changed, or the stake is not covered.
    pub async fn take(&self, job: &Job, spec: &JobSpec) -> Result<Outcome, Error> {
        self.allow(self.deployment.market, spec.stakeWei, "the solver's stake").await?;
        let call = JobMarket::takeCall { jobId: U256::from(job.id), specHash: job.spec_hash };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Claims a milestone.
    ///
    /// # Errors
    /// It is not the next one, the deadline is over, or the job is another solver's.
    pub async fn claim(&self, job: &Job, state_roots: Vec<B256>, uri: String) -> Result<Outcome, Error> {
        let call = JobMarket::claimCall {
            jobId: U256::from(job.id),
            specHash: job.spec_hash,
            milestone: job.final_milestones,
            stateRoots: state_roots,
            uri,
        };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Ends the window of a claim: pays the solver.
    ///
    /// # Errors
    /// The window or a dispute is open, or another claim stands.
    pub async fn settle(&self, job_id: u64, claim_root: B256) -> Result<Outcome, Error> {
        let call = JobMarket::settleCall { jobId: U256::from(job_id), claimRoot: claim_root };
        self.chain.send(MARKET, self.deployment.market, call).await
    }

    /// Ends a job whose deadline passed.
    ///
    /// # Errors
    /// The deadline has not passed.
    pub async fn expire(&self, job_id: u64) -> Result<Outcome, Error> {
        let call = JobMarket::expireCall { jobId: U256::from(job_id) };
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
            .map(|e| Claim { milestone: e.milestone, claim_root: e.claimRoot, state_roots: e.stateRoots, uri: e.uri })
            .collect())
    }

    /// Opens a dispute over one checkpoint of the standing claim.
    ///
    /// # Errors
    /// The window is over, another dispute is open, or the bond is not covered.
    pub async fn open_dispute(
        &self,
        job: &Job,
        spec: &JobSpec,
        claim: &Claim,
        checkpoint: u32,
    ) -> Result<(u64, Outcome), Error> {
        self.allow(self.deployment.disputes, spec.bondWei, "the challenger's bond").await?;
        let tree = lockstep_commit::Tree::new(claim.state_roots.clone());
        let game = |e: lockstep_commit::Error| Error::Game { dispute_id: 0, reason: e.to_string() };
        let root_at = |i: u32| claim.state_roots.get(i as usize).copied();
        let outside = || Error::Game { dispute_id: 0, reason: format!("the claim has no checkpoint {checkpoint}") };
        let (before_root, before_proof) = match checkpoint.checked_sub(1) {
            None => (job.state_root, Vec::new()),
            Some(i) => (root_at(i).ok_or_else(outside)?, tree.prove(u64::from(i)).map_err(game)?),
        };
        let call = Disputes::openCall {
            jobId: U256::from(job.id),
            claimRoot: claim.claim_root,
            checkpoint,
            beforeRoot: before_root,
            beforeProof: before_proof,
            afterRoot: root_at(checkpoint).ok_or_else(outside)?,
            afterProof: tree.prove(u64::from(checkpoint)).map_err(game)?,
        };
        let outcome = self.chain.send(DISPUTES, self.deployment.disputes, call).await?;
        let id = outcome.logs.iter().find_map(moves::opened);
        let missing =
            || Error::Refused { what: "opening the dispute".into(), reason: "the receipt has no Opened".into() };
        Ok((id.ok_or_else(missing)?, outcome))
    }

    /// How many disputes were ever opened; they are numbered from 1.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn dispute_count(&self) -> Result<u64, Error> {
        let count = self.chain.call(DISPUTES, self.deployment.disputes, Disputes::disputeCountCall {}).await?;
        Ok(count.saturating_to())
    }

    /// A dispute as it stands.
    ///
    /// # Errors
    /// There is no such dispute, or the node does not answer.
    pub async fn dispute(&self, dispute_id: u64) -> Result<Standing, Error> {
        let id = U256::from(dispute_id);
        if dispute_id == 0 || dispute_id > self.dispute_count().await? {
            return Err(Error::UnknownDispute(dispute_id));
        }
        let d = self.chain.call(DISPUTES, self.deployment.disputes, Disputes::disputeCall { disputeId: id }).await?;
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
    fn the_last_checkpoint_is_the_last_step() {
        let schedule = Schedule { steps: 10, per_checkpoint: 3, per_milestone: 3 };
        assert_eq!(schedule.checkpoints(), 4);
        assert_eq!(schedule.milestones(), 2);
        assert_eq!(schedule.checkpoints_of(0), [3, 6, 9]);
        assert_eq!(schedule.checkpoints_of(1), [10]);
        assert_eq!(schedule.start_of(1), 9);
    }
}
