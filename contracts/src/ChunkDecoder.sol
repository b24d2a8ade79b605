// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IReferee} from "./interfaces/IReferee.sol";

/// Elements of a tensor out of its proven chunks in calldata (docs/protocol.md, sections 1 and 3), widened to 32 bits: little-endian in a
/// chunk, packed big-endian words in memory. A word of memory holds eight.
library ChunkDecoder {
    /// Eight times the same 32 bits.
    uint256 private constant ONES = 0x0000000100000001000000010000000100000001000000010000000100000001;

    uint256 private constant EVEN_BYTES = 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant EVEN_PAIRS = 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
    uint256 private constant MAGNITUDE = 0x7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff;
    /// What added to a magnitude reaches bit 31 just for a NaN: 2^23 - 1.
    uint256 private constant BELOW_NAN = 0x007fffff007fffff007fffff007fffff007fffff007fffff007fffff007fffff;

    struct Chunks {
        /// 0x00: code of the element type; 0x20: bytes of an element, as a power of two.
        uint256 dtype;
        uint256 shift;
        /// Pairs of chunk index and where its data starts in calldata.
        uint256 first;
        uint256 end;
        /// Number of the operand, for errors.
        uint256 operand;
    }

    /// The element at `index`.
    function element(Chunks memory chunks, uint256 index) internal pure returns (uint256 value) {
        unchecked {
            index <<= chunks.shift;
            uint256 pos = find(chunks, index >> 10) + (index & 1023);
            assembly ("memory-safe") {
                value := calldataload(pos)
            }
            return widen(value, chunks.dtype) >> 224;
        }
    }

    /// Writes the elements at `index`, `index + step`, ..., `n > 0` of them, all in the tensor, to `out`.
    /// May write up to 28 bytes more: what follows must be written later.
    function copy(Chunks memory chunks, uint256 index, uint256 step, uint256 n, uint256 out) internal pure {
        unchecked {
            // from elements to bytes; a step backwards wraps
            uint256 offset = index << chunks.shift;
            step <<= chunks.shift;
            // neighbours: eight at a time
            bool dense = step == 1 << chunks.shift;
            while (n != 0) {
                uint256 within = offset & 1023;
                uint256 count = n;
                if (step != 0) {
                    uint256 most = int256(step) > 0 ? (1023 - within) / step + 1 : within / (0 - step) + 1;
                    if (most < count) count = most;
                }
                uint256 next = out + (count << 2);
                copyWithin(
                    find(chunks, offset >> 10) + within,
                    dense ? step << 3 : step,
                    out,
                    next,
                    dense ? 32 : 4,
                    chunks.dtype
                );
                out = next;
                offset += count * step;
                n -= count;
            }
        }
    }

    function copyWithin(uint256 pos, uint256 stepIn, uint256 out, uint256 end, uint256 stepOut, uint256 dtype)
        private
        pure
    {
        if (dtype < 3) {
            // `widen` of four bytes, without a call for every word
            assembly ("memory-safe") {
                for {} lt(out, end) {} {
                    let z := calldataload(pos)
                    pos := add(pos, stepIn)
                    z := or(and(shr(8, z), EVEN_BYTES), shl(8, and(z, EVEN_BYTES)))
                    z := or(and(shr(16, z), EVEN_PAIRS), shl(16, and(z, EVEN_PAIRS)))
                    let nan := and(shr(31, add(and(z, MAGNITUDE), BELOW_NAN)), ONES)
                    if nan { if iszero(dtype) { z := or(and(z, not(mul(nan, 0xffffffff))), mul(nan, 0x7fc00000)) } }
                    mstore(out, z)
                    out := add(out, stepOut)
                }
            }
            return;
        }
        uint256 word;
        while (out < end) {
            assembly ("memory-safe") {
                word := calldataload(pos)
            }
            word = widen(word, dtype);
            assembly ("memory-safe") {
                mstore(out, word)
                pos := add(pos, stepIn)
                out := add(out, stepOut)
            }
        }
    }

    /// Packed little-endian values of 4 bytes, turned around and nothing else.
    function packed(bytes calldata values) internal pure returns (uint256 out) {
        uint256 pos;
        assembly ("memory-safe") {
            out := mload(0x40)
            mstore(0x40, add(out, add(values.length, 0x20)))
            pos := values.offset
        }
        copyWithin(pos, 32, out, out + values.length, 32, 2);
    }

    /// Writes `value` `n` times to `out`; may write up to 28 bytes more.
    function fill(uint256 out, uint256 value, uint256 n) internal pure {
        assembly ("memory-safe") {
            value := mul(value, ONES)
            for { let end := add(out, shl(2, n)) } lt(out, end) { out := add(out, 0x20) } { mstore(out, value) }
        }
    }

    /// The first eight elements in `word`, as packed big-endian words. A NaN becomes the one NaN.
    function widen(uint256 word, uint256 dtype) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            switch dtype
            case 3 {
                // i8: bytes spread out, halving; then the bits above each are its sign
                z := shr(192, word)
                z := and(or(z, shl(96, z)), 0x000000000000000000000000ffffffff000000000000000000000000ffffffff)
                z := and(or(z, shl(48, z)), 0x000000000000ffff000000000000ffff000000000000ffff000000000000ffff)
                z := and(or(z, shl(24, z)), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)
                z := or(z, mul(and(shr(7, z), ONES), 0xffffff00))
            }
            case 4 {
                // bf16: pairs of bytes spread out, halving, and turned around into the upper half
                z := shr(128, word)
                z := and(or(z, shl(64, z)), 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff)
                z := and(or(z, shl(32, z)), 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff)
                z := or(z, shl(16, z))
                z := or(
                    shl(24, and(z, 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff)),
                    shl(16, and(shr(8, z), 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff))
                )
            }
            default {
                // four bytes turned around: neighbours first, then pairs
                z := or(and(shr(8, word), EVEN_BYTES), shl(8, and(word, EVEN_BYTES)))
                z := or(and(shr(16, z), EVEN_PAIRS), shl(16, and(z, EVEN_PAIRS)))
            }
            // f32 and bf16: a magnitude above infinity's has bit 31 set after adding 2^23 - 1; all its bits are exchanged
            if iszero(and(dtype, 3)) {
                let nan := and(z, MAGNITUDE)
                nan := and(shr(31, add(nan, BELOW_NAN)), ONES)
                z := or(and(z, not(mul(nan, 0xffffffff))), mul(nan, 0x7fc00000))
            }
        }
    }

    function find(Chunks memory chunks, uint256 chunk) private pure returns (uint256 data) {
        assembly ("memory-safe") {
            let pair := mload(add(chunks, 0x40))
            for { let end := mload(add(chunks, 0x60)) } lt(pair, end) { pair := add(pair, 0x40) } {
                if eq(mload(pair), chunk) {
                    data := mload(add(pair, 0x20))
                    break
                }
            }
        }
        // no data starts at offset 0 of calldata
        if (data == 0) revert IReferee.MissingChunk(chunks.operand, uint64(chunk));
    }
}
