// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Op} from "@ir/Op.sol";
import {ChunkDecoder} from "./ChunkDecoder.sol";
import {DotChain} from "./DotChain.sol";
import {OperandReader} from "./OperandReader.sol";
import {ScalarVm} from "./ScalarVm.sol";

/// Folds one block (docs/protocol.md, section 2.2): a leaf block over operands, or a block of values. Products and sums take the short way
/// of `DotChain`; all else runs the body once for every `k`.
library LeafFold {
    uint256 private constant LANES = 16;
    uint256 private constant ONE = 0x3f800000;
    uint256 private constant NONE = type(uint256).max;

    /// What a fold runs.
    struct Fold {
        uint256 init;
        bool lanes;
        /// Handlers of scalar instructions.
        uint256 table;
        OperandReader.Place place;
        ScalarVm.Program body;
        ScalarVm.Program combine;
    }

    /// The unit's leaf block: `body` over the operands it loads, from `init`.
    function leaf(Fold memory fold, OperandReader.Reader[] memory readers) internal pure returns (uint256) {
        OperandReader.Place memory place = fold.place;
        uint256 n;
        unchecked {
            n = place.endK - place.firstK;
        }
        uint256 left = 0;
        uint256 loads = fold.body.loads;
        for (uint256 i = 0; loads != 0; ++i) {
            if (loads & 1 == 1) left |= OperandReader.read(readers[i], place, n);
            loads >>= 1;
        }
        (uint256 a, uint256 b) = asProduct(fold);
        if (a != NONE) {
            DotChain.Terms memory terms =
                DotChain.prepare(readers[a].values, b == NONE ? ones(n) : readers[b].values, n, left);
            if (!fold.lanes) return DotChain.fold(fold.init, terms, terms.rows, 4);
            return lanesOfTerms(fold, terms);
        }
        if (left == 0 && !fold.lanes) {
            (a, b) = asIntegers(fold);
            if (a != NONE) return DotChain.integers(fold.init, readers[a].values, readers[b].values, n);
        }
        return leafByBody(fold, readers, n, left);
    }

    /// `combine` over `n` packed values, ascending, from the first.
    function values(Fold memory fold, uint256 packed, uint256 n) internal pure returns (uint256 acc) {
        uint256 frame = fold.place.frame;
        acc = valueAt(packed);
        if (n == 1) return acc;
        unchecked {
            (uint256 a, uint256 b) = oneStep(fold.combine, fold.table, Op.FADD);
            if (a != NONE && ((a == frame && b == frame + ScalarVm.RHS) || (b == frame && a == frame + ScalarVm.RHS))) {
                DotChain.Terms memory terms = DotChain.prepare(packed + 4, ones(n - 1), n - 1, 0);
                return DotChain.fold(acc, terms, terms.rows, 4);
            }
            for (uint256 i = 1; i < n; ++i) {
                put(frame + ScalarVm.ACC, acc);
                put(frame + ScalarVm.RHS, valueAt(packed + (i << 2)));
                acc = ScalarVm.run(fold.combine);
            }
        }
    }

    /// A general block: the body for every `k` that is not left out, with one accumulator or 16.
    function leafByBody(Fold memory fold, OperandReader.Reader[] memory readers, uint256 n, uint256 left)
        private
        pure
        returns (uint256)
    {
        uint256 frame = fold.place.frame;
        uint256 lanes = newLanes(fold.init);
        (uint256 list, uint256 end) = moving(fold, readers);
        bool position = fold.body.position;
        if (position) {
            OperandReader.setFactors(fold.place, fold.place.firstK);
            put(frame + ScalarVm.K, fold.place.firstK);
        }
        uint256 mask = fold.lanes ? (LANES - 1) << 5 : 0;
        unchecked {
            for (uint256 k = 0; k < n; ++k) {
                if ((left >> k) & 1 == 0) {
                    uint256 lane = lanes + ((k << 5) & mask);
                    assembly ("memory-safe") {
                        for { let entry := list } lt(entry, end) { entry := add(entry, 0x40) } {
                            mstore(mload(add(entry, 0x20)), shr(224, mload(add(mload(entry), shl(2, k)))))
                        }
                        mstore(frame, mload(lane))
                    }
                    put(lane, ScalarVm.run(fold.body));
                }
                if (position) {
                    OperandReader.advanceOne(fold.place);
                    put(frame + ScalarVm.K, fold.place.firstK + k + 1);
                }
            }
        }
        return fold.lanes ? halve(fold, lanes) : wordAt(lanes);
    }

    /// Pairs of where the values of an operand lie and where the frame has it, of the operands that move; the others are put
    /// into the frame at once.
    function moving(Fold memory fold, OperandReader.Reader[] memory readers)
        private
        pure
        returns (uint256 list, uint256 end)
    {
        uint256 room = readers.length << 6;
        assembly ("memory-safe") {
            list := mload(0x40)
            mstore(0x40, add(list, room))
        }
        end = list;
        uint256 slot = fold.place.frame + ScalarVm.OPERANDS;
        unchecked {
            for (uint256 i = 0; i < readers.length; ++i) {
                if ((fold.body.loads >> i) & 1 == 1) {
                    if (readers[i].moves) {
                        put(end, readers[i].values);
                        put(end + 32, slot);
                        end += 64;
                    } else {
                        put(slot, valueAt(readers[i].values));
                    }
                }
                slot += 32;
            }
        }
    }

    /// Products with 16 accumulators: lane `i` takes the terms `i`, `i + 16`, ...
    function lanesOfTerms(Fold memory fold, DotChain.Terms memory terms) private pure returns (uint256) {
        uint256 lanes = newLanes(fold.init);
        unchecked {
            for (uint256 i = 0; i < LANES; ++i) {
                uint256 row = terms.rows + (i << 2);
                if (row >= terms.end) break;
                put(lanes + (i << 5), DotChain.fold(fold.init, terms, row, LANES << 2));
            }
        }
        return halve(fold, lanes);
    }

    function newLanes(uint256 init) private pure returns (uint256 lanes) {
        assembly ("memory-safe") {
            lanes := mload(0x40)
            mstore(0x40, add(lanes, 0x200))
        }
        unchecked {
            for (uint256 i = 0; i < LANES; ++i) {
                put(lanes + (i << 5), init);
            }
        }
    }

    /// Lane `i` with `i + 8`, then `+ 4`, `+ 2`, `+ 1`.
    function halve(Fold memory fold, uint256 lanes) private pure returns (uint256) {
        uint256 frame = fold.place.frame;
        unchecked {
            for (uint256 half = LANES << 4; half >= 32; half >>= 1) {
                for (uint256 i = 0; i < half; i += 32) {
                    put(frame + ScalarVm.ACC, wordAt(lanes + i));
                    put(frame + ScalarVm.RHS, wordAt(lanes + i + half));
                    put(lanes + i, ScalarVm.run(fold.combine));
                }
            }
        }
        return wordAt(lanes);
    }

    // ------------------------------------------------------------------------------------------------------- shapes

    /// The operands of `fma(a, b, acc)`; `b` is none for `acc + a`; both are for any other body.
    function asProduct(Fold memory fold) private pure returns (uint256 a, uint256 b) {
        uint256 frame = fold.place.frame;
        (a, b) = oneStep(fold.body, fold.table, Op.FADD);
        if (a != NONE) {
            if (b == frame) return (operandAt(fold, a), NONE);
            return (a == frame ? operandAt(fold, b) : NONE, NONE);
        }
        (a, b) = oneStep(fold.body, fold.table, Op.FMA);
        if (a == NONE) return (NONE, NONE);
        (,,, uint256 c) = ScalarVm.stepAt(fold.body, 0);
        (a, b) = (operandAt(fold, a), operandAt(fold, b));
        return c == frame && a != NONE && b != NONE ? (a, b) : (NONE, NONE);
    }

    /// The operands of `acc + a * b` of integers, or none.
    function asIntegers(Fold memory fold) private pure returns (uint256 a, uint256 b) {
        ScalarVm.Program memory body = fold.body;
        if (!ScalarVm.endsAt(body, 1)) return (NONE, NONE);
        uint256 handler;
        (handler, a, b,) = ScalarVm.stepAt(body, 0);
        if (handler != wordAt(fold.table + (uint256(Op.MUL) << 5))) return (NONE, NONE);
        (a, b) = (operandAt(fold, a), operandAt(fold, b));
        if (a == NONE || b == NONE) return (NONE, NONE);
        (uint256 sum, uint256 x, uint256 y,) = ScalarVm.stepAt(body, 1);
        unchecked {
            if (sum != wordAt(fold.table + (uint256(Op.ADD) << 5)) || x + y != fold.place.frame + body.start + 32) {
                return (NONE, NONE);
            }
        }
        return x == fold.place.frame || y == fold.place.frame ? (a, b) : (NONE, NONE);
    }

    /// The first two arguments' addresses of a program that is one step of `op`; none for any other.
    function oneStep(ScalarVm.Program memory program, uint256 table, uint256 op)
        private
        pure
        returns (uint256 a, uint256 b)
    {
        if (!ScalarVm.endsAt(program, 0)) return (NONE, NONE);
        uint256 handler;
        (handler, a, b,) = ScalarVm.stepAt(program, 0);
        if (handler != wordAt(table + (op << 5))) return (NONE, NONE);
    }

    /// The operand whose value lies at this address of the frame, or none.
    function operandAt(Fold memory fold, uint256 address_) private pure returns (uint256 operand) {
        unchecked {
            operand = (address_ - fold.place.frame - ScalarVm.OPERANDS) >> 5;
        }
        return operand < 16 ? operand : NONE;
    }

    function ones(uint256 n) private pure returns (uint256 packed) {
        assembly ("memory-safe") {
            packed := mload(0x40)
            mstore(0x40, add(packed, add(shl(2, n), 0x20)))
        }
        ChunkDecoder.fill(packed, ONE, n);
    }

    function wordAt(uint256 address_) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(address_)
        }
    }

    function valueAt(uint256 address_) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(224, mload(address_))
        }
    }

    function put(uint256 address_, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(address_, value)
        }
    }
}
