// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Float32} from "./Float32.sol";

/// The fold `acc = fma(a, b, acc)` over packed values in memory: what every matrix product and, with `b` of ones, every sum is made
/// of. The same result as `Float32.fma` term by term, at less than half of its price.
///
/// `prepare` takes eight pairs of values at a time apart into three rows of 32-bit words: the signed significand of `a` (with the sign
/// of the product), the significand of `b`, and the sum of the exponents, which is 2^32 - 1 unless both are finite.
///
/// `fold` keeps the accumulator unpacked in a frame of 256 bits, `sum * 2^(base - 300)`, where its leading bit stands near bit 150,
/// so that a product comes in with one shift and nothing is lost, and one look into a table says where the sum's leading bit is
/// and so where to round. Whatever does not fit - an operand that is not finite, a product far above the sum, a leading bit that has
/// moved by more than two places, an accumulator at the ends of the range - goes through `Float32.fma`, which sets up a new frame.
library DotChain {
    /// Far below every exponent, as a negative number: nothing fits the frame.
    uint256 private constant NO_FRAME = 0xffffffffffffffffffffffffffffffff00000000000000000000000000000000;
    /// Entry `i` is where the leading bit of a sum stands, less 23, for the sum's bits from 148 on being `i`; 0 where that is too far.
    uint256 private constant PLACES = 0x007d7e7e7f7f7f7f808080808080808081818181818181818181818181818181;

    /// Eight times: all bits but the sign; the hidden bit; one; a byte; the fraction.
    uint256 private constant MAGNITUDE = 0x7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff;
    uint256 private constant HIDDEN = 0x0080000000800000008000000080000000800000008000000080000000800000;
    uint256 private constant ONE = 0x0000000100000001000000010000000100000001000000010000000100000001;
    uint256 private constant BYTE = 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff;
    uint256 private constant FRACTION = 0x007fffff007fffff007fffff007fffff007fffff007fffff007fffff007fffff;

    struct Terms {
        /// Three rows of 1,024 bytes (0x00), and the end of what is used of the first (0x20).
        uint256 rows;
        uint256 end;
        /// The values themselves.
        uint256 a;
        uint256 b;
        /// Bit `i`: term `i` is to be left out.
        uint256 left;
    }

    /// Takes apart `n` pairs, `1 <= n <= 256`.
    function prepare(uint256 a, uint256 b, uint256 n, uint256 left) internal pure returns (Terms memory terms) {
        uint256 row;
        assembly ("memory-safe") {
            row := mload(0x40)
            mstore(0x40, add(row, 0xc20))
        }
        takeApart(a, b, row, row + (n << 2));
        terms.rows = row;
        terms.end = row + (n << 2);
        terms.a = a;
        terms.b = b;
        terms.left = left;
    }

    function takeApart(uint256 a, uint256 b, uint256 row, uint256 end) private pure {
        assembly ("memory-safe") {
            for {} lt(row, end) { row := add(row, 0x20) } {
                let x := mload(a)
                let y := mload(b)
                a := add(a, 0x20)
                b := add(b, 0x20)
                let e := and(shr(23, x), BYTE)
                let f := and(shr(23, y), BYTE)
                // one where infinite or NaN
                let special := and(shr(8, or(add(e, ONE), add(f, ONE))), ONE)
                // one where normal: a subnormal or zero has no hidden bit and exponent 1
                let normal := and(shr(31, add(e, MAGNITUDE)), ONE)
                x := xor(x, y)
                y := or(and(y, FRACTION), shl(23, and(shr(31, add(f, MAGNITUDE)), ONE)))
                mstore(add(row, 0x400), y)
                // the product's sign; then x itself again
                let sign := and(shr(31, x), ONE)
                x := or(and(mload(sub(a, 0x20)), FRACTION), shl(23, normal))
                f := add(f, sub(ONE, shr(23, and(y, HIDDEN))))
                e := add(add(e, f), sub(ONE, normal))
                mstore(add(row, 0x800), or(e, mul(special, 0xffffffff)))
                // two's complement in every word; where the significand is 0 nothing may be carried out of it
                sign := and(sign, shr(31, add(x, MAGNITUDE)))
                mstore(row, add(xor(x, mul(sign, 0xffffffff)), sign))
            }
        }
    }

    /// Folds the terms from `row` on (`terms.rows` for the first), every `stride` bytes, into `acc`.
    function fold(uint256 acc, Terms memory terms, uint256 row, uint256 stride) internal pure returns (uint256) {
        uint256 sum;
        uint256 base;
        uint256 place = 127;
        (sum, base) = unpack(acc);
        while (true) {
            assembly ("memory-safe") {
                for { let end := mload(add(terms, 0x20)) } lt(row, end) { row := add(row, stride) } {
                    // The product, `shift` bits up, onto the sum. A negative shift is more than 100 places below the sum's leading
                    // bit, where nothing is left of it, and gives 0.
                    let shift := sub(shr(224, mload(add(row, 0x800))), base)
                    let next := add(sum, shl(shift, mul(sar(224, mload(row)), shr(224, mload(add(row, 0x400))))))
                    // leading bit of the magnitude (or one below, at the negative of a power of two, which needs no rounding)
                    let top := byte(shr(148, xor(next, sar(255, next))), PLACES)
                    if iszero(mul(top, slt(shift, 201))) { break }
                    place := top
                    // plain: unit = 2^place; sum = next rounded to a multiple of unit, ties to even
                    let unit := shl(top, 1)
                    sum := and(add(add(next, sub(shr(1, unit), 1)), and(shr(top, next), 1)), sub(0, unit))
                }
            }
            if (row >= terms.end) break;
            acc = slow(pack(acc, sum, base, place), terms, row);
            (sum, base) = unpack(acc);
            place = 127;
            unchecked {
                row += stride;
            }
        }
        return pack(acc, sum, base, place);
    }

    /// One term, whatever it is.
    function slow(uint256 acc, Terms memory terms, uint256 row) private pure returns (uint256) {
        unchecked {
            uint256 offset = row - terms.rows;
            if ((terms.left >> (offset >> 2)) & 1 != 0) return acc;
            return Float32.fma(valueAt(terms.a + offset), valueAt(terms.b + offset), acc);
        }
    }

    /// The frame around a value: its significand from bit 127 on. At the ends of the range there is none.
    function unpack(uint256 acc) private pure returns (uint256 sum, uint256 base) {
        assembly ("memory-safe") {
            base := and(shr(23, acc), 0xff)
            // INVARIANT: leading bits from 148 to 152, and a carry to 153, give exponents from 1 to 254
            switch lt(sub(base, 3), 249)
            case 0 { base := NO_FRAME }
            default {
                sum := shl(127, or(and(acc, 0x7fffff), 0x800000))
                if shr(31, acc) { sum := sub(0, sum) }
                base := add(base, 23)
            }
        }
    }

    /// The value in the frame, whose unit is `2^place`; `acc` where there is no frame.
    function pack(uint256 acc, uint256 sum, uint256 base, uint256 place) private pure returns (uint256 z) {
        if (base == NO_FRAME) return acc;
        assembly ("memory-safe") {
            z := slt(sum, 0)
            if z { sum := sub(0, sum) }
            // the hidden bit raises the exponent by one, and so does a carry
            z := or(shl(31, z), add(shl(23, sub(add(place, base), 151)), shr(place, sum)))
        }
    }

    /// The fold `acc = acc + a * b` of integers: terms are the `n` packed values at `a` and `b`.
    function integers(uint256 acc, uint256 a, uint256 b, uint256 n) internal pure returns (uint256) {
        assembly ("memory-safe") {
            for { let end := add(a, shl(2, n)) } lt(a, end) {
                a := add(a, 4)
                b := add(b, 4)
            } { acc := add(acc, mul(shr(224, mload(a)), shr(224, mload(b)))) }
        }
        return acc & 0xffffffff;
    }

    function valueAt(uint256 address_) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(224, mload(address_))
        }
    }
}
