//! Challenges before and after their game: announced, named, waiting for a place, paid.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    rpc::types::Filter,
    sol_types::{SolCall, SolEvent, SolValue},
};
use lockstep_contracts::{Docket, JobMarket};

use crate::{
    chain::Outcome,
    client::{Claim, Client, Job, JobSpec},
    error::Error,
};

const DOCKET: &str = "Docket";

/// Where a challenge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryStatus {
    /// Committed to, not named.
    Announced,
    /// Named; waits for a place.
    Queued,
    /// Played.
    Active,
    /// The claim was wrong; see [`Entry::paid`].
    Won,
    /// The claim stands, the bond is lost; see [`Entry::paid`].
    Lost,
    /// The claim is void; the bond went back.
    Refunded,
    /// Announced and not named in time.
    Forfeited,
}

impl EntryStatus {
    fn from_code(code: u8) -> Option<Self> {
        use EntryStatus::*;
        let all = [Announced, Queued, Active, Won, Lost, Refunded, Forfeited];
        all.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// A challenge.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number of the challenge and of its dispute.
    pub dispute_id: u64,
    /// Where it stands.
    pub status: EntryStatus,
    /// Whether what was decided has been paid.
    pub paid: bool,
    /// Who challenges.
    pub challenger: Address,
    /// Which job.
    pub job_id: u64,
    /// What was announced.
    pub commitment: B256,
    /// Which attempt, milestone and checkpoint; zero until named.
    pub attempt: u32,
    /// Which milestone.
    pub milestone: u32,
    /// Which checkpoint of the milestone.
    pub checkpoint: u32,
}

/// How a challenge is proven to be about the claim.
fn opening(job: &Job, claim: &Claim, checkpoint: u32, salt: B256) -> Result<Docket::Opening, Error> {
    let tree = lockstep_commit::Tree::new(claim.state_roots.clone());
    let game = |e: lockstep_commit::Error| Error::Game { dispute_id: 0, reason: e.to_string() };
    let outside = || Error::Game { dispute_id: 0, reason: format!("the claim has no checkpoint {checkpoint}") };
    let root_at = |i: u32| claim.state_roots.get(i as usize).copied().ok_or_else(outside);
    let (before_root, before_proof) = match checkpoint.checked_sub(1) {
        None => (job.state_root, Vec::new()),
        Some(i) => (root_at(i)?, tree.prove(u64::from(i)).map_err(game)?),
    };
    Ok(Docket::Opening {
        attempt: job.attempt,
        milestone: claim.milestone,
        checkpoint,
        claimRoot: claim.claim_root,
        salt,
        beforeRoot: before_root,
        beforeProof: before_proof,
        afterRoot: root_at(checkpoint)?,
        afterProof: tree.prove(u64::from(checkpoint)).map_err(game)?,
    })
}

fn commitment(challenger: Address, job_id: u64, o: &Docket::Opening) -> B256 {
    let said = (challenger, U256::from(job_id), o.attempt, o.milestone, o.checkpoint, o.claimRoot, o.salt);
    keccak256(said.abi_encode_params())
}

/// A call whose second argument is the job's terms: the docket's bindings have a type of their own for them.
fn with_spec<C: SolCall>(dispute_or_job: u64, spec: &JobSpec, last: impl SolValue + Clone) -> Vec<u8> {
    let arguments = (U256::from(dispute_or_job), spec.clone(), last).abi_encode_params();
    [C::SELECTOR.as_slice(), &arguments].concat()
}

impl Client {
    /// How many challenges were ever announced; they are numbered from 1.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn dispute_count(&self) -> Result<u64, Error> {
        let count = self.chain().call(DOCKET, self.deployment().docket, Docket::disputeCountCall {}).await?;
        Ok(count.saturating_to())
    }

    /// A challenge as it stands.
    ///
    /// # Errors
    /// There is none, or the node does not answer.
    pub async fn entry(&self, dispute_id: u64) -> Result<Entry, Error> {
        let call = Docket::entryCall { disputeId: U256::from(dispute_id) };
        let e = self.chain().call(DOCKET, self.deployment().docket, call).await?;
        let status = EntryStatus::from_code(e.status).ok_or(Error::UnknownDispute(dispute_id))?;
        Ok(Entry {
            dispute_id,
            status,
            paid: e.paid,
            challenger: e.challenger,
            job_id: e.jobId.saturating_to(),
            commitment: e.commitment,
            attempt: e.attempt,
            milestone: e.milestone,
            checkpoint: e.checkpoint,
        })
    }

