// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Part of a milestone's pay that waits for the requester to have the result.
struct Delivery {
    address requester;
    address solver;
    uint128 heldWei;
    uint64 releaseS;
    bytes32 stateRoot;
    bytes32 programRoot;
}

interface IDeliveriesHooks {
    /// The market handed `d.heldWei` over.
    function hold(uint256 jobId, uint32 milestone, Delivery calldata d) external;
}
