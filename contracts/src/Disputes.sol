// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Dispute, Phase, Start} from "./interfaces/IDisputes.sol";
import {ElementMoves} from "./game/ElementMoves.sol";
import {Game, Terms} from "./game/Game.sol";
import {StepMoves} from "./game/StepMoves.sol";
import {Verdicts} from "./game/Verdicts.sol";
import {WalkMoves} from "./game/WalkMoves.sol";

/// The game of docs/protocol.md, section 5: from a claimed checkpoint down to one number that a contract recomputes.
/// It knows no money: the docket starts games and is told who won.
///
///   Steps -> Trace -> Nodes -> Tensor -> Chunks -> Chunk -> Blocks -> Judge
///                       \--> States ------------------------------> JudgeState
contract Disputes is StepMoves, WalkMoves, ElementMoves, Verdicts {
    error NotDocket(address caller, address docket);

    constructor(address docket_) Game(docket_) {}

    function start(uint256 disputeId, Start calldata s) external {
        if (msg.sender != address(docket)) revert NotDocket(msg.sender, address(docket));
        Dispute storage d = _disputes[disputeId];
        d.jobId = s.jobId;
        (d.milestone, d.checkpoint) = (s.milestone, s.checkpoint);
        (d.defender, d.challenger) = (s.defender, s.challenger);
        (d.beforeRoot, d.afterRoot) = (s.beforeRoot, s.afterRoot);
        (d.firstStep, d.steps) = (s.firstStep, s.steps);
        (d.defenderClockS, d.challengerClockS) = (s.clockS, s.clockS);
        d.position = keccak256(abi.encode(disputeId, s.claimRoot, s.checkpoint));
        _terms[disputeId] = Terms(s.programRoot, s.dataRoot, s.referee, s.graceS);
        emit Opened(disputeId, s.jobId, s.milestone, s.checkpoint, s.defender, s.challenger);
        _enterSegment(disputeId, d);
    }

    /// A key that only answers disputes, so that the one that holds the stake can stay offline.
    function setDelegate(address key) external {
        delegate[msg.sender] = key;
        emit DelegateSet(msg.sender, key);
    }

    function dispute(uint256 disputeId) external view returns (Dispute memory) {
        return _disputes[disputeId];
    }

    function defenderOf(uint256 disputeId) external view returns (address) {
        return _disputes[disputeId].defender;
    }

    function deadlineS(uint256 disputeId) external view returns (uint64) {
        Dispute storage d = _disputes[disputeId];
        if (d.phase == Phase.None) revert WrongPhase(d.phase);
        return _deadline(disputeId, d);
    }
}
