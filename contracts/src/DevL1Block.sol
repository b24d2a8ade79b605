// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IL1Block} from "./VerifierDraw.sol";

/// For chains without an L1 (a development chain, anvil): their own blocks stand in for L1 blocks. Who makes the blocks knows
/// the hash; where that matters, the predeploy of the OP Stack is used.
contract DevL1Block is IL1Block {
    function number() external view returns (uint64) {
        return uint64(block.number);
    }

    function hash() external view returns (bytes32) {
        return blockhash(block.number - 1);
    }
}
