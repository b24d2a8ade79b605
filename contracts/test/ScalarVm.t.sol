// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Op} from "@ir/Op.sol";
import {ScalarVm} from "../src/ScalarVm.sol";
import {ScalarVmHarness} from "./harness/ScalarVmHarness.sol";
import {Test} from "./Test.sol";

contract ScalarVmTest is Test {
    ScalarVmHarness private vm_ = new ScalarVmHarness();

    function word(uint8 op, uint16 a, uint16 b, uint16 c) private pure returns (bytes memory) {
        return abi.encodePacked(op, uint8(0), a, b, c);
    }

    function constant_(uint32 bits) private pure returns (bytes memory) {
        return abi.encodePacked(Op.CONST, uint8(2), uint16(0), bits);
    }

    /// A frame of 31 words in which word `i` is `100 + i`.
    function frame() private pure returns (bytes memory words) {
        for (uint32 i = 0; i < 31; ++i) {
            words = bytes.concat(words, bytes4(100 + i));
        }
    }

    function run(bytes memory code) private view returns (uint256) {
        (bytes memory results,) = vm_.batch(code, frame());
        return uint32(bytes4(results));
    }

    /// The operation on two constants.
    function two(uint8 op, uint32 a, uint32 b) private view returns (uint256) {
        return run(bytes.concat(constant_(a), constant_(b), word(op, 0, 1, 0)));
    }

    function test_inputs_come_from_the_frame() public view {
        assertEq(run(word(Op.ACC, 0, 0, 0)), 100);
        assertEq(run(word(Op.RHS, 0, 0, 0)), 101);
        assertEq(run(word(Op.K, 0, 0, 0)), 102);
        assertEq(run(word(Op.KF, 5, 0, 0)), 108);
        assertEq(run(word(Op.COORD, 5, 0, 0)), 114);
        assertEq(run(word(Op.LOAD, 15, 0, 0)), 130);
        assertEq(run(constant_(0xdeadbeef)), 0xdeadbeef);
    }

    function test_values_may_be_used_again() public view {
        // ((acc + 7) * (acc + 7)) - 7
        bytes memory code = bytes.concat(
            word(Op.ACC, 0, 0, 0), constant_(7), word(Op.ADD, 0, 1, 0), word(Op.MUL, 2, 2, 0), word(Op.SUB, 3, 1, 0)
        );
        assertEq(run(code), 107 * 107 - 7);
    }

    function test_integers_wrap() public view {
        assertEq(two(Op.ADD, 0xffffffff, 2), 1);
        assertEq(two(Op.SUB, 1, 2), 0xffffffff);
        assertEq(two(Op.MUL, 0x80000001, 2), 2);
        assertEq(two(Op.MULHI_U, 0xffffffff, 0xffffffff), 0xfffffffe);
        assertEq(two(Op.MULHI_S, 0xffffffff, 0xffffffff), 0);
        assertEq(two(Op.MULHI_S, 0x80000000, 0x80000000), 0x40000000);
        assertEq(two(Op.MULHI_S, 0x80000000, 1), 0xffffffff);
        assertEq(two(Op.AND, 12, 10), 8);
        assertEq(two(Op.OR, 12, 10), 14);
        assertEq(two(Op.XOR, 12, 10), 6);
    }

    function test_shifts_of_32_and_more() public view {
        assertEq(two(Op.SHL, 0x80000001, 1), 2);
        assertEq(two(Op.SHL, 1, 32), 0);
        assertEq(two(Op.SHL, 1, 0xffffffff), 0);
        assertEq(two(Op.SHR_U, 0x80000000, 31), 1);
        assertEq(two(Op.SHR_U, 0x80000000, 32), 0);
        assertEq(two(Op.SHR_S, 0x80000000, 31), 0xffffffff);
        assertEq(two(Op.SHR_S, 0x80000000, 0xffffffff), 0xffffffff);
        assertEq(two(Op.SHR_S, 0x40000000, 32), 0);
    }

    function test_comparisons() public view {
        assertEq(two(Op.LT_S, 0xffffffff, 0), 1);
        assertEq(two(Op.LT_U, 0xffffffff, 0), 0);
        assertEq(two(Op.LE_S, 5, 5), 1);
        assertEq(two(Op.LE_U, 6, 5), 0);
        assertEq(two(Op.EQ, 5, 5), 1);
        assertEq(two(Op.NE, 5, 5), 0);
        assertEq(two(Op.FNE, 0x7fc00000, 0x7fc00000), 1);
        assertEq(two(Op.FEQ, 0, 0x80000000), 1);
    }

    function test_select_takes_any_nonzero() public view {
        bytes memory inputs = bytes.concat(constant_(2), constant_(11), constant_(22), constant_(0));
        assertEq(run(bytes.concat(inputs, word(Op.SELECT, 0, 1, 2))), 11);
        assertEq(run(bytes.concat(inputs, word(Op.SELECT, 3, 1, 2))), 22);
    }

    function test_reinterpretations_keep_bits_except_nans() public view {
        assertEq(run(bytes.concat(constant_(0xff800001), word(Op.BITS_TO_F, 0, 0, 0))), 0x7fc00000);
        assertEq(run(bytes.concat(constant_(0x80000000), word(Op.AS_I, 0, 0, 0))), 0x80000000);
        assertEq(run(bytes.concat(constant_(0x80000000), word(Op.AS_U, 0, 0, 0))), 0x80000000);
        assertEq(run(bytes.concat(constant_(0x7fc00000), word(Op.F_TO_BITS, 0, 0, 0))), 0x7fc00000);
    }

    function test_philox_round_by_the_known_answer() public view {
        // hi and lo of 0xD2511F53 * 0xffffffff, the first products of the all-ones vector
        assertEq(two(Op.MULHI_U, 0xd2511f53, 0xffffffff), 0xd2511f52);
        assertEq(two(Op.MUL, 0xd2511f53, 0xffffffff), 0x2daee0ad);
    }

    function test_loads_are_noted() public view {
        ScalarVm.Inputs memory all = ScalarVm.Inputs(true, true, true, 16, 6, 6);
        assertEq(vm_.loads(bytes.concat(word(Op.LOAD, 3, 0, 0), word(Op.LOAD, 15, 0, 0)), all), (1 << 3) | (1 << 15));
    }

    function test_unknown_instructions_are_refused() public {
        uint8[8] memory unknown = [0, 0x08, 0x0f, 0x1e, 0x31, 0x39, 0x48, 0xff];
        for (uint256 i = 0; i < 8; ++i) {
            bytes memory code = bytes.concat(constant_(1), constant_(1), word(unknown[i], 0, 0, 0));
            if (unknown[i] < 8) {
                vm.expectRevert(abi.encodeWithSelector(ScalarVm.ForbiddenInput.selector, 2, unknown[i], 0));
            } else {
                vm.expectRevert(abi.encodeWithSelector(ScalarVm.UnknownInstruction.selector, 2, unknown[i]));
            }
            vm_.batch(code, frame());
        }
    }

    function test_arguments_must_be_earlier_values() public {
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.BadArgument.selector, 1, 1));
        vm_.batch(bytes.concat(constant_(1), word(Op.FNEG, 1, 0, 0)), frame());
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.BadArgument.selector, 2, 2));
        vm_.batch(bytes.concat(constant_(1), constant_(1), word(Op.ADD, 0, 2, 0)), frame());
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.BadArgument.selector, 1, 9));
        vm_.batch(bytes.concat(constant_(1), word(Op.FMA, 0, 0, 9)), frame());
    }

    function test_inputs_that_are_not_there_are_refused() public {
        ScalarVm.Inputs memory none;
        bytes[6] memory programs = [
            word(Op.ACC, 0, 0, 0),
            word(Op.RHS, 0, 0, 0),
            word(Op.K, 0, 0, 0),
            word(Op.KF, 0, 0, 0),
            word(Op.COORD, 0, 0, 0),
            word(Op.LOAD, 0, 0, 0)
        ];
        for (uint256 i = 0; i < 6; ++i) {
            vm.expectPartialRevert(ScalarVm.ForbiddenInput.selector);
            vm_.loads(programs[i], none);
        }
    }

    function test_program_lengths() public {
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.BadProgramLength.selector, 0));
        vm_.batch("", frame());
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.BadProgramLength.selector, 9));
        vm_.batch(new bytes(9), frame());
        bytes memory longest = new bytes(512 * 8);
        for (uint256 i = 0; i < 512; ++i) {
            longest[8 * i] = bytes1(Op.ACC);
        }
        assertEq(run(longest), 100);
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.BadProgramLength.selector, 513 * 8));
        vm_.batch(bytes.concat(longest, word(Op.ACC, 0, 0, 0)), frame());
    }
}
