// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Gather, Operand} from "@ir/Program.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {ScalarVm} from "./ScalarVm.sol";
import {ChunkWitness, IReferee, OperandWitness} from "./interfaces/IReferee.sol";

/// Reads elements of one operand out of the chunks that a witness brings (docs/protocol.md, sections 2.1 and 3).
///
/// `open` proves the witness and puts everything that does not change within the unit into a `Reader`: the coordinates at the
/// unit's output element, and the coefficients of the fold's factors. If no gather and no bound can matter, the element index
/// is itself affine in the factors, and `read` computes only that (`linear`); else it works out every coordinate.
library OperandReader {
    uint256 internal constant NOT_FOUND = type(uint256).max;
    // Words of a dimension's row before the coefficients.
    uint256 private constant ROW = 0xa0;

    struct Reader {
        /// Where the frame has the operand's value (0x00).
        uint256 slot;
        uint256 dtype; // 0x20
        /// Bytes of an element, as a power of two (0x40).
        uint256 shift;
        /// The chunk used last, and where its data starts in calldata (0x60, 0x80).
        uint256 lastChunk;
        uint256 lastData;
        /// The element index is `index` and one of `steps` per factor (0xa0, 0xc0, 0xe0).
        bool linear;
        uint256 index;
        uint256 steps;
        /// Addresses of the factors' values in the frame: the first, the end (0x100, 0x120).
        uint256 factors;
        uint256 factorsEnd;
        /// Not linear: per view dimension extent, coordinate where all factors are 0, reader of the gathered value or 0, whether
        /// that is signed, its stride, one coefficient per factor.
        uint256 rows;
        uint256 rank;
        /// Linear, and no factor moves it.
        bool fixed_;
        bool skip;
        uint256 fill;
        /// Pairs: chunk index, where its data starts in calldata.
        uint256 chunks;
        uint256 chunksEnd;
        /// Number of the operand, for errors.
        uint256 operand;
    }

    /// What is the same for all operands of a unit.
    struct Place {
        uint256 frame;
        /// Ranks of domain and fold.
        uint256 coords;
        uint256 factors;
        /// The fold's factors, and the part of the fold that the unit runs over.
        uint32[] fold;
        uint256 firstK;
        uint256 endK;
    }

    /// Opens an operand. The caller has proven `witness.merkleRoot`; here the chunks are.
    /// @param readers Those of the operands that it gathers through are open.
    function open(
        Operand calldata operand,
        uint256 number,
        Place memory place,
        Reader[] memory readers,
        OperandWitness calldata witness
    ) internal pure returns (Reader memory reader) {
        reader.operand = number;
        reader.slot = place.frame + ScalarVm.OPERANDS + (number << 5);
        reader.dtype = operand.dtype;
        reader.shift = sizeShift(operand.dtype);
        reader.lastChunk = NOT_FOUND;
        reader.factors = place.frame + ScalarVm.FACTORS;
        reader.factorsEnd = reader.factors + (place.factors << 5);
        reader.rank = operand.viewShape.length;
        reader.skip = operand.skip;
        reader.fill = operand.fill;
        uint256 elements = product(operand.shape);
        if (operand.viewShape.length > 6 || product(operand.viewShape) != elements) {
            revert IReferee.NotJudgeable("a view has as many elements as its tensor");
        }
        if (operand.access.length != reader.rank * (1 + place.coords + place.factors)) {
            revert IReferee.NotJudgeable("access has one row per view dimension");
        }
        proveChunks(reader, elements << reader.shift, witness);
        layRows(reader, operand, place);
        if (operand.gathers.length != 0) layGathers(reader, operand, readers);
        else makeLinear(reader, place);
    }

    /// Reads the element at the frame's factors, or `fill` out of bounds.
    function read(Reader memory reader) internal pure returns (uint256) {
        uint256 index = locate(reader);
        return index == NOT_FOUND ? reader.fill : fetch(reader, index);
    }

    /// The element's row-major index at the frame's factors, or `NOT_FOUND` out of bounds. Dimensions are looked at in order
    /// and none after the first that is out of bounds, so that a witness needs no chunk of what need not be gathered.
    function locate(Reader memory reader) internal pure returns (uint256 index) {
        uint256 row;
        assembly ("memory-safe") {
            switch mload(add(reader, 0xa0))
            case 0 { row := mload(add(reader, 0x140)) }
            default {
                index := mload(add(reader, 0xc0))
                let step := mload(add(reader, 0xe0))
                let factor := mload(add(reader, 0x100))
                let end := mload(add(reader, 0x120))
                for {} lt(factor, end) {
                    step := add(step, 0x20)
                    factor := add(factor, 0x20)
                } { index := add(index, mul(mload(step), mload(factor))) }
            }
        }
        if (row != 0) index = locateByRows(reader, row);
    }

    function locateByRows(Reader memory reader, uint256 row) private pure returns (uint256 index) {
        uint256 factors = reader.factors;
        uint256 end = reader.factorsEnd;
        unchecked {
            for (uint256 d = reader.rank; d > 0; --d) {
                uint256 coordinate = wordAt(row + 0x20);
                if (wordAt(row + 0x40) != 0) coordinate += gathered(reader, row);
                uint256 extent = wordAt(row);
                assembly ("memory-safe") {
                    row := add(row, ROW)
                    for { let factor := factors } lt(factor, end) { factor := add(factor, 0x20) } {
                        coordinate := add(coordinate, mul(mload(row), mload(factor)))
                        row := add(row, 0x20)
                    }
                }
                // below zero is far above every extent
                if (coordinate >= extent) return NOT_FOUND;
                index = index * extent + coordinate;
            }
        }
    }

    /// What a row's gather adds to its coordinate. `through` is only a variable to hold the other reader.
    function gathered(Reader memory through, uint256 row) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            through := mload(add(row, 0x40))
        }
        value = read(through);
        assembly ("memory-safe") {
            if mload(add(row, 0x60)) { value := signextend(3, value) }
            value := mul(value, mload(add(row, 0x80)))
        }
    }

    /// The element at `index` of the tensor, widened.
    function fetch(Reader memory reader, uint256 index) internal pure returns (uint256 value) {
        uint256 dtype;
        assembly ("memory-safe") {
            index := shl(mload(add(reader, 0x40)), index)
            value := eq(shr(10, index), mload(add(reader, 0x60)))
            dtype := mload(add(reader, 0x20))
        }
        if (value == 0) find(reader, index >> 10);
        assembly ("memory-safe") {
            value := calldataload(add(mload(add(reader, 0x80)), and(index, 1023)))
            switch lt(dtype, 3)
            case 1 {
                // The four bytes turned around. Plain: b0 | b1 << 8 | b2 << 16 | b3 << 24. Here: four shifted copies, in each of
                // which one byte stands at its new place modulo 40 bits; the remainder gathers them.
                value := mod(
                    and(
                        mul(shr(224, value), 0x0100000000000000010000000000010000000000000100),
                        0xff0000000000000000ff00000000000000ff0000000000ff0000
                    ),
                    0xffffffffff
                )
            }
            default {
                switch dtype
                case 3 { value := and(signextend(0, byte(0, value)), 0xffffffff) }
                // bf16
                default { value := or(shl(16, byte(0, value)), shl(24, byte(1, value))) }
            }
            // integers pass; a NaN becomes the one NaN
            if gt(and(value, 0x7fffffff), 0x7f800000) {
                if iszero(and(dtype, 3)) { value := 0x7fc00000 }
            }
        }
    }

    /// For a linear reader under one factor: how far apart elements of neighbouring `k` lie, in bytes, wrapping.
    function stepOf(Reader memory reader) internal pure returns (uint256) {
        return wordAt(reader.steps) << reader.shift;
    }

    /// The same reader: where the element at `k` starts in calldata.
    function placeAt(Reader memory reader, uint256 k) internal pure returns (uint256) {
        unchecked {
            uint256 offset = (reader.index + k * wordAt(reader.steps)) << reader.shift;
            if (offset >> 10 != reader.lastChunk) find(reader, offset >> 10);
            return reader.lastData + (offset & 1023);
        }
    }

    /// The same reader: how many elements from the one at `k` on lie in one chunk, at most `end - k`.
    function stretch(Reader memory reader, uint256 k, uint256 end) internal pure returns (uint256 n) {
        unchecked {
            uint256 offset = (reader.index + k * wordAt(reader.steps)) << reader.shift;
            uint256 step = stepOf(reader);
            n = end - k;
            uint256 most = n;
            if (int256(step) > 0) most = (1023 - (offset & 1023)) / step + 1;
            else if (step != 0) most = (offset & 1023) / (0 - step) + 1;
            if (most < n) n = most;
        }
    }

    /// Bytes of an element as a power of two.
    function sizeShift(uint256 dtype) internal pure returns (uint256) {
        if (dtype < 3) return 2;
        if (dtype == 3) return 0;
        if (dtype == 4) return 1;
        revert IReferee.NotJudgeable("unknown element type");
    }

    /// Elements of a shape of rank 0 to 6.
    function product(uint32[] calldata shape) internal pure returns (uint256 n) {
        if (shape.length > 6) revert IReferee.NotJudgeable("rank above 6");
        n = 1;
        unchecked {
            for (uint256 i = 0; i < shape.length; ++i) {
                n *= shape[i];
            }
        }
    }

    // -------------------------------------------------------------------------------------------------- opening

    function proveChunks(Reader memory reader, uint256 tensorBytes, OperandWitness calldata witness) private pure {
        uint256 n = witness.chunks.length;
        uint256 leaves = ChunkTree.chunkCount(tensorBytes);
        uint256 depth = ChunkTree.depth(leaves);
        uint256 pair;
        assembly ("memory-safe") {
            pair := mload(0x40)
            mstore(0x40, add(pair, shl(6, n)))
        }
        reader.chunks = pair;
        reader.chunksEnd = pair + (n << 6);
        for (uint256 i = 0; i < n; ++i) {
            ChunkWitness calldata chunk = witness.chunks[i];
            uint256 index = chunk.index;
            bytes calldata data = chunk.data;
            if (index >= leaves || chunk.proof.length != depth) {
                revert IReferee.WrongChunkProof(reader.operand, chunk.index);
            }
            bytes32 leaf = ChunkTree.chunkLeaf(data, ChunkTree.chunkBytes(tensorBytes, index));
            if (!ChunkTree.verify(witness.merkleRoot, depth, index, leaf, chunk.proof)) {
                revert IReferee.WrongChunkProof(reader.operand, chunk.index);
            }
            assembly ("memory-safe") {
                mstore(pair, index)
                mstore(add(pair, 0x20), data.offset)
                pair := add(pair, 0x40)
            }
        }
    }

    /// Folds offset and domain coordinates into one number per view dimension.
    function layRows(Reader memory reader, Operand calldata operand, Place memory place) private pure {
        uint256 factors = place.factors;
        uint256 coords = place.coords;
        uint256 values = place.frame + ScalarVm.COORDS;
        uint256 row;
        uint256 bytes_ = reader.rank * (ROW + (factors << 5));
        assembly ("memory-safe") {
            row := mload(0x40)
            calldatacopy(row, calldatasize(), bytes_)
            mstore(0x40, add(row, bytes_))
        }
        reader.rows = row;
        int64[] calldata access = operand.access;
        unchecked {
            uint256 next = 0;
            for (uint256 d = 0; d < reader.rank; ++d) {
                int256 base = access[next++];
                for (uint256 c = 0; c < coords; ++c) {
                    base += int256(access[next++]) * int256(wordAt(values + (c << 5)));
                }
                putWord(row, operand.viewShape[d]);
                putWord(row + 0x20, uint256(base));
                row += ROW;
                for (uint256 f = 0; f < factors; ++f) {
                    putWord(row, uint256(int256(access[next++])));
                    row += 0x20;
                }
            }
        }
    }

    function layGathers(Reader memory reader, Operand calldata operand, Reader[] memory readers) private pure {
        for (uint256 i = 0; i < operand.gathers.length; ++i) {
            Gather calldata gather = operand.gathers[i];
            if (gather.dim >= reader.rank) revert IReferee.NotJudgeable("a gather names a view dimension");
            Reader memory through = readers[gather.operand];
            if (through.dtype == 0 || through.dtype > 3 || through.skip) {
                revert IReferee.NotJudgeable("a gather goes through integers that do not skip");
            }
            uint256 row = reader.rows + gather.dim * (ROW + reader.factorsEnd - reader.factors);
            if (wordAt(row + 0x40) != 0) revert IReferee.NotJudgeable("one gather per dimension");
            uint256 address_;
            assembly ("memory-safe") {
                address_ := through
            }
            putWord(row + 0x40, address_);
            putWord(row + 0x60, through.dtype == 2 ? 0 : 1);
            putWord(row + 0x80, uint256(int256(gather.stride)));
        }
    }

    /// Makes the reader linear if every coordinate stays inside for the whole unit.
    function makeLinear(Reader memory reader, Place memory place) private pure {
        uint256 factors = place.factors;
        uint256 steps;
        assembly ("memory-safe") {
            steps := mload(0x40)
            calldatacopy(steps, calldatasize(), shl(5, factors))
            mstore(0x40, add(steps, shl(5, factors)))
        }
        uint256 index = 0;
        bool moves = false;
        uint256 row = reader.rows;
        unchecked {
            for (uint256 d = reader.rank; d > 0; --d) {
                uint256 extent = wordAt(row);
                int256 low = int256(wordAt(row + 0x20));
                int256 high = low;
                index = index * extent + uint256(low);
                row += ROW;
                for (uint256 f = 0; f < factors; ++f) {
                    int256 coefficient = int256(wordAt(row));
                    putWord(steps + (f << 5), wordAt(steps + (f << 5)) * extent + uint256(coefficient));
                    if (coefficient != 0) moves = true;
                    (int256 from, int256 to) = span(place, f, coefficient);
                    low += from;
                    high += to;
                    row += 0x20;
                }
                if (low < 0 || high >= int256(extent)) return;
            }
        }
        reader.linear = true;
        reader.fixed_ = !moves;
        reader.index = index;
        reader.steps = steps;
    }

    /// Least and greatest of `coefficient` times factor `f` within the unit: with one factor it is k itself; with more, each
    /// is taken to run over its whole range.
    function span(Place memory place, uint256 f, int256 coefficient) private pure returns (int256 low, int256 high) {
        unchecked {
            bool whole = place.factors != 1;
            low = whole ? int256(0) : coefficient * int256(place.firstK);
            high = coefficient * int256(whole ? uint256(place.fold[f]) - 1 : place.endK - 1);
        }
        if (coefficient < 0) (low, high) = (high, low);
    }

    function find(Reader memory reader, uint256 chunk) private pure {
        uint256 pair = reader.chunks;
        uint256 end = reader.chunksEnd;
        uint256 data;
        assembly ("memory-safe") {
            for {} lt(pair, end) { pair := add(pair, 0x40) } {
                if eq(mload(pair), chunk) {
                    data := mload(add(pair, 0x20))
                    break
                }
            }
        }
        // no data starts at offset 0 of calldata
        if (data == 0) revert IReferee.MissingChunk(reader.operand, uint64(chunk));
        reader.lastChunk = chunk;
        reader.lastData = data;
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
