// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IL1Block} from "../../src/VerifierDraw.sol";

/// TEST DOUBLE: shows whatever L1 block a test wants.
contract L1Double is IL1Block {
    uint64 public number = 1_000;
    bytes32 public hash = keccak256("genesis");

    function set(uint64 number_, bytes32 hash_) external {
        (number, hash) = (number_, hash_);
    }
}
