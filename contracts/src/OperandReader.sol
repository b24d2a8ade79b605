// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkDecoder} from "./ChunkDecoder.sol";
import {ScalarVm} from "./ScalarVm.sol";

/// Reads what one operand gives to a unit (docs/protocol.md, section 2.1): all its values for up to 256 neighbouring `k` at once,
/// widened, as packed big-endian words of 32 bits.
///
/// `k` moves the innermost fold factor. As long as only that one moves, every coordinate is affine in it: a *run*, of which
/// one division per dimension and side says what lies inside, and which is then read from chunk to chunk with a fixed step.
///
///     fold 3 x 4:  | run | run | run |      run:  fill fill | in bounds, chunk by chunk | fill
library OperandReader {
    // Words of a dimension's row before the coefficients.
    uint256 internal constant ROW = 0xa0;

    struct Reader {
        /// Per view dimension: extent, coordinate where all factors are 0, reader of the gathered value or 0, whether that is
        /// signed, its stride, one coefficient per factor.
        uint256 rows;
        uint256 rank;
        /// What is read out of bounds; whether `k` is left out there instead.
        uint256 fill;
        bool skip;
        /// Whether `k` moves it; whether it gathers through one that `k` moves.
        bool moves;
        bool gathersMove;
        /// The values read last.
        uint256 values;
        ChunkDecoder.Chunks chunks;
    }

    /// What is the same for all operands of a unit.
    struct Place {
        uint256 frame;
        /// Number of domain coordinates.
        uint256 coords;
        /// The fold's factors, and the innermost that is not 1.
        uint32[] fold;
        uint256 inner;
        /// The part of the fold that the unit runs over.
        uint256 firstK;
        uint256 endK;
    }

    /// Reads the values for `n` fold positions from `place.firstK` on.
    /// @return left Bit `i`: the `i`-th position is to be left out.
    function read(Reader memory reader, Place memory place, uint256 n) internal pure returns (uint256 left) {
        uint256 out;
        assembly ("memory-safe") {
            // every write is a whole word, so the last may reach 28 bytes too far
            out := mload(0x40)
            mstore(0x40, add(out, add(shl(2, n), 0x20)))
        }
        reader.values = out;
        setFactors(place, place.firstK);
        unchecked {
            if (!reader.moves) {
                (uint256 value, bool inside) = one(reader, place);
                ChunkDecoder.fill(out, value, n);
                return reader.skip && !inside ? type(uint256).max : 0;
            }
            uint256 digit = place.frame + ScalarVm.FACTORS + (place.inner << 5);
            uint256 done = 0;
            while (done < n) {
                uint256 run = reader.gathersMove ? 1 : place.fold[place.inner] - wordAt(digit);
                if (run > n - done) run = n - done;
                (uint256 index, uint256 step, uint256 low, uint256 high) = locate(reader, place, run);
                if (low != 0) ChunkDecoder.fill(out, reader.fill, low);
                if (low < high) {
                    ChunkDecoder.copy(reader.chunks, index + low * step, step, high - low, out + (low << 2));
                }
                if (high < run) ChunkDecoder.fill(out + (high << 2), reader.fill, run - high);
                if (reader.skip) left |= ((1 << run) - (1 << high) + (1 << low) - 1) << done;
                done += run;
                out += run << 2;
                advance(place, run);
            }
        }
    }

    /// Reads the element at the frame's factors, or `fill` out of bounds.
    function one(Reader memory reader, Place memory place) internal pure returns (uint256 value, bool inside) {
        (uint256 index,, uint256 low,) = locate(reader, place, 1);
        inside = low == 0;
        value = inside ? ChunkDecoder.element(reader.chunks, index) : reader.fill;
    }

    /// Puts the frame's factors at fold position `k`: row-major, the last fastest.
    function setFactors(Place memory place, uint256 k) internal pure {
        unchecked {
            for (uint256 f = place.fold.length; f > 0; --f) {
                uint256 factor = place.fold[f - 1];
                putWord(place.frame + ScalarVm.FACTORS + ((f - 1) << 5), k % factor);
                k /= factor;
            }
        }
    }

    /// The next `k`.
    function advanceOne(Place memory place) internal pure {
        advance(place, 1);
    }

    /// Moves the innermost factor by `n`, up to its end at most, and carries.
    function advance(Place memory place, uint256 n) private pure {
        uint32[] memory fold = place.fold;
        uint256 digit = place.frame + ScalarVm.FACTORS;
        assembly ("memory-safe") {
            let f := mload(add(place, 0x60))
            // plain: digit[f] += n; while digit[f] == fold[f] and f > 0: digit[f] = 0, --f, digit[f] += 1
            for {} 1 {} {
                let pos := add(digit, shl(5, f))
                let value := add(mload(pos), n)
                if lt(value, mload(add(fold, add(shl(5, f), 0x20)))) {
                    mstore(pos, value)
                    break
                }
                mstore(pos, 0)
                if iszero(f) { break }
                f := sub(f, 1)
                n := 1
            }
        }
    }

    /// The element's row-major index at the frame's factors, how it moves with the innermost one, and the part of the next
    /// `run` positions that lies in bounds; `low` and `high` are `run` if none does.
    function locate(Reader memory reader, Place memory place, uint256 run)
        private
        pure
        returns (uint256 index, uint256 step, uint256 low, uint256 high)
    {
        high = run;
        uint256 row = reader.rows;
        uint256 slots = slotsOf(place) << 5;
        unchecked {
            for (uint256 d = reader.rank; d > 0; --d) {
                uint256 coordinate = wordAt(row + 0x20);
                if (wordAt(row + 0x40) != 0) coordinate += gathered(reader, place, row);
                uint256 extent = wordAt(row);
                uint256 by = wordAt(row + ROW + (place.inner << 5));
                uint256 digit = place.frame + ScalarVm.FACTORS;
                assembly ("memory-safe") {
                    row := add(row, ROW)
                    for { let end := add(row, slots) } lt(row, end) {
                        row := add(row, 0x20)
                        digit := add(digit, 0x20)
                    } { coordinate := add(coordinate, mul(mload(row), mload(digit))) }
                }
                index = index * extent + coordinate;
                step = step * extent + by;
                // below zero is far above every extent; with both ends inside, all is
                if (coordinate >= extent || coordinate + by * (run - 1) >= extent) {
                    (low, high) = clip(coordinate, by, extent, low, high);
                }
            }
        }
        if (low >= high) (low, high) = (run, run);
    }

    /// Cuts `low..high` down to the `j` with `0 <= coordinate + by * j < extent`.
    function clip(uint256 coordinate, uint256 by, uint256 extent, uint256 low, uint256 high)
        private
        pure
        returns (uint256, uint256)
    {
        unchecked {
            // backwards is forwards seen from the other end
            if (int256(by) < 0) (coordinate, by) = (extent - 1 - coordinate, 0 - by);
            // no `j`, for it stays outside or starts behind the end
            if (by == 0 || int256(coordinate) >= int256(extent)) return (high, high);
            if (int256(coordinate) < 0) {
                uint256 first = (by - 1 - coordinate) / by;
                if (first > low) low = first;
            }
            uint256 end = (extent - 1 - coordinate) / by + 1;
            return (low, end < high ? end : high);
        }
    }

    /// What a row's gather adds to its coordinate. `through` is only a variable to hold the other reader.
    function gathered(Reader memory through, Place memory place, uint256 row) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            through := mload(add(row, 0x40))
        }
        (value,) = one(through, place);
        assembly ("memory-safe") {
            if mload(add(row, 0x60)) { value := signextend(3, value) }
            value := mul(value, mload(add(row, 0x80)))
        }
    }

    /// Coefficients per row: one even without a fold, so that there always is an innermost one.
    function slotsOf(Place memory place) internal pure returns (uint256 slots) {
        slots = place.fold.length;
        if (slots == 0) slots = 1;
    }

    /// Bytes of a row.
    function rowBytes(Place memory place) internal pure returns (uint256) {
        unchecked {
            return ROW + (slotsOf(place) << 5);
        }
    }

    function wordAt(uint256 address_) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(address_)
        }
    }

    function putWord(uint256 address_, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(address_, value)
        }
    }
}
