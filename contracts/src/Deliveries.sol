// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header} from "@ir/Program.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {Delivery, DeliveryStatus, IDeliveries, Possession} from "./interfaces/IDeliveries.sol";
import {IStakes} from "./interfaces/IStakes.sol";

/// The part of a milestone's pay that waits until the requester has the result, and the challenge that settles who withholds
/// it: the solver shows a random chunk of the state on the chain.
///
///   hold -> Held -> receipt, or time -> Released
///            | ^
///            v | answer
///         Challenged -> no answer in time -> Failed
contract Deliveries is IDeliveries {
    error NotMarket(address caller, address market);
    error NotRequester(address caller, address requester);
    error WrongStatus(uint256 jobId, uint32 milestone, DeliveryStatus current);
    error TooEarly(uint64 deadlineS);
    error TooLate(uint64 deadlineS);
    error TooManyChallenges(uint8 made);
    /// What was given does not hash, or does not prove, to the commitment.
    error WrongHash(bytes32 expected, bytes32 given);
    error UnknownType(uint8 dtype);

    /// Challenges of one milestone.
    uint8 public constant MAX_CHALLENGES = 3;

    IStakes public immutable stakes;
    address public immutable market;

    mapping(uint256 jobId => mapping(uint32 milestone => Delivery)) private _deliveries;

    constructor(address stakes_, address market_) {
        stakes = IStakes(stakes_);
        market = market_;
    }

    function hold(uint256 jobId, uint32 milestone, Delivery calldata d) external {
        if (msg.sender != market) revert NotMarket(msg.sender, market);
        _deliveries[jobId][milestone] = d;
        emit HeldBack(jobId, milestone, d.solver, d.heldWei, d.releaseS);
    }

    // ---- release -----------------------------------------------------------------------------------------------

    function receipt(uint256 jobId, uint32 milestone) external {
        Delivery storage d = _in(jobId, milestone, DeliveryStatus.Held);
        _checkRequester(d);
        _release(jobId, milestone, d);
    }

    function release(uint256 jobId, uint32 milestone) external {
        Delivery storage d = _in(jobId, milestone, DeliveryStatus.Held);
        if (block.timestamp <= d.releaseS) revert TooEarly(d.releaseS);
        _release(jobId, milestone, d);
    }

    function _release(uint256 jobId, uint32 milestone, Delivery storage d) private {
        d.status = DeliveryStatus.Released;
        emit Released(jobId, milestone, d.solver, d.heldWei, msg.sender == d.requester);
        stakes.credit(d.solver, d.heldWei);
    }

    // ---- possession --------------------------------------------------------------------------------------------

    function challenge(uint256 jobId, uint32 milestone) external {
        Delivery storage d = _in(jobId, milestone, DeliveryStatus.Held);
        _checkRequester(d);
        if (block.timestamp > d.releaseS) revert TooLate(d.releaseS);
        if (d.challenges == MAX_CHALLENGES) revert TooManyChallenges(d.challenges);
        ++d.challenges;
        d.status = DeliveryStatus.Challenged;
        d.answerEndS = uint64(block.timestamp) + d.answerS;
        d.seed = keccak256(abi.encode(blockhash(block.number - 1), jobId, milestone, d.challenges));
        emit PossessionChallenged(jobId, milestone, d.seed, d.answerEndS);
        stakes.collect(msg.sender, d.feeWei);
    }

    function answer(uint256 jobId, uint32 milestone, Header calldata header, Possession calldata p) external {
        Delivery storage d = _in(jobId, milestone, DeliveryStatus.Challenged);
        if (block.timestamp > d.answerEndS) revert TooLate(d.answerEndS);
        _checkHash(d.programRoot, keccak256(abi.encode(header)));
        uint256 tensor = uint256(d.seed) % header.stateCount;
        uint256 depth = ChunkTree.depth(header.stateCount);
        _checkPath(header.stateDeclsRoot, depth, tensor, keccak256(abi.encode(p.decl)), p.declProof);
        bytes32 tensorRoot = ChunkTree.tensorRoot(p.decl.dtype, p.decl.shape, p.merkleRoot);
        _checkPath(d.stateRoot, depth, tensor, tensorRoot, p.tensorProof);
        uint256 index = _checkChunk(d.seed, p);
        d.status = DeliveryStatus.Held;
        emit PossessionShown(jobId, milestone, uint32(tensor), uint64(index), p.chunk);
        stakes.credit(d.solver, d.feeWei);
    }

    /// The seed's chunk of the tensor: its real bytes, proven.
    function _checkChunk(bytes32 seed, Possession calldata p) private pure returns (uint256 index) {
        uint256 tensorBytes = _typeBytes(p.decl.dtype);
        for (uint256 i = 0; i < p.decl.shape.length; ++i) {
            tensorBytes *= p.decl.shape[i];
        }
        uint256 count = ChunkTree.chunkCount(tensorBytes);
        index = uint256(keccak256(abi.encode(seed))) % count;
        bytes32 leaf = ChunkTree.chunkLeaf(p.chunk, ChunkTree.chunkBytes(tensorBytes, index));
        _checkPath(p.merkleRoot, ChunkTree.depth(count), index, leaf, p.chunkProof);
    }

    function fail(uint256 jobId, uint32 milestone) external {
        Delivery storage d = _in(jobId, milestone, DeliveryStatus.Challenged);
        if (block.timestamp <= d.answerEndS) revert TooEarly(d.answerEndS);
        d.status = DeliveryStatus.Failed;
        emit DeliveryFailed(jobId, milestone, d.solver, d.heldWei);
        stakes.credit(d.requester, uint256(d.heldWei) + d.feeWei);
    }

    // ---- views and checks --------------------------------------------------------------------------------------

    function delivery(uint256 jobId, uint32 milestone) external view returns (Delivery memory) {
        return _deliveries[jobId][milestone];
    }

    function _in(uint256 jobId, uint32 milestone, DeliveryStatus status) private view returns (Delivery storage d) {
        d = _deliveries[jobId][milestone];
        if (d.status != status) revert WrongStatus(jobId, milestone, d.status);
    }

    function _checkRequester(Delivery storage d) private view {
        if (msg.sender != d.requester) revert NotRequester(msg.sender, d.requester);
    }

    function _checkPath(bytes32 root, uint256 depth, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        private
        pure
    {
        _checkHash(root, ChunkTree.proofRoot(depth, index, leaf, proof));
    }

    function _checkHash(bytes32 expected, bytes32 given) private pure {
        if (given != expected) revert WrongHash(expected, given);
    }

    function _typeBytes(uint8 dtype) private pure returns (uint256) {
        if (dtype < 3) return 4;
        if (dtype == 3) return 1;
        if (dtype == 4) return 2;
        revert UnknownType(dtype);
    }
}
