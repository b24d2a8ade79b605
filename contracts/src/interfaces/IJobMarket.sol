// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Everything a job is; fixed when it is posted. The chain keeps its hash, and who acts on a job sends it along. Amounts are
/// in the payment token's smallest unit.
struct JobSpec {
    bytes32 programRoot;
    bytes32 initialStateRoot;
    bytes32 dataRoot;
    address referee;
    /// Steps of the whole job.
    uint64 steps;
    uint64 stepsPerCheckpoint;
    /// 1 to 256.
    uint32 checkpointsPerMilestone;
    /// A milestone's price rises from the start price to the end price over `auctionS`; who takes the job fixes it.
    uint128 startPriceWei;
    uint128 endPriceWei;
    uint32 auctionS;
    /// What the solver's stake has locked while it holds the job.
    uint128 stakeWei;
    /// What a challenger locks to open a dispute.
    uint128 bondWei;
    /// What whoever submits the deciding judgement gets, out of the loser's bond or stake.
    uint128 tipWei;
    /// Solvers and verifiers must be registered for it.
    uint32 hardwareClass;
    /// Claims that may stand at once, before the first of them is final.
    uint8 standingClaims;
    /// Assigned verifiers of each milestone, and what each is paid.
    uint8 verifiers;
    uint128 verifierFeeWei;
    /// From a committed claim: how long assigned verifiers have to commit, and then the solver to reveal.
    uint32 verifyS;
    /// Part of the pay that waits for the requester's receipt, in hundredths of a percent, or for `receiptS` to pass.
    uint16 holdbackBps;
    uint32 receiptS;
    /// From posting or returning to the market: until when it may be taken.
    uint32 takeTimeoutS;
    /// From taking, the claim before, or finality: until when the next milestone must be claimed.
    uint32 claimTimeoutS;
    /// From a revealed claim: how long it can be challenged.
    uint32 windowS;
    /// Chess clock of each side of a dispute.
    uint32 clockS;
    /// What an accepted move leaves the other side at least.
    uint32 graceS;
    /// A contract that is told the result when the job is done; zero for none.
    address callback;
    /// Where program, data and initial state are served.
    string uri;
}

enum JobStatus {
    None,
    Open, // waits for a solver
    Taken,
    Done, // every milestone final and paid
    Withdrawn, // by the requester
    Expired, // nobody took it in time
    Convicted // the solver was; waits to be reopened or withdrawn
}

struct Job {
    JobStatus status;
    address requester;
    /// Milestones of the job, fewer after an early stop, and those that are final and paid.
    uint32 milestones;
    uint32 finalMilestones;
    address solver;
    /// Deadline of the current wait: to be taken (the auction began `takeTimeoutS` before it), or for the next claim.
    uint64 deadlineS;
    /// Claims that stand, committed or revealed.
    uint8 standingClaims;
    bytes32 specHash;
    /// The state root that the first milestone that is not final starts from; zero means the initial one.
    bytes32 stateRoot;
    /// What a milestone pays, and what the solver has at stake; fixed when the job is taken. A slashed stake is 0.
    uint96 priceWei;
    uint96 stakeWei;
    /// How often the job was taken before; part of a claim's key.
    uint32 attempt;
    uint32 parametersVersion;
}

/// A milestone's claim. `key` = keccak256(abi.encode(jobId, attempt, milestone)).
struct Claim {
    /// hash(claim root, salt) of a claim that is not revealed.
    bytes32 commitment;
    /// Root over the checkpoint roots; zero until revealed.
    bytes32 claimRoot;
    /// The state root that the claim ends in.
    bytes32 endRoot;
    uint64 windowEndS;
    /// Until when a committed claim must be revealed.
    uint64 revealEndS;
    /// Disputes that are queued or played.
    uint32 disputes;
}

/// A claim as the docket needs it.
struct Standing {
    bytes32 key;
    bytes32 claimRoot;
    /// State root before the milestone; zero means the job's initial one.
    bytes32 startRoot;
    uint64 windowEndS;
    address solver;
    uint32 parametersVersion;
}

/// Told when a job is done. It cannot stop anything: what it does with its gas is its own.
interface IJobReceiver {
    function jobDone(uint256 jobId, bytes32 finalStateRoot) external;
}

