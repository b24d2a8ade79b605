// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Float32} from "../src/Float32.sol";
import {Test} from "./Test.sol";

/// Named cases. The proof by numbers is in tests/float32.rs: a million cases of every operation against hardware.
contract Float32Test is Test {
    uint256 private constant ZERO = 0;
    uint256 private constant MINUS_ZERO = 0x80000000;
    uint256 private constant ONE = 0x3f800000;
    uint256 private constant MINUS_ONE = 0xbf800000;
    uint256 private constant TWO = 0x40000000;
    uint256 private constant THREE = 0x40400000;
    uint256 private constant HALF = 0x3f000000;
    uint256 private constant INF = 0x7f800000;
    uint256 private constant MINUS_INF = 0xff800000;
    uint256 private constant NAN = 0x7fc00000;
    uint256 private constant OTHER_NAN = 0xff800001;
    uint256 private constant LARGEST = 0x7f7fffff;
    uint256 private constant SMALLEST = 1; // 2^-149
    uint256 private constant SMALLEST_NORMAL = 0x00800000; // 2^-126

    function test_add() public pure {
        assertEq(Float32.add(ONE, TWO), THREE);
        assertEq(Float32.add(0x3dcccccd, 0x3e4ccccd), 0x3e99999a); // 0.1 + 0.2
        assertEq(Float32.add(ONE, 0x33800000), ONE); // 1 + 2^-24: a tie, to even
        assertEq(Float32.add(0x3f800001, 0x33800000), 0x3f800002); // the next one: a tie, to even
        assertEq(Float32.add(ONE, 0x33800001), 0x3f800001); // just above the tie
        assertEq(Float32.add(ONE, 0xb3000000), ONE); // 1 - 2^-25: a tie below a power of two
        assertEq(Float32.add(LARGEST, 0x73000000), INF); // half an ulp above the largest
        assertEq(Float32.add(LARGEST, 0x72ffffff), LARGEST);
    }

    function test_add_keeps_the_signs_of_zeros() public pure {
        assertEq(Float32.add(ZERO, MINUS_ZERO), ZERO);
        assertEq(Float32.add(MINUS_ZERO, MINUS_ZERO), MINUS_ZERO);
        assertEq(Float32.add(ONE, MINUS_ONE), ZERO);
        assertEq(Float32.sub(MINUS_ZERO, ZERO), MINUS_ZERO);
        assertEq(Float32.sub(ZERO, ZERO), ZERO);
    }

    function test_add_underflows_gradually() public pure {
        assertEq(Float32.add(SMALLEST, SMALLEST), 2);
        assertEq(Float32.add(0x007fffff, SMALLEST), SMALLEST_NORMAL);
        assertEq(Float32.sub(SMALLEST_NORMAL, SMALLEST), 0x007fffff);
        assertEq(Float32.sub(0x00800001, SMALLEST_NORMAL), SMALLEST);
        assertEq(Float32.sub(0x01000001, 0x01000000), 2); // normal operands, subnormal difference
    }

    function test_add_of_infinities_and_nans() public pure {
        assertEq(Float32.add(INF, MINUS_INF), NAN);
        assertEq(Float32.add(INF, LARGEST), INF);
        assertEq(Float32.sub(INF, INF), NAN);
        assertEq(Float32.add(OTHER_NAN, ONE), NAN);
        assertEq(Float32.sub(ONE, OTHER_NAN), NAN);
    }

    function test_mul() public pure {
        assertEq(Float32.mul(THREE, HALF), 0x3fc00000);
        assertEq(Float32.mul(0x3f800001, 0x3f800001), 0x3f800002);
        assertEq(Float32.mul(LARGEST, TWO), INF);
        assertEq(Float32.mul(MINUS_ONE, ZERO), MINUS_ZERO);
        assertEq(Float32.mul(INF, ZERO), NAN);
        assertEq(Float32.mul(SMALLEST, HALF), ZERO); // a tie, to even
        assertEq(Float32.mul(3, HALF), 2); // a tie, to even
        assertEq(Float32.mul(SMALLEST, 0x3f000001), SMALLEST);
        assertEq(Float32.mul(SMALLEST_NORMAL, 0x3f7fffff), SMALLEST_NORMAL); // rounds up out of the subnormals
    }

    function test_div() public pure {
        assertEq(Float32.div(ONE, THREE), 0x3eaaaaab);
        assertEq(Float32.div(MINUS_ONE, ZERO), MINUS_INF);
        assertEq(Float32.div(ZERO, ZERO), NAN);
        assertEq(Float32.div(INF, INF), NAN);
        assertEq(Float32.div(ONE, MINUS_INF), MINUS_ZERO);
        assertEq(Float32.div(SMALLEST, TWO), ZERO);
        assertEq(Float32.div(LARGEST, SMALLEST), INF);
        assertEq(Float32.div(3, TWO), 2);
    }

    function test_sqrt() public pure {
        assertEq(Float32.sqrt(TWO), 0x3fb504f3);
        assertEq(Float32.sqrt(0x40800000), TWO);
        assertEq(Float32.sqrt(MINUS_ZERO), MINUS_ZERO);
        assertEq(Float32.sqrt(MINUS_ONE), NAN);
        assertEq(Float32.sqrt(0x80000001), NAN);
        assertEq(Float32.sqrt(INF), INF);
        assertEq(Float32.sqrt(MINUS_INF), NAN);
        assertEq(Float32.sqrt(SMALLEST), 0x1a3504f3);
        assertEq(Float32.sqrt(LARGEST), 0x5f7fffff);
    }

    function test_fma_rounds_once() public pure {
        assertEq(Float32.fma(TWO, THREE, ONE), 0x40e00000);
        // (1 + 2^-23)^2 - (1 + 2^-22) = 2^-46, which two roundings lose
        assertEq(Float32.fma(0x3f800001, 0x3f800001, 0xbf800002), 0x28800000);
        assertEq(Float32.fma(LARGEST, TWO, MINUS_INF), MINUS_INF);
        assertEq(Float32.fma(LARGEST, TWO, 0xff7fffff), LARGEST); // 2M - M: the product alone would overflow
    }

    function test_fma_special_cases() public pure {
        assertEq(Float32.fma(INF, ZERO, ONE), NAN);
        assertEq(Float32.fma(INF, ONE, MINUS_INF), NAN);
        assertEq(Float32.fma(ZERO, ONE, MINUS_ZERO), ZERO);
        assertEq(Float32.fma(ZERO, MINUS_ONE, MINUS_ZERO), MINUS_ZERO);
        assertEq(Float32.fma(ONE, ONE, MINUS_ONE), ZERO);
        assertEq(Float32.fma(ZERO, ONE, SMALLEST), SMALLEST);
        assertEq(Float32.fma(SMALLEST, SMALLEST, ONE), ONE);
        // (2^-150 + 2^-173) + 2^-149: the product alone is above half a unit only by its last bit
        assertEq(Float32.fma(SMALLEST, 0x3f000001, SMALLEST), 2);
        assertEq(Float32.fma(SMALLEST, HALF, SMALLEST), 2); // 1.5 units: a tie, to even
        assertEq(Float32.fma(0x80000001, SMALLEST, ZERO), MINUS_ZERO); // underflow keeps the sign
    }

    function test_floor_and_rint() public pure {
        assertEq(Float32.floor(MINUS_ZERO), MINUS_ZERO);
        assertEq(Float32.floor(0xbe99999a), MINUS_ONE); // -0.3
        assertEq(Float32.floor(SMALLEST), ZERO);
        assertEq(Float32.floor(0x80000001), MINUS_ONE);
        assertEq(Float32.floor(0x40200000), TWO); // 2.5
        assertEq(Float32.floor(0xc0200000), 0xc0400000);
        assertEq(Float32.floor(0x4b000001), 0x4b000001);
        assertEq(Float32.rint(MINUS_ZERO), MINUS_ZERO);
        assertEq(Float32.rint(0xbe99999a), MINUS_ZERO);
        assertEq(Float32.rint(HALF), ZERO);
        assertEq(Float32.rint(0x3fc00000), TWO); // 1.5
        assertEq(Float32.rint(0x40200000), TWO); // 2.5
        assertEq(Float32.rint(OTHER_NAN), NAN);
    }

    function test_comparisons() public pure {
        assertEq(Float32.eq(ZERO, MINUS_ZERO), 1);
        assertEq(Float32.lt(MINUS_ZERO, ZERO), 0);
        assertEq(Float32.le(MINUS_ZERO, ZERO), 1);
        assertEq(Float32.lt(MINUS_ONE, ONE), 1);
        assertEq(Float32.lt(MINUS_INF, MINUS_ONE), 1);
        assertEq(Float32.eq(NAN, NAN), 0);
        assertEq(Float32.lt(NAN, ONE), 0);
        assertEq(Float32.le(ONE, NAN), 0);
    }

    function test_conversions() public pure {
        assertEq(Float32.toI32(0xbfe66666), 0xffffffff); // -1.8
        assertEq(Float32.toI32(0x4f000000), 0x7fffffff); // 2^31
        assertEq(Float32.toI32(0xcf000001), 0x80000000);
        assertEq(Float32.toI32(NAN), 0);
        assertEq(Float32.toU32(MINUS_ONE), 0);
        assertEq(Float32.toU32(0x4f7fffff), 0xffffff00);
        assertEq(Float32.toU32(0x4f800000), 0xffffffff);
        assertEq(Float32.toU32(NAN), 0);
        assertEq(Float32.fromU32(0xffffffff), 0x4f800000);
        assertEq(Float32.fromU32(16777217), 0x4b800000); // 2^24 + 1: a tie, to even
        assertEq(Float32.fromU32(16777219), 0x4b800002);
        assertEq(Float32.fromI32(0x80000000), 0xcf000000);
        assertEq(Float32.fromI32(0xffffffff), MINUS_ONE);
    }

    function test_bf16() public pure {
        assertEq(Float32.toBf16(0x3f808000), 0x3f80); // a tie, to even
        assertEq(Float32.toBf16(0x3f818000), 0x3f82);
        assertEq(Float32.toBf16(0x3f808001), 0x3f81);
        assertEq(Float32.toBf16(LARGEST), 0x7f80); // overflow
        assertEq(Float32.toBf16(0x00008001), 0x0001); // subnormals are kept
        assertEq(Float32.toBf16(OTHER_NAN), 0x7fc0);
        assertEq(Float32.fromBf16(0xff81), NAN);
        assertEq(Float32.fromBf16(0x8001), 0x80010000);
    }

    function testFuzz_addition_commutes(uint32 a, uint32 b) public pure {
        assertEq(Float32.add(a, b), Float32.add(b, a));
    }

    function testFuzz_fma_with_one_is_addition(uint32 a, uint32 b) public pure {
        assertEq(Float32.fma(a, ONE, b), Float32.add(a, b));
    }

    function testFuzz_fma_with_zero_is_multiplication(uint32 a, uint32 b) public pure {
        // -0 is the neutral element of addition; only a zero product may differ, for +0 + -0 = +0
        uint256 product = Float32.mul(a, b);
        uint256 sum = Float32.fma(a, b, MINUS_ZERO);
        assertEq(sum, product);
    }

    function testFuzz_results_are_32_bits_and_no_other_nan(uint32 a, uint32 b, uint32 c) public pure {
        uint256[6] memory all = [
            Float32.add(a, b),
            Float32.sub(a, b),
            Float32.mul(a, b),
            Float32.div(a, b),
            Float32.sqrt(a),
            Float32.fma(a, b, c)
        ];
        for (uint256 i = 0; i < 6; ++i) {
            assertTrue(all[i] <= 0xffffffff);
            assertEq(all[i], Float32.canonical(all[i]));
        }
    }
}
