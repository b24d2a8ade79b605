// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../src/ChunkTree.sol";
import {Test} from "./Test.sol";

/// Makes the library's functions callable from outside, so that reverts and calldata arguments can be tested.
contract ChunkTreeCaller {
    function root(bytes32[] calldata leaves) external pure returns (bytes32) {
        return ChunkTree.root(leaves);
    }

    function childrenRoot(bytes32[] calldata children, uint256 descend, uint256 level) external pure returns (bytes32) {
        return ChunkTree.childrenRoot(children, descend, level);
    }

    function verify(bytes32 root_, uint256 depth, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        external
        pure
        returns (bool)
    {
        return ChunkTree.verify(root_, depth, index, leaf, proof);
    }

    function chunkLeaf(bytes calldata data, uint256 expected) external pure returns (bytes32) {
        return ChunkTree.chunkLeaf(data, expected);
    }
}

contract ChunkTreeTest is Test {
    ChunkTreeCaller private tree = new ChunkTreeCaller();

    function leavesOf(uint256 n) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            leaves[i] = keccak256(abi.encode("leaf", i));
        }
    }

    /// The definition, written as plainly as possible: pad to a power of two with zeros and hash row by row.
    function plainRoot(bytes32[] memory leaves, uint256 depth) private pure returns (bytes32) {
        bytes32[] memory row = new bytes32[](1 << depth);
        for (uint256 i = 0; i < leaves.length; ++i) {
            row[i] = leaves[i];
        }
        for (uint256 width = 1 << depth; width > 1; width /= 2) {
            for (uint256 i = 0; i < width / 2; ++i) {
                row[i] = keccak256(abi.encodePacked(row[2 * i], row[2 * i + 1]));
            }
        }
        return row[0];
    }

    function siblings(bytes32[] memory leaves, uint256 depth, uint256 index)
        private
        pure
        returns (bytes32[] memory proof)
    {
        bytes32[] memory row = new bytes32[](1 << depth);
        for (uint256 i = 0; i < leaves.length; ++i) {
            row[i] = leaves[i];
        }
        proof = new bytes32[](depth);
        for (uint256 l = 0; l < depth; ++l) {
            proof[l] = row[(index >> l) ^ 1];
            for (uint256 i = 0; i < (1 << depth) >> (l + 1); ++i) {
                row[i] = keccak256(abi.encodePacked(row[2 * i], row[2 * i + 1]));
            }
        }
    }

    function test_depth_is_the_ceiling_of_the_logarithm() public pure {
        assertEq(ChunkTree.depth(1), 0);
        assertEq(ChunkTree.depth(2), 1);
        assertEq(ChunkTree.depth(3), 2);
        for (uint256 d = 1; d < 64; ++d) {
            assertEq(ChunkTree.depth(1 << d), d);
            assertEq(ChunkTree.depth((1 << d) + 1), d + 1);
        }
    }

    function test_root_is_the_padded_tree_for_every_small_count() public view {
        for (uint256 n = 1; n <= 70; ++n) {
            bytes32[] memory leaves = leavesOf(n);
            assertEq(tree.root(leaves), plainRoot(leaves, ChunkTree.depth(n)));
        }
    }

    function test_root_of_one_leaf_is_the_leaf_and_of_none_is_zero() public view {
        assertEq(tree.root(leavesOf(1)), leavesOf(1)[0]);
        assertEq(tree.root(new bytes32[](0)), bytes32(0));
    }

    function test_empty_roots_named_vectors() public pure {
        assertEq(ChunkTree.emptyRoot(0), bytes32(0));
        assertEq(ChunkTree.emptyRoot(1), 0xad3228b676f7d3cd4284a5443f17f1962b36e491b30a40b2405849e597ba5fb5);
        assertEq(ChunkTree.emptyRoot(2), 0xb4c11951957c6f8f642c4af61cd6b24640fec6dc7fc607ee8206a99e92410d30);
    }

    function test_children_root_agrees_with_the_whole_tree() public view {
        uint256 n = 75; // depth 7: descend 3 levels to subtrees of height 4, of which 5 are real
        bytes32[] memory leaves = leavesOf(n);
        bytes32[] memory children = new bytes32[](5);
        for (uint256 c = 0; c < 5; ++c) {
            uint256 count = c == 4 ? n - 64 : 16;
            bytes32[] memory part = new bytes32[](count);
            for (uint256 i = 0; i < count; ++i) {
                part[i] = leaves[16 * c + i];
            }
            children[c] = plainRoot(part, 4);
        }
        assertEq(tree.childrenRoot(children, 3, 4), tree.root(leaves));
    }

    function test_children_root_leaves_the_list_untouched() public pure {
        bytes32[] memory leaves = leavesOf(9);
        ChunkTree.childrenRoot(leaves, 4, 0);
        for (uint256 i = 0; i < 9; ++i) {
            assertEq(leaves[i], keccak256(abi.encode("leaf", i)));
        }
    }

    function test_children_root_refuses_more_than_fit() public {
        bytes32[] memory five = leavesOf(5);
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.TooManyChildren.selector, 5, 4));
        tree.childrenRoot(five, 2, 0);
        vm.expectRevert(ChunkTree.NoLeaves.selector);
        tree.childrenRoot(new bytes32[](0), 2, 0);
    }

    function test_proofs_hold_for_every_leaf_and_no_other_index() public view {
        for (uint256 n = 1; n <= 17; ++n) {
            bytes32[] memory leaves = leavesOf(n);
            uint256 depth = ChunkTree.depth(n);
            bytes32 root = tree.root(leaves);
            for (uint256 i = 0; i < n; ++i) {
                bytes32[] memory proof = siblings(leaves, depth, i);
                assertTrue(tree.verify(root, depth, i, leaves[i], proof));
                assertFalse(tree.verify(root, depth, i, keccak256("other"), proof));
                if (n > 1) assertFalse(tree.verify(root, depth, i ^ 1, leaves[i], proof));
            }
        }
    }

    function test_proof_refuses_wrong_length_and_index() public {
        bytes32[] memory leaves = leavesOf(4);
        bytes32 root = tree.root(leaves);
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, 1, 2));
        tree.verify(root, 2, 0, leaves[0], new bytes32[](1));
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 4, 2));
        tree.verify(root, 2, 4, leaves[0], new bytes32[](2));
    }

    function test_chunk_leaf_pads_with_zeros() public view {
        bytes memory data = hex"0102030405";
        assertEq(tree.chunkLeaf(data, 5), keccak256(bytes.concat(data, new bytes(1019))));
        bytes memory full = new bytes(1024);
        full[1023] = 0x07;
        assertEq(tree.chunkLeaf(full, 1024), keccak256(full));
    }

    function test_chunk_leaf_refuses_wrong_lengths() public {
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 6, 5));
        tree.chunkLeaf(new bytes(6), 5);
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 1025, 1025));
        tree.chunkLeaf(new bytes(1025), 1025);
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 0, 0));
        tree.chunkLeaf("", 0);
    }

    function test_chunk_sizes() public pure {
        assertEq(ChunkTree.chunkCount(1), 1);
        assertEq(ChunkTree.chunkCount(1024), 1);
        assertEq(ChunkTree.chunkCount(1025), 2);
        assertEq(ChunkTree.chunkBytes(1025, 0), 1024);
        assertEq(ChunkTree.chunkBytes(1025, 1), 1);
        assertEq(ChunkTree.chunkBytes(1025, 2), 0);
    }

    function testFuzz_root_matches_the_definition(uint256 seed) public view {
        bytes32[] memory leaves = leavesOf(1 + (seed % 300));
        assertEq(tree.root(leaves), plainRoot(leaves, ChunkTree.depth(leaves.length)));
    }
}
