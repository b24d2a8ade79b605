// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Float32Slow} from "./Float32Slow.sol";

/// IEEE 754 binary32 arithmetic in integers: correctly rounded to nearest even, gradual underflow, signed zeros, every NaN
/// result is `0x7fc00000` (docs/protocol.md, section 1). Values are 32 bits, zero-extended to a word; callers keep them so.
///
/// A finite value is `m * 2^(e - 150)`: `e` the biased exponent (1 for subnormals), `m` the significand with its hidden bit.
/// Sums are exact in 256 bits: the terms are aligned in a frame wide enough for everything that can matter, and a term too
/// small for that only keeps its sign and that it is not zero, which is all that rounding can see of it.
library Float32 {
    uint256 internal constant NAN = 0x7fc00000;
    uint256 internal constant INF = 0x7f800000;
    uint256 internal constant SIGN = 0x80000000;
    uint256 internal constant MAGNITUDE = 0x7fffffff;
    uint256 private constant ONE = 0x3f800000;

    // ------------------------------------------------------------------------------------------------- arithmetic
    // Each operation has a short way for normal operands and a long one for the rest. The test: (exponent field + 1) & 0xfe
    // is zero for zeros, subnormals, infinities and NaNs, and only for them. All end in the same rounding, written plainly:
    //
    //     q = m >> n; if the rest is above half, or half and q is odd, q += 1; result = (e << 23) + q
    //
    // where e is the biased exponent less one, for the hidden bit of q raises it again, and so does a carry.

    /// `a + b`.
    function add(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            // the larger magnitude first: it gives the sign, and the difference is not negative
            if lt(shl(225, a), shl(225, b)) {
                z := a
                a := b
                b := z
            }
            z := mul(and(add(a, 0x800000), 0x7f000000), and(add(b, 0x800000), 0x7f000000))
        }
        if (z == 0) return Float32Slow.addSlow(a, b);
        assembly ("memory-safe") {
            let e := and(shr(23, a), 0xff)
            // Significands from bit 230 on. Of `b` bits are lost only 230 places further down, and never all of them.
            // sum = a + b, or a - b if the signs differ
            let sum :=
                add(
                    shl(230, or(and(a, 0x7fffff), 0x800000)),
                    mul(
                        sub(1, shl(1, shr(31, xor(a, b)))),
                        shr(sub(e, and(shr(23, b), 0xff)), shl(230, or(and(b, 0x7fffff), 0x800000)))
                    )
                )
            switch sum
            case 0 { z := 0 }
            default {
                // INVARIANT: sum < 2^255. Its leading bit: a table for the five from bit 250 on, else by halving.
                z := shr(250, sum)
                switch z
                case 0 {
                    z := shl(7, lt(0xffffffffffffffffffffffffffffffff, sum))
                    z := or(z, shl(6, lt(0xffffffffffffffff, shr(z, sum))))
                    z := or(z, shl(5, lt(0xffffffff, shr(z, sum))))
                    z := or(z, shl(4, lt(0xffff, shr(z, sum))))
                    z := or(z, shl(3, lt(0xff, shr(z, sum))))
                    z := or(z, shl(2, lt(0xf, shr(z, sum))))
                    z := or(z, byte(shr(z, sum), 0x0000010102020202030303030303030300000000000000000000000000000000))
                }
                default { z := add(byte(z, 0x0000010102020202030303030303030304040404040404040404040404040404), 250) }
                e := sub(add(e, z), 254)
                z := sub(z, 23)
                if gt(e, 252) {
                    // at the ends of the range
                    switch slt(e, 0)
                    case 1 {
                        // subnormal: no bit below 2^-149, no hidden bit
                        z := sub(z, e)
                        if gt(z, 255) { z := 255 }
                        e := 0
                    }
                    default {
                        if gt(e, 253) {
                            // infinity: exponent 255, no fraction
                            e := 254
                            sum := shl(z, 0x800000)
                        }
                    }
                }
                z := or(
                    add(shl(23, e), shr(z, add(sum, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, sum), 1))))),
                    and(a, 0x80000000)
                )
            }
        }
    }

    /// `a - b`.
    function sub(uint256 a, uint256 b) internal pure returns (uint256) {
        return add(a, b ^ SIGN);
    }

    /// `a * b`.
    function mul(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := mul(and(add(a, 0x800000), 0x7f000000), and(add(b, 0x800000), 0x7f000000))
        }
        if (z == 0) return Float32Slow.mulSlow(a, b);
        assembly ("memory-safe") {
            let product := mul(or(and(a, 0x7fffff), 0x800000), or(and(b, 0x7fffff), 0x800000))
            // INVARIANT: 2^46 <= product < 2^48, so 23 or 24 bits go
            z := add(23, shr(47, product))
            let e := sub(add(shr(23, add(and(a, 0x7f800000), and(b, 0x7f800000))), z), 151)
            if gt(e, 252) {
                // at the ends of the range
                switch slt(e, 0)
                case 1 {
                    // subnormal: no bit below 2^-149, no hidden bit
                    z := sub(z, e)
                    if gt(z, 255) { z := 255 }
                    e := 0
                }
                default {
                    if gt(e, 253) {
                        // infinity: exponent 255, no fraction
                        e := 254
                        product := shl(z, 0x800000)
                    }
                }
            }
            z := or(
                add(shl(23, e), shr(z, add(product, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, product), 1))))),
                and(xor(a, b), 0x80000000)
            )
        }
    }

    /// `a / b`.
    function div(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := mul(and(add(a, 0x800000), 0x7f000000), and(add(b, 0x800000), 0x7f000000))
        }
        if (z == 0) return Float32Slow.divSlow(a, b);
        assembly ("memory-safe") {
            let e := shl(32, or(and(a, 0x7fffff), 0x800000))
            let quotient := or(and(b, 0x7fffff), 0x800000)
            // the quotient, and below it whether anything is left
            quotient := or(shl(1, div(e, quotient)), gt(mod(e, quotient), 0))
            // INVARIANT: 2^32 <= quotient < 2^34, so 9 or 10 bits go
            z := add(9, shr(33, quotient))
            e := sub(add(and(shr(23, a), 0xff), add(z, 116)), and(shr(23, b), 0xff))
            if gt(e, 252) {
                // at the ends of the range
                switch slt(e, 0)
                case 1 {
                    // subnormal: no bit below 2^-149, no hidden bit
                    z := sub(z, e)
                    if gt(z, 255) { z := 255 }
                    e := 0
                }
                default {
                    if gt(e, 253) {
                        // infinity: exponent 255, no fraction
                        e := 254
                        quotient := shl(z, 0x800000)
                    }
                }
            }
            z := or(
                add(shl(23, e), shr(z, add(quotient, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, quotient), 1))))),
                and(xor(a, b), 0x80000000)
            )
        }
    }

    /// The square root of `x`; -0 gives -0.
    function sqrt(uint256 x) internal pure returns (uint256 z) {
        unchecked {
            uint256 e = x >> 23;
            uint256 m = x & 0x7fffff | 0x800000;
            if (e == 0) {
                if (x == 0) return 0;
                // a subnormal: 2^-149 times an integer, which as a float has its significand normalised
                e = fromU32(x);
                m = e & 0x7fffff | 0x800000;
                e = (e >> 23) - 149;
            } else if (e >= 255) {
                return x == INF || x == SIGN ? x : NAN;
            }
            assembly ("memory-safe") {
                // n = m << 26 or 27, so that the exponent left is even: 2^49 <= n < 2^51
                let odd := and(e, 1)
                let n := shl(add(26, odd), m)
                // linear estimate within 6 %, three Newton steps, never below the floor of the root and at most one above
                let s := add(shr(33, mul(n, 121)), 15817711)
                s := shr(1, add(s, div(n, s)))
                s := shr(1, add(s, div(n, s)))
                s := shr(1, add(s, div(n, s)))
                s := sub(s, gt(mul(s, s), n))
                // one more bit says whether the root goes on
                m := or(shl(1, s), lt(mul(s, s), n))
                // INVARIANT: 2^25 <= m < 2^27, so 2 or 3 bits go, and the result is normal
                z := add(2, shr(26, m))
                // (e - 150 - 26 - odd) / 2 - 1 + 127 + 23 + z, less one; e - odd is even
                e := add(sar(1, sub(e, odd)), add(z, 60))
                z := add(shl(23, e), shr(z, add(m, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, m), 1)))))
            }
        }
    }

    /// `a * b + c`, rounded once.
    function fma(uint256 a, uint256 b, uint256 c) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := mul(
                mul(and(add(a, 0x800000), 0x7f000000), and(add(b, 0x800000), 0x7f000000)),
                and(add(c, 0x800000), 0x7f000000)
            )
        }
        if (z == 0) return Float32Slow.fmaSlow(a, b, c);
        assembly ("memory-safe") {
            // The frame: the product from bit 80 on, `c` from bit `shift` on: 80, and its exponent less the product's.
            let e := shr(23, add(and(a, 0x7f800000), and(b, 0x7f800000)))
            z := and(shr(23, c), 0xff)
            let shift := sub(add(z, 230), e)
            if gt(shift, 144) {
                // too far apart to touch: 80 bits below, or 64 above, are as good as any distance
                switch slt(shift, 0)
                case 1 { shift := 0 }
                default {
                    shift := 144
                    e := add(z, 86)
                }
            }
            // product + c, or product - c if the signs differ
            let sum :=
                add(
                    shl(80, mul(or(and(a, 0x7fffff), 0x800000), or(and(b, 0x7fffff), 0x800000))),
                    mul(sub(1, shl(1, shr(31, xor(xor(a, b), c)))), shl(shift, or(and(c, 0x7fffff), 0x800000)))
                )
            a := xor(a, b)
            if slt(sum, 0) {
                sum := sub(0, sum)
                a := not(a)
            }
            switch sum
            case 0 { z := 0 }
            default {
                // INVARIANT: sum < 2^(max(104, shift) + 25). Its leading bit: a table for the five from there down, else by halving.
                b := sub(shift, 104)
                b := add(124, mul(b, sgt(b, 0)))
                z := shr(b, sum)
                switch z
                case 0 {
                    z := shl(7, lt(0xffffffffffffffffffffffffffffffff, sum))
                    z := or(z, shl(6, lt(0xffffffffffffffff, shr(z, sum))))
                    z := or(z, shl(5, lt(0xffffffff, shr(z, sum))))
                    z := or(z, shl(4, lt(0xffff, shr(z, sum))))
                    z := or(z, shl(3, lt(0xff, shr(z, sum))))
                    z := or(z, shl(2, lt(0xf, shr(z, sum))))
                    z := or(z, byte(shr(z, sum), 0x0000010102020202030303030303030300000000000000000000000000000000))
                }
                default { z := add(byte(z, 0x0000010102020202030303030303030304040404040404040404040404040404), b) }
                e := sub(add(z, e), 254)
                z := sub(z, 23)
                if gt(e, 252) {
                    // at the ends of the range
                    switch slt(e, 0)
                    case 1 {
                        // subnormal: no bit below 2^-149, no hidden bit
                        z := sub(z, e)
                        if gt(z, 255) { z := 255 }
                        e := 0
                    }
                    default {
                        if gt(e, 253) {
                            // infinity: exponent 255, no fraction
                            e := 254
                            sum := shl(z, 0x800000)
                        }
                    }
                }
                z := or(
                    add(shl(23, e), shr(z, add(sum, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, sum), 1))))),
                    and(a, 0x80000000)
                )
            }
        }
    }

    /// `-x`; a NaN becomes canonical.
    function neg(uint256 x) internal pure returns (uint256) {
        return isNan(x) ? NAN : x ^ SIGN;
    }

    /// `|x|`; a NaN becomes canonical.
    function abs(uint256 x) internal pure returns (uint256) {
        return isNan(x) ? NAN : x & MAGNITUDE;
    }

    /// The largest integer not above `x`; -0 stays -0.
    function floor(uint256 x) internal pure returns (uint256) {
        unchecked {
            uint256 magnitude = x & MAGNITUDE;
            if (magnitude >= 0x4b000000) return canonical(x); // |x| >= 2^23: no fraction
            if (magnitude < ONE) return x == SIGN || x < ONE ? x & SIGN : SIGN | ONE;
            uint256 fraction = (1 << (150 - (magnitude >> 23))) - 1;
            if (x >= SIGN) magnitude += fraction;
            return (x & SIGN) | (magnitude & ~fraction);
        }
    }

    /// `x` rounded to an integer, ties to even; keeps the sign of zeros.
    function rint(uint256 x) internal pure returns (uint256) {
        unchecked {
            uint256 magnitude = x & MAGNITUDE;
            if (magnitude >= 0x4b000000) return canonical(x);
            if (magnitude < ONE) return (x & SIGN) | (magnitude > 0x3f000000 ? ONE : 0);
            uint256 bits = 150 - (magnitude >> 23);
            // on the bits: the carry out of the significand is the next exponent
            magnitude += (1 << (bits - 1)) - 1 + ((magnitude >> bits) & 1);
            return (x & SIGN) | (magnitude >> bits << bits);
        }
    }

    // ------------------------------------------------------------------------------------------------ comparisons

    /// 1 if `a == b`; 0 with a NaN.
    function eq(uint256 a, uint256 b) internal pure returns (uint256 z) {
        if (isNan(a) || isNan(b)) return 0;
        assembly ("memory-safe") {
            // equal bits, or both zero
            z := or(eq(a, b), iszero(and(or(a, b), 0x7fffffff)))
        }
    }

    /// 1 if `a < b`; 0 with a NaN.
    function lt(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            // plain: neither is NaN, and ordered(a) < ordered(b), where ordered(x) is the magnitude, or less the magnitude
            let x := and(a, 0x7fffffff)
            let y := and(b, 0x7fffffff)
            if iszero(or(gt(x, 0x7f800000), gt(y, 0x7f800000))) {
                if shr(31, a) { x := sub(0, x) }
                if shr(31, b) { y := sub(0, y) }
                z := slt(x, y)
            }
        }
    }

    /// 1 if `a <= b`; 0 with a NaN.
    function le(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            // as in `lt`
            let x := and(a, 0x7fffffff)
            let y := and(b, 0x7fffffff)
            if iszero(or(gt(x, 0x7f800000), gt(y, 0x7f800000))) {
                if shr(31, a) { x := sub(0, x) }
                if shr(31, b) { y := sub(0, y) }
                z := iszero(sgt(x, y))
            }
        }
    }

    // ------------------------------------------------------------------------------------------------ conversions

    /// Towards zero to `i32`, saturating; NaN gives 0.
    function toI32(uint256 x) internal pure returns (uint256) {
        unchecked {
            if (isNan(x)) return 0;
            if (x & MAGNITUDE >= 0x4f000000) return x >= SIGN ? 0x80000000 : 0x7fffffff; // |x| >= 2^31
            uint256 n = truncated(x & MAGNITUDE);
            return x >= SIGN ? (0 - n) & 0xffffffff : n;
        }
    }

    /// Towards zero to `u32`, saturating; NaN and negative values give 0.
    function toU32(uint256 x) internal pure returns (uint256) {
        if (isNan(x) || x >= SIGN) return 0;
        return x >= 0x4f800000 ? 0xffffffff : truncated(x);
    }

    /// The nearest value to an `i32`.
    function fromI32(uint256 n) internal pure returns (uint256) {
        unchecked {
            return n >= SIGN ? SIGN | fromU32((1 << 32) - n) : fromU32(n);
        }
    }

    /// The nearest value to a `u32`.
    function fromU32(uint256 n) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            if n {
                z := shl(4, lt(0xffff, n))
                z := or(z, shl(3, lt(0xff, shr(z, n))))
                z := or(z, shl(2, lt(0xf, shr(z, n))))
                z := or(z, byte(shr(z, n), 0x0000010102020202030303030303030300000000000000000000000000000000))
                // leading bit to bit 32, so that 9 bits go; the exponent less one is 126 more than its place
                n := shl(sub(32, z), n)
                z := add(shl(23, add(z, 126)), shr(9, add(n, add(255, and(shr(9, n), 1)))))
            }
        }
    }

    /// The 16 bits that `bf16` keeps of `x`: nearest even on the bits; NaN gives `0x7fc0`.
    function toBf16(uint256 x) internal pure returns (uint256) {
        unchecked {
            return isNan(x) ? 0x7fc0 : (x + 0x7fff + ((x >> 16) & 1)) >> 16;
        }
    }

    /// A stored `bf16`, widened.
    function fromBf16(uint256 x) internal pure returns (uint256) {
        return canonical(x << 16);
    }

    /// `x`, or the one NaN if it is a NaN.
    function canonical(uint256 x) internal pure returns (uint256) {
        return isNan(x) ? NAN : x;
    }

    /// Whether `x` is any NaN.
    function isNan(uint256 x) internal pure returns (bool) {
        return x & MAGNITUDE > INF;
    }

    // -------------------------------------------------------------------------------------------------- internals

    /// Integer part of a positive finite value below 2^32.
    function truncated(uint256 x) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            // the significand on top of 32 bits; a subnormal may have a hidden bit here, for it goes anyway
            z := shr(sub(182, shr(23, x)), shl(32, or(and(x, 0x7fffff), 0x800000)))
        }
    }
}
