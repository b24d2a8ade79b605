// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

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

    /// `a + b`.
    function add(uint256 a, uint256 b) internal pure returns (uint256 z) {
        uint256 e;
        uint256 sum;
        assembly ("memory-safe") {
            // the larger magnitude first: it gives the sign, and the difference is not negative
            if lt(shl(225, a), shl(225, b)) {
                z := a
                a := b
                b := z
            }
            // (exponent field + 1) & 0xfe is zero for zeros, subnormals, infinities and NaNs only
            z := mul(and(add(a, 0x800000), 0x7f000000), and(add(b, 0x800000), 0x7f000000))
        }
        if (z == 0) return addSpecial(a, b);
        assembly ("memory-safe") {
            e := and(shr(23, a), 0xff)
            let gap := sub(e, and(shr(23, b), 0xff))
            if gt(gap, 60) { gap := 60 }
            sum := shl(60, or(and(a, 0x7fffff), 0x800000))
            gap := shl(sub(60, gap), or(and(b, 0x7fffff), 0x800000))
            switch shr(31, xor(a, b))
            case 0 { sum := add(sum, gap) }
            default { sum := sub(sum, gap) }
            // INVARIANT: sum < 2^85, so its leading five bits, if any, start at bit 80
            z := shr(80, sum)
            // a table of floor(log2) for 1..31
            if z { z := add(80, byte(z, 0x0000010102020202030303030303030304040404040404040404040404040404)) }
        }
        if (z == 0) {
            if (sum == 0) return 0;
            z = log2(sum);
        }
        unchecked {
            return round(a & SIGN, sum, z, e + z - 83);
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
        if (z == 0) return mulSpecial(a, b);
        uint256 product;
        uint256 e;
        assembly ("memory-safe") {
            product := mul(or(and(a, 0x7fffff), 0x800000), or(and(b, 0x7fffff), 0x800000))
            // INVARIANT: 2^46 <= product < 2^48
            z := add(46, shr(47, product))
            e := sub(add(shr(23, add(and(a, 0x7f800000), and(b, 0x7f800000))), z), 173)
        }
        return round((a ^ b) & SIGN, product, z, e);
    }

    /// `a / b`.
    function div(uint256 a, uint256 b) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := mul(and(add(a, 0x800000), 0x7f000000), and(add(b, 0x800000), 0x7f000000))
        }
        if (z == 0) return divSpecial(a, b);
        uint256 quotient;
        uint256 e;
        assembly ("memory-safe") {
            z := or(and(b, 0x7fffff), 0x800000)
            e := shl(32, or(and(a, 0x7fffff), 0x800000))
            // the quotient, and below it whether anything is left
            quotient := or(shl(1, div(e, z)), iszero(iszero(mod(e, z))))
            // INVARIANT: 2^32 <= quotient < 2^34
            z := add(32, shr(33, quotient))
            e := sub(add(add(and(shr(23, a), 0xff), z), 94), and(shr(23, b), 0xff))
        }
        return round((a ^ b) & SIGN, quotient, z, e);
    }

    /// The square root of `x`; -0 gives -0.
    function sqrt(uint256 x) internal pure returns (uint256 z) {
        unchecked {
            uint256 e = x >> 23;
            uint256 m = x & 0x7fffff;
            if (e == 0) {
                if (m == 0) return x;
                z = log2(m);
                m <<= 23 - z;
                e = z - 22;
            } else if (e < 255) {
                m |= 0x800000;
            } else {
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
                m := or(shl(1, s), iszero(eq(mul(s, s), n)))
                // INVARIANT: 2^25 <= m < 2^27
                z := add(25, shr(26, m))
                // (e - 150 - 26 - odd) / 2 - 1 + 127 + z, and e - odd is even
                e := add(sar(1, sub(e, odd)), add(z, 38))
            }
            return round(0, m, z, e);
        }
    }

    /// `a * b + c`, rounded once.
    function fma(uint256 a, uint256 b, uint256 c) internal pure returns (uint256 z) {
        uint256 product;
        uint256 e; // of the product: the sum of the exponent fields
        uint256 shift;
        uint256 m;
        assembly ("memory-safe") {
            z :=
                mul(
                    mul(and(add(a, 0x800000), 0x7f000000), and(add(b, 0x800000), 0x7f000000)),
                    and(add(c, 0x800000), 0x7f000000)
                )
            if z {
                product := mul(or(and(a, 0x7fffff), 0x800000), or(and(b, 0x7fffff), 0x800000))
                e := shr(23, add(and(a, 0x7f800000), and(b, 0x7f800000)))
                m := or(and(c, 0x7fffff), 0x800000)
                shift := and(shr(23, c), 0xff)
            }
        }
        if (z == 0) {
            bool decided;
            (decided, z) = fmaSpecial(a, b, c);
            if (decided) return z;
            (m, e) = unpack(a);
            (product, shift) = unpack(b);
            unchecked {
                product *= m;
                e += shift;
            }
            (m, shift) = unpack(c);
        }
        assembly ("memory-safe") {
            // The frame: the product starts at bit 80, `c` at bit `shift` = 80 + its exponent less the product's.
            z := shift
            shift := sub(add(shift, 230), e)
            if gt(shift, 144) {
                // too far apart to touch: 80 bits below, or 64 above, are as good as any distance
                switch sgt(shift, 0)
                case 0 { shift := 0 }
                default {
                    shift := 144
                    e := add(z, 86)
                }
            }
            product := shl(80, product)
            m := shl(shift, m)
            c := shr(31, xor(xor(a, b), c))
            a := and(xor(a, b), 0x80000000)
            switch c
            case 0 { product := add(product, m) }
            default {
                product := sub(product, m)
                if slt(product, 0) {
                    product := sub(0, product)
                    a := xor(a, 0x80000000)
                }
            }
            // INVARIANT: product < 2^(max(128, shift + 24) + 1): its leading five bits, if any, start here
            b := 124
            if gt(shift, 104) { b := add(20, shift) }
            z := shr(b, product)
            if z { z := add(b, byte(z, 0x0000010102020202030303030303030304040404040404040404040404040404)) }
        }
        if (z == 0) {
            if (product == 0) return 0;
            z = log2(product);
        }
        assembly ("memory-safe") {
            // `round`, inlined
            e := sub(add(z, e), 253)
            z := sub(z, 23)
            if slt(e, 1) {
                z := sub(add(z, 1), e)
                e := 1
                if gt(z, 255) { z := 255 }
            }
            z := add(shl(23, sub(e, 1)), shr(z, add(product, add(sub(shl(sub(z, 1), 1), 1), and(shr(z, product), 1)))))
            if gt(z, 0x7f7fffff) { z := 0x7f800000 }
            z := or(z, a)
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
        if (isNan(a) || isNan(b)) return 0;
        int256 x = ordered(a);
        int256 y = ordered(b);
        assembly ("memory-safe") {
            z := slt(x, y)
        }
    }

    /// 1 if `a <= b`; 0 with a NaN.
    function le(uint256 a, uint256 b) internal pure returns (uint256 z) {
        if (isNan(a) || isNan(b)) return 0;
        int256 x = ordered(a);
        int256 y = ordered(b);
        assembly ("memory-safe") {
            z := iszero(sgt(x, y))
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
    function fromU32(uint256 n) internal pure returns (uint256) {
        unchecked {
            if (n == 0) return 0;
            uint256 top = log2(n);
            return round(0, n << 24, top + 24, top + 127);
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

    /// Rounds `m`, whose leading bit is bit `top` (24 or more) and whose biased exponent would be `e` (signed), to 24 bits.
    /// Bit 0 of `m` may stand for anything smaller. `m < 2^200`.
    function round(uint256 sign, uint256 m, uint256 top, uint256 e) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            top := sub(top, 23)
            if slt(e, 1) {
                // subnormal: no bit below 2^-149, no hidden bit
                top := sub(add(top, 1), e)
                e := 1
                if gt(top, 255) { top := 255 }
            }
            // plain: q = m >> top; if the rest is above half, or half and q is odd, q += 1; z = ((e - 1) << 23) + q.
            // The hidden bit and a carry both raise the exponent by one.
            z := add(shl(23, sub(e, 1)), shr(top, add(m, add(sub(shl(sub(top, 1), 1), 1), and(shr(top, m), 1)))))
            if gt(z, 0x7f7fffff) { z := 0x7f800000 }
            z := or(z, sign)
        }
    }

    /// Significand and exponent of a finite value.
    function unpack(uint256 x) private pure returns (uint256 m, uint256 e) {
        assembly ("memory-safe") {
            m := and(x, 0x7fffff)
            e := and(shr(23, x), 0xff)
            switch e
            case 0 { e := 1 }
            default { m := or(m, 0x800000) }
        }
    }

    /// Position of the leading bit; 0 for 0.
    function log2(uint256 x) private pure returns (uint256 r) {
        assembly ("memory-safe") {
            r := shl(7, lt(0xffffffffffffffffffffffffffffffff, x))
            r := or(r, shl(6, lt(0xffffffffffffffff, shr(r, x))))
            r := or(r, shl(5, lt(0xffffffff, shr(r, x))))
            r := or(r, shl(4, lt(0xffff, shr(r, x))))
            r := or(r, shl(3, lt(0xff, shr(r, x))))
            r := or(r, shl(2, lt(0xf, shr(r, x))))
            r := or(r, byte(shr(r, x), 0x0000010102020202030303030303030300000000000000000000000000000000))
        }
    }

    /// Integer part of a positive finite value below 2^32.
    function truncated(uint256 x) private pure returns (uint256) {
        unchecked {
            (uint256 m, uint256 e) = unpack(x);
            return e < 150 ? m >> (150 - e) : m << (e - 150);
        }
    }

    /// An integer that orders as the value does; both zeros give 0.
    function ordered(uint256 x) private pure returns (int256 y) {
        assembly ("memory-safe") {
            y := and(x, 0x7fffffff)
            if shr(31, x) { y := sub(0, y) }
        }
    }

    /// `a + b`, `|a| >= |b|`, where one of them is not normal.
    function addSpecial(uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            if (isNan(a)) return NAN;
            if (a & MAGNITUDE == INF) return a == b ^ SIGN ? NAN : a;
            if (b & MAGNITUDE == 0) return a & MAGNITUDE != 0 ? a : a & b; // -0 only from two of them
            (uint256 m, uint256 e) = unpack(a);
            (uint256 n, uint256 f) = unpack(b);
            uint256 gap = e - f;
            if (gap > 60) gap = 60;
            m <<= 60;
            n <<= 60 - gap;
            m = (a ^ b) & SIGN == 0 ? m + n : m - n;
            if (m == 0) return 0;
            uint256 top = log2(m);
            return round(a & SIGN, m, top, e + top - 83);
        }
    }

    /// `a * b` where one of them is not normal.
    function mulSpecial(uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            if (isNan(a) || isNan(b)) return NAN;
            uint256 sign = (a ^ b) & SIGN;
            a &= MAGNITUDE;
            b &= MAGNITUDE;
            if (a == INF || b == INF) return a == 0 || b == 0 ? NAN : sign | INF;
            if (a == 0 || b == 0) return sign;
            (uint256 m, uint256 e) = unpack(a);
            (uint256 n, uint256 f) = unpack(b);
            m = m * n << 64;
            uint256 top = log2(m);
            return round(sign, m, top, e + f + top - 237);
        }
    }

    /// `a / b` where one of them is not normal.
    function divSpecial(uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            if (isNan(a) || isNan(b)) return NAN;
            uint256 sign = (a ^ b) & SIGN;
            a &= MAGNITUDE;
            b &= MAGNITUDE;
            if (a == INF) return b == INF ? NAN : sign | INF;
            if (b == INF) return sign;
            if (b == 0) return a == 0 ? NAN : sign | INF;
            if (a == 0) return sign;
            (uint256 m, uint256 e) = unpack(a);
            (uint256 n, uint256 f) = unpack(b);
            m <<= 64;
            m = (m / n) << 1 | (m % n == 0 ? 0 : 1);
            uint256 top = log2(m);
            return round(sign, m, top, e + top + 62 - f);
        }
    }

    /// `a * b + c` where one of them is not normal, if no rounding is needed: a NaN, an infinity or a zero is involved.
    function fmaSpecial(uint256 a, uint256 b, uint256 c) private pure returns (bool decided, uint256 z) {
        if (isNan(a) || isNan(b) || isNan(c)) return (true, NAN);
        uint256 sign = (a ^ b) & SIGN;
        a &= MAGNITUDE;
        b &= MAGNITUDE;
        if (a == INF || b == INF) {
            bool invalid = a == 0 || b == 0 || c == (sign ^ SIGN) | INF;
            return (true, invalid ? NAN : sign | INF);
        }
        if (c & MAGNITUDE == INF) return (true, c);
        if (a == 0 || b == 0) return (true, c & MAGNITUDE != 0 ? c : c & sign);
        return (false, 0);
    }
}
