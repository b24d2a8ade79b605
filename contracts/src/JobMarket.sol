// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {IJobMarket, Job, JobSpec, JobStatus} from "./interfaces/IJobMarket.sol";
import {JobBounds} from "./game/JobBounds.sol";
import {Schedule} from "./game/Schedule.sol";

/// Escrow, claims, windows, payment and slashing; docs/protocol.md, section 4. Holds the requesters' escrow and the
/// solvers' stakes; bonds stay with the disputes contract.
///
///   post -> Open -> take -> Taken -> (claim -> window -> settle) per milestone -> Done
///             \-> cancel, expire      \-> expire, convict
contract JobMarket is IJobMarket, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    error WrongStatus(uint256 jobId, JobStatus current);
    error NotRequester(address caller, address requester);
    error NotSolver(address caller, address solver);
    error NotDisputes(address caller, address disputes);
    /// The caller read another job than the one stored. Read it again.
    error WrongSpecHash(bytes32 expected, bytes32 given);
    /// The deadline to take or to claim has passed; `expire` is left.
    error TooLate(uint64 deadlineS);
    error TooEarly(uint64 deadlineS);
    error WrongMilestone(uint32 expected, uint32 given);
    error WrongCheckpointCount(uint256 expected, uint256 given);
    /// A state root of zero stands for nothing.
    error ZeroRoot(uint256 checkpoint);
    /// The claim that the caller means is not the one that stands.
    error WrongClaim(bytes32 standing, bytes32 given);
    /// A milestone is claimed already, and its window or dispute must end first.
    error ClaimStands(bytes32 claimRoot);
    error WindowOpen(uint64 windowEndS);
    error WindowClosed(uint64 windowEndS);
    error DisputeStands(uint256 disputeId);
    error WrongDispute(uint256 standing, uint256 given);
    /// The token moved another amount than it was asked to.
    error WrongTransfer(uint256 expected, uint256 received);

    /// A job with what its public view does not show.
    struct Record {
        Job job;
        JobSpec spec;
        uint32 milestones;
        /// When the standing dispute opened.
        uint64 disputedS;
        /// The state root that the standing claim ends in.
        bytes32 claimedStateRoot;
    }

    uint256 private constant BPS = 10_000;
    uint16 private constant MAX_FEE_BPS = 1_000;
    /// The requester's part of what a conviction leaves after the winner; the treasury has the rest.
    uint256 private constant REQUESTER_BPS = 8_000;

    IERC20 public immutable token;
    address public immutable disputes;
    address public immutable treasury;
    uint16 public immutable feeBps;

    uint256 public override jobCount;
    mapping(uint256 jobId => Record) private _records;

    modifier onlyDisputes() {
        if (msg.sender != disputes) revert NotDisputes(msg.sender, disputes);
        _;
    }

    constructor(address token_, address disputes_, address treasury_, uint16 feeBps_) {
        JobBounds.check("token", uint160(token_), 1, type(uint160).max);
        JobBounds.check("disputes", uint160(disputes_), 1, type(uint160).max);
        JobBounds.check("treasury", uint160(treasury_), 1, type(uint160).max);
        JobBounds.check("feeBps", feeBps_, 0, MAX_FEE_BPS);
        token = IERC20(token_);
        disputes = disputes_;
        treasury = treasury_;
        feeBps = feeBps_;
    }

    // ---- requester ---------------------------------------------------------------------------------------------

    function post(JobSpec calldata spec_) external nonReentrant returns (uint256 jobId) {
        uint32 milestones = JobBounds.checkSpec(spec_);
        jobId = ++jobCount;
        Record storage r = _records[jobId];
        r.spec = spec_;
        r.milestones = milestones;
        r.job.status = JobStatus.Open;
        r.job.requester = msg.sender;
        r.job.specHash = keccak256(abi.encode(spec_));
        r.job.stateRoot = spec_.initialStateRoot;
        r.job.deadlineS = uint64(block.timestamp) + spec_.takeTimeoutS;
        emit JobPosted(jobId, msg.sender, r.job.specHash, spec_);
        _pull(_unpaidWei(r));
    }

    /// The requester may take the job back until somebody takes it.
    function cancel(uint256 jobId) external nonReentrant {
        Record storage r = _in(jobId, JobStatus.Open);
        if (msg.sender != r.job.requester) revert NotRequester(msg.sender, r.job.requester);
        r.job.status = JobStatus.Cancelled;
        uint256 refundWei = _unpaidWei(r);
        emit JobCancelled(jobId, refundWei);
        token.safeTransfer(msg.sender, refundWei);
    }

    // ---- solver ------------------------------------------------------------------------------------------------

    function take(uint256 jobId, bytes32 specHash) external nonReentrant {
        Record storage r = _in(jobId, JobStatus.Open);
        _checkSpecHash(r, specHash);
        _checkInTime(r);
        r.job.status = JobStatus.Taken;
        r.job.solver = msg.sender;
        r.job.deadlineS = uint64(block.timestamp) + r.spec.claimTimeoutS;
        emit JobTaken(jobId, msg.sender, r.job.deadlineS);
        _pull(r.spec.stakeWei);
    }

    function claim(
        uint256 jobId,
        bytes32 specHash,
        uint32 milestone,
        bytes32[] calldata stateRoots,
        string calldata uri
    ) external {
        Record storage r = _in(jobId, JobStatus.Taken);
        if (msg.sender != r.job.solver) revert NotSolver(msg.sender, r.job.solver);
        _checkSpecHash(r, specHash);
        if (r.job.claimRoot != 0) revert ClaimStands(r.job.claimRoot);
        _checkInTime(r);
        if (milestone != r.job.finalMilestones) revert WrongMilestone(r.job.finalMilestones, milestone);
        JobBounds.check("uri", bytes(uri).length, 0, JobBounds.MAX_URI_BYTES);
        bytes32 claimRoot = _claimRoot(r, milestone, stateRoots);
        uint64 windowEndS = uint64(block.timestamp) + r.spec.windowS;
        r.job.claimRoot = claimRoot;
        r.job.windowEndS = windowEndS;
        r.claimedStateRoot = stateRoots[stateRoots.length - 1];
        emit MilestoneClaimed(jobId, milestone, claimRoot, stateRoots, uri, windowEndS);
    }

    // ---- anyone ------------------------------------------------------------------------------------------------

    /// After the window with no dispute open: makes the claim final and pays it.
    function settle(uint256 jobId, bytes32 claimRoot) external nonReentrant {
        Record storage r = _in(jobId, JobStatus.Taken);
        Job storage j = r.job;
        _checkClaim(j, claimRoot);
        if (j.disputeId != 0) revert DisputeStands(j.disputeId);
        if (block.timestamp < j.windowEndS) revert WindowOpen(j.windowEndS);
        uint32 milestone = j.finalMilestones++;
        bytes32 stateRoot = r.claimedStateRoot;
        j.stateRoot = stateRoot;
        j.claimRoot = 0;
        uint256 feeWei = uint256(r.spec.milestonePriceWei) * feeBps / BPS;
        uint256 payWei = r.spec.milestonePriceWei - feeWei;
        emit MilestoneSettled(jobId, milestone, payWei, feeWei, stateRoot);
        if (j.finalMilestones == r.milestones) {
            j.status = JobStatus.Done;
            emit JobDone(jobId, stateRoot);
            payWei += r.spec.stakeWei;
        } else {
            j.deadlineS = uint64(block.timestamp) + r.spec.claimTimeoutS;
        }
        _push(treasury, feeWei);
        _push(j.solver, payWei);
    }

    /// After the deadline of the current wait: a job that nobody took is refunded; a solver that did not claim pays half
    /// of its stake to the requester.
    function expire(uint256 jobId) external nonReentrant {
        Record storage r = _records[jobId];
        Job storage j = r.job;
        if (j.status != JobStatus.Open && j.status != JobStatus.Taken) revert WrongStatus(jobId, j.status);
        if (j.claimRoot != 0) revert ClaimStands(j.claimRoot);
        if (block.timestamp <= j.deadlineS) revert TooEarly(j.deadlineS);
        uint256 stakeWei = j.status == JobStatus.Taken ? r.spec.stakeWei : 0;
        uint256 slashedWei = stakeWei / 2;
        uint256 refundWei = _unpaidWei(r);
        j.status = JobStatus.Expired;
        emit JobExpired(jobId, j.solver, slashedWei, refundWei);
        _push(j.requester, refundWei + slashedWei);
        _push(j.solver, stakeWei - slashedWei);
    }

    // ---- the disputes contract ---------------------------------------------------------------------------------

    function disputeOpened(uint256 jobId, bytes32 claimRoot, uint256 disputeId) external onlyDisputes {
        Record storage r = _in(jobId, JobStatus.Taken);
        Job storage j = r.job;
        _checkClaim(j, claimRoot);
        if (j.disputeId != 0) revert DisputeStands(j.disputeId);
        if (block.timestamp >= j.windowEndS) revert WindowClosed(j.windowEndS);
        j.disputeId = disputeId;
        r.disputedS = uint64(block.timestamp);
        emit DisputeOpened(jobId, disputeId);
    }

    /// The challenge failed: the window goes on for as long as it had left when the dispute opened.
    function disputeCleared(uint256 jobId, uint256 disputeId) external onlyDisputes {
        Record storage r = _disputed(jobId, disputeId);
        r.job.disputeId = 0;
        r.job.windowEndS += uint64(block.timestamp) - r.disputedS;
        emit DisputeCleared(jobId, disputeId, r.job.windowEndS);
    }

    /// The claim was wrong. `judge` is zero when a clock decided.
    function convict(uint256 jobId, uint256 disputeId, address winner, address judge)
        external
        onlyDisputes
        nonReentrant
    {
        Record storage r = _disputed(jobId, disputeId);
        Job storage j = r.job;
        uint256 stakeWei = r.spec.stakeWei;
        uint256 winnerWei = stakeWei / 2;
        uint256 requesterWei = (stakeWei - winnerWei) * REQUESTER_BPS / BPS;
        uint256 treasuryWei = stakeWei - winnerWei - requesterWei;
        uint256 tipWei = judge == address(0) ? 0 : r.spec.tipWei;
        winnerWei -= tipWei;
        uint256 refundWei = _unpaidWei(r);
        j.status = JobStatus.Convicted;
        j.claimRoot = 0;
        j.disputeId = 0;
        emit SolverConvicted(jobId, j.finalMilestones, j.solver, winner, stakeWei, winnerWei, refundWei);
        _push(winner, winnerWei);
        _push(judge, tipWei);
        _push(j.requester, refundWei + requesterWei);
        _push(treasury, treasuryWei);
    }

    // ---- views -------------------------------------------------------------------------------------------------

    function job(uint256 jobId) external view returns (Job memory) {
        return _records[jobId].job;
    }

    function spec(uint256 jobId) external view returns (JobSpec memory) {
        return _records[jobId].spec;
    }

    // ---- checks ------------------------------------------------------------------------------------------------

    function _in(uint256 jobId, JobStatus status) private view returns (Record storage r) {
        r = _records[jobId];
        if (r.job.status != status) revert WrongStatus(jobId, r.job.status);
    }

    function _disputed(uint256 jobId, uint256 disputeId) private view returns (Record storage r) {
        r = _in(jobId, JobStatus.Taken);
        if (disputeId == 0 || r.job.disputeId != disputeId) revert WrongDispute(r.job.disputeId, disputeId);
    }

    function _checkSpecHash(Record storage r, bytes32 given) private view {
        if (given != r.job.specHash) revert WrongSpecHash(r.job.specHash, given);
    }

    function _checkInTime(Record storage r) private view {
        if (block.timestamp > r.job.deadlineS) revert TooLate(r.job.deadlineS);
    }

    function _checkClaim(Job storage j, bytes32 given) private view {
        if (given == 0 || given != j.claimRoot) revert WrongClaim(j.claimRoot, given);
    }

    function _claimRoot(Record storage r, uint32 milestone, bytes32[] calldata stateRoots)
        private
        view
        returns (bytes32)
    {
        JobSpec storage s = r.spec;
        uint256 expected = Schedule.checkpointsIn(s.steps, s.stepsPerCheckpoint, s.checkpointsPerMilestone, milestone);
        if (stateRoots.length != expected) revert WrongCheckpointCount(expected, stateRoots.length);
        for (uint256 i = 0; i < expected; ++i) {
            if (stateRoots[i] == 0) revert ZeroRoot(i);
        }
        return ChunkTree.root(stateRoots);
    }

    // ---- money -------------------------------------------------------------------------------------------------

    /// What the requester has in escrow: the price of every milestone that is not final.
    function _unpaidWei(Record storage r) private view returns (uint256) {
        return uint256(r.spec.milestonePriceWei) * (r.milestones - r.job.finalMilestones);
    }

    function _pull(uint256 amountWei) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amountWei);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amountWei) revert WrongTransfer(amountWei, received);
    }

    function _push(address to, uint256 amountWei) private {
        if (amountWei != 0) token.safeTransfer(to, amountWei);
    }
}
