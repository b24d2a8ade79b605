// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Merkle trees as docs/protocol.md, section 3, defines them, written plainly and apart from the code under test.
library Trees {
    function depthOf(uint256 count) internal pure returns (uint256 depth) {
        while (1 << depth < count) ++depth;
    }

    function pair(bytes32 left, bytes32 right) internal pure returns (bytes32 hash) {
        // without allocating: trees of 65,536 leaves are built here
        assembly ("memory-safe") {
            mstore(0x00, left)
            mstore(0x20, right)
            hash := keccak256(0x00, 0x40)
        }
    }

    function empty(uint256 level) internal pure returns (bytes32 hash) {
        for (uint256 i = 0; i < level; ++i) {
            hash = pair(hash, hash);
        }
    }

    /// Real subtrees one level above `row`, whose entries are subtrees of height `level`.
    function above(bytes32[] memory row, uint256 level) internal pure returns (bytes32[] memory up) {
        up = new bytes32[]((row.length + 1) / 2);
        bytes32 missing = empty(level);
        for (uint256 i = 0; i < up.length; ++i) {
            up[i] = pair(row[2 * i], 2 * i + 1 < row.length ? row[2 * i + 1] : missing);
        }
    }

    /// Real subtrees of height `level`.
    function rowAt(bytes32[] memory leaves, uint256 level) internal pure returns (bytes32[] memory row) {
        row = leaves;
        for (uint256 l = 0; l < level; ++l) {
            row = above(row, l);
        }
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        return rowAt(leaves, depthOf(leaves.length))[0];
    }

    /// What a defender posts under subtree `index` of height `depth`: the real subtrees at most 8 levels below.
    function children(bytes32[] memory leaves, uint256 depth, uint256 index) internal pure returns (bytes32[] memory) {
        uint256 levels = depth < 8 ? depth : 8;
        bytes32[] memory row = rowAt(leaves, depth - levels);
        uint256 start = index << levels;
        uint256 end = start + (1 << levels);
        if (end > row.length) end = row.length;
        bytes32[] memory list = new bytes32[](end - start);
        for (uint256 i = start; i < end; ++i) {
            list[i - start] = row[i];
        }
        return list;
    }

    /// Siblings of entry `index`, from `list` (subtrees of height `level`) up `levels` levels.
    function proof(bytes32[] memory list, uint256 level, uint256 levels, uint256 index)
        internal
        pure
        returns (bytes32[] memory siblings)
    {
        siblings = new bytes32[](levels);
        for (uint256 l = 0; l < levels; ++l) {
            uint256 other = index ^ 1;
            siblings[l] = other < list.length ? list[other] : empty(level + l);
            list = above(list, level + l);
            index >>= 1;
        }
    }

    function leafProof(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory) {
        return proof(leaves, 0, depthOf(leaves.length), index);
    }

    function chunkLeaves(bytes memory tensor) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[]((tensor.length + 1023) / 1024);
        for (uint256 i = 0; i < leaves.length; ++i) {
            uint256 left = tensor.length - 1024 * i;
            if (left > 1024) left = 1024;
            leaves[i] = keccak256(bytes.concat(slice(tensor, 1024 * i, left), new bytes(1024 - left)));
        }
    }

    function slice(bytes memory data, uint256 start, uint256 length) internal pure returns (bytes memory part) {
        require(start + length <= data.length, "slice outside");
        part = new bytes(length);
        assembly ("memory-safe") {
            mcopy(add(part, 0x20), add(add(data, 0x20), start), length)
        }
    }
}
