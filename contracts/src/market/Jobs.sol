// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IDeliveriesHooks} from "../interfaces/IDeliveries.sol";
import {Claim, IJobMarket, Job, JobSpec, JobStatus, Standing} from "../interfaces/IJobMarket.sol";
import {IParameters, Shares} from "../interfaces/IParameters.sol";
import {IStakes} from "../interfaces/IStakes.sol";
import {IVerifierDrawHooks} from "../interfaces/IVerifierDraw.sol";

/// The other contracts of one deployment.
struct Neighbours {
    address stakes;
    address parameters;
    address docket;
    address draw;
    address deliveries;
    address treasury;
}

/// What every part of the market shares: the jobs, their claims, and what callers must believe about them.
/// No function here is guarded against reentrance: tokens move only inside `Stakes`, which is, the one foreign call (`_tell`)
/// comes last, and a contract that does call back finds books that are written before anything is collected.
abstract contract Jobs is IJobMarket {
    error WrongStatus(uint256 jobId, JobStatus current);
    error NotRequester(address caller, address requester);
    error NotSolver(address caller, address solver);
    error NotDocket(address caller, address docket);
    /// The caller read another job than the one posted. Read its `JobPosted` again.
    error WrongSpecHash(bytes32 expected, bytes32 given);
    /// The deadline to take, claim or reveal has passed; `expire` is left.
    error TooLate(uint64 deadlineS);
    error TooEarly(uint64 deadlineS);
    error WrongMilestone(uint32 expected, uint32 given);
    /// The claim that the caller means is not the one that stands.
    error WrongClaim(bytes32 standing, bytes32 given);
    error NoSuchClaim(uint256 jobId, uint32 milestone);

    uint256 internal constant BPS = 10_000;

    IStakes public immutable stakes;
    IParameters public immutable parameters;
    address public immutable docket;
    IVerifierDrawHooks public immutable draw;
    IDeliveriesHooks public immutable deliveries;
    address public immutable treasury;

    uint256 public override jobCount;
    mapping(uint256 jobId => Job) internal _jobs;
    mapping(bytes32 key => Claim) internal _claims;
    mapping(uint256 jobId => mapping(address solver => bool)) public override barred;

    constructor(Neighbours memory n) {
        stakes = IStakes(n.stakes);
        parameters = IParameters(n.parameters);
        docket = n.docket;
        draw = IVerifierDrawHooks(n.draw);
        deliveries = IDeliveriesHooks(n.deliveries);
        treasury = n.treasury;
    }

    // ---- views -------------------------------------------------------------------------------------------------

    function job(uint256 jobId) external view returns (Job memory) {
        return _jobs[jobId];
    }

    function claimOf(uint256 jobId, uint32 milestone) external view returns (Claim memory) {
        return _claims[_key(jobId, _jobs[jobId].attempt, milestone)];
    }

    function claimAt(bytes32 key) external view returns (Claim memory) {
        return _claims[key];
    }

    function standing(uint256 jobId, uint32 milestone) external view returns (Standing memory s) {
        Job storage j = _jobs[jobId];
        if (!stands(jobId, j.attempt, milestone)) revert NoSuchClaim(jobId, milestone);
        s.key = _key(jobId, j.attempt, milestone);
        Claim storage c = _claims[s.key];
        s.claimRoot = c.claimRoot;
        if (s.claimRoot == 0) revert NoSuchClaim(jobId, milestone);
        s.windowEndS = c.windowEndS;
        s.solver = j.solver;
        s.parametersVersion = j.parametersVersion;
        s.startRoot =
            milestone == j.finalMilestones ? j.stateRoot : _claims[_key(jobId, j.attempt, milestone - 1)].endRoot;
    }

    function stands(uint256 jobId, uint32 attempt, uint32 milestone) public view returns (bool) {
        Job storage j = _jobs[jobId];
        if (j.status != JobStatus.Taken || j.attempt != attempt || milestone < j.finalMilestones) return false;
        return milestone - j.finalMilestones < j.standingClaims;
    }

    function mayStand(uint256 jobId, uint32 attempt) external view returns (bool) {
        Job storage j = _jobs[jobId];
        if (j.attempt != attempt) return false;
        return j.status == JobStatus.Taken || (j.status == JobStatus.Convicted && j.stakeWei != 0);
    }

    /// Linear from the start price to the end price over `auctionS`, then the end price.
    function _priceWei(JobSpec calldata s, uint64 openedS) internal view returns (uint96) {
        uint256 elapsedS = block.timestamp - openedS;
        if (elapsedS >= s.auctionS) return uint96(s.endPriceWei);
        uint256 rise = uint256(s.endPriceWei - s.startPriceWei) * elapsedS / s.auctionS;
        return uint96(s.startPriceWei + rise);
    }

    // ---- checks ------------------------------------------------------------------------------------------------

    /// The job, if it has that status and the caller means it.
    function _in(uint256 jobId, JobSpec calldata spec, JobStatus status) internal view returns (Job storage j) {
        j = _jobs[jobId];
        if (j.status != status) revert WrongStatus(jobId, j.status);
        _checkSpec(j, spec);
    }

    function _checkSpec(Job storage j, JobSpec calldata spec) internal view {
        bytes32 given = keccak256(abi.encode(spec));
        if (given != j.specHash) revert WrongSpecHash(j.specHash, given);
    }

    function _checkRequester(Job storage j) internal view {
        if (msg.sender != j.requester) revert NotRequester(msg.sender, j.requester);
    }

    function _checkInTime(uint64 deadlineS) internal view {
        if (block.timestamp > deadlineS) revert TooLate(deadlineS);
    }

    function _checkPast(uint64 deadlineS) internal view {
        if (block.timestamp <= deadlineS) revert TooEarly(deadlineS);
    }

    function _key(uint256 jobId, uint32 attempt, uint32 milestone) internal pure returns (bytes32) {
        return keccak256(abi.encode(jobId, attempt, milestone));
    }

    function _after(uint32 waitS) internal view returns (uint64) {
        return uint64(block.timestamp) + waitS;
    }

    // ---- money -------------------------------------------------------------------------------------------------

    function _shares(Job storage j) internal view returns (Shares memory) {
        return parameters.shares(j.parametersVersion);
    }

    function _credit(address to, uint256 amountWei) internal {
        stakes.credit(to, amountWei);
    }

    /// What the requester has in escrow for one milestone.
    function _milestoneEscrowWei(JobSpec calldata s) internal pure returns (uint256) {
        return s.endPriceWei + uint256(s.verifierFeeWei) * s.verifiers;
    }

    /// INVARIANT: what the market holds for a job is its escrow for every milestone that is not final.
    function _unpaidWei(Job storage j, JobSpec calldata s) internal view returns (uint256) {
        return _milestoneEscrowWei(s) * (j.milestones - j.finalMilestones);
    }
}
