// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header, Node, Operand, StateDecl} from "@ir/Program.sol";
import {Dispute, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {JobSpec} from "../../src/interfaces/IJobMarket.sol";
import {Inputs, OperandWitness, Unit} from "../../src/interfaces/IReferee.sol";
import {Fixture} from "./Fixture.sol";
import {Trees} from "./Trees.sol";

/// A job of one step whose program has as many nodes, state tensors and chunks as a test wants. One node and its output are
/// real; the others are hashes that stand for them. All moves of both sides, made from these trees.
abstract contract World is Fixture {
    uint32 internal nodeCount = 3;
    uint32 internal stateCount = 4;
    uint32 internal dataCount = 2;
    /// The node whose output is walked, with the tensor that the defender claims for it.
    uint32 internal node = 1;
    uint8 internal dtype = 0;
    uint32[] internal shape;
    uint32[] internal fold;
    uint256 internal tensorBytes;
    /// The state tensor that the defender claims wrongly; none by default.
    uint256 internal lieAt = type(uint256).max;

    // ---- what both sides know ----------------------------------------------------------------------------------

    /// `elements` of 4, 1 or 2 bytes.
    function setTensor(uint8 dtype_, uint32 elements, uint32 foldLength) internal {
        dtype = dtype_;
        shape = [elements];
        if (foldLength != 0) fold = [foldLength];
        tensorBytes = elements * (dtype_ < 3 ? 4 : dtype_ == 3 ? 1 : 2);
    }

    /// The tensor's bytes: different in every word.
    function tensor() internal view returns (bytes memory data) {
        data = new bytes((tensorBytes + 31) / 32 * 32);
        for (uint256 i = 32; i <= data.length; i += 32) {
            assembly ("memory-safe") {
                mstore(0x00, i)
                mstore(add(data, i), keccak256(0x00, 0x20))
            }
        }
        data = Trees.slice(data, 0, tensorBytes);
    }

    function nodeBytes() internal view returns (bytes memory) {
        Node memory n;
        n.dtype = dtype;
        n.shape = shape;
        n.domain = shape;
        n.fold = fold;
        n.operands = new Operand[](1);
        n.operands[0].shape = shape;
        n.body = hex"0300000000000000";
        n.finish = hex"0200000000000000";
        return abi.encode(n);
    }

    function nodeLeaves() internal view returns (bytes32[] memory leaves) {
        leaves = hashes("node", nodeCount);
        leaves[node] = keccak256(nodeBytes());
    }

    function merkleRoot() internal view returns (bytes32) {
        return Trees.root(Trees.chunkLeaves(tensor()));
    }

    function traceLeaves() internal view returns (bytes32[] memory leaves) {
        leaves = hashes("output", nodeCount);
        leaves[node] = keccak256(abi.encode(dtype, shape, merkleRoot()));
    }

    function beforeLeaves() internal view returns (bytes32[] memory) {
        return hashes("before", stateCount);
    }

    function dataLeaves() internal view returns (bytes32[] memory) {
        return hashes("datum", dataCount);
    }

    /// Declarations take their value from state, data and nodes in turn.
    function declAt(uint256 i) internal view virtual returns (StateDecl memory decl) {
        decl.shape = new uint32[](1);
        decl.shape[0] = 1;
        decl.source = uint8(i % 3);
        uint32 count = decl.source == 0 ? stateCount : decl.source == 1 ? dataCount : nodeCount;
        decl.index = uint32(i / 3) % count;
    }

    function declLeaves() internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](stateCount);
        for (uint256 i = 0; i < stateCount; ++i) {
            leaves[i] = keccak256(abi.encode(declAt(i)));
        }
    }

    function sourceLeaves(uint8 source) internal view returns (bytes32[] memory) {
        return source == 0 ? beforeLeaves() : source == 1 ? dataLeaves() : traceLeaves();
    }

    function afterLeaves() internal view virtual returns (bytes32[] memory leaves) {
        leaves = new bytes32[](stateCount);
        bytes32[][3] memory sources = [sourceLeaves(0), sourceLeaves(1), sourceLeaves(2)];
        for (uint256 i = 0; i < stateCount; ++i) {
            StateDecl memory decl = declAt(i);
            leaves[i] = i == lieAt ? keccak256("lie") : sources[decl.source][decl.index];
        }
    }

    function header() internal view returns (Header memory) {
        return Header({
            version: 1,
            nodeCount: nodeCount,
            stateCount: stateCount,
            dataCount: dataCount,
            nodesRoot: Trees.root(nodeLeaves()),
            stateDeclsRoot: Trees.root(declLeaves()),
            dataDeclsRoot: keccak256("data declarations")
        });
    }

    function worldSpec() internal view returns (JobSpec memory spec) {
        spec = defaultSpec();
        spec.programRoot = keccak256(abi.encode(header()));
        spec.initialStateRoot = Trees.root(beforeLeaves());
        spec.dataRoot = Trees.root(dataLeaves());
    }

    // ---- moves -------------------------------------------------------------------------------------------------

    function openWorld() internal {
        openSimple(worldSpec(), Trees.root(afterLeaves()));
    }

    function rootLevel(bytes32[] memory leaves) internal pure returns (bytes32[] memory) {
        uint256 depth = Trees.depthOf(leaves.length);
        return depth == 0 ? new bytes32[](0) : Trees.children(leaves, depth, 0);
    }

    function postTrace() internal {
        postTrace(Trees.root(traceLeaves()), rootLevel(traceLeaves()));
    }

    function postTrace(bytes32 traceRoot, bytes32[] memory children) internal {
        bytes32 p = position();
        Header memory h = header();
        as_(solver);
        disputes.postTrace(id, p, h, traceRoot, children);
    }

    function postChildren(bytes32[] memory children) internal {
        bytes32 p = position();
        as_(solver);
        disputes.postChildren(id, p, children);
    }

    function pointChild(uint32 child, bytes32 hash, bytes32[] memory proof) internal {
        bytes32 p = position();
        as_(challenger);
        disputes.pointChild(id, p, child, hash, proof);
    }

    function pointState() internal {
        bytes32 p = position();
        Header memory h = header();
        as_(challenger);
        disputes.pointState(id, p, h);
    }

    function postTensor() internal {
        postTensor(nodeBytes(), merkleRoot(), rootLevel(Trees.chunkLeaves(tensor())));
    }

    function postTensor(bytes memory encoded, bytes32 root, bytes32[] memory children) internal {
        bytes32 p = position();
        Header memory h = header();
        bytes32[] memory proof = Trees.leafProof(nodeLeaves(), node);
        as_(solver);
        disputes.postTensor(id, p, h, encoded, proof, root, children);
    }

    function chunkAt(uint256 index) internal view returns (bytes memory) {
        uint256 left = tensorBytes - 1024 * index;
        return Trees.slice(tensor(), 1024 * index, left < 1024 ? left : 1024);
    }

    function postChunk(bytes memory chunk) internal {
        bytes32 p = position();
        as_(solver);
        disputes.postChunk(id, p, chunk);
    }

    function pointElement(uint64 element, bytes memory chunk) internal {
        bytes32 p = position();
        as_(challenger);
        disputes.pointElement(id, p, element, chunk);
    }

    function postBlocks(bytes memory values) internal {
        bytes32 p = position();
        as_(solver);
        disputes.postBlocks(id, p, values);
    }

    function pointBlock(uint32 child, bytes memory values) internal {
        bytes32 p = position();
        as_(challenger);
        disputes.pointBlock(id, p, child, values);
    }

    function judgeUnit(bytes memory values) internal {
        bytes32 p = position();
        Header memory h = header();
        bytes memory n = nodeBytes();
        OperandWitness[] memory witness = new OperandWitness[](1);
        bool refusing = refusal.length != 0;
        as_(judge);
        disputes.judge(id, p, h, n, values, witness);
        if (!refusing) payAtOnce();
    }

    function judgeState() internal {
        uint256 i = disputes.dispute(id).index;
        StateDecl memory decl = declAt(i);
        bytes32[] memory leaves = sourceLeaves(decl.source);
        judgeState(decl, Trees.leafProof(declLeaves(), i), leaves[decl.index], Trees.leafProof(leaves, decl.index));
    }

    function judgeState(StateDecl memory decl, bytes32[] memory declProof, bytes32 source, bytes32[] memory proof)
        internal
    {
        bytes32 p = position();
        Header memory h = header();
        bool refusing = refusal.length != 0;
        as_(judge);
        disputes.judgeState(id, p, h, decl, declProof, source, proof);
        if (!refusing) payAtOnce();
    }

    // ---- longer ways -------------------------------------------------------------------------------------------

    /// Both sides walk from where the dispute stands, the defender on the move or a level posted, to `leaf`.
    function walkTo(bytes32[] memory leaves, uint256 leaf) internal {
        while (true) {
            Dispute memory d = disputes.dispute(id);
            if (d.phase != Phase.Nodes && d.phase != Phase.States && d.phase != Phase.Chunks) return;
            bytes32[] memory level = Trees.children(leaves, d.depth, d.index);
            if (d.turn == Side.Defender) {
                postChildren(level);
            } else {
                uint256 levels = d.depth < 8 ? d.depth : 8;
                uint256 below = d.depth - levels;
                uint256 child = (leaf >> below) - (uint256(d.index) << levels);
                pointChild(uint32(child), level[child], Trees.proof(level, below, levels, child));
            }
        }
    }

    /// To the phase Tensor of the real node.
    function reachTensor() internal {
        openWorld();
        postTrace();
        walkTo(traceLeaves(), node);
    }

    /// To the phase Chunk, with the chunk posted.
    function reachChunk(uint256 chunk) internal {
        reachTensor();
        postTensor();
        walkTo(Trees.chunkLeaves(tensor()), chunk);
        postChunk(chunkAt(chunk));
    }

    /// To the phase Judge of a tensor without long folds, or Blocks of one with.
    function reachElement(uint64 element) internal {
        uint256 chunk = uint256(element) * (dtype < 3 ? 4 : dtype == 3 ? 1 : 2) / 1024;
        reachChunk(chunk);
        pointElement(element, chunkAt(chunk));
    }

    /// The double gives `bits` if it is asked for exactly this unit of the real node.
    function answer(uint32 bits, uint8 kind, uint64 element, uint64 blockIndex, bytes memory values) internal {
        Inputs memory inputs = Inputs({
            stateRoot: Trees.root(beforeLeaves()),
            dataRoot: Trees.root(dataLeaves()),
            traceRoot: Trees.root(traceLeaves()),
            stateCount: stateCount,
            dataCount: dataCount,
            nodeCount: nodeCount
        });
        Unit memory unit = Unit({kind: kind, element: element, blockIndex: blockIndex});
        referee.answer(bits, keccak256(abi.encode(nodeBytes(), inputs, unit, values, new OperandWitness[](1))));
    }

    function claimed() internal view returns (uint32) {
        return disputes.dispute(id).value;
    }
}
