// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header, StateDecl} from "@ir/Program.sol";
import {OperandWitness} from "./IReferee.sol";

/// Where a dispute stands; docs/protocol.md, section 5, has the table.
enum Phase {
    None,
    Steps, // state roots that split the segment
    Trace, // defender: trace root and the first subtree hashes
    Nodes, // walk down the trace tree
    States, // walk down the state tree after the step
    Tensor, // defender: node descriptor, Merkle root, first subtree hashes
    Chunks, // walk down the tensor tree
    Chunk, // defender: the chunk; challenger: the element
    Blocks, // block results under the element
    Judge, // anyone: witness of the unit; challenger's clock
    JudgeState, // anyone: proof for the state tensor; challenger's clock
    DefenderWon,
    ChallengerWon
}

enum Side {
    Defender,
    Challenger
}

struct Dispute {
    uint256 jobId;
    uint32 milestone;
    uint32 checkpoint;
    address defender;
    address challenger;
    Phase phase;
    Side turn;
    /// Hash of every move so far; a move names the position it answers.
    bytes32 position;
    uint32 defenderClockS;
    uint32 challengerClockS;
    uint64 turnStartedS;
    /// The segment in dispute: `steps` steps from state `beforeRoot` claimed to end in `afterRoot`.
    bytes32 beforeRoot;
    bytes32 afterRoot;
    uint64 firstStep;
    uint64 steps;
    /// Steps: Merkle root over the posted state roots. Walks: hash of the subtree pointed at. Blocks: keccak256 of the posted values.
    bytes32 cursor;
    /// Levels below the cursor.
    uint8 depth;
    /// Index of the cursor among the subtrees of its level.
    uint64 index;
    /// Real leaves of the tree being walked, or entries of the posted list.
    uint64 count;
    bytes32 traceRoot;
    uint32 node;
    bytes32 nodeHash;
    uint64 elementCount;
    uint8 elementSize;
    uint64 foldLength;
    /// The element pointed at and what the defender says it is.
    uint64 element;
    uint32 value;
    /// Blocks: 0 nothing chosen yet; level and index of the block pointed at (level 1 is a leaf block).
    uint8 blockLevel;
    uint64 blockIndex;
    /// Unit to judge, as in `IReferee.Unit.kind`.
    uint8 unitKind;
}

/// What a game starts from: the job's terms and the segment in dispute, proven under the claim.
struct Start {
    uint256 jobId;
    uint32 milestone;
    uint32 checkpoint;
    bytes32 claimRoot;
    address defender;
    address challenger;
    bytes32 programRoot;
    bytes32 dataRoot;
    address referee;
    uint32 clockS;
    uint32 graceS;
    bytes32 beforeRoot;
    bytes32 afterRoot;
    uint64 firstStep;
    uint64 steps;
}

/// The game: the defender posts, the challenger points, the referee decides.
interface IDisputes {
    event Opened(
        uint256 indexed disputeId, uint256 indexed jobId, uint32 milestone, uint32 checkpoint, address defender, address challenger
    );
    /// After every accepted move: where the dispute stands now and who moves until when.
    event Moved(uint256 indexed disputeId, bytes32 position, Phase phase, Side turn, uint64 deadlineS);
    event StepsPosted(uint256 indexed disputeId, bytes32[] stateRoots);
    event StepPointed(uint256 indexed disputeId, uint32 part, uint64 firstStep, uint64 steps);
    event TracePosted(uint256 indexed disputeId, bytes32 traceRoot, bytes32[] children);
    event ChildrenPosted(uint256 indexed disputeId, Phase phase, bytes32[] children);
    event ChildPointed(uint256 indexed disputeId, Phase phase, uint64 index, uint8 depth);
    event StatePointed(uint256 indexed disputeId);
    event TensorPosted(uint256 indexed disputeId, uint32 node, bytes32 merkleRoot, bytes32[] children);
    event ChunkPosted(uint256 indexed disputeId, uint64 index, bytes chunk);
    event ElementPointed(uint256 indexed disputeId, uint64 element, uint32 value);
    event BlocksPosted(uint256 indexed disputeId, bytes values);
    event BlockPointed(uint256 indexed disputeId, uint8 level, uint64 index, uint32 value);
    event Judged(uint256 indexed disputeId, address indexed judge, uint32 claimed, uint32 recomputed);
    event StateJudged(uint256 indexed disputeId, address indexed judge, bytes32 claimed, bytes32 correct);
    event DelegateSet(address indexed defender, address key);
    event Resolved(uint256 indexed disputeId, Side winner, bool byTimeout);

    function dispute(uint256 disputeId) external view returns (Dispute memory);
    function defenderOf(uint256 disputeId) external view returns (address);
    /// When the side to move runs out of time.
    function deadlineS(uint256 disputeId) external view returns (uint64);
    /// The key that may move for a defender besides its own; zero for none.
    function delegate(address defender) external view returns (address);
    function setDelegate(address key) external;

    /// For the docket only: a dispute whose place is free.
    function start(uint256 disputeId, Start calldata start) external;

    // defender
    function postSteps(uint256 disputeId, bytes32 position, bytes32[] calldata stateRoots) external;
    function postTrace(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        bytes32 traceRoot,
        bytes32[] calldata children
    ) external;
    /// Next level of the tree being walked (Nodes, States, Chunks).
    function postChildren(uint256 disputeId, bytes32 position, bytes32[] calldata children) external;
    function postTensor(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        bytes calldata node,
        bytes32[] calldata nodeProof,
        bytes32 merkleRoot,
        bytes32[] calldata children
    ) external;
    function postChunk(uint256 disputeId, bytes32 position, bytes calldata chunk) external;
    function postBlocks(uint256 disputeId, bytes32 position, bytes calldata values) external;

    // challenger
    /// `beforeProof` is empty for part 0.
    function pointStep(
        uint256 disputeId,
        bytes32 position,
        uint32 part,
        bytes32 beforeRoot,
        bytes32[] calldata beforeProof,
        bytes32 afterRoot,
        bytes32[] calldata afterProof
    ) external;
    /// `child` counts within the posted level; `hash` with `proof` shows what was posted there.
    function pointChild(uint256 disputeId, bytes32 position, uint32 child, bytes32 hash, bytes32[] calldata proof) external;
    /// All nodes are right; the state after the step is not what they give.
    function pointState(uint256 disputeId, bytes32 position, Header calldata header) external;
    function pointElement(uint256 disputeId, bytes32 position, uint64 element, bytes calldata chunk) external;
    /// `child` counts within the posted values; `type(uint32).max` is *top*.
    function pointBlock(uint256 disputeId, bytes32 position, uint32 child, bytes calldata values) external;

    // anyone
    function judge(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        bytes calldata node,
        bytes calldata values,
        OperandWitness[] calldata witness
    ) external;
    /// `sourceRoot` is the tensor root that the state declaration names, with its path under trace, state or data root.
    function judgeState(
        uint256 disputeId,
        bytes32 position,
        Header calldata header,
        StateDecl calldata decl,
        bytes32[] calldata declProof,
        bytes32 sourceRoot,
        bytes32[] calldata sourceProof
    ) external;
    function timeout(uint256 disputeId, bytes32 position) external;
}
