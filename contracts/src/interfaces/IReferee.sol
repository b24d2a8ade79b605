// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// A chunk of an operand with its Merkle path. `data` holds only real bytes; the referee pads with zeros.
struct ChunkWitness {
    uint64 index;
    bytes data;
    bytes32[] proof;
}

/// What proves an operand: the Merkle root inside its tensor root, the path of the tensor root under the root
/// that the operand's source names, and the chunks that the unit reads. Empty for an operand the unit does not read.
struct OperandWitness {
    bytes32 merkleRoot;
    bytes32[] rootProof;
    ChunkWitness[] chunks;
}

/// The three roots that operands come from, with the number of tensors under each.
struct Inputs {
    bytes32 stateRoot;
    bytes32 dataRoot;
    bytes32 traceRoot;
    uint32 stateCount;
    uint32 dataCount;
    uint32 nodeCount;
}

/// A piece of work small enough to judge.
/// kind 0 ELEMENT: leaf fold (K <= 256, or none) and finish; gives the stored element.
/// kind 1 LEAF: leaf block `blockIndex` of the fold; gives the accumulator.
/// kind 2 COMBINE: `combine` over `values`; gives the accumulator.
/// kind 3 TOP: `combine` over `values`, then finish; gives the stored element.
struct Unit {
    uint8 kind;
    uint64 element;
    uint64 blockIndex;
}

/// Recomputes one unit of one node exactly. Pure, immutable, versioned: a job pins the address.
interface IReferee {
    error WrongOperandRoot(uint256 operand);
    error WrongChunkProof(uint256 operand, uint64 chunk);
    /// A chunk of more or fewer bytes than the tensor has there.
    error WrongChunkLength(uint256 operand, uint64 chunk, uint256 length, uint256 expected);
    error MissingChunk(uint256 operand, uint64 chunk);
    error NotJudgeable(string rule);

    /// Version of the protocol whose programs this referee judges.
    function version() external view returns (uint32);

    /// @param node `abi.encode(Node)`; the caller has checked its hash against the program.
    /// @param values Block results as packed little-endian 32-bit words; empty unless kind is 2 or 3.
    /// @return bits The stored element (zero-extended to 32 bits) or the accumulator.
    function recompute(
        bytes calldata node,
        Inputs calldata inputs,
        Unit calldata unit,
        bytes calldata values,
        OperandWitness[] calldata witness
    ) external view returns (uint32 bits);
}
