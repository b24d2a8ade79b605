//! Jobs on the market: posted, taken, claimed, disputed.

use alloy_primitives::{Address, B256, Log, U256};
use lockstep_commit::Tree;
use lockstep_contracts::{
    Disputes,
    JobMarket::{self, JobSpec},
};
use lockstep_dispute::Terms;
use lockstep_sdk::moves;

use crate::chain::{CHALLENGER, Chain, REQUESTER, SOLVER};
use crate::work::{PER_CHECKPOINT, STEPS, Work};

pub(crate) const PRICE_WEI: u128 = 50_000_000_000_000_000_003;
pub(crate) const STAKE_WEI: u128 = 500_000_000_000_000_000_007;
pub(crate) const BOND_WEI: u128 = 100_000_000_000_000_000_001;
pub(crate) const TIP_WEI: u128 = 5_000_000_000_000_000_009;
pub(crate) const WINDOW_S: u32 = 86_400;
pub(crate) const CLOCK_S: u32 = 3_600;
pub(crate) const GRACE_S: u32 = 60;

/// Codes of the contract's job status.
pub(crate) const DONE: u8 = 3;
pub(crate) const CONVICTED: u8 = 6;
pub(crate) const TAKEN: u8 = 2;

/// A job with a claim on it.
pub(crate) struct Claimed {
    pub(crate) job_id: u64,
    pub(crate) claim_root: B256,
    pub(crate) roots: Vec<B256>,
    initial_root: B256,
    pub(crate) terms: Terms,
}

fn spec(work: &Work, referee: Address) -> JobSpec {
    JobSpec {
        programRoot: work.hashes.root(),
        initialStateRoot: work.initial_root,
        dataRoot: work.data_root,
        referee,
        steps: STEPS,
        stepsPerCheckpoint: PER_CHECKPOINT,
        checkpointsPerMilestone: 2,
        milestonePriceWei: PRICE_WEI,
        stakeWei: STAKE_WEI,
        bondWei: BOND_WEI,
        tipWei: TIP_WEI,
        takeTimeoutS: 3_600,
        claimTimeoutS: 3_600,
        windowS: WINDOW_S,
        clockS: CLOCK_S,
        graceS: GRACE_S,
        uri: String::new(),
    }
}

impl Claimed {
    /// Posts and takes a job and claims `roots` for it.
    pub(crate) fn new(chain: &mut Chain, work: &Work, roots: Vec<B256>) -> Self {
        let (market, spec) = (chain.market, spec(work, chain.referee));
        chain.send(REQUESTER, market, &JobMarket::postCall { spec_: spec }).unwrap();
        let id = chain.view(market, &JobMarket::jobCountCall {});
        let spec_hash = chain.view(market, &JobMarket::jobCall { jobId: id }).specHash;
        chain.send(SOLVER, market, &JobMarket::takeCall { jobId: id, specHash: spec_hash }).unwrap();
        let claim = JobMarket::claimCall {
            jobId: id,
            specHash: spec_hash,
            milestone: 0,
            stateRoots: roots.clone(),
            uri: String::new(),
        };
        chain.send(SOLVER, market, &claim).unwrap();
        let header = work.hashes.header().clone();
        let terms = Terms { header, data_root: work.data_root, clock_s: CLOCK_S, grace_s: GRACE_S };
        let claim_root = Tree::new(roots.clone()).root();
        Self { job_id: id.saturating_to(), claim_root, roots, initial_root: work.initial_root, terms }
    }

    /// Opens a dispute over a checkpoint; its number and logs.
    pub(crate) fn dispute(&self, chain: &mut Chain, checkpoint: u32) -> (u64, Vec<Log>) {
        let tree = Tree::new(self.roots.clone());
        let (before_root, before_proof) = match checkpoint.checked_sub(1) {
            None => (self.initial_root, vec![]),
            Some(before) => (self.roots[before as usize], tree.prove(u64::from(before)).unwrap()),
        };
        let call = Disputes::openCall {
            jobId: U256::from(self.job_id),
            claimRoot: self.claim_root,
            checkpoint,
            beforeRoot: before_root,
            beforeProof: before_proof,
            afterRoot: self.roots[checkpoint as usize],
            afterProof: tree.prove(u64::from(checkpoint)).unwrap(),
        };
        let logs = chain.send(CHALLENGER, chain.disputes, &call).unwrap();
        (logs.iter().find_map(moves::opened).unwrap(), logs)
    }

    /// The job's status code.
    pub(crate) fn status(&self, chain: &mut Chain) -> u8 {
        chain.view(chain.market, &JobMarket::jobCall { jobId: U256::from(self.job_id) }).status
    }

    /// Lets the window end and settles.
    pub(crate) fn settle(&self, chain: &mut Chain) {
        let job = chain.view(chain.market, &JobMarket::jobCall { jobId: U256::from(self.job_id) });
        chain.now_s = chain.now_s.max(job.windowEndS);
        let call = JobMarket::settleCall { jobId: U256::from(self.job_id), claimRoot: self.claim_root };
        chain.send(SOLVER, chain.market, &call).unwrap();
    }
}
