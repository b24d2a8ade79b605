// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header} from "@ir/Program.sol";
import {ChunkTree} from "../../src/ChunkTree.sol";
import {Dispute, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {Game} from "../../src/game/Game.sol";
import {WalkMoves} from "../../src/game/WalkMoves.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// Phases Trace, Nodes, States, Tensor, Chunks.
contract WalksTest is World {
    bytes32[] private none;

    function setUp() public override {
        super.setUp();
        setTensor(0, 700, 0); // 2,800 bytes: three chunks, the last one short
    }

    function assertAt(uint64 index, uint8 depth) private view {
        Dispute memory d = disputes.dispute(id);
        assertEq(d.index, index, "index");
        assertEq(d.depth, depth, "depth");
    }

    // ---- nodes -------------------------------------------------------------------------------------------------

    function test_threeNodes() public {
        openWorld();
        postTrace();
        assertStands(Phase.Nodes, Side.Challenger);
        assertAt(0, 2);
        walkTo(traceLeaves(), node);
        assertStands(Phase.Tensor, Side.Defender);
        assertEq(disputes.dispute(id).node, node, "node");
        assertEq(disputes.dispute(id).cursor, traceLeaves()[node]);
    }

    function test_everyNodeOfManyCounts() public {
        uint16[9] memory counts = [1, 2, 3, 255, 256, 257, 258, 512, 700];
        for (uint256 c = 0; c < counts.length; ++c) {
            nodeCount = counts[c];
            uint32[3] memory targets = [0, nodeCount / 2, nodeCount - 1];
            for (uint256 t = 0; t < 3; ++t) {
                uint256 fork = vm.snapshotState();
                node = targets[t];
                reachTensor();
                assertStands(Phase.Tensor, Side.Defender);
                assertEq(disputes.dispute(id).node, targets[t], "node");
                postTensor();
                assertStands(Phase.Chunks, Side.Challenger);
                vm.revertToState(fork);
            }
        }
    }

    function test_theLargestProgram() public {
        nodeCount = 65_536;
        node = 65_535;
        openWorld();
        postTrace();
        assertAt(0, 16);
        bytes32[] memory leaves = traceLeaves();
        bytes32[] memory top = Trees.children(leaves, 16, 0);
        pointChild(255, top[255], Trees.proof(top, 8, 8, 255));
        assertAt(255, 8);
        bytes32[] memory bottom = Trees.children(leaves, 8, 255);
        postChildren(bottom);
        pointChild(255, bottom[255], Trees.proof(bottom, 0, 8, 255));
        assertStands(Phase.Tensor, Side.Defender);
        assertEq(disputes.dispute(id).node, 65_535, "node");
    }

    function test_programOfOneNode() public {
        (nodeCount, node) = (1, 0);
        openWorld();
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 0, 1));
        postTrace(traceLeaves()[0], list(traceLeaves()[0]));
        postTrace();
        assertStands(Phase.Nodes, Side.Challenger);
        assertAt(0, 0);
        uint256 fork = vm.snapshotState();
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 1, 1));
        pointChild(1, traceLeaves()[0], none);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, traceLeaves()[0], bytes32(0)));
        pointChild(0, 0, none);
        pointChild(0, traceLeaves()[0], none);
        assertStands(Phase.Tensor, Side.Defender);
        vm.revertToState(fork);
        pointState();
        assertStands(Phase.States, Side.Defender);
    }

    /// 257 nodes: the second subtree of the first level has one real leaf, eight levels below.
    function test_levelWithOneChildIsPassedByItself() public {
        (nodeCount, node) = (257, 256);
        openWorld();
        postTrace();
        bytes32[] memory top = Trees.children(traceLeaves(), 9, 0);
        assertEq(top.length, 256 - 127, "128 pairs and the last node's");
        assertAt(0, 9);
        pointChild(128, top[128], Trees.proof(top, 1, 8, 128));
        assertAt(128, 1);
        assertStands(Phase.Nodes, Side.Defender);
        bytes32 p = position();
        postChildren(list(traceLeaves()[256]));
        assertStands(Phase.Tensor, Side.Defender);
        assertEq(disputes.dispute(id).node, 256, "node");
        assertTrue(position() != p);
    }

    function test_oneChildStillHasToHash() public {
        (nodeCount, node) = (257, 256);
        openWorld();
        postTrace();
        bytes32[] memory top = Trees.children(traceLeaves(), 9, 0);
        pointChild(128, top[128], Trees.proof(top, 1, 8, 128));
        bytes32 other = keccak256("other");
        refused(abi.encodeWithSelector(Game.WrongHash.selector, top[128], Trees.pair(other, 0)));
        postChildren(list(other));
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 1, 2));
        postChildren(hashes("two", 2));
    }

    function test_postTraceRefusesWrongLevels() public {
        openWorld();
        bytes32 root = Trees.root(traceLeaves());
        bytes32[] memory level = rootLevel(traceLeaves());
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 3, 0));
        postTrace(root, none);
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 3, 4));
        postTrace(root, hashes("four", 4));
        level[0] = keccak256("other");
        refused(abi.encodeWithSelector(Game.WrongHash.selector, root, Trees.root(level)));
        postTrace(root, level);
    }

    function test_postTraceRefusesAnotherHeader() public {
        openWorld();
        bytes32 expected = keccak256(abi.encode(header()));
        Header memory h = header();
        h.nodeCount = 4;
        bytes32[] memory level = rootLevel(traceLeaves());
        bytes32 p = position();
        refused(abi.encodeWithSelector(Game.WrongHeader.selector, expected, keccak256(abi.encode(h))));
        as_(solver);
        disputes.postTrace(id, p, h, Trees.root(traceLeaves()), level);
    }

    function test_pointChildRefusesWhatWasNotPosted() public {
        openWorld();
        postTrace();
        bytes32[] memory level = rootLevel(traceLeaves());
        bytes32[] memory proof = Trees.proof(level, 0, 2, 1);
        bytes32 root = Trees.root(traceLeaves());
        bytes32 other = keccak256("other");
        bytes32 given = Trees.pair(Trees.pair(level[0], other), Trees.pair(level[2], 0));
        refused(abi.encodeWithSelector(Game.WrongHash.selector, root, given));
        pointChild(1, other, proof);
        refused(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, 0, 2));
        pointChild(1, level[1], none);
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointChild(3, 0, Trees.proof(level, 0, 2, 3));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, type(uint32).max));
        pointChild(type(uint32).max, 0, proof);
    }

    // ---- states ------------------------------------------------------------------------------------------------

    function test_pointStateLeadsThroughTheStateTree() public {
        (stateCount, lieAt) = (300, 299);
        openWorld();
        postTrace();
        pointState();
        assertStands(Phase.States, Side.Defender);
        assertAt(0, 9);
        assertEq(disputes.dispute(id).cursor, Trees.root(afterLeaves()));
        walkTo(afterLeaves(), 299);
        assertStands(Phase.JudgeState, Side.Challenger);
        assertAt(299, 0);
        assertEq(disputes.dispute(id).cursor, keccak256("lie"));
    }

    function test_oneStateTensorGoesStraightToJudgement() public {
        stateCount = 1;
        openWorld();
        postTrace();
        pointState();
        assertStands(Phase.JudgeState, Side.Challenger);
    }

    function test_pointStateOnlyAtTheRootOfTheTrace() public {
        nodeCount = 600;
        openWorld();
        postTrace();
        bytes32[] memory top = Trees.children(traceLeaves(), 10, 0);
        pointChild(0, top[0], Trees.proof(top, 2, 8, 0));
        postChildren(Trees.children(traceLeaves(), 2, 0));
        refused(abi.encodeWithSelector(WalkMoves.NotAtRoot.selector, 0, 2));
        pointState();
    }

    function test_pointStateNotInTheStateOrChunkTree() public {
        openWorld();
        postTrace();
        pointState();
        postChildren(rootLevel(afterLeaves()));
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.States));
        pointState();
    }

    function test_pointerPastTheEndOfTheStates() public {
        stateCount = 3;
        openWorld();
        postTrace();
        pointState();
        bytes32[] memory level = rootLevel(afterLeaves());
        postChildren(level);
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointChild(3, 0, Trees.proof(level, 0, 2, 3));
    }

    function test_postStatesRefusesAnotherTree() public {
        openWorld();
        postTrace();
        pointState();
        bytes32[] memory level = rootLevel(beforeLeaves());
        refused(abi.encodeWithSelector(Game.WrongHash.selector, Trees.root(afterLeaves()), Trees.root(level)));
        postChildren(level);
    }

    // ---- tensor and chunks -------------------------------------------------------------------------------------

    function test_postTensorReadsTheNode() public {
        fold = [6, 50];
        reachTensor();
        postTensor();
        assertStands(Phase.Chunks, Side.Challenger);
        Dispute memory d = disputes.dispute(id);
        assertEq(d.nodeHash, keccak256(nodeBytes()));
        assertEq(d.elementCount, 700, "elements");
        assertEq(d.elementSize, 4, "bytes");
        assertEq(d.foldLength, 300, "K");
        assertEq(d.count, 3, "chunks");
        assertEq(d.cursor, merkleRoot());
    }

    function test_elementSizes() public {
        uint8[5] memory sizes = [4, 4, 4, 1, 2];
        for (uint8 t = 0; t < 5; ++t) {
            uint256 fork = vm.snapshotState();
            setTensor(t, 5000, 0);
            reachTensor();
            postTensor();
            assertEq(disputes.dispute(id).elementSize, sizes[t], "size");
            assertEq(disputes.dispute(id).count, (5000 * uint256(sizes[t]) + 1023) / 1024, "chunks");
            vm.revertToState(fork);
        }
    }

    function test_scalarsHaveOneElementOfRankZero() public {
        setTensor(0, 1, 0);
        shape = new uint32[](0);
        reachTensor();
        postTensor();
        assertStands(Phase.Chunk, Side.Defender);
        assertEq(disputes.dispute(id).elementCount, 1, "elements");
        postChunk(chunkAt(0));
    }

    function test_unknownTypeIsRefused() public {
        reachTensor();
        dtype = 5; // the trace leaf and the program do not say so
        bytes memory forged = nodeBytes();
        dtype = 0;
        bytes32 given = rootWith(forged);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, header().nodesRoot, given));
        postTensor(forged, merkleRoot(), rootLevel(Trees.chunkLeaves(tensor())));
    }

    function rootWith(bytes memory encoded) private view returns (bytes32) {
        bytes32[] memory leaves = nodeLeaves();
        leaves[node] = keccak256(encoded);
        return Trees.root(leaves);
    }

    function test_postTensorRefusesAnotherMerkleRoot() public {
        reachTensor();
        bytes32 other = keccak256("other");
        bytes32 given = keccak256(abi.encode(dtype, shape, other));
        refused(abi.encodeWithSelector(Game.WrongHash.selector, traceLeaves()[node], given));
        postTensor(nodeBytes(), other, rootLevel(Trees.chunkLeaves(tensor())));
    }

    function test_postTensorRefusesWrongLevels() public {
        reachTensor();
        bytes32[] memory level = rootLevel(Trees.chunkLeaves(tensor()));
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 3, 0));
        postTensor(nodeBytes(), merkleRoot(), none);
        level[2] = keccak256("other");
        refused(abi.encodeWithSelector(Game.WrongHash.selector, merkleRoot(), Trees.root(level)));
        postTensor(nodeBytes(), merkleRoot(), level);
    }

    function test_tensorOfOneChunk() public {
        setTensor(0, 256, 0);
        reachTensor();
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 0, 1));
        postTensor(nodeBytes(), merkleRoot(), list(merkleRoot()));
        postTensor();
        assertStands(Phase.Chunk, Side.Defender);
        postChunk(chunkAt(0));
        assertStands(Phase.Chunk, Side.Challenger);
    }

    function test_everyChunkOfManyCounts() public {
        uint32[4] memory counts = [uint32(2), 3, 257, 513];
        for (uint256 c = 0; c < counts.length; ++c) {
            setTensor(3, 1024 * counts[c] - 1, 0);
            uint32[3] memory targets = [0, counts[c] / 2, counts[c] - 1];
            for (uint256 t = 0; t < 3; ++t) {
                uint256 fork = vm.snapshotState();
                reachChunk(targets[t]);
                assertStands(Phase.Chunk, Side.Challenger);
                assertEq(disputes.dispute(id).index, targets[t], "chunk");
                vm.revertToState(fork);
            }
        }
    }

    function test_pointerPastTheEndOfTheChunks() public {
        reachTensor();
        postTensor();
        bytes32[] memory level = rootLevel(Trees.chunkLeaves(tensor()));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointChild(3, 0, Trees.proof(level, 0, 2, 3));
    }

    /// Real subtrees are counted at the level that is posted: 513 chunks make 257 pairs, 129 fours.
    function test_pointerPastTheEndInsideTheTree() public {
        setTensor(3, 1024 * 513, 0);
        reachTensor();
        postTensor();
        bytes32[] memory leaves = Trees.chunkLeaves(tensor());
        bytes32[] memory top = Trees.children(leaves, 10, 0);
        assertEq(top.length, 129, "fours");
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 129, 129));
        pointChild(129, Trees.empty(2), Trees.proof(top, 2, 8, 129));
        pointChild(128, top[128], Trees.proof(top, 2, 8, 128));
        assertAt(128, 2);
        postChildren(list(leaves[512]));
        assertStands(Phase.Chunk, Side.Defender);
        assertAt(512, 0);
    }
}