/// Escrow, claims, windows, payment, slashing.
interface IJobMarket {
    event JobPosted(uint256 indexed jobId, address indexed requester, bytes32 specHash, uint32 parametersVersion, JobSpec spec);
    event JobWithdrawn(uint256 indexed jobId, uint256 refundWei);
    event JobTaken(uint256 indexed jobId, address indexed solver, uint32 attempt, uint256 priceWei, uint64 claimDeadlineS);
    event ClaimCommitted(uint256 indexed jobId, uint32 indexed milestone, bytes32 key, bytes32 commitment, uint64 revealEndS);
    event ClaimRetracted(uint256 indexed jobId, uint32 indexed milestone, uint256 feeWei);
    event MilestoneClaimed(
        uint256 indexed jobId,
        uint32 indexed milestone,
        uint32 attempt,
        bytes32 claimRoot,
        bytes32[] stateRoots,
        string uri,
        uint64 windowEndS
    );
    event MilestoneSettled(
        uint256 indexed jobId, uint32 indexed milestone, uint256 paidWei, uint256 feeWei, uint256 heldBackWei, bytes32 stateRoot
    );
    event JobStopped(uint256 indexed jobId, uint32 milestones, uint256 refundWei);
    event JobDone(uint256 indexed jobId, bytes32 finalStateRoot);
    event CallbackFailed(uint256 indexed jobId, address receiver);
    /// Nobody took it in time.
    event JobExpired(uint256 indexed jobId, uint256 refundWei);
    /// The solver let a deadline pass, to claim or to reveal.
    event SolverLate(uint256 indexed jobId, address indexed solver, uint32 milestone, uint256 slashedWei);
    event JobReopened(uint256 indexed jobId, uint32 attempt, uint64 takeDeadlineS);
    /// The attempt is over: nothing of it becomes final any more. The stake stays locked until it is slashed.
    event SolverConvicted(uint256 indexed jobId, uint32 indexed milestone, address indexed solver, uint256 disputeId);
    event StakeSlashed(
        uint256 indexed jobId,
        uint32 indexed milestone,
        address indexed solver,
        address winner,
        uint256 slashedWei,
        uint256 winnerWei,
        uint256 reservedWei,
        uint256 requesterWei
    );
    event DisputeOpened(uint256 indexed jobId, uint32 indexed milestone, uint256 indexed disputeId);
    event DisputeCleared(uint256 indexed jobId, uint32 indexed milestone, uint256 indexed disputeId);

    function post(JobSpec calldata spec) external returns (uint256 jobId);
    function withdraw(uint256 jobId, JobSpec calldata spec) external;
    /// `minPriceWei`: what the solver believes a milestone pays by now.
    function take(uint256 jobId, JobSpec calldata spec, uint128 minPriceWei) external;
    /// A job without assigned verifiers: the claim is revealed at once.
    function claim(
        uint256 jobId,
        JobSpec calldata spec,
        uint32 milestone,
        bytes32[] calldata stateRoots,
        string calldata uri
    ) external;
    /// A job with assigned verifiers: `commitment` = keccak256(abi.encode(claim root, salt)).
    function commitClaim(uint256 jobId, JobSpec calldata spec, uint32 milestone, bytes32 commitment) external;
    function revealClaim(
        uint256 jobId,
        JobSpec calldata spec,
        uint32 milestone,
        bytes32[] calldata stateRoots,
        bytes32 salt,
        string calldata uri
    ) external;
    /// Takes the newest claim back, before it is revealed.
    function retract(uint256 jobId, JobSpec calldata spec, uint32 milestone) external;
    function settle(uint256 jobId, JobSpec calldata spec, bytes32 claimRoot) external;
    /// The requester ends the job after the milestone in work.
    function stop(uint256 jobId, JobSpec calldata spec) external;
    function expire(uint256 jobId, JobSpec calldata spec) external;
    /// After a conviction that was paid: back to the market, from the last final milestone.
    function reopen(uint256 jobId, JobSpec calldata spec) external;

    function jobCount() external view returns (uint256);
    function job(uint256 jobId) external view returns (Job memory);
    /// The claim on a milestone in the current attempt.
    function claimOf(uint256 jobId, uint32 milestone) external view returns (Claim memory);
    function claimAt(bytes32 key) external view returns (Claim memory);
    /// Reverts unless the claim is revealed and stands.
    function standing(uint256 jobId, uint32 milestone) external view returns (Standing memory);
    /// Whether the claim with this key may still become final.
    function stands(uint256 jobId, uint32 attempt, uint32 milestone) external view returns (bool);
    /// Whether claims of this attempt may still become final, or are about to be slashed for.
    function mayStand(uint256 jobId, uint32 attempt) external view returns (bool);
    /// Whether a solver was convicted or late in a job, and so may not take it again.
    function barred(uint256 jobId, address solver) external view returns (bool);

    // for the docket only
    function disputeOpened(uint256 jobId, uint32 milestone, uint256 disputeId) external;
    /// A game over a claim ended, for the challenger or not. False if the claim was void already; then nothing changes.
    function decided(uint256 jobId, uint32 attempt, uint32 milestone, uint256 disputeId, bool convicted)
        external
        returns (bool stood);
    /// Slashes the stake of a convicted solver and pays it out; the docket does it once for a conviction.
    function slash(uint256 jobId, uint32 milestone, address winner, address judge, uint256 tipWei) external;
}
