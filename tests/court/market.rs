//! Jobs on the market: posted, taken, claimed, disputed.

use alloy_primitives::{Address, B256, Log, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use lockstep_commit::{ProgramTree, Tree};
use lockstep_contracts::{
    Docket,
    JobMarket::{self, JobSpec},
};
use lockstep_dispute::{
    Terms,
    money::{Amounts, Shares},
};
use lockstep_sdk::deploy::default_values;

use crate::chain::{CHALLENGER, Chain, REQUESTER, SOLVER};
use crate::work::{PER_CHECKPOINT, STEPS, Work};

pub(crate) const PRICE_WEI: u128 = 50_000_000_000_000_000_003;
pub(crate) const STAKE_WEI: u128 = 500_000_000_000_000_000_007;
pub(crate) const BOND_WEI: u128 = 100_000_000_000_000_000_001;
pub(crate) const TIP_WEI: u128 = 5_000_000_000_000_000_009;
pub(crate) const WINDOW_S: u32 = 30 * 86_400;
pub(crate) const CLOCK_S: u32 = 3_600;
pub(crate) const GRACE_S: u32 = 60;

/// The amounts of the job, for the model of the money.
pub(crate) const AMOUNTS: Amounts =
    Amounts { price_wei: PRICE_WEI, stake_wei: STAKE_WEI, bond_wei: BOND_WEI, tip_wei: TIP_WEI };

/// The shares that the contracts were deployed with.
pub(crate) fn shares() -> Shares {
    let v = default_values();
    Shares {
        fee_bps: v.feeBps,
        winner_bps: v.winnerBps,
        reserved_bps: v.reservedBps,
        requester_bps: v.requesterBps,
        defender_bps: v.defenderBps,
    }
}

/// Codes of the contract's job status.
pub(crate) const DONE: u8 = 3;
pub(crate) const CONVICTED: u8 = 6;
pub(crate) const TAKEN: u8 = 2;

/// A job with a claim on it.
pub(crate) struct Claimed {
    pub(crate) job_id: u64,
    pub(crate) claim_root: B256,
    pub(crate) roots: Vec<B256>,
    pub(crate) spec: JobSpec,
    pub(crate) terms: Terms,
}

/// What a job is about.
pub(crate) struct Subject<'a> {
    pub(crate) hashes: &'a ProgramTree,
    pub(crate) initial_root: B256,
    pub(crate) data_root: B256,
}

fn spec(subject: &Subject<'_>, referee: Address) -> JobSpec {
    JobSpec {
        programRoot: subject.hashes.root(),
        initialStateRoot: subject.initial_root,
        dataRoot: subject.data_root,
        referee,
        steps: STEPS,
        stepsPerCheckpoint: PER_CHECKPOINT,
        checkpointsPerMilestone: 2,
        startPriceWei: PRICE_WEI,
        endPriceWei: PRICE_WEI,
        auctionS: 0,
        stakeWei: STAKE_WEI,
        bondWei: BOND_WEI,
        tipWei: TIP_WEI,
        hardwareClass: 0,
        standingClaims: 1,
        verifiers: 0,
        verifierFeeWei: 0,
        verifyS: 0,
        holdbackBps: 0,
        receiptS: 0,
        takeTimeoutS: 3_600,
        claimTimeoutS: 3_600,
        windowS: WINDOW_S,
        clockS: CLOCK_S,
        graceS: GRACE_S,
        callback: Address::ZERO,
        uri: String::new(),
    }
}

impl Claimed {
    /// Posts and takes a job and claims `roots` for it.
    pub(crate) fn new(chain: &mut Chain, work: &Work, roots: Vec<B256>) -> Self {
        let spec = spec(&work.subject(), chain.referee);
        Self::of(chain, &work.subject(), spec, roots)
    }

    /// The same for a job of one milestone, with a checkpoint for every root and so many steps before each.
    pub(crate) fn long(chain: &mut Chain, subject: &Subject<'_>, steps: u64, roots: Vec<B256>) -> Self {
        let (all, checkpoints) = (steps * roots.len() as u64, roots.len() as u32);
        let spec = spec(subject, chain.referee);
        let spec = JobSpec { steps: all, stepsPerCheckpoint: steps, checkpointsPerMilestone: checkpoints, ..spec };
        Self::of(chain, subject, spec, roots)
    }

    /// Posts and takes a job with so many assigned verifiers; `roots` are still to be claimed.
    pub(crate) fn assigned(chain: &mut Chain, work: &Work, roots: Vec<B256>, verifiers: u8) -> Self {
        let fee = PRICE_WEI / 1_000;
        let spec = spec(&work.subject(), chain.referee);
        let spec = JobSpec { verifiers, verifierFeeWei: fee, verifyS: 3_600, ..spec };
        Self::taken(chain, &work.subject(), spec, roots)
    }

