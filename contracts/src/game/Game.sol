// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header} from "@ir/Program.sol";
import {ChunkTree} from "../ChunkTree.sol";
import {Dispute, IDisputes, Phase, Side} from "../interfaces/IDisputes.sol";
import {IDocket} from "../interfaces/IDocket.sol";

/// What a dispute needs of its job, copied when it opens so that a move reads no other contract.
struct Terms {
    bytes32 programRoot;
    bytes32 dataRoot;
    address referee;
    uint32 graceS;
}

/// What every move shares: positions, turns and chess clocks.
abstract contract Game is IDisputes {
    /// The dispute is in another phase than the move is for. Read `dispute` again.
    error WrongPhase(Phase current);
    /// It is the other side's turn.
    error WrongTurn(Side current);
    /// Another move came first. Read `dispute` again and answer that position.
    error WrongPosition(bytes32 expected, bytes32 given);
    error NotDefender(address caller, address defender);
    error NotChallenger(address caller, address challenger);
    /// The mover's time ran out; only `timeout` is left.
    error TimeIsUp(uint64 deadlineS);
    error NotYetTimedOut(uint64 deadlineS);
    /// The header is not the one that the job's program root is the hash of.
    error WrongHeader(bytes32 expected, bytes32 given);
    /// A posted list or value does not have the length that the tree, tensor or fold dictates.
    error WrongCount(uint256 expected, uint256 given);
    /// What was given does not hash, or does not prove, to the commitment.
    error WrongHash(bytes32 expected, bytes32 given);
    /// The pointer names something that is not there: `count` real ones exist.
    error PastTheEnd(uint256 count, uint256 given);

    IDocket public immutable docket;

    mapping(uint256 disputeId => Dispute) internal _disputes;
    mapping(uint256 disputeId => Terms) internal _terms;
    mapping(address defender => address) public override delegate;

    constructor(address docket_) {
        docket = IDocket(docket_);
    }

    // ---- moves -------------------------------------------------------------------------------------------------

    /// Accepts a move of `side` in `phase`: checks it, advances the position, charges the clock.
    function _move(uint256 disputeId, bytes32 position, Phase phase, Side side) internal returns (Dispute storage d) {
        d = _disputes[disputeId];
        if (d.phase != phase) revert WrongPhase(d.phase);
        _moveOf(disputeId, d, position, side);
    }

    /// The same for the moves that Nodes, States and Chunks share.
    function _walkMove(uint256 disputeId, bytes32 position, Side side) internal returns (Dispute storage d) {
        d = _disputes[disputeId];
        Phase phase = d.phase;
        if (phase != Phase.Nodes && phase != Phase.States && phase != Phase.Chunks) revert WrongPhase(phase);
        _moveOf(disputeId, d, position, side);
    }

    /// The same for judgements, which anyone may make on the challenger's clock.
    function _judgement(uint256 disputeId, bytes32 position, Phase phase) internal returns (Dispute storage d) {
        d = _disputes[disputeId];
        if (d.phase != phase) revert WrongPhase(d.phase);
        _advance(disputeId, d, position);
    }

    function _moveOf(uint256 disputeId, Dispute storage d, bytes32 position, Side side) private {
        if (d.turn != side) revert WrongTurn(d.turn);
        if (side == Side.Defender) {
            if (msg.sender != d.defender && msg.sender != delegate[d.defender]) {
                revert NotDefender(msg.sender, d.defender);
            }
        } else if (msg.sender != d.challenger) {
            revert NotChallenger(msg.sender, d.challenger);
        }
        _advance(disputeId, d, position);
    }

    function _advance(uint256 disputeId, Dispute storage d, bytes32 position) private {
        _checkPosition(d, position);
        uint64 deadline = _deadline(disputeId, d);
        if (block.timestamp > deadline) revert TimeIsUp(deadline);
        d.position = keccak256(abi.encode(position, keccak256(msg.data)));
        uint256 elapsedS = block.timestamp - d.turnStartedS;
        if (d.turn == Side.Defender) d.defenderClockS = _charge(d.defenderClockS, elapsedS);
        else d.challengerClockS = _charge(d.challengerClockS, elapsedS);
    }

    function _checkPosition(Dispute storage d, bytes32 position) internal view {
        if (position != d.position) revert WrongPosition(d.position, position);
    }

    /// Ends a move: `turn` moves next, in `phase`, from now on.
    function _next(uint256 disputeId, Dispute storage d, Phase phase, Side turn) internal {
        d.phase = phase;
        d.turn = turn;
        d.turnStartedS = uint64(block.timestamp);
        emit Moved(disputeId, d.position, phase, turn, _deadline(disputeId, d));
    }

    // ---- clocks ------------------------------------------------------------------------------------------------

    function _deadline(uint256 disputeId, Dispute storage d) internal view returns (uint64) {
        uint32 clockS = d.turn == Side.Defender ? d.defenderClockS : d.challengerClockS;
        uint32 graceS = _terms[disputeId].graceS;
        return d.turnStartedS + (clockS > graceS ? clockS : graceS);
    }

    function _charge(uint32 clockS, uint256 elapsedS) private pure returns (uint32) {
        return elapsedS < clockS ? clockS - uint32(elapsedS) : 0;
    }

    // ---- the end -----------------------------------------------------------------------------------------------

    /// Ends the game; the docket notes who is to be paid. `judge` is zero when a clock decided, and then nobody gets the tip.
    function _resolve(uint256 disputeId, Dispute storage d, Side winner, address judge) internal {
        d.phase = winner == Side.Defender ? Phase.DefenderWon : Phase.ChallengerWon;
        emit Resolved(disputeId, winner, judge == address(0));
        docket.resolved(disputeId, winner, judge);
    }

    // ---- proofs ------------------------------------------------------------------------------------------------

    function _checkHeader(uint256 disputeId, Header calldata header) internal view {
        bytes32 expected = _terms[disputeId].programRoot;
        bytes32 given = keccak256(abi.encode(header));
        if (given != expected) revert WrongHeader(expected, given);
    }

    /// `leaf` is at `index` of the tree over `count` leaves under `root`. `count` never comes from who proves.
    function _checkProof(bytes32 root, uint256 count, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        internal
        pure
    {
        if (index >= count) revert PastTheEnd(count, index);
        _checkPath(root, ChunkTree.depth(count), index, leaf, proof);
    }

    function _checkPath(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        internal
        pure
    {
        _checkHash(root, ChunkTree.proofRoot(depth, index, leaf, proof));
    }

    function _checkHash(bytes32 expected, bytes32 given) internal pure {
        if (given != expected) revert WrongHash(expected, given);
    }

    function _checkCount(uint256 expected, uint256 given) internal pure {
        if (given != expected) revert WrongCount(expected, given);
    }
}
