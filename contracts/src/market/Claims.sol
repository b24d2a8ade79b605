// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../ChunkTree.sol";
import {JobBounds} from "../game/JobBounds.sol";
import {Schedule} from "../game/Schedule.sol";
import {Claim, Job, JobSpec, JobStatus} from "../interfaces/IJobMarket.sol";
import {DrawRequest} from "../interfaces/IVerifierDraw.sol";
import {Jobs} from "./Jobs.sol";

/// What a solver does: claims milestones, at once or with a commitment first, and takes a commitment back.
abstract contract Claims is Jobs {
    /// As many claims stand as the job allows; settle the first one.
    error TooManyClaims(uint8 standing, uint8 limit);
    error WrongCheckpointCount(uint256 expected, uint256 given);
    /// A state root of zero stands for nothing.
    error ZeroRoot(uint256 checkpoint);
    /// Jobs with assigned verifiers are committed to and revealed; others are claimed at once.
    error WrongClaimKind(uint8 verifiers);
    error AlreadyRevealed(bytes32 claimRoot);
    error ZeroCommitment();

    function claim(
        uint256 jobId,
        JobSpec calldata spec,
        uint32 milestone,
        bytes32[] calldata stateRoots,
        string calldata uri
    ) external {
        if (spec.verifiers != 0) revert WrongClaimKind(spec.verifiers);
        (Job storage j, Claim storage c) = _newClaim(jobId, spec, milestone);
        _reveal(c, spec, milestone, stateRoots);
        _tellClaimed(jobId, milestone, j.attempt, c, stateRoots, uri);
    }

    function commitClaim(uint256 jobId, JobSpec calldata spec, uint32 milestone, bytes32 commitment) external {
        if (spec.verifiers == 0) revert WrongClaimKind(0);
        if (commitment == 0) revert ZeroCommitment();
        (Job storage j, Claim storage c) = _newClaim(jobId, spec, milestone);
        if (milestone != j.finalMilestones) {
            Claim storage before = _claims[_key(jobId, j.attempt, milestone - 1)];
            if (before.claimRoot == 0) revert NoSuchClaim(jobId, milestone - 1);
        }
        bytes32 key = _key(jobId, j.attempt, milestone);
        uint64 commitEndS = _after(spec.verifyS);
        c.commitment = commitment;
        c.revealEndS = commitEndS + spec.verifyS;
        emit ClaimCommitted(jobId, milestone, key, commitment, c.revealEndS);
        draw.request(
            key,
            DrawRequest({
                jobId: jobId,
                attempt: j.attempt,
                milestone: milestone,
                solver: j.solver,
                requester: j.requester,
                hardwareClass: spec.hardwareClass,
                count: spec.verifiers,
                feeWei: spec.verifierFeeWei,
                commitEndS: commitEndS,
                parametersVersion: j.parametersVersion
            })
        );
    }

    function revealClaim(
        uint256 jobId,
        JobSpec calldata spec,
        uint32 milestone,
        bytes32[] calldata stateRoots,
        bytes32 salt,
        string calldata uri
    ) external {
        (Job storage j, Claim storage c) = _unrevealed(jobId, spec, milestone);
        _checkInTime(c.revealEndS);
        _reveal(c, spec, milestone, stateRoots);
        bytes32 given = keccak256(abi.encode(c.claimRoot, salt));
        if (given != c.commitment) revert WrongClaim(c.commitment, given);
        _tellClaimed(jobId, milestone, j.attempt, c, stateRoots, uri);
        // half of the window is left to dispute what verifiers reveal
        draw.revealed(_key(jobId, j.attempt, milestone), c.claimRoot, _after(spec.windowS / 2));
    }

    /// The draw stays as it is: a new commitment meets the same verifiers.
    function retract(uint256 jobId, JobSpec calldata spec, uint32 milestone) external {
        (Job storage j, Claim storage c) = _unrevealed(jobId, spec, milestone);
        c.commitment = 0;
        c.revealEndS = 0;
        --j.standingClaims;
        uint256 feeWei = uint256(j.priceWei) * _shares(j).retractBps / BPS;
        emit ClaimRetracted(jobId, milestone, feeWei);
        stakes.collect(msg.sender, feeWei);
        _credit(j.requester, feeWei);
    }

    function _newClaim(uint256 jobId, JobSpec calldata spec, uint32 milestone)
        private
        returns (Job storage j, Claim storage c)
    {
        j = _solving(jobId, spec);
        _checkInTime(j.deadlineS);
        uint32 expected = j.finalMilestones + j.standingClaims;
        if (milestone != expected) revert WrongMilestone(expected, milestone);
        if (milestone >= j.milestones) revert WrongMilestone(j.milestones - 1, milestone);
        if (j.standingClaims >= spec.standingClaims) revert TooManyClaims(j.standingClaims, spec.standingClaims);
        ++j.standingClaims;
        j.deadlineS = _after(spec.claimTimeoutS);
        c = _claims[_key(jobId, j.attempt, milestone)];
    }

    /// The newest claim, which alone can be unrevealed.
    function _unrevealed(uint256 jobId, JobSpec calldata spec, uint32 milestone)
        private
        view
        returns (Job storage j, Claim storage c)
    {
        j = _solving(jobId, spec);
        if (!stands(jobId, j.attempt, milestone)) revert NoSuchClaim(jobId, milestone);
        c = _claims[_key(jobId, j.attempt, milestone)];
        if (c.claimRoot != 0) revert AlreadyRevealed(c.claimRoot);
    }

    function _solving(uint256 jobId, JobSpec calldata spec) private view returns (Job storage j) {
        j = _in(jobId, spec, JobStatus.Taken);
        if (msg.sender != j.solver) revert NotSolver(msg.sender, j.solver);
    }

    function _reveal(Claim storage c, JobSpec calldata spec, uint32 milestone, bytes32[] calldata stateRoots) private {
        c.claimRoot = _claimRoot(spec, milestone, stateRoots);
        c.endRoot = stateRoots[stateRoots.length - 1];
        c.windowEndS = _after(spec.windowS);
    }

    function _tellClaimed(
        uint256 jobId,
        uint32 milestone,
        uint32 attempt,
        Claim storage c,
        bytes32[] calldata stateRoots,
        string calldata uri
    ) private {
        JobBounds.check("uri", bytes(uri).length, 0, JobBounds.MAX_URI_BYTES);
        emit MilestoneClaimed(jobId, milestone, attempt, c.claimRoot, stateRoots, uri, c.windowEndS);
    }

    function _claimRoot(JobSpec calldata s, uint32 milestone, bytes32[] calldata stateRoots)
        private
        pure
        returns (bytes32)
    {
        uint256 expected = Schedule.checkpointsIn(s.steps, s.stepsPerCheckpoint, s.checkpointsPerMilestone, milestone);
        if (stateRoots.length != expected) revert WrongCheckpointCount(expected, stateRoots.length);
        for (uint256 i = 0; i < expected; ++i) {
            if (stateRoots[i] == 0) revert ZeroRoot(i);
        }
        return ChunkTree.root(stateRoots);
    }
}
