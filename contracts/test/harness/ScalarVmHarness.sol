// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ScalarVm} from "../../src/ScalarVm.sol";

/// Runs one scalar program on many frames, for tests.
contract ScalarVmHarness {
    /// @param frames Per case 31 big-endian words of 4 bytes: accumulator, right-hand side, k, 6 factors, 6 coordinates, 16 operands.
    /// @return results 4 bytes per case, big-endian.
    /// @return gas_ Gas of the last run alone.
    function batch(bytes calldata code, bytes calldata frames)
        external
        view
        returns (bytes memory results, uint256 gas_)
    {
        uint256 frame = ScalarVm.newFrame();
        ScalarVm.Inputs memory inputs =
            ScalarVm.Inputs({acc: true, rhs: true, fold: true, operands: 16, coords: 6, factors: 6});
        ScalarVm.Program memory program = ScalarVm.compile(code, frame, ScalarVm.handlers(), inputs);
        uint256 cases = frames.length / 124;
        results = new bytes(cases * 4);
        for (uint256 i = 0; i < cases; ++i) {
            for (uint256 j = 0; j < 31; ++j) {
                assembly ("memory-safe") {
                    mstore(
                        add(frame, mul(32, j)),
                        shr(224, calldataload(add(frames.offset, add(mul(124, i), mul(4, j)))))
                    )
                }
            }
            gas_ = gasleft();
            uint256 value = ScalarVm.run(program);
            gas_ -= gasleft();
            require(value <= 0xffffffff, "more than 32 bits");
            for (uint256 j = 0; j < 4; ++j) {
                results[4 * i + j] = bytes1(uint8(value >> (24 - 8 * j)));
            }
        }
    }

    /// What `compile` says a program loads.
    function loads(bytes calldata code, ScalarVm.Inputs calldata inputs) external pure returns (uint256) {
        return ScalarVm.compile(code, ScalarVm.newFrame(), ScalarVm.handlers(), inputs).loads;
    }
}
