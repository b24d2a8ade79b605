// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header, StateDecl} from "@ir/Program.sol";
import {Dispute, Phase, Side} from "../interfaces/IDisputes.sol";
import {Inputs, IReferee, OperandWitness, Unit} from "../interfaces/IReferee.sol";
import {Game, Terms} from "./Game.sol";
import {UnitKind} from "./UnitKind.sol";

/// Phases Judge and JudgeState, and the clock: how a game ends. Anyone may call these.
abstract contract Verdicts is Game {
    /// The declaration names a kind of source that does not exist.
    error UnknownSource(uint8 source);

    /// The referee's revert is no judgement: it reverts the call, and the challenger's clock runs on.
    function judge(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        bytes calldata node,
        bytes calldata values,
        OperandWitness[] calldata witness
    ) external {
        Dispute storage d = _judgement(disputeId, position, Phase.Judge);
        _checkHeader(disputeId, header);
        _checkHash(d.nodeHash, keccak256(node));
        if (d.unitKind < UnitKind.COMBINE) _checkCount(0, values.length);
        else _checkHash(d.cursor, keccak256(values));
        Inputs memory inputs = _inputs(disputeId, d, header);
        Unit memory unit = Unit({kind: d.unitKind, element: d.element, blockIndex: d.blockIndex});
        uint32 bits = IReferee(_terms[disputeId].referee).recompute(node, inputs, unit, values, witness);
        emit Judged(disputeId, msg.sender, d.value, bits);
        _resolve(disputeId, d, bits == d.value ? Side.Defender : Side.Challenger, msg.sender);
    }

    function judgeState(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        StateDecl calldata decl,
        bytes32[] calldata declProof,
        bytes32 sourceRoot,
        bytes32[] calldata sourceProof
    ) external {
        Dispute storage d = _judgement(disputeId, position, Phase.JudgeState);
        _checkHeader(disputeId, header);
        _checkProof(header.stateDeclsRoot, header.stateCount, d.index, keccak256(abi.encode(decl)), declProof);
        (bytes32 root, uint256 count) = _source(_inputs(disputeId, d, header), decl.source);
        _checkProof(root, count, decl.index, sourceRoot, sourceProof);
        bytes32 claimed = d.cursor;
        emit StateJudged(disputeId, msg.sender, claimed, sourceRoot);
        _resolve(disputeId, d, claimed == sourceRoot ? Side.Defender : Side.Challenger, msg.sender);
    }

    /// Ends the game against the side that let its time run out.
    function timeout(uint256 disputeId, bytes32 position) external {
        Dispute storage d = _disputes[disputeId];
        Phase phase = d.phase;
        if (phase == Phase.None || phase == Phase.DefenderWon || phase == Phase.ChallengerWon) {
            revert WrongPhase(phase);
        }
        _checkPosition(d, position);
        uint64 deadline = _deadline(disputeId, d);
        if (block.timestamp <= deadline) revert NotYetTimedOut(deadline);
        _resolve(disputeId, d, d.turn == Side.Defender ? Side.Challenger : Side.Defender, address(0));
    }

    function _inputs(uint256 disputeId, Dispute storage d, Header calldata header)
        private
        view
        returns (Inputs memory)
    {
        return Inputs({
            stateRoot: d.beforeRoot,
            dataRoot: _terms[disputeId].dataRoot,
            traceRoot: d.traceRoot,
            stateCount: header.stateCount,
            dataCount: header.dataCount,
            nodeCount: header.nodeCount
        });
    }

    function _source(Inputs memory inputs, uint8 source) private pure returns (bytes32 root, uint256 count) {
        if (source == 0) return (inputs.stateRoot, inputs.stateCount);
        if (source == 1) return (inputs.dataRoot, inputs.dataCount);
        if (source == 2) return (inputs.traceRoot, inputs.nodeCount);
        revert UnknownSource(source);
    }
}
