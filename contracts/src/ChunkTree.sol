// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Binary Merkle trees over 32-byte leaves, and the 1,024-byte chunks that tensors are cut into (docs/protocol.md, section 3).
/// A tree over `n` leaves has depth `ceil(log2 n)`; what is missing on the right is `emptyRoot(level)`. Depth, index and the
/// number of real leaves always come from the caller, never from the party that proves.
library ChunkTree {
    /// Bytes of a chunk.
    uint256 internal constant CHUNK_BYTES = 1024;
    /// Deepest tree that can occur: 2^40 elements of 4 bytes in chunks of 2^10 bytes make 2^32 leaves.
    uint256 internal constant MAX_DEPTH = 64;

    error NoLeaves();
    error TooDeep(uint256 depth);
    error TooManyChildren(uint256 children, uint256 room);
    error WrongProofLength(uint256 length, uint256 depth);
    error IndexOutOfTree(uint256 index, uint256 depth);
    error WrongChunkLength(uint256 length, uint256 expected);

    /// Depth of the tree over `n` leaves: the smallest `d` with `2^d >= n`.
    function depth(uint256 n) internal pure returns (uint256 d) {
        if (n == 0) revert NoLeaves();
        unchecked {
            uint256 rest = n - 1;
            if (rest >> 128 != 0) revert TooDeep(129);
            if (rest >> 64 != 0) (rest, d) = (rest >> 64, 64);
            if (rest >> 32 != 0) (rest, d) = (rest >> 32, d + 32);
            if (rest >> 16 != 0) (rest, d) = (rest >> 16, d + 16);
            if (rest >> 8 != 0) (rest, d) = (rest >> 8, d + 8);
            if (rest >> 4 != 0) (rest, d) = (rest >> 4, d + 4);
            if (rest >> 2 != 0) (rest, d) = (rest >> 2, d + 2);
            if (rest >> 1 != 0) (rest, d) = (rest >> 1, d + 1);
            d += rest;
        }
    }

    /// Hash of an inner node.
    function pair(bytes32 left, bytes32 right) internal pure returns (bytes32 hash) {
        // keccak256(abi.encodePacked(left, right)) without allocating
        assembly ("memory-safe") {
            mstore(0x00, left)
            mstore(0x20, right)
            hash := keccak256(0x00, 0x40)
        }
    }

    /// Root of a subtree of height `level` without any real leaf.
    function emptyRoot(uint256 level) internal pure returns (bytes32 root_) {
        if (level > MAX_DEPTH) revert TooDeep(level);
        unchecked {
            for (uint256 i = 0; i < level; ++i) {
                root_ = pair(root_, root_);
            }
        }
    }

    /// Merkle root over `leaves`; zero over none.
    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        if (leaves.length == 0) return 0;
        return childrenRoot(leaves, depth(leaves.length), 0);
    }

    /// Root of the tree of depth `descend` whose leftmost leaves are `children`, each itself the root of a subtree of height
    /// `level` above the real leaves; the ones missing on the right are empty subtrees of that height. `children` is left untouched.
    function childrenRoot(bytes32[] memory children, uint256 descend, uint256 level) internal pure returns (bytes32) {
        uint256 n = children.length;
        if (n == 0) revert NoLeaves();
        if (descend > 32) revert TooDeep(descend);
        if (n > 1 << descend) revert TooManyChildren(n, 1 << descend);
        bytes32 empty = emptyRoot(level);
        if (descend == 0) return children[0];
        bytes32[] memory row = new bytes32[]((n + 1) / 2);
        bytes32[] memory from = children;
        unchecked {
            for (uint256 d = 0; d < descend; ++d) {
                uint256 half = (n + 1) / 2;
                for (uint256 i = 0; i < half; ++i) {
                    bytes32 left;
                    bytes32 right = empty;
                    uint256 left0 = 2 * i;
                    // INVARIANT: left0 < n <= from.length and i < half <= row.length; row may be from, for i <= left0
                    assembly ("memory-safe") {
                        let slot := add(add(from, 0x20), shl(5, left0))
                        left := mload(slot)
                        if lt(add(left0, 1), n) { right := mload(add(slot, 0x20)) }
                        mstore(0x00, left)
                        mstore(0x20, right)
                        mstore(add(add(row, 0x20), shl(5, i)), keccak256(0x00, 0x40))
                    }
                }
                n = half;
                from = row;
                empty = pair(empty, empty);
            }
        }
        return row[0];
    }

    /// Whether `leaf` stands at `index` of the tree of depth `depth_` with root `root_`. `proof` holds the siblings from the leaf upwards.
    function verify(bytes32 root_, uint256 depth_, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        internal
        pure
        returns (bool)
    {
        return proofRoot(depth_, index, leaf, proof) == root_;
    }

    /// The root that `leaf` at `index` and its siblings give. Reverts on a proof of the wrong length or an index outside.
    function proofRoot(uint256 depth_, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        internal
        pure
        returns (bytes32 hash)
    {
        if (depth_ > MAX_DEPTH) revert TooDeep(depth_);
        if (proof.length != depth_) revert WrongProofLength(proof.length, depth_);
        if (index >> depth_ != 0) revert IndexOutOfTree(index, depth_);
        // plain: hash = leaf; for (i) hash = bit i of index == 0 ? pair(hash, proof[i]) : pair(proof[i], hash);
        assembly ("memory-safe") {
            hash := leaf
            let pos := proof.offset
            for { let end := add(pos, shl(5, proof.length)) } lt(pos, end) { pos := add(pos, 0x20) } {
                let side := shl(5, and(index, 1))
                mstore(side, hash)
                mstore(xor(side, 0x20), calldataload(pos))
                hash := keccak256(0x00, 0x40)
                index := shr(1, index)
            }
        }
    }

    /// Chunks of a tensor of `bytes_` bytes.
    function chunkCount(uint256 bytes_) internal pure returns (uint256) {
        return (bytes_ + CHUNK_BYTES - 1) / CHUNK_BYTES;
    }

    /// Real bytes of chunk `index` of a tensor of `tensorBytes` bytes; zero past the end.
    function chunkBytes(uint256 tensorBytes, uint256 index) internal pure returns (uint256) {
        uint256 start = index * CHUNK_BYTES;
        if (start >= tensorBytes) return 0;
        uint256 rest = tensorBytes - start;
        return rest < CHUNK_BYTES ? rest : CHUNK_BYTES;
    }

    /// Leaf of a chunk that must have exactly `expected` real bytes; the padding to 1,024 zero bytes is added here.
    function chunkLeaf(bytes calldata data, uint256 expected) internal pure returns (bytes32 leaf) {
        if (data.length != expected || expected == 0 || expected > CHUNK_BYTES) {
            revert WrongChunkLength(data.length, expected);
        }
        // keccak256(bytes.concat(data, new bytes(1024 - data.length))) in scratch memory past the free pointer
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            calldatacopy(buffer, data.offset, data.length)
            // reading past the end of calldata gives zeros
            calldatacopy(add(buffer, data.length), calldatasize(), sub(1024, data.length))
            leaf := keccak256(buffer, 1024)
        }
    }

    /// Root of a tensor: its type and shape bound to the Merkle root over its chunks.
    function tensorRoot(uint8 dtype, uint32[] memory shape, bytes32 merkleRoot) internal pure returns (bytes32) {
        return keccak256(abi.encode(dtype, shape, merkleRoot));
    }
}
