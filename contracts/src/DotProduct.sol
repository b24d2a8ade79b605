// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Float32} from "./Float32.sol";
import {OperandReader} from "./OperandReader.sol";

/// The fold `acc = fma(a, b, acc)` over two `f32` operands whose addresses are affine in `k`: what every matrix product is
/// made of. The same result as the general way, several times cheaper: elements are read straight from calldata as long as
/// neither operand leaves its chunk, and `fma` for normal numbers stands in the loop.
library DotProduct {
    /// Whether an operand can be read in this way: `f32`, in bounds throughout, one fold factor.
    function fits(OperandReader.Reader memory reader) internal pure returns (bool) {
        return reader.linear && reader.dtype == 0 && reader.factorsEnd == reader.factors + 32;
    }

    /// Folds `k` from `k` to `end` into `acc`.
    function fold(uint256 acc, OperandReader.Reader memory a, OperandReader.Reader memory b, uint256 k, uint256 end)
        internal
        pure
        returns (uint256)
    {
        unchecked {
            while (k < end) {
                uint256 stop = k + OperandReader.stretch(a, k, end);
                uint256 stopB = k + OperandReader.stretch(b, k, end);
                if (stopB < stop) stop = stopB;
                acc = within(
                    acc,
                    OperandReader.placeAt(a, k),
                    OperandReader.placeAt(b, k),
                    stop - k,
                    OperandReader.stepOf(a),
                    OperandReader.stepOf(b)
                );
                k = stop;
            }
            return acc;
        }
    }

    /// Folds `n` pairs whose first elements lie at `pa` and `pb` in calldata.
    function within(uint256 acc, uint256 pa, uint256 pb, uint256 n, uint256 stepA, uint256 stepB)
        private
        pure
        returns (uint256)
    {
        uint256 x;
        uint256 y;
        while (n != 0) {
            // INVARIANT: stops at the end, or after reading a pair that `fma` has to take the long way
            assembly ("memory-safe") {
                for {} 1 {} {
                    // four bytes turned around, as in OperandReader.fetch
                    x := mod(
                        and(
                            mul(shr(224, calldataload(pa)), 0x0100000000000000010000000000010000000000000100),
                            0xff0000000000000000ff00000000000000ff0000000000ff0000
                        ),
                        0xffffffffff
                    )
                    y := mod(
                        and(
                            mul(shr(224, calldataload(pb)), 0x0100000000000000010000000000010000000000000100),
                            0xff0000000000000000ff00000000000000ff0000000000ff0000
                        ),
                        0xffffffffff
                    )
                    pa := add(pa, stepA)
                    pb := add(pb, stepB)
                    n := sub(n, 1)
                    // Float32.fma(x, y, acc) for normal numbers, near enough to each other, with a normal result
                    let e := add(and(x, 0x7f800000), and(y, 0x7f800000))
                    let shift := sub(add(and(shr(23, acc), 0xff), 230), shr(23, e))
                    if iszero(
                        mul(
                            mul(and(add(x, 0x800000), 0x7f000000), and(add(y, 0x800000), 0x7f000000)),
                            mul(and(add(acc, 0x800000), 0x7f000000), lt(shift, 145))
                        )
                    ) { break }
                    let sum :=
                        add(
                            shl(80, mul(or(and(x, 0x7fffff), 0x800000), or(and(y, 0x7fffff), 0x800000))),
                            mul(
                                sub(1, shl(1, shr(31, xor(xor(x, y), acc)))),
                                shl(shift, or(and(acc, 0x7fffff), 0x800000))
                            )
                        )
                    let sign := xor(x, y)
                    if slt(sum, 0) {
                        sum := sub(0, sum)
                        sign := not(sign)
                    }
                    let top := sub(shift, 104)
                    top := add(124, mul(top, sgt(top, 0)))
                    shift := shr(top, sum)
                    if iszero(shift) { break }
                    top := add(byte(shift, 0x0000010102020202030303030303030304040404040404040404040404040404), top)
                    e := sub(add(top, shr(23, e)), 254)
                    if gt(e, 252) { break }
                    top := sub(top, 23)
                    acc := or(
                        add(shl(23, e), shr(top, add(sum, add(sub(shl(sub(top, 1), 1), 1), and(shr(top, sum), 1))))),
                        and(sign, 0x80000000)
                    )
                    // nothing left, and nothing left over for the long way
                    if iszero(n) {
                        x := not(0)
                        break
                    }
                }
            }
            if (x <= 0xffffffff) acc = Float32.fma(Float32.canonical(x), Float32.canonical(y), acc);
        }
        return acc;
    }
}