    /// Challenges that are played or wait over a job's claims, in the order in which they were announced.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn challenges(&self, job: &Job) -> Result<Vec<Entry>, Error> {
        let mut standing = Vec::new();
        if job.disputes == 0 {
            return Ok(standing);
        }
        let filter = Filter::new()
            .address(self.deployment().docket)
            .event_signature(Docket::Named::SIGNATURE_HASH)
            .topic2(U256::from(job.id));
        let logs = self.chain().logs(filter, self.deployment().block).await?;
        let named = logs.iter().filter_map(|log| Docket::Named::decode_log(&log.inner).ok());
        let mut ids: Vec<u64> = named.map(|log| log.data.disputeId.saturating_to()).collect();
        ids.sort_unstable();
        for id in ids {
            let entry = self.entry(id).await?;
            let stands = matches!(entry.status, EntryStatus::Queued | EntryStatus::Active);
            if stands && entry.attempt == job.attempt {
                standing.push(entry);
            }
        }
        Ok(standing)
    }

    /// Challenges one checkpoint of a claim: announces, waits for the next block, names. An announcement of this very challenge that
    /// was made before (and perhaps not named, because the machine stopped) is used again.
    ///
    /// # Errors
    /// The window is over, the claim is void, or the bond is not covered.
    pub async fn open_dispute(
        &self,
        job: &Job,
        spec: &JobSpec,
        claim: &Claim,
        checkpoint: u32,
    ) -> Result<(u64, Outcome), Error> {
        let label = (U256::from(job.id), claim.claim_root, checkpoint).abi_encode_params();
        let opening = opening(job, claim, checkpoint, self.chain().secret(&label)?)?;
        let dispute_id = match self.announced(job.id, &opening).await? {
            Some(dispute_id) => dispute_id,
            None => self.announce(job.id, spec, &opening).await?,
        };
        self.chain().next_second().await?;
        let calldata = with_spec::<Docket::openCall>(dispute_id, spec, opening);
        let outcome = self.chain().send_raw(DOCKET, self.deployment().docket, "open", calldata).await?;
        Ok((dispute_id, outcome))
    }

    async fn announce(&self, job_id: u64, spec: &JobSpec, opening: &Docket::Opening) -> Result<u64, Error> {
        self.allow(spec.bondWei, "the challenger's bond").await?;
        let commitment = commitment(self.chain().address()?, job_id, opening);
        let calldata = with_spec::<Docket::announceCall>(job_id, spec, commitment);
        let outcome = self.chain().send_raw(DOCKET, self.deployment().docket, "announce", calldata).await?;
        let announced = outcome.logs.iter().find_map(|log| Docket::Announced::decode_log(log).ok());
        let missing = || Error::Refused {
            what: "announcing the challenge".into(),
            reason: "the receipt has no Announced".into(),
        };
        Ok(announced.ok_or_else(missing)?.disputeId.saturating_to())
    }

    /// Our announcement of this challenge that is not named yet.
    async fn announced(&self, job_id: u64, opening: &Docket::Opening) -> Result<Option<u64>, Error> {
        let challenger = self.chain().address()?;
        let wanted = commitment(challenger, job_id, opening);
        let filter = Filter::new()
            .address(self.deployment().docket)
            .event_signature(Docket::Announced::SIGNATURE_HASH)
            .topic2(U256::from(job_id))
            .topic3(challenger.into_word());
        let logs = self.chain().logs(filter, self.deployment().block).await?;
        for log in logs.iter().filter_map(|log| Docket::Announced::decode_log(&log.inner).ok()) {
            let entry = self.entry(log.data.disputeId.saturating_to()).await?;
            if entry.status == EntryStatus::Announced && entry.commitment == wanted {
                return Ok(Some(entry.dispute_id));
            }
        }
        Ok(None)
    }

    /// Starts the game of a challenge that waits, if its place is free.
    ///
    /// # Errors
    /// There is no place yet, or the claim is void.
    pub async fn activate(&self, job: &Job, entry: &Entry, claim: &Claim) -> Result<Outcome, Error> {
        let spec = self.spec(job.id).await?;
        // the salt was only for the announcement
        let opening = opening(job, claim, entry.checkpoint, B256::ZERO)?;
        let calldata = with_spec::<Docket::activateCall>(entry.dispute_id, &spec, opening);
        self.chain().send_raw(DOCKET, self.deployment().docket, "activate", calldata).await
    }

    /// Whether the claim that a challenge is about may still become final.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn stands(&self, entry: &Entry) -> Result<bool, Error> {
        let (attempt, milestone) = (entry.attempt, entry.milestone);
        let call = JobMarket::standsCall { jobId: U256::from(entry.job_id), attempt, milestone };
        self.chain().call("JobMarket", self.deployment().market, call).await
    }

    /// Pays what a verdict decided, if nobody did yet: a verdict only says who won. None if there is nothing to pay.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn pay_verdict(&self, dispute_id: u64) -> Result<Option<Outcome>, Error> {
        let entry = self.entry(dispute_id).await?;
        if entry.paid || !matches!(entry.status, EntryStatus::Won | EntryStatus::Lost) {
            return Ok(None);
        }
        let call = Docket::payCall { disputeId: U256::from(dispute_id) };
        match self.chain().send(DOCKET, self.deployment().docket, call).await {
            Ok(outcome) => Ok(Some(outcome)),
            // somebody else was faster, before ours was sent or in the same block
            Err(_) if self.entry(dispute_id).await?.paid => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Pays the conviction that a job waits for before it can be reopened or withdrawn.
    ///
    /// # Errors
    /// The node does not answer.
    pub(crate) async fn pay_conviction(&self, job_id: u64) -> Result<(), Error> {
        let filter = Filter::new()
            .address(self.deployment().market)
            .event_signature(JobMarket::SolverConvicted::SIGNATURE_HASH)
            .topic1(U256::from(job_id));
        let logs = self.chain().logs(filter, self.deployment().block).await?;
        if let Some(last) = logs.iter().rev().find_map(|log| JobMarket::SolverConvicted::decode_log(&log.inner).ok()) {
            self.pay_verdict(last.data.disputeId.saturating_to()).await?;
        }
        Ok(())
    }

    /// Takes back the bond of a challenge whose claim is void.
    ///
    /// # Errors
    /// The claim stands.
    pub async fn reclaim(&self, dispute_id: u64) -> Result<Outcome, Error> {
        let none = Docket::Opening {
            attempt: 0,
            milestone: 0,
            checkpoint: 0,
            claimRoot: B256::ZERO,
            salt: B256::ZERO,
            beforeRoot: B256::ZERO,
            beforeProof: Vec::new(),
            afterRoot: B256::ZERO,
            afterProof: Vec::new(),
        };
        let call = Docket::reclaimCall { disputeId: U256::from(dispute_id), o: none };
        self.chain().send(DOCKET, self.deployment().docket, call).await
    }
}