    fn of(chain: &mut Chain, subject: &Subject<'_>, spec: JobSpec, roots: Vec<B256>) -> Self {
        let claimed = Self::taken(chain, subject, spec, roots);
        let claim = JobMarket::claimCall {
            jobId: U256::from(claimed.job_id),
            spec: claimed.spec.clone(),
            milestone: 0,
            stateRoots: claimed.roots.clone(),
            uri: String::new(),
        };
        chain.send(SOLVER, chain.market, &claim).unwrap();
        claimed
    }

    fn taken(chain: &mut Chain, subject: &Subject<'_>, spec: JobSpec, roots: Vec<B256>) -> Self {
        let market = chain.market;
        chain.send(REQUESTER, market, &JobMarket::postCall { spec: spec.clone() }).unwrap();
        let id = chain.view(market, &JobMarket::jobCountCall {});
        let take = JobMarket::takeCall { jobId: id, spec: spec.clone(), minPriceWei: PRICE_WEI };
        chain.send(SOLVER, market, &take).unwrap();
        let header = subject.hashes.header().clone();
        let terms = Terms { header, data_root: subject.data_root, clock_s: CLOCK_S, grace_s: GRACE_S };
        let claim_root = Tree::new(roots.clone()).root();
        Self { job_id: id.saturating_to(), claim_root, roots, spec, terms }
    }

    /// State roots before and after the segment that ends in a checkpoint.
    pub(crate) fn segment(&self, checkpoint: u32) -> (B256, B256) {
        let before = checkpoint.checked_sub(1).map_or(self.spec.initialStateRoot, |before| self.roots[before as usize]);
        (before, self.roots[checkpoint as usize])
    }

    /// Opens a dispute over a checkpoint; its number and logs.
    pub(crate) fn dispute(&self, chain: &mut Chain, checkpoint: u32) -> (u64, Vec<Log>) {
        let tree = Tree::new(self.roots.clone());
        let (before_root, after_root) = self.segment(checkpoint);
        let before_proof = checkpoint.checked_sub(1).map_or(vec![], |before| tree.prove(u64::from(before)).unwrap());
        let salt = B256::repeat_byte(0x5a);
        let opening = Docket::Opening {
            attempt: 1,
            milestone: 0,
            checkpoint,
            claimRoot: self.claim_root,
            salt,
            beforeRoot: before_root,
            beforeProof: before_proof,
            afterRoot: after_root,
            afterProof: tree.prove(u64::from(checkpoint)).unwrap(),
        };
        let job_id = U256::from(self.job_id);
        let said = (CHALLENGER, job_id, 1u32, 0u32, checkpoint, self.claim_root, salt);
        let commitment = keccak256(said.abi_encode_params());
        let announce = (job_id, self.spec.clone(), commitment).abi_encode_params();
        let calldata = [Docket::announceCall::SELECTOR.as_slice(), &announce].concat();
        let logs = chain.send_raw(CHALLENGER, chain.docket, calldata).unwrap();
        let announced = logs.iter().find_map(|log| Docket::Announced::decode_log(log).ok()).unwrap();
        chain.now_s += 1;
        let open = (announced.disputeId, self.spec.clone(), opening).abi_encode_params();
        let calldata = [Docket::openCall::SELECTOR.as_slice(), &open].concat();
        let logs = chain.send_raw(CHALLENGER, chain.docket, calldata).unwrap();
        (announced.disputeId.saturating_to(), logs)
    }

    /// The job's status code.
    pub(crate) fn status(&self, chain: &mut Chain) -> u8 {
        chain.view(chain.market, &JobMarket::jobCall { jobId: U256::from(self.job_id) }).status
    }

    /// Lets the window end and settles.
    pub(crate) fn settle(&self, chain: &mut Chain) {
        let job_id = U256::from(self.job_id);
        let claim = chain.view(chain.market, &JobMarket::claimOfCall { jobId: job_id, milestone: 0 });
        chain.now_s = chain.now_s.max(claim.windowEndS);
        let call = JobMarket::settleCall { jobId: job_id, spec: self.spec.clone(), claimRoot: self.claim_root };
        chain.send(SOLVER, chain.market, &call).unwrap();
    }

    /// Settles a claim that stands, so that its solver's stake is free again.
    pub(crate) fn end(&self, chain: &mut Chain) {
        if self.status(chain) == TAKEN {
            self.settle(chain);
        }
    }

    /// The requester takes back what a conviction left unpaid.
    pub(crate) fn withdraw(&self, chain: &mut Chain) {
        let call = JobMarket::withdrawCall { jobId: U256::from(self.job_id), spec: self.spec.clone() };
        chain.send(REQUESTER, chain.market, &call).unwrap();
    }
}
