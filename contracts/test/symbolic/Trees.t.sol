// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../../src/ChunkTree.sol";
import {Schedule} from "../../src/game/Schedule.sol";
import {Test} from "../Test.sol";

/// The arithmetic of trees, chunks and schedules. `forge test` draws the values; halmos proves `testProve_*` for all of them:
/// docs/analysis.md. Products and quotients of two unknowns are beyond its solvers, so schedules are only drawn.
contract TreesProof is Test {
    function testProve_depthIsTheSmallestThatHoldsAll(uint128 n) public pure {
        if (n == 0) return;
        uint256 d = ChunkTree.depth(n);
        assert(n <= uint256(1) << d);
        assert(d == 0 || n > uint256(1) << (d - 1));
    }

    function testProve_chunksCoverATensorOnce(uint64 size, uint64 index) public pure {
        uint256 count = ChunkTree.chunkCount(size);
        uint256 length = ChunkTree.chunkBytes(size, index);
        assert((length == 0) == (index >= count));
        if (uint256(index) + 1 < count) assert(length == 1024);
        if (uint256(index) + 1 == count) assert(uint256(index) * 1024 + length == size);
    }

    function plainRoot(uint256 index, bytes32 hash, bytes32[] calldata proof) private pure returns (bytes32) {
        for (uint256 i = 0; i < proof.length; ++i) {
            hash = (index >> i) & 1 == 0 ? keccak256(abi.encode(hash, proof[i])) : keccak256(abi.encode(proof[i], hash));
        }
        return hash;
    }

    function bothRoots(uint256 index, bytes32 leaf, bytes32[] calldata proof) external pure returns (bytes32, bytes32) {
        return (ChunkTree.proofRoot(proof.length, index, leaf, proof), plainRoot(index, leaf, proof));
    }

    /// Index by index, because memory cannot be written at a symbolic place.
    function testProve_aPathIsWhatTheDefinitionSays(bytes32 leaf, bytes32 a, bytes32 b, bytes32 c) public view {
        bytes32[] memory proof = new bytes32[](3);
        (proof[0], proof[1], proof[2]) = (a, b, c);
        for (uint256 index = 0; index < 8; ++index) {
            (bytes32 one, bytes32 other) = this.bothRoots(index, leaf, proof);
            assert(one == other);
        }
        try this.bothRoots(8, leaf, proof) {
            assert(false);
        } catch {}
    }

    function testProve_missingChildrenAreEmptySubtrees(bytes32 a, bytes32 b, bytes32 c) public pure {
        bytes32[] memory children = new bytes32[](3);
        (children[0], children[1], children[2]) = (a, b, c);
        bytes32 none = keccak256(abi.encode(bytes32(0), bytes32(0)));
        bytes32 left = keccak256(abi.encode(a, b));
        bytes32 right = keccak256(abi.encode(c, none));
        bytes32 far = keccak256(abi.encode(none, none));
        bytes32 expected = keccak256(abi.encode(keccak256(abi.encode(left, right)), keccak256(abi.encode(far, far))));
        assert(ChunkTree.childrenRoot(children, 3, 1) == expected);
    }

    function testFuzz_segmentsFollowEachOther(uint16 steps, uint8 perCheckpoint, uint16 index) public pure {
        if (steps == 0 || perCheckpoint == 0) return;
        uint256 checkpoints = Schedule.milestones(steps, perCheckpoint, 1);
        if (index >= checkpoints) return;
        (uint64 first, uint64 count) = Schedule.segment(steps, perCheckpoint, index);
        assert(first == uint256(index) * perCheckpoint);
        assert(count != 0 && count <= perCheckpoint);
        uint256 end = uint256(first) + count;
        assert(uint256(index) + 1 == checkpoints ? end == steps : end == (uint256(index) + 1) * perCheckpoint);
    }

    function testFuzz_milestonesAreFullButTheLast(uint16 steps, uint8 perCheckpoint, uint8 perMilestone, uint16 index)
        public
        pure
    {
        if (steps == 0 || perCheckpoint == 0 || perMilestone == 0) return;
        uint256 milestones = Schedule.milestones(steps, perCheckpoint, perMilestone);
        if (index >= milestones) return;
        uint256 count = Schedule.checkpointsIn(steps, perCheckpoint, perMilestone, index);
        assert(count != 0 && count <= perMilestone);
        assert(uint256(index) + 1 == milestones || count == perMilestone);
    }
}
