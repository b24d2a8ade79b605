// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Everything a job is; fixed when it is posted. Amounts are in the payment token's smallest unit.
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
    /// Paid for each milestone when it is final.
    uint128 milestonePriceWei;
    /// What the solver locks while it holds the job.
    uint128 stakeWei;
    /// What a challenger locks to open a dispute.
    uint128 bondWei;
    /// What whoever submits the deciding judgement gets, out of the loser's bond or stake.
    uint128 tipWei;
    /// From posting: until when it may be taken.
    uint32 takeTimeoutS;
    /// From taking, or from the finality of the milestone before: until when a milestone must be claimed.
    uint32 claimTimeoutS;
    /// From a claim: how long it can be challenged.
    uint32 windowS;
    /// Chess clock of each side of a dispute.
    uint32 clockS;
    /// What an accepted move leaves the other side at least.
    uint32 graceS;
    /// Where program, data and initial state are served.
    string uri;
}

enum JobStatus {
    None,
    Open,
    Taken,
    Done,
    Cancelled,
    Expired,
    Convicted
}

struct Job {
    JobStatus status;
    address requester;
    address solver;
    bytes32 specHash;
    /// Milestones that are final and paid.
    uint32 finalMilestones;
    /// The state root that the next milestone starts from.
    bytes32 stateRoot;
    /// Deadline of the current wait: to be taken, or to be claimed.
    uint64 deadlineS;
    /// Root over the checkpoint roots of the standing claim; zero if there is none.
    bytes32 claimRoot;
    uint64 windowEndS;
    /// The dispute open against the standing claim; zero if there is none.
    uint256 disputeId;
}

/// Escrow, claims, windows, payment, slashing.
interface IJobMarket {
    event JobPosted(uint256 indexed jobId, address indexed requester, bytes32 specHash, JobSpec spec);
    event JobCancelled(uint256 indexed jobId, uint256 refundWei);
    event JobTaken(uint256 indexed jobId, address indexed solver, uint64 claimDeadlineS);
    event MilestoneClaimed(
        uint256 indexed jobId,
        uint32 indexed milestone,
        bytes32 claimRoot,
        bytes32[] stateRoots,
        string uri,
        uint64 windowEndS
    );
    event MilestoneSettled(uint256 indexed jobId, uint32 indexed milestone, uint256 paidWei, uint256 feeWei, bytes32 stateRoot);
    event JobDone(uint256 indexed jobId, bytes32 finalStateRoot);
    event JobExpired(uint256 indexed jobId, address indexed solver, uint256 slashedWei, uint256 refundWei);
    event SolverConvicted(
        uint256 indexed jobId,
        uint32 indexed milestone,
        address indexed solver,
        address winner,
        uint256 slashedWei,
        uint256 winnerWei,
        uint256 refundWei
    );
    event DisputeOpened(uint256 indexed jobId, uint256 indexed disputeId);
    event DisputeCleared(uint256 indexed jobId, uint256 indexed disputeId, uint64 windowEndS);

    function post(JobSpec calldata spec) external returns (uint256 jobId);
    function cancel(uint256 jobId) external;
    function take(uint256 jobId, bytes32 specHash) external;
    function claim(uint256 jobId, bytes32 specHash, uint32 milestone, bytes32[] calldata stateRoots, string calldata uri) external;
    function settle(uint256 jobId, bytes32 claimRoot) external;
    function expire(uint256 jobId) external;

    function jobCount() external view returns (uint256);
    function job(uint256 jobId) external view returns (Job memory);
    function spec(uint256 jobId) external view returns (JobSpec memory);

    // for the disputes contract only
    function disputeOpened(uint256 jobId, bytes32 claimRoot, uint256 disputeId) external;
    function disputeCleared(uint256 jobId, uint256 disputeId) external;
    function convict(uint256 jobId, uint256 disputeId, address winner, address judge) external;
}
