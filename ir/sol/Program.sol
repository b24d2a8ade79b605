// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

// What a job is, as it is encoded and hashed: declared once, here, and read by Solidity and by Rust's `sol!`.
// The meaning of every field is docs/protocol.md, section 2. A type is 0 f32, 1 i32, 2 u32, 3 i8, 4 bf16.
// A source is 0 a tensor of the state before the step, 1 a data tensor, 2 the output of an earlier node.

/// A tensor that the program declares: its element type and shape.
struct TensorDecl {
    uint8 dtype;
    uint32[] shape;
}

/// A state tensor and where its value after the step comes from.
struct StateDecl {
    uint8 dtype;
    uint32[] shape;
    uint8 source;
    uint32 index;
}

/// Adds `stride * value(operand)` to the coordinate of one dimension.
struct Gather {
    uint8 dim;
    uint8 operand;
    int64 stride;
}

/// One tensor that a node reads, and which of its elements.
struct Operand {
    uint8 source;
    uint32 index;
    uint8 dtype;
    uint32[] shape;
    /// The shape under which `access` addresses the tensor; as many elements as `shape`.
    uint32[] viewShape;
    /// One row per dimension of `viewShape`: offset, one coefficient per domain coordinate, one per fold factor.
    int64[] access;
    Gather[] gathers;
    /// What is read out of bounds, as the bits of the widened value.
    uint32 fill;
    /// Out of bounds: leave the body out for this `k` instead of reading `fill`.
    bool skip;
}

/// One tensor computed from others: a fold of `body`, then `finish`, for every output element.
struct Node {
    uint8 dtype;
    uint32[] shape;
    /// The output coordinates' factors; as many elements as `shape`.
    uint32[] domain;
    /// The fold's factors; empty for a plain map.
    uint32[] fold;
    /// 0 chain, 1 lanes.
    uint8 order;
    uint8 accType;
    uint32 init;
    Operand[] operands;
    bytes body;
    bytes combine;
    bytes finish;
}

/// A whole program as it is stored and sent; each entry of `nodes` is one `abi.encode(Node)`.
struct Program {
    uint32 version;
    StateDecl[] state;
    TensorDecl[] data;
    bytes[] nodes;
}

/// What `programRoot` is the hash of: `keccak256(abi.encode(Header))`.
struct Header {
    uint32 version;
    uint32 nodeCount;
    uint32 stateCount;
    uint32 dataCount;
    bytes32 nodesRoot;
    bytes32 stateDeclsRoot;
    bytes32 dataDeclsRoot;
}
