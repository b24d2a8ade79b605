// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Gather, Operand} from "@ir/Program.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {Float32} from "./Float32.sol";
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
        uint256 operand;
        uint256 dtype;
        uint256 fill;
        bool skip;
        bool linear;
        /// Linear: no factor moves it.
        bool constant_;
        /// Linear: element index where all factors are 0.
        uint256 index;
        /// Linear: one step of the element index per factor.
        uint256 steps;
        /// Else: per view dimension extent, coordinate where all factors are 0, reader of the gathered value or 0,
        /// whether that is signed, its stride, one coefficient per factor.
        uint256 rows;
        uint256 rank;
        uint256 factors;
        /// Address of the factors' values in the frame.
        uint256 factorValues;
        /// Pairs: chunk index, where its data starts in calldata.
        uint256 chunks;
        uint256 chunkCount;
        /// The chunk used last.
        uint256 lastIndex;
        uint256 lastData;
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
        reader.dtype = operand.dtype;
        reader.fill = operand.fill;
        reader.skip = operand.skip;
        reader.rank = operand.viewShape.length;
        reader.factors = place.factors;
        reader.factorValues = place.frame + ScalarVm.FACTORS;
        reader.lastIndex = NOT_FOUND;
        uint256 elements = product(operand.shape);
        if (operand.viewShape.length > 6 || product(operand.viewShape) != elements) {
            revert IReferee.NotJudgeable("a view has as many elements as its tensor");
        }
        if (operand.access.length != reader.rank * (1 + place.coords + place.factors)) {
            revert IReferee.NotJudgeable("access has one row per view dimension");
        }
        proveChunks(reader, elements << sizeShift(operand.dtype), witness);
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
        if (reader.linear) {
            assembly ("memory-safe") {
                index := mload(add(reader, 0xc0))
                let steps := mload(add(reader, 0xe0))
                let values := mload(add(reader, 0x160))
                let end := add(steps, shl(5, mload(add(reader, 0x140))))
                for {} lt(steps, end) {
                    steps := add(steps, 0x20)
                    values := add(values, 0x20)
                } { index := add(index, mul(mload(steps), mload(values))) }
            }
            return index;
        }
        uint256 row = reader.rows;
        uint256 values = reader.factorValues;
        uint256 valuesEnd = values + (reader.factors << 5);
        unchecked {
            for (uint256 d = reader.rank; d > 0; --d) {
                uint256 coordinate = wordAt(row + 0x20);
                if (wordAt(row + 0x40) != 0) coordinate += gathered(row);
                uint256 extent = wordAt(row);
                assembly ("memory-safe") {
                    row := add(row, ROW)
                    for { let value := values } lt(value, valuesEnd) { value := add(value, 0x20) } {
                        coordinate := add(coordinate, mul(mload(row), mload(value)))
                        row := add(row, 0x20)
                    }
                }
                // below zero is far above every extent
                if (coordinate >= extent) return NOT_FOUND;
                index = index * extent + coordinate;
            }
        }
    }

    /// What a row's gather adds to its coordinate.
    function gathered(uint256 row) private pure returns (uint256) {
        Reader memory through;
        uint256 address_ = wordAt(row + 0x40);
        assembly ("memory-safe") {
            through := address_
        }
        uint256 value = read(through);
        assembly ("memory-safe") {
            if mload(add(row, 0x60)) { value := signextend(3, value) }
            value := mul(value, mload(add(row, 0x80)))
        }
        return value;
    }

    /// The element at `index` of the tensor, widened.
    function fetch(Reader memory reader, uint256 index) internal pure returns (uint256 value) {
        uint256 dtype = reader.dtype;
        uint256 offset = index << sizeShift(dtype);
        if (offset >> 10 != reader.lastIndex) find(reader, offset >> 10);
        assembly ("memory-safe") {
            value := calldataload(add(mload(add(reader, 0x1e0)), and(offset, 1023)))
        }
        if (dtype < 3) {
            // The four bytes turned around. Plain: b0 | b1 << 8 | b2 << 16 | b3 << 24. Here: four shifted copies, in each of
            // which one byte stands at its new place modulo 40 bits; the remainder gathers them.
            assembly ("memory-safe") {
                value := shr(224, value)
                value :=
                    mod(
                        and(
                            mul(value, 0x0100000000000000010000000000010000000000000100),
                            0xff0000000000000000ff00000000000000ff0000000000ff0000
                        ),
                        0xffffffffff
                    )
            }
            return dtype == 0 ? Float32.canonical(value) : value;
        }
        if (dtype == 3) {
            assembly ("memory-safe") {
                value := and(signextend(0, byte(0, value)), 0xffffffff)
            }
            return value;
        }
        return Float32.fromBf16((value >> 248) | ((value >> 232) & 0xff00));
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
            for (uint256 i = 0; i < shape.length; ++i) n *= shape[i];
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
        reader.chunkCount = n;
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
                for (uint256 c = 0; c < coords; ++c) base += int256(access[next++]) * int256(wordAt(values + (c << 5)));
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
            uint256 row = reader.rows + gather.dim * (ROW + (reader.factors << 5));
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
        reader.constant_ = !moves;
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
        unchecked {
            uint256 end = pair + (reader.chunkCount << 6);
            for (; pair < end; pair += 64) {
                if (wordAt(pair) == chunk) {
                    reader.lastIndex = chunk;
                    reader.lastData = wordAt(pair + 32);
                    return;
                }
            }
        }
        revert IReferee.MissingChunk(reader.operand, uint64(chunk));
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
