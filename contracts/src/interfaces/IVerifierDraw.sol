// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// A claim whose verifiers are to be drawn.
struct DrawRequest {
    uint256 jobId;
    uint32 attempt;
    uint32 milestone;
    address solver;
    address requester;
    uint32 hardwareClass;
    uint8 count;
    uint128 feeWei;
    /// Until when verifiers commit.
    uint64 commitEndS;
    uint32 parametersVersion;
}

/// What the market tells the draw of assigned verifiers.
interface IVerifierDrawHooks {
    /// The solver committed: fixes the L1 block whose hash draws.
    function request(bytes32 key, DrawRequest calldata r) external;
    /// The solver reveals; reverts while verifiers may still commit.
    function revealed(bytes32 key, bytes32 claimRoot, uint64 revealEndS) external;
    /// The claim is final; the fees were handed over.
    function settled(bytes32 key) external;
    /// How many revealed other roots and stand by them; each has an equal part of what is handed over after.
    function convicted(bytes32 key) external returns (uint256 dissenters);
    function reward(bytes32 key, uint256 amountWei) external;
}
