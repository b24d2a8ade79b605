// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Float32} from "../../src/Float32.sol";

/// Applies one operation of `Float32` to a batch, for the differential tests in Rust.
contract Float32Harness {
    error UnknownOperation(uint256 op);

    /// @param op Index into the list below.
    /// @param inputs 12 bytes per case: `a`, `b`, `c`, big-endian; unused ones are ignored.
    /// @return results 4 bytes per case, big-endian.
    function batch(uint256 op, bytes calldata inputs) external pure returns (bytes memory results) {
        uint256 cases = inputs.length / 12;
        results = new bytes(cases * 4);
        for (uint256 i = 0; i < cases; ++i) {
            uint256 abc = uint96(bytes12(inputs[12 * i:12 * i + 12]));
            uint256 z = apply_(op, abc >> 64, (abc >> 32) & 0xffffffff, abc & 0xffffffff);
            require(z <= 0xffffffff, "more than 32 bits");
            for (uint256 j = 0; j < 4; ++j) {
                results[4 * i + j] = bytes1(uint8(z >> (24 - 8 * j)));
            }
        }
    }

    /// Gas of one operation, without the call around it.
    function gasOf(uint256 op, uint256 a, uint256 b, uint256 c) external view returns (uint256) {
        uint256 start = gasleft();
        apply_(op, a, b, c);
        uint256 middle = gasleft();
        apply_(type(uint256).max, a, b, c);
        return (start - middle) - (middle - gasleft());
    }

    function apply_(uint256 op, uint256 a, uint256 b, uint256 c) private pure returns (uint256) {
        if (op == type(uint256).max) return a;
        if (op == 0) return Float32.add(a, b);
        if (op == 1) return Float32.sub(a, b);
        if (op == 2) return Float32.mul(a, b);
        if (op == 3) return Float32.div(a, b);
        if (op == 4) return Float32.sqrt(a);
        if (op == 5) return Float32.fma(a, b, c);
        if (op == 6) return Float32.neg(a);
        if (op == 7) return Float32.abs(a);
        if (op == 8) return Float32.floor(a);
        if (op == 9) return Float32.rint(a);
        if (op == 10) return Float32.eq(a, b);
        if (op == 11) return Float32.lt(a, b);
        if (op == 12) return Float32.le(a, b);
        if (op == 13) return Float32.toI32(a);
        if (op == 14) return Float32.toU32(a);
        if (op == 15) return Float32.fromI32(a);
        if (op == 16) return Float32.fromU32(a);
        if (op == 17) return Float32.toBf16(a);
        if (op == 18) return Float32.fromBf16(a & 0xffff);
        if (op == 19) return Float32.canonical(a);
        revert UnknownOperation(op);
    }
}
