// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header, StateDecl} from "@ir/Program.sol";

enum DeliveryStatus {
    None,
    Held, // waits for the receipt or for time to pass
    Challenged, // the solver must show a chunk
    Released,
    Failed // no answer: the requester has the part back
}

/// Part of a milestone's pay that waits for the requester to have the result.
struct Delivery {
    DeliveryStatus status;
    address requester;
    address solver;
    uint128 heldWei;
    /// What the requester pays for an answer.
    uint128 feeWei;
    uint64 releaseS;
    /// How long the solver has for an answer, and until when that is.
    uint32 answerS;
    uint64 answerEndS;
    uint8 challenges;
    /// Says which chunk.
    bytes32 seed;
    bytes32 stateRoot;
    bytes32 programRoot;
}

/// The chunk that the seed names, with everything that proves it.
struct Possession {
    StateDecl decl;
    bytes32[] declProof;
    bytes32 merkleRoot;
    bytes32[] tensorProof;
    bytes chunk;
    bytes32[] chunkProof;
}

interface IDeliveriesHooks {
    /// The market handed `d.heldWei` over.
    function hold(uint256 jobId, uint32 milestone, Delivery calldata d) external;
}

/// Holdbacks, receipts and possession challenges.
interface IDeliveries is IDeliveriesHooks {
    event HeldBack(uint256 indexed jobId, uint32 indexed milestone, address indexed solver, uint256 heldWei, uint64 releaseS);
    event Released(uint256 indexed jobId, uint32 indexed milestone, address indexed solver, uint256 paidWei, bool byReceipt);
    event PossessionChallenged(uint256 indexed jobId, uint32 indexed milestone, bytes32 seed, uint64 answerEndS);
    event PossessionShown(uint256 indexed jobId, uint32 indexed milestone, uint32 tensor, uint64 chunkIndex, bytes chunk);
    event DeliveryFailed(uint256 indexed jobId, uint32 indexed milestone, address indexed solver, uint256 refundWei);

    function delivery(uint256 jobId, uint32 milestone) external view returns (Delivery memory);
    /// The requester has the result.
    function receipt(uint256 jobId, uint32 milestone) external;
    /// The time for complaints is over. Anyone may.
    function release(uint256 jobId, uint32 milestone) external;
    /// The requester doubts that the solver has the state, and pays for an answer.
    function challenge(uint256 jobId, uint32 milestone) external;
    /// Tensor `seed mod stateCount` of the state, chunk `keccak256(abi.encode(seed)) mod chunks` of it. Anyone may.
    function answer(uint256 jobId, uint32 milestone, Header calldata header, Possession calldata p) external;
    /// No answer in time: what was held back goes to the requester. Anyone may.
    function fail(uint256 jobId, uint32 milestone) external;
}
