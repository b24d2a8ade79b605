// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Op} from "@ir/Op.sol";
import {Float32} from "./Float32.sol";

/// Runs scalar programs (docs/protocol.md, section 2.1): packed 8-byte words `op, tag, a, b, c`, each defining one value.
///
/// A program is compiled once and run up to 256 times, so all decoding and checking happens in `compile`. What a program reads
/// from outside lies in a *frame* in memory; every value has an address; inputs, constants and plain reinterpretations are
/// only addresses and cost nothing to run. What is left are steps of two words:
///
///     word 0   address of a (32 bits) | address of b (32) | address of c (32) | ... | handler (32)
///     word 1   the value, written when the step has run
///
/// A handler is an internal function that takes word 0. Types are the validator's business: here a value is 32 bits.
library ScalarVm {
    // Offsets in the frame, in bytes.
    uint256 internal constant ACC = 0x00;
    uint256 internal constant RHS = 0x20;
    uint256 internal constant K = 0x40;
    uint256 internal constant FACTORS = 0x60; // 6 words
    uint256 internal constant COORDS = 0x120; // 6 words
    uint256 internal constant OPERANDS = 0x1e0; // 16 words
    uint256 internal constant FRAME_BYTES = 0x3e0;

    uint256 internal constant MAX_INSTRUCTIONS = 512;
    uint256 private constant MASK = 0xffffffff;
    /// One above the highest operation code.
    uint256 private constant OPS = 0x48;
    /// Bit `op`: the operation has a second argument; a third.
    uint256 private constant TWO_ARGUMENTS = 0x101ffff3c2f0000;
    uint256 private constant THREE_ARGUMENTS = 0x100000000200000;

    /// Not between 1 and 512 whole instructions.
    error BadProgramLength(uint256 length);
    error UnknownInstruction(uint256 instruction, uint256 op);
    /// The program may not use this input, or names an operand, coordinate or factor that the node has not.
    error ForbiddenInput(uint256 instruction, uint256 op, uint256 number);
    /// An argument must name an earlier value.
    error BadArgument(uint256 instruction, uint256 argument);

    /// What a program may read.
    struct Inputs {
        bool acc;
        bool rhs;
        bool fold;
        uint256 operands;
        uint256 coords;
        uint256 factors;
    }

    struct Program {
        /// The first step and the end of the last.
        uint256 start;
        uint256 end;
        /// Address of the result.
        uint256 result;
        /// Bit `i`: operand `i` is loaded.
        uint256 loads;
        /// Whether it uses the fold position.
        bool position;
    }

    /// A new frame, all zeros.
    function newFrame() internal pure returns (uint256 frame) {
        assembly ("memory-safe") {
            frame := mload(0x40)
            calldatacopy(frame, calldatasize(), FRAME_BYTES)
            mstore(0x40, add(frame, FRAME_BYTES))
        }
    }

    /// Checks a program and lays it out for `run`.
    /// @param table From `handlers`.
    function compile(bytes calldata code, uint256 frame, uint256 table, Inputs memory inputs)
        internal
        pure
        returns (Program memory program)
    {
        uint256 n = code.length / 8;
        if (code.length % 8 != 0 || n > MAX_INSTRUCTIONS || n == 0) revert BadProgramLength(code.length);
        uint256 step;
        uint256 addresses; // of the values so far
        uint256 last;
        assembly ("memory-safe") {
            // n steps of two words, then the addresses, then constants
            step := mload(0x40)
            addresses := add(step, shl(6, n))
            mstore(0x40, add(addresses, shl(6, n)))
        }
        program.start = step;
        unchecked {
            for (uint256 i = 0; i < n; ++i) {
                uint256 word;
                assembly ("memory-safe") {
                    word := shr(192, calldataload(add(code.offset, shl(3, i))))
                }
                uint256 op = word >> 56;
                if (op == Op.CONST) {
                    last = addresses + ((n + i) << 5);
                    assembly ("memory-safe") {
                        mstore(last, and(word, 0xffffffff))
                    }
                } else if (op <= Op.KF) {
                    last = inputAddress(inputs, frame, i, word);
                    if (op == Op.LOAD) program.loads |= 1 << ((word >> 32) & 0xffff);
                    else if (op >= Op.K) program.position = true;
                } else {
                    last = argument(addresses, i, (word >> 32) & 0xffff);
                    uint256 handler = op < OPS ? wordAt(table + (op << 5)) : 0;
                    if (handler == 0) {
                        // the same bits under another type: nothing to run
                        if (op != Op.F_TO_BITS && op != Op.AS_I && op != Op.AS_U) revert UnknownInstruction(i, op);
                    } else {
                        last = (last << 224) | handler;
                        if ((TWO_ARGUMENTS >> op) & 1 != 0) {
                            last |= argument(addresses, i, (word >> 16) & 0xffff) << 192;
                        }
                        if ((THREE_ARGUMENTS >> op) & 1 != 0) last |= argument(addresses, i, word & 0xffff) << 160;
                        assembly ("memory-safe") {
                            mstore(step, last)
                        }
                        last = step + 32;
                        step += 64;
                    }
                }
                assembly ("memory-safe") {
                    mstore(add(addresses, shl(5, i)), last)
                }
            }
        }
        program.end = step;
        program.result = last;
    }

    /// Runs a compiled program on what its frame holds now.
    function run(Program memory program) internal pure returns (uint256 value) {
        uint256 step;
        uint256 end;
        function(uint256) pure returns (uint256) handler;
        assembly ("memory-safe") {
            step := mload(program)
            end := mload(add(program, 0x20))
        }
        while (step < end) {
            assembly ("memory-safe") {
                value := mload(step)
                handler := value // the call takes its low 32 bits
                step := add(step, 0x40)
            }
            value = handler(value);
            assembly ("memory-safe") {
                mstore(sub(step, 0x20), value)
            }
        }
        assembly ("memory-safe") {
            value := mload(mload(add(program, 0x40)))
        }
    }

    /// The handler of step `i` and the addresses of its arguments.
    function stepAt(Program memory program, uint256 i)
        internal
        pure
        returns (uint256 handler, uint256 a, uint256 b, uint256 c)
    {
        unchecked {
            uint256 word = wordAt(program.start + (i << 6));
            return (word & MASK, word >> 224, (word >> 192) & MASK, (word >> 160) & MASK);
        }
    }

    /// Whether the program's result is its step `i`, the last.
    function endsAt(Program memory program, uint256 i) internal pure returns (bool) {
        unchecked {
            uint256 step = program.start + (i << 6);
            return program.end == step + 64 && program.result == step + 32;
        }
    }

    /// Where the value of an input lies.
    function inputAddress(Inputs memory inputs, uint256 frame, uint256 i, uint256 word) private pure returns (uint256) {
        unchecked {
            uint256 op = word >> 56;
            uint256 number = (word >> 32) & 0xffff;
            if (op == Op.LOAD && number < inputs.operands) return frame + OPERANDS + (number << 5);
            if (op == Op.ACC && inputs.acc) return frame + ACC;
            if (op == Op.RHS && inputs.rhs) return frame + RHS;
            if (op == Op.COORD && number < inputs.coords) return frame + COORDS + (number << 5);
            if (op == Op.K && inputs.fold) return frame + K;
            if (op == Op.KF && number < inputs.factors) return frame + FACTORS + (number << 5);
            revert ForbiddenInput(i, op, number);
        }
    }

    function argument(uint256 addresses, uint256 i, uint256 number) private pure returns (uint256) {
        if (number >= i) revert BadArgument(i, number);
        return wordAt(addresses + (number << 5));
    }

    function wordAt(uint256 address_) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(address_)
        }
    }

    // ---------------------------------------------------------------------------------------------------- handlers

    /// The table of handlers by operation code; zero where there is none.
    function handlers() internal pure returns (uint256 table) {
        assembly ("memory-safe") {
            table := mload(0x40)
            calldatacopy(table, calldatasize(), shl(5, OPS))
            mstore(0x40, add(table, shl(5, OPS)))
        }
        put(table, Op.FADD, fadd);
        put(table, Op.FSUB, fsub);
        put(table, Op.FMUL, fmul);
        put(table, Op.FDIV, fdiv);
        put(table, Op.FSQRT, fsqrt);
        put(table, Op.FMA, fma);
        put(table, Op.FNEG, fneg);
        put(table, Op.FABS, fabs);
        put(table, Op.FFLOOR, ffloor);
        put(table, Op.FRINT, frint);
        put(table, Op.FEQ, feq);
        put(table, Op.FNE, fne);
        put(table, Op.FLT, flt);
        put(table, Op.FLE, fle);
        put(table, Op.ADD, add);
        put(table, Op.SUB, sub);
        put(table, Op.MUL, mul);
        put(table, Op.MULHI_S, mulhiS);
        put(table, Op.MULHI_U, mulhiU);
        put(table, Op.AND, and_);
        put(table, Op.OR, or_);
        put(table, Op.XOR, xor_);
        put(table, Op.SHL, shl_);
        put(table, Op.SHR_U, shrU);
        put(table, Op.SHR_S, shrS);
        put(table, Op.EQ, eq);
        put(table, Op.NE, ne);
        put(table, Op.LT_S, ltS);
        put(table, Op.LE_S, leS);
        put(table, Op.LT_U, ltU);
        put(table, Op.LE_U, leU);
        put(table, Op.SELECT, select);
        put(table, Op.F_TO_I, fToI);
        put(table, Op.F_TO_U, fToU);
        put(table, Op.I_TO_F, iToF);
        put(table, Op.U_TO_F, uToF);
        put(table, Op.BITS_TO_F, bitsToF);
    }

    function put(uint256 table, uint256 op, function(uint256) pure returns (uint256) handler) private pure {
        assembly ("memory-safe") {
            mstore(add(table, shl(5, op)), and(handler, 0xffffffff))
        }
    }

    // In all of them `s` is the step's first word.

    function fadd(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.add(s, b);
    }

    function fsub(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.sub(s, b);
    }

    function fmul(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.mul(s, b);
    }

    function fdiv(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.div(s, b);
    }

    function fsqrt(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.sqrt(s);
    }

    function fma(uint256 s) private pure returns (uint256) {
        uint256 b;
        uint256 c;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            c := mload(and(shr(160, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.fma(s, b, c);
    }

    function fneg(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.neg(s);
    }

    function fabs(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.abs(s);
    }

    function ffloor(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.floor(s);
    }

    function frint(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.rint(s);
    }

    function feq(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.eq(s, b);
    }

    function fne(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.eq(s, b) ^ 1;
    }

    function flt(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.lt(s, b);
    }

    function fle(uint256 s) private pure returns (uint256) {
        uint256 b;
        assembly ("memory-safe") {
            b := mload(and(shr(192, s), 0xffffffff))
            s := mload(shr(224, s))
        }
        return Float32.le(s, b);
    }

    function add(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(add(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff))), 0xffffffff)
        }
    }

    function sub(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(sub(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff))), 0xffffffff)
        }
    }

    function mul(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(mul(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff))), 0xffffffff)
        }
    }

    function mulhiS(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(
                shr(32, mul(signextend(3, mload(shr(224, s))), signextend(3, mload(and(shr(192, s), 0xffffffff))))),
                0xffffffff
            )
        }
    }

    function mulhiU(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := shr(32, mul(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff))))
        }
    }

    function and_(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff)))
        }
    }

    function or_(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := or(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff)))
        }
    }

    function xor_(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := xor(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff)))
        }
    }

    function shl_(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(shl(mload(and(shr(192, s), 0xffffffff)), mload(shr(224, s))), 0xffffffff)
        }
    }

    function shrU(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := shr(mload(and(shr(192, s), 0xffffffff)), mload(shr(224, s)))
        }
    }

    function shrS(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := and(sar(mload(and(shr(192, s), 0xffffffff)), signextend(3, mload(shr(224, s)))), 0xffffffff)
        }
    }

    function eq(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := eq(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff)))
        }
    }

    function ne(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := iszero(eq(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff))))
        }
    }

    function ltS(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := slt(signextend(3, mload(shr(224, s))), signextend(3, mload(and(shr(192, s), 0xffffffff))))
        }
    }

    function leS(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := iszero(sgt(signextend(3, mload(shr(224, s))), signextend(3, mload(and(shr(192, s), 0xffffffff)))))
        }
    }

    function ltU(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := lt(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff)))
        }
    }

    function leU(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := iszero(gt(mload(shr(224, s)), mload(and(shr(192, s), 0xffffffff))))
        }
    }

    function select(uint256 s) private pure returns (uint256 z) {
        assembly ("memory-safe") {
            // the address of b, or of c 32 bits further
            z := mload(and(shr(sub(192, shl(5, iszero(mload(shr(224, s))))), s), 0xffffffff))
        }
    }

    function fToI(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.toI32(s);
    }

    function fToU(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.toU32(s);
    }

    function iToF(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.fromI32(s);
    }

    function uToF(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.fromU32(s);
    }

    function bitsToF(uint256 s) private pure returns (uint256) {
        assembly ("memory-safe") {
            s := mload(shr(224, s))
        }
        return Float32.canonical(s);
    }
}
