// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../ChunkTree.sol";
import {Dispute, Phase, Side} from "../interfaces/IDisputes.sol";
import {Game} from "./Game.sol";
import {UnitKind} from "./UnitKind.sol";

/// Phases Chunk and Blocks: from a chunk to one element, and down the radix-256 tree of its fold.
abstract contract ElementMoves is Game {
    /// The element is not in the chunk that was posted.
    error NotInChunk(uint64 chunk, uint64 element);

    /// Values folded into one; a fold of no more than this has no blocks.
    uint256 private constant RADIX = 256;
    /// `pointBlock`: not one of the values, but what was made of them.
    uint32 private constant TOP = type(uint32).max;

    // ---- the chunk ---------------------------------------------------------------------------------------------

    function postChunk(uint256 disputeId, bytes32 position, bytes calldata chunk) external {
        Dispute storage d = _move(disputeId, position, Phase.Chunk, Side.Defender);
        _checkChunk(d, chunk);
        emit ChunkPosted(disputeId, d.index, chunk);
        _next(disputeId, d, Phase.Chunk, Side.Challenger);
    }

    /// `element` counts within the whole tensor.
    function pointElement(uint256 disputeId, bytes32 position, uint64 element, bytes calldata chunk) external {
        Dispute storage d = _move(disputeId, position, Phase.Chunk, Side.Challenger);
        _checkChunk(d, chunk);
        if (element >= d.elementCount) revert PastTheEnd(d.elementCount, element);
        uint256 size = d.elementSize;
        uint256 start = uint256(element) * size;
        if (start / ChunkTree.CHUNK_BYTES != d.index) revert NotInChunk(d.index, element);
        uint32 value = _littleEndian(chunk, start % ChunkTree.CHUNK_BYTES, size);
        d.element = element;
        d.value = value;
        d.blockLevel = 0;
        d.blockIndex = 0;
        emit ElementPointed(disputeId, element, value);
        if (d.foldLength > RADIX) {
            _next(disputeId, d, Phase.Blocks, Side.Defender);
        } else {
            d.unitKind = UnitKind.ELEMENT;
            _next(disputeId, d, Phase.Judge, Side.Challenger);
        }
    }

    /// Real bytes only: as many as the tensor has in this chunk.
    function _checkChunk(Dispute storage d, bytes calldata chunk) private view {
        uint256 expected = ChunkTree.chunkBytes(uint256(d.elementCount) * d.elementSize, d.index);
        _checkHash(d.cursor, ChunkTree.chunkLeaf(chunk, expected));
    }

    // ---- the blocks --------------------------------------------------------------------------------------------

    function postBlocks(uint256 disputeId, bytes32 position, bytes calldata values) external {
        Dispute storage d = _move(disputeId, position, Phase.Blocks, Side.Defender);
        (, uint256 entries) = _list(d);
        _checkCount(entries * 4, values.length);
        d.cursor = keccak256(values);
        d.count = uint64(entries);
        emit BlocksPosted(disputeId, values);
        _next(disputeId, d, Phase.Blocks, Side.Challenger);
    }

    function pointBlock(uint256 disputeId, bytes32 position, uint32 child, bytes calldata values) external {
        Dispute storage d = _move(disputeId, position, Phase.Blocks, Side.Challenger);
        _checkHash(d.cursor, keccak256(values));
        if (child == TOP) {
            d.unitKind = d.blockLevel == 0 ? UnitKind.TOP : UnitKind.COMBINE;
        } else {
            if (child >= d.count) revert PastTheEnd(d.count, child);
            _enterBlock(d, child);
            d.value = _littleEndian(values, uint256(child) * 4, 4);
            d.unitKind = UnitKind.LEAF;
        }
        emit BlockPointed(disputeId, d.blockLevel, d.blockIndex, d.value);
        if (child == TOP || d.blockLevel == 1) _next(disputeId, d, Phase.Judge, Side.Challenger);
        else _next(disputeId, d, Phase.Blocks, Side.Defender);
    }

    /// The list that the defender owes, or the challenger points into: level of its values and their number. Under the
    /// element it is the highest level with more than one value, under a block the level below it.
    function _list(Dispute storage d) private view returns (uint256 level, uint256 entries) {
        uint256 foldLength = d.foldLength;
        if (d.blockLevel == 0) {
            level = 1;
            entries = _parents(foldLength);
            while (entries > RADIX) {
                entries = _parents(entries);
                ++level;
            }
        } else {
            level = d.blockLevel - 1;
            entries = _childrenOf(foldLength, d.blockLevel, d.blockIndex);
        }
    }

    /// Goes down to block `child` of the posted list, and further while a block has one child, whose value it is.
    function _enterBlock(Dispute storage d, uint256 child) private {
        (uint256 level,) = _list(d);
        uint256 index = uint256(d.blockIndex) * RADIX + child;
        while (level > 1 && _childrenOf(d.foldLength, level, index) == 1) {
            --level;
            index *= RADIX;
        }
        d.blockLevel = uint8(level);
        d.blockIndex = uint64(index);
    }

    /// Values that block `index` of `level` (at least 2) is folded from.
    function _childrenOf(uint256 foldLength, uint256 level, uint256 index) private pure returns (uint256) {
        uint256 below = foldLength;
        for (uint256 l = 1; l < level; ++l) {
            below = _parents(below);
        }
        uint256 left = below - index * RADIX;
        return left < RADIX ? left : RADIX;
    }

    function _parents(uint256 values) private pure returns (uint256) {
        return (values + RADIX - 1) / RADIX;
    }

    function _littleEndian(bytes calldata data, uint256 start, uint256 size) private pure returns (uint32 value) {
        for (uint256 i = 0; i < size; ++i) {
            value |= uint32(uint8(data[start + i])) << uint32(8 * i);
        }
    }
}
