// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Gather, Operand} from "@ir/Program.sol";
import {ChunkDecoder} from "./ChunkDecoder.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {OperandReader} from "./OperandReader.sol";
import {ScalarVm} from "./ScalarVm.sol";
import {ChunkWitness, IReferee, Inputs, OperandWitness} from "./interfaces/IReferee.sol";

/// Proves what a witness says about one operand (docs/protocol.md, section 3) and lays it out for `OperandReader`: tensor root under the
/// root that the source names, chunks under the tensor's Merkle root, addresses with the output element's coordinates put in.
library OperandProof {
    /// Opens an operand.
    /// @param readers Those of the operands that it gathers through are open.
    function open(
        Operand calldata operand,
        uint256 number,
        OperandReader.Place memory place,
        OperandReader.Reader[] memory readers,
        Inputs calldata inputs,
        OperandWitness calldata witness
    ) internal pure returns (OperandReader.Reader memory reader) {
        // an operand that only reads out of bounds needs no proof: any read in bounds misses its chunk
        if (witness.chunks.length != 0) proveRoot(operand, number, inputs, witness);
        reader.rank = operand.viewShape.length;
        reader.skip = operand.skip;
        reader.fill = operand.fill;
        ChunkDecoder.Chunks memory chunks = reader.chunks;
        chunks.dtype = operand.dtype;
        chunks.shift = sizeShift(operand.dtype);
        chunks.operand = number;
        uint256 elements = product(operand.shape);
        if (product(operand.viewShape) != elements) {
            revert IReferee.NotJudgeable("a view has as many elements as its tensor");
        }
        if (operand.access.length != reader.rank * (1 + place.coords + place.fold.length)) {
            revert IReferee.NotJudgeable("access has one row per view dimension");
        }
        proveChunks(chunks, elements << chunks.shift, witness);
        layRows(reader, operand, place);
        layGathers(reader, operand, place, readers);
    }

    /// Elements of a shape of rank 0 to 6.
    function product(uint32[] calldata shape) internal pure returns (uint256 n) {
        if (shape.length > 6) revert IReferee.NotJudgeable("rank above 6");
        // plain: n = 1; for (i) n *= shape[i];
        assembly ("memory-safe") {
            n := 1
            let pos := shape.offset
            for { let end := add(pos, shl(5, shape.length)) } lt(pos, end) { pos := add(pos, 0x20) } {
                n := mul(n, and(calldataload(pos), 0xffffffff))
            }
        }
    }

    /// Bytes of an element as a power of two.
    function sizeShift(uint256 dtype) private pure returns (uint256) {
        if (dtype < 3) return 2;
        if (dtype == 3) return 0;
        if (dtype == 4) return 1;
        revert IReferee.NotJudgeable("unknown element type");
    }

    /// The operand's tensor stands where its source says.
    function proveRoot(Operand calldata operand, uint256 i, Inputs calldata inputs, OperandWitness calldata witness)
        private
        pure
    {
        (bytes32 root, uint256 count) = (inputs.stateRoot, inputs.stateCount);
        if (operand.source == 1) (root, count) = (inputs.dataRoot, inputs.dataCount);
        else if (operand.source == 2) (root, count) = (inputs.traceRoot, inputs.nodeCount);
        else if (operand.source != 0) revert IReferee.NotJudgeable("unknown source of an operand");
        if (operand.index >= count) revert IReferee.WrongOperandRoot(i);
        uint256 depth = ChunkTree.depth(count);
        if (witness.rootProof.length != depth) revert IReferee.WrongOperandRoot(i);
        bytes32 leaf = keccak256(abi.encode(operand.dtype, operand.shape, witness.merkleRoot));
        if (!ChunkTree.verify(root, depth, operand.index, leaf, witness.rootProof)) {
            revert IReferee.WrongOperandRoot(i);
        }
    }

    function proveChunks(ChunkDecoder.Chunks memory chunks, uint256 tensorBytes, OperandWitness calldata witness)
        private
        pure
    {
        ChunkWitness[] calldata witnesses = witness.chunks;
        uint256 n = witnesses.length;
        uint256 depth = ChunkTree.depth(ChunkTree.chunkCount(tensorBytes));
        uint256 pair;
        assembly ("memory-safe") {
            pair := mload(0x40)
            mstore(0x40, add(pair, shl(6, n)))
        }
        chunks.first = pair;
        chunks.end = pair + (n << 6);
        for (uint256 i = 0; i < n; ++i) {
            ChunkWitness calldata chunk = witnesses[i];
            uint256 data = proveChunk(chunks.operand, tensorBytes, depth, witness.merkleRoot, chunk);
            uint256 index = chunk.index;
            assembly ("memory-safe") {
                mstore(pair, index)
                mstore(add(pair, 0x20), data)
                pair := add(pair, 0x40)
            }
        }
    }

    /// Where the data of a proven chunk starts in calldata.
    function proveChunk(
        uint256 operand,
        uint256 tensorBytes,
        uint256 depth,
        bytes32 merkleRoot,
        ChunkWitness calldata chunk
    ) private pure returns (uint256 pos) {
        uint64 index = chunk.index;
        bytes calldata data = chunk.data;
        bytes32[] calldata proof = chunk.proof;
        uint256 expected = ChunkTree.chunkBytes(tensorBytes, index);
        // a chunk past the end has no bytes
        if (expected == 0 || proof.length != depth) revert IReferee.WrongChunkProof(operand, index);
        if (data.length != expected) revert IReferee.WrongChunkLength(operand, index, data.length, expected);
        bytes32 leaf = ChunkTree.chunkLeaf(data, expected);
        if (!ChunkTree.verify(merkleRoot, depth, index, leaf, proof)) revert IReferee.WrongChunkProof(operand, index);
        assembly ("memory-safe") {
            pos := data.offset
        }
    }

    /// Folds offset and domain coordinates into one number per view dimension.
    function layRows(OperandReader.Reader memory reader, Operand calldata operand, OperandReader.Place memory place)
        private
        pure
    {
        uint256 factors = place.fold.length;
        uint256 coords = place.coords;
        uint256 width = OperandReader.rowBytes(place);
        uint256 row;
        unchecked {
            uint256 bytes_ = reader.rank * width;
            assembly ("memory-safe") {
                row := mload(0x40)
                calldatacopy(row, calldatasize(), bytes_)
                mstore(0x40, add(row, bytes_))
            }
        }
        reader.rows = row;
        int64[] calldata access = operand.access;
        uint32[] calldata view_ = operand.viewShape;
        uint256 values = place.frame + ScalarVm.COORDS;
        uint256 moves = 0;
        // plain, for every dimension d, with `next` running through `access`:
        //     base = access[next++] + sum over c of access[next++] * coordinate[c]
        //     row d = viewShape[d], base, no gather, access[next++] for every factor; moves if one of these is not 0
        assembly ("memory-safe") {
            let next := access.offset
            let extent := view_.offset
            for { let end := add(extent, shl(5, view_.length)) } lt(extent, end) { extent := add(extent, 0x20) } {
                let base := calldataload(next)
                next := add(next, 0x20)
                for { let c := 0 } lt(c, coords) { c := add(c, 1) } {
                    base := add(base, mul(calldataload(next), mload(add(values, shl(5, c)))))
                    next := add(next, 0x20)
                }
                mstore(row, and(calldataload(extent), 0xffffffff))
                mstore(add(row, 0x20), base)
                let slot := add(row, 0xa0)
                for { let f := 0 } lt(f, factors) { f := add(f, 1) } {
                    let coefficient := calldataload(next)
                    next := add(next, 0x20)
                    moves := or(moves, coefficient)
                    mstore(slot, coefficient)
                    slot := add(slot, 0x20)
                }
                row := add(row, width)
            }
        }
        reader.moves = moves != 0;
    }

    function layGathers(
        OperandReader.Reader memory reader,
        Operand calldata operand,
        OperandReader.Place memory place,
        OperandReader.Reader[] memory readers
    ) private pure {
        Gather[] calldata gathers = operand.gathers;
        for (uint256 i = 0; i < gathers.length; ++i) {
            Gather calldata gather = gathers[i];
            if (gather.dim >= reader.rank) revert IReferee.NotJudgeable("a gather names a view dimension");
            OperandReader.Reader memory through = readers[gather.operand];
            uint256 dtype = through.chunks.dtype;
            if (dtype == 0 || dtype > 3 || through.skip) {
                revert IReferee.NotJudgeable("a gather goes through integers that do not skip");
            }
            if (through.moves) {
                reader.moves = true;
                reader.gathersMove = true;
            }
            uint256 row = reader.rows + gather.dim * OperandReader.rowBytes(place);
            if (wordAt(row + 0x40) != 0) revert IReferee.NotJudgeable("one gather per dimension");
            uint256 address_;
            assembly ("memory-safe") {
                address_ := through
            }
            putWord(row + 0x40, address_);
            putWord(row + 0x60, dtype == 2 ? 0 : 1);
            putWord(row + 0x80, uint256(int256(gather.stride)));
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
