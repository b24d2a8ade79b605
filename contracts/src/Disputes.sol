// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Dispute, Phase} from "./interfaces/IDisputes.sol";
import {Job, JobSpec} from "./interfaces/IJobMarket.sol";
import {ElementMoves} from "./game/ElementMoves.sol";
import {Game, Terms} from "./game/Game.sol";
import {Schedule} from "./game/Schedule.sol";
import {StepMoves} from "./game/StepMoves.sol";
import {Verdicts} from "./game/Verdicts.sol";
import {WalkMoves} from "./game/WalkMoves.sol";

/// The game of docs/protocol.md, section 5: from a claimed checkpoint down to one number that a contract recomputes.
/// Holds the challengers' bonds; stakes stay with the market.
///
///   Steps -> Trace -> Nodes -> Tensor -> Chunks -> Chunk -> Blocks -> Judge
///                       \--> States ------------------------------> JudgeState
contract Disputes is StepMoves, WalkMoves, ElementMoves, Verdicts {
    using SafeERC20 for IERC20;

    /// The claim that the caller wants to dispute is not the one that stands. Read the job again.
    error WrongClaim(bytes32 standing, bytes32 given);
    /// The token moved another amount than it was asked to.
    error WrongTransfer(uint256 expected, uint256 received);

    constructor(address market_, address token_) Game(market_, token_) {}

    function open(
        uint256 jobId,
        bytes32 claimRoot,
        uint32 checkpoint,
        bytes32 beforeRoot,
        bytes32[] calldata beforeProof,
        bytes32 afterRoot,
        bytes32[] calldata afterProof
    ) external nonReentrant returns (uint256 disputeId) {
        disputeId = ++disputeCount;
        Dispute storage d = _disputes[disputeId];
        d.jobId = jobId;
        d.checkpoint = checkpoint;
        d.challenger = msg.sender;
        d.beforeRoot = beforeRoot;
        d.afterRoot = afterRoot;
        d.position = keccak256(abi.encode(disputeId, claimRoot, checkpoint));
        Job memory job = market.job(jobId);
        if (claimRoot == 0 || job.claimRoot != claimRoot) revert WrongClaim(job.claimRoot, claimRoot);
        uint256 count = _adopt(disputeId, d, job);
        _checkProof(claimRoot, count, checkpoint, afterRoot, afterProof);
        if (checkpoint == 0) _checkBefore(job.stateRoot, beforeRoot, beforeProof);
        else _checkProof(claimRoot, count, checkpoint - 1, beforeRoot, beforeProof);
        market.disputeOpened(jobId, claimRoot, disputeId);
        _takeBond(_terms[disputeId].bondWei);
        emit Opened(disputeId, jobId, d.milestone, checkpoint, d.defender, msg.sender);
        _enterSegment(disputeId, d);
    }

    function dispute(uint256 disputeId) external view returns (Dispute memory) {
        return _disputes[disputeId];
    }

    function deadlineS(uint256 disputeId) external view returns (uint64) {
        Dispute storage d = _disputes[disputeId];
        if (d.phase == Phase.None) revert WrongPhase(d.phase);
        return _deadline(disputeId, d);
    }

    /// Copies the job's terms into the dispute; gives the number of checkpoints in the claim.
    function _adopt(uint256 disputeId, Dispute storage d, Job memory job) private returns (uint256 count) {
        JobSpec memory spec = market.spec(d.jobId);
        uint32 milestone = job.finalMilestones;
        count = Schedule.checkpointsIn(spec.steps, spec.stepsPerCheckpoint, spec.checkpointsPerMilestone, milestone);
        if (d.checkpoint >= count) revert PastTheEnd(count, d.checkpoint);
        d.milestone = milestone;
        d.defender = job.solver;
        d.defenderClockS = spec.clockS;
        d.challengerClockS = spec.clockS;
        uint256 index = uint256(milestone) * spec.checkpointsPerMilestone + d.checkpoint;
        (d.firstStep, d.steps) = Schedule.segment(spec.steps, spec.stepsPerCheckpoint, index);
        _terms[disputeId] = Terms({
            programRoot: spec.programRoot,
            dataRoot: spec.dataRoot,
            referee: spec.referee,
            graceS: spec.graceS,
            bondWei: spec.bondWei,
            tipWei: spec.tipWei
        });
    }

    function _takeBond(uint256 bondWei) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), bondWei);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != bondWei) revert WrongTransfer(bondWei, received);
    }
}
