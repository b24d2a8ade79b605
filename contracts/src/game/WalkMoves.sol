// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header, Node} from "@ir/Program.sol";
import {ChunkTree} from "../ChunkTree.sol";
import {Dispute, Phase, Side} from "../interfaces/IDisputes.sol";
import {Game} from "./Game.sol";

/// Phases Trace, Nodes, States, Tensor and Chunks: down the hash trees, at most 256 subtrees a move.
abstract contract WalkMoves is Game {
    /// The challenger may leave the nodes for the state only before it pointed below the trace's root.
    error NotAtRoot(uint64 index, uint8 depth);
    /// The program declares an element type that does not exist.
    error UnknownType(uint8 dtype);

    /// Levels that one posting spans.
    uint256 private constant LEVELS = 8;

    // ---- defender ----------------------------------------------------------------------------------------------

    function postTrace(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        bytes32 traceRoot,
        bytes32[] calldata children
    ) external {
        Dispute storage d = _move(disputeId, position, Phase.Trace, Side.Defender);
        _checkHeader(disputeId, header);
        d.traceRoot = traceRoot;
        _enterTree(d, traceRoot, header.nodeCount);
        _checkFirstLevel(d, children);
        emit TracePosted(disputeId, traceRoot, children);
        _next(disputeId, d, Phase.Nodes, Side.Challenger);
    }

    function postChildren(uint256 disputeId, bytes32 position, bytes32[] calldata children) external {
        Dispute storage d = _walkMove(disputeId, position, Side.Defender);
        Phase phase = d.phase;
        _checkLevel(d, children);
        emit ChildrenPosted(disputeId, phase, children);
        if (children.length == 1) _descend(disputeId, d, phase, 0, children[0]);
        else _next(disputeId, d, phase, Side.Challenger);
    }

    function postTensor(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        bytes calldata node,
        bytes32[] calldata nodeProof,
        bytes32 merkleRoot,
        bytes32[] calldata children
    ) external {
        Dispute storage d = _move(disputeId, position, Phase.Tensor, Side.Defender);
        _checkHeader(disputeId, header);
        d.nodeHash = keccak256(node);
        _checkProof(header.nodesRoot, header.nodeCount, d.node, d.nodeHash, nodeProof);
        uint256 chunks = _readNode(d, node, merkleRoot);
        _enterTree(d, merkleRoot, chunks);
        _checkFirstLevel(d, children);
        emit TensorPosted(disputeId, d.node, merkleRoot, children);
        if (chunks == 1) _next(disputeId, d, Phase.Chunk, Side.Defender);
        else _next(disputeId, d, Phase.Chunks, Side.Challenger);
    }

    // ---- challenger --------------------------------------------------------------------------------------------

    function pointChild(uint256 disputeId, bytes32 position, uint32 child, bytes32 hash, bytes32[] calldata proof)
        external
    {
        Dispute storage d = _walkMove(disputeId, position, Side.Challenger);
        (uint256 levels,, uint256 real) = _level(d);
        if (child >= real) revert PastTheEnd(real, child);
        _checkPath(d.cursor, levels, child, hash, proof);
        _descend(disputeId, d, d.phase, child, hash);
    }

    function pointState(uint256 disputeId, bytes32 position, Header calldata header) external {
        Dispute storage d = _move(disputeId, position, Phase.Nodes, Side.Challenger);
        if (d.depth != ChunkTree.depth(d.count)) revert NotAtRoot(d.index, d.depth);
        _checkHeader(disputeId, header);
        _enterTree(d, d.afterRoot, header.stateCount);
        emit StatePointed(disputeId);
        if (header.stateCount == 1) _next(disputeId, d, Phase.JudgeState, Side.Challenger);
        else _next(disputeId, d, Phase.States, Side.Defender);
    }

    // ---- the walk ----------------------------------------------------------------------------------------------

    function _enterTree(Dispute storage d, bytes32 root, uint256 count) private {
        d.cursor = root;
        d.depth = uint8(ChunkTree.depth(count));
        d.index = 0;
        d.count = uint64(count);
    }

    /// The level under the cursor: how many binary levels down, how many are left below, how many subtrees are real.
    function _level(Dispute storage d) private view returns (uint256 levels, uint256 below, uint256 real) {
        uint256 depth = d.depth;
        levels = depth < LEVELS ? depth : LEVELS;
        below = depth - levels;
        uint256 all = (uint256(d.count) + (1 << below) - 1) >> below;
        real = all - (uint256(d.index) << levels);
        if (real > 1 << levels) real = 1 << levels;
    }

    function _checkLevel(Dispute storage d, bytes32[] calldata children) private view {
        (uint256 levels, uint256 below, uint256 real) = _level(d);
        _checkCount(real, children.length);
        _checkHash(d.cursor, ChunkTree.childrenRoot(children, levels, below));
    }

    /// A tree of one leaf has no level to post.
    function _checkFirstLevel(Dispute storage d, bytes32[] calldata children) private view {
        if (d.depth == 0) _checkCount(0, children.length);
        else _checkLevel(d, children);
    }

    /// Goes down to subtree `child` of the level under the cursor, and into the next phase if that is a leaf.
    function _descend(uint256 disputeId, Dispute storage d, Phase phase, uint256 child, bytes32 hash) private {
        (uint256 levels, uint256 below,) = _level(d);
        uint64 index = uint64((uint256(d.index) << levels) + child);
        d.cursor = hash;
        d.depth = uint8(below);
        d.index = index;
        emit ChildPointed(disputeId, phase, index, uint8(below));
        if (below != 0) {
            _next(disputeId, d, phase, Side.Defender);
        } else if (phase == Phase.Nodes) {
            d.node = uint32(index);
            _next(disputeId, d, Phase.Tensor, Side.Defender);
        } else if (phase == Phase.States) {
            _next(disputeId, d, Phase.JudgeState, Side.Challenger);
        } else {
            _next(disputeId, d, Phase.Chunk, Side.Defender);
        }
    }

    // ---- the node ----------------------------------------------------------------------------------------------

    /// Takes what the game needs from the node's descriptor and checks that its type and shape, with `merkleRoot`, are
    /// the trace leaf. Reads the encoding in place: its hash is under the program, and parties refuse programs whose
    /// nodes are not canonical encodings.
    function _readNode(Dispute storage d, bytes calldata encoded, bytes32 merkleRoot) private returns (uint256 chunks) {
        Node calldata node;
        assembly ("memory-safe") {
            node := add(encoded.offset, 0x20)
        }
        _checkHash(d.cursor, ChunkTree.tensorRoot(node.dtype, node.shape, merkleRoot));
        uint256 elements = _product(node.shape);
        uint256 size = _typeBytes(node.dtype);
        d.elementCount = uint64(elements);
        d.elementSize = uint8(size);
        d.foldLength = node.fold.length == 0 ? 0 : uint64(_product(node.fold));
        chunks = ChunkTree.chunkCount(elements * size);
    }

    function _product(uint32[] calldata factors) private pure returns (uint256 product) {
        product = 1;
        for (uint256 i = 0; i < factors.length; ++i) {
            product *= factors[i];
        }
    }

    function _typeBytes(uint8 dtype) private pure returns (uint256) {
        if (dtype < 3) return 4;
        if (dtype == 3) return 1;
        if (dtype == 4) return 2;
        revert UnknownType(dtype);
    }
}
