// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../ChunkTree.sol";
import {Dispute, Phase, Side} from "../interfaces/IDisputes.sol";
import {Game} from "./Game.sol";

/// Phase Steps: from a segment between two checkpoints down to one step.
abstract contract StepMoves is Game {
    /// Roots before part 0 come from the segment, not from a proof.
    error WrongBeforeRoot(bytes32 expected, bytes32 given);

    function postSteps(uint256 disputeId, bytes32 position, bytes32[] calldata stateRoots) external {
        Dispute storage d = _move(disputeId, position, Phase.Steps, Side.Defender);
        uint256 steps = d.steps;
        uint256 part = _partSteps(steps);
        uint256 parts = (steps + part - 1) / part;
        _checkCount(parts, stateRoots.length);
        _checkHash(d.afterRoot, stateRoots[parts - 1]);
        uint256 depth = ChunkTree.depth(parts);
        d.cursor = ChunkTree.childrenRoot(stateRoots, depth, 0);
        d.depth = uint8(depth);
        d.index = 0;
        d.count = uint64(parts);
        emit StepsPosted(disputeId, stateRoots);
        _next(disputeId, d, Phase.Steps, Side.Challenger);
    }

    function pointStep(
        uint256 disputeId,
        bytes32 position,
        uint32 part,
        bytes32 beforeRoot,
        bytes32[] calldata beforeProof,
        bytes32 afterRoot,
        bytes32[] calldata afterProof
    ) external {
        Dispute storage d = _move(disputeId, position, Phase.Steps, Side.Challenger);
        _checkProof(d.cursor, d.count, part, afterRoot, afterProof);
        if (part == 0) {
            _checkBefore(d.beforeRoot, beforeRoot, beforeProof);
        } else {
            _checkProof(d.cursor, d.count, part - 1, beforeRoot, beforeProof);
        }
        d.afterRoot = afterRoot;
        d.beforeRoot = beforeRoot;
        _narrow(disputeId, d, part);
    }

    /// The segment becomes its part `part`.
    function _narrow(uint256 disputeId, Dispute storage d, uint256 part) private {
        uint256 size = _partSteps(d.steps);
        uint256 start = part * size;
        uint256 left = d.steps - start;
        if (left > size) left = size;
        d.firstStep += uint64(start);
        d.steps = uint64(left);
        emit StepPointed(disputeId, uint32(part), d.firstStep, uint64(left));
        _enterSegment(disputeId, d);
    }

    /// The defender answers a segment with the roots inside it, or a single step with its trace.
    function _enterSegment(uint256 disputeId, Dispute storage d) internal {
        _next(disputeId, d, d.steps == 1 ? Phase.Trace : Phase.Steps, Side.Defender);
    }

    function _checkBefore(bytes32 expected, bytes32 given, bytes32[] calldata proof) internal pure {
        if (proof.length != 0) revert ChunkTree.WrongProofLength(proof.length, 0);
        if (given != expected) revert WrongBeforeRoot(expected, given);
    }

    /// Steps of one part: the largest power of 256 below `steps`, so that there are 2 to 256 parts.
    function _partSteps(uint256 steps) private pure returns (uint256 part) {
        part = 1;
        while (part * 256 < steps) part *= 256;
    }
}
