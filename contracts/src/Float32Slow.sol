// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// The long ways of `Float32`: operands of which at least one is zero, subnormal, infinite or NaN.
///
/// They end in the same rounding as the short ones, for a significand `m` with bits above bit 23 and with the exponent less one in `e`:
/// the leading bit by halving, no bit below 2^-149, infinity above the largest. Written out everywhere, for a call costs too.
library Float32Slow {
    uint256 private constant NAN = 0x7fc00000;
    uint256 private constant INF = 0x7f800000;
    uint256 private constant SIGN = 0x80000000;
    uint256 private constant MAGNITUDE = 0x7fffffff;

    /// `a + b`, `|a| >= |b|`, whatever they are.
    function addSlow(uint256 a, uint256 b) internal pure returns (uint256 z) {
        if (a & MAGNITUDE >= INF) {
            if (isNan(a)) return NAN;
            return a == b ^ SIGN ? NAN : a;
        }
        if (b & MAGNITUDE == 0) return a & MAGNITUDE != 0 ? a : a & b; // -0 only from two of them
        assembly ("memory-safe") {
            // A subnormal has no hidden bit and exponent 1. `a` from bit 32 on; a `b` more than 32 places below only shows that it is there.
            let e := and(shr(23, a), 0xff)
            let m := shl(32, or(and(a, 0x7fffff), shl(23, gt(e, 0))))
            e := add(e, iszero(e))
            z := and(shr(23, b), 0xff)
            let n := shl(32, or(and(b, 0x7fffff), shl(23, gt(z, 0))))
            z := sub(e, add(z, iszero(z)))
            switch gt(z, 32)
            case 0 { n := shr(z, n) }
            default { n := 1 }
            m := add(m, mul(sub(1, shl(1, shr(31, xor(a, b)))), n))
            z := 0
            if m {
                z := shl(5, lt(0xffffffff, m))
                z := or(z, shl(4, lt(0xffff, shr(z, m))))
                z := or(z, shl(3, lt(0xff, shr(z, m))))
                z := or(z, shl(2, lt(0xf, shr(z, m))))
                z := or(z, byte(shr(z, m), 0x0000010102020202030303030303030300000000000000000000000000000000))
                e := sub(add(e, z), 56)
                z := sub(z, 23)
                if slt(e, 0) {
                    z := sub(z, e)
                    e := 0
                }
                z := add(shl(23, e), shr(z, add(m, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, m), 1)))))
                if gt(z, 0x7f7fffff) { z := 0x7f800000 }
                z := or(z, and(a, 0x80000000))
            }
        }
    }

    /// `a * b`, whatever they are.
    function mulSlow(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 m;
        uint256 n;
        uint256 e;
        assembly ("memory-safe") {
            // a subnormal has no hidden bit and exponent 1
            e := and(shr(23, a), 0xff)
            z := and(shr(23, b), 0xff)
            m := or(and(a, 0x7fffff), shl(23, gt(e, 0)))
            n := or(and(b, 0x7fffff), shl(23, gt(z, 0)))
            // something is zero, infinite or NaN
            if iszero(mul(mul(m, n), mul(sub(e, 255), sub(z, 255)))) { m := 0 }
        }
        if (m == 0) return mulSpecial(a & MAGNITUDE, b & MAGNITUDE, (a ^ b) & SIGN);
        assembly ("memory-safe") {
            e := add(add(e, iszero(e)), add(z, iszero(z)))
            m := shl(24, mul(m, n))
            z := shl(6, lt(0xffffffffffffffff, m))
            z := or(z, shl(5, lt(0xffffffff, shr(z, m))))
            z := or(z, shl(4, lt(0xffff, shr(z, m))))
            z := or(z, shl(3, lt(0xff, shr(z, m))))
            z := or(z, shl(2, lt(0xf, shr(z, m))))
            z := or(z, byte(shr(z, m), 0x0000010102020202030303030303030300000000000000000000000000000000))
            e := sub(add(e, z), 198)
            z := sub(z, 23)
            if slt(e, 0) {
                z := sub(z, e)
                e := 0
                if gt(z, 255) { z := 255 }
            }
            z := add(shl(23, e), shr(z, add(m, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, m), 1)))))
            if gt(z, 0x7f7fffff) { z := 0x7f800000 }
            z := or(z, and(xor(a, b), 0x80000000))
        }
    }

    /// `a / b`, whatever they are.
    function divSlow(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 m;
        uint256 n;
        uint256 e;
        assembly ("memory-safe") {
            // a subnormal has no hidden bit and exponent 1
            e := and(shr(23, a), 0xff)
            z := and(shr(23, b), 0xff)
            m := or(and(a, 0x7fffff), shl(23, gt(e, 0)))
            n := or(and(b, 0x7fffff), shl(23, gt(z, 0)))
            // something is zero, infinite or NaN
            if iszero(mul(mul(m, n), mul(sub(e, 255), sub(z, 255)))) { m := 0 }
        }
        if (m == 0) return divSpecial(a & MAGNITUDE, b & MAGNITUDE, (a ^ b) & SIGN);
        assembly ("memory-safe") {
            e := sub(add(e, iszero(e)), add(z, iszero(z)))
            // the quotient, and below it whether anything is left
            m := shl(50, m)
            m := or(shl(1, div(m, n)), gt(mod(m, n), 0))
            z := shl(6, lt(0xffffffffffffffff, m))
            z := or(z, shl(5, lt(0xffffffff, shr(z, m))))
            z := or(z, shl(4, lt(0xffff, shr(z, m))))
            z := or(z, shl(3, lt(0xff, shr(z, m))))
            z := or(z, shl(2, lt(0xf, shr(z, m))))
            z := or(z, byte(shr(z, m), 0x0000010102020202030303030303030300000000000000000000000000000000))
            e := add(add(e, z), 75)
            z := sub(z, 23)
            if slt(e, 0) {
                z := sub(z, e)
                e := 0
                if gt(z, 255) { z := 255 }
            }
            z := add(shl(23, e), shr(z, add(m, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, m), 1)))))
            if gt(z, 0x7f7fffff) { z := 0x7f800000 }
            z := or(z, and(xor(a, b), 0x80000000))
        }
    }

    /// `a * b + c`, whatever they are.
    function fmaSlow(uint256 a, uint256 b, uint256 c) internal pure returns (uint256 z) {
        uint256 m;
        uint256 e;
        assembly ("memory-safe") {
            e := and(shr(23, a), 0xff)
            z := and(shr(23, b), 0xff)
            // a subnormal has no hidden bit and exponent 1
            m := mul(or(and(a, 0x7fffff), shl(23, gt(e, 0))), or(and(b, 0x7fffff), shl(23, gt(z, 0))))
            // something is zero, infinite or NaN
            if iszero(mul(mul(m, sub(e, 255)), mul(sub(z, 255), sub(and(shr(23, c), 0xff), 255)))) { m := 0 }
            e := add(add(e, iszero(e)), add(z, iszero(z)))
        }
        if (m == 0) return fmaSpecial(a & MAGNITUDE, b & MAGNITUDE, c, (a ^ b) & SIGN);
        assembly ("memory-safe") {
            // The frame: the product starts at bit 80, `c` at bit `shift` = 80 + its exponent less the product's. Too far apart
            // to touch, 80 bits below or 64 above are as good as any distance.
            z := and(shr(23, c), 0xff)
            let n := or(and(c, 0x7fffff), shl(23, gt(z, 0)))
            z := add(z, iszero(z))
            let shift := sub(add(z, 230), e)
            if gt(shift, 144) {
                switch slt(shift, 0)
                case 1 { shift := 0 }
                default {
                    shift := 144
                    e := add(z, 86)
                }
            }
            b := xor(a, b)
            m := add(shl(80, m), mul(sub(1, shl(1, shr(31, xor(b, c)))), shl(shift, n)))
            if slt(m, 0) {
                m := sub(0, m)
                b := not(b)
            }
            z := 0
            if m {
                // INVARIANT: m < 2^169
                z := shl(7, lt(0xffffffffffffffffffffffffffffffff, m))
                z := or(z, shl(6, lt(0xffffffffffffffff, shr(z, m))))
                z := or(z, shl(5, lt(0xffffffff, shr(z, m))))
                z := or(z, shl(4, lt(0xffff, shr(z, m))))
                z := or(z, shl(3, lt(0xff, shr(z, m))))
                z := or(z, shl(2, lt(0xf, shr(z, m))))
                z := or(z, byte(shr(z, m), 0x0000010102020202030303030303030300000000000000000000000000000000))
                e := sub(add(e, z), 254)
                z := sub(z, 23)
                if slt(e, 0) {
                    z := sub(z, e)
                    e := 0
                    if gt(z, 255) { z := 255 }
                }
                z := add(shl(23, e), shr(z, add(m, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, m), 1)))))
                if gt(z, 0x7f7fffff) { z := 0x7f800000 }
                z := or(z, and(b, 0x80000000))
            }
        }
    }

    /// `a * b` of magnitudes of which one is zero, infinite or NaN.
    function mulSpecial(uint256 a, uint256 b, uint256 sign) private pure returns (uint256) {
        if (a > INF || b > INF) return NAN;
        if (a == INF || b == INF) return a == 0 || b == 0 ? NAN : sign | INF;
        return sign;
    }

    /// `a / b` of magnitudes of which one is zero, infinite or NaN.
    function divSpecial(uint256 a, uint256 b, uint256 sign) private pure returns (uint256) {
        if (a > INF || b > INF) return NAN;
        if (a == INF) return b == INF ? NAN : sign | INF;
        if (b == INF) return sign;
        if (b == 0) return a == 0 ? NAN : sign | INF;
        return sign;
    }

    /// `a * b + c` of magnitudes `a`, `b`, of which one is zero, infinite or NaN, or `c` is infinite or NaN.
    function fmaSpecial(uint256 a, uint256 b, uint256 c, uint256 sign) private pure returns (uint256) {
        if (a > INF || b > INF || isNan(c)) return NAN;
        if (a == INF || b == INF) return a == 0 || b == 0 || c == (sign ^ SIGN) | INF ? NAN : sign | INF;
        // c is infinite, or the product is zero
        return c & MAGNITUDE != 0 ? c : c & sign;
    }

    function isNan(uint256 x) private pure returns (bool) {
        return x & MAGNITUDE > INF;
    }
}
