// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// A claim whose verifiers are to be drawn.
struct DrawRequest {
    uint256 jobId;
    uint32 attempt;
    uint32 milestone;
    address solver;
    address requester;
    uint32 hardwareClass;
    uint8 count;
    uint128 feeWei;
    /// Until when verifiers commit.
    uint64 commitEndS;
    uint32 parametersVersion;
}

enum Outcome {
    Pending,
    Final,
    Convicted
}

struct Draw {
    DrawRequest request;
    /// Weights count as they were then: before the solver committed.
    uint48 snapshotS;
    /// Until when a drawn verifier may decline.
    uint64 declineEndS;
    /// The L1 block that draws, or the first one after it that somebody shows.
    uint64 l1Block;
    bytes32 seed;
    /// The solver's, once it is revealed; until when verifiers reveal theirs, or 0 if a conviction came before that.
    bytes32 claimRoot;
    uint64 revealEndS;
    Outcome outcome;
    /// Verifiers that revealed another root and stand by it.
    uint8 dissenters;
    uint128 lockWei;
    /// What each verifier that stood by another root has, once the claim is convicted.
    uint128 rewardWei;
}

enum SeatStatus {
    Empty,
    Drawn,
    Committed,
    Revealed,
    Conceded,
    Collected
}

struct Seat {
    address verifier;
    SeatStatus status;
    /// Whether somebody declined it already.
    bool redrawn;
    /// keccak256(abi.encode(chainId, jobId, attempt, milestone, verifier, root, salt)).
    bytes32 commitment;
    /// The claim root that the verifier reached by itself, or `UNAVAILABLE`.
    bytes32 root;
}

/// What the market tells the draw of assigned verifiers.
interface IVerifierDrawHooks {
    /// The solver committed: fixes the L1 block whose hash draws. A second commitment to the same claim meets the same draw.
    function request(bytes32 key, DrawRequest calldata r) external;
    /// The solver reveals; reverts while verifiers may still commit.
    function revealed(bytes32 key, bytes32 claimRoot, uint64 revealEndS) external;
    /// The claim is final; the fees were handed over.
    function settled(bytes32 key) external;
    /// How many revealed other roots and stand by them; each has an equal part of what is handed over after.
    function convicted(bytes32 key) external returns (uint256 dissenters);
    function reward(bytes32 key, uint256 amountWei) external;
}

/// Assigned verifiers: drawn by stake from the hash of an L1 block that nobody knew when the solver committed, each for itself,
/// without seeing the solver's roots or each other's.
interface IVerifierDraw is IVerifierDrawHooks {
    event Enlisted(address indexed verifier, uint32 indexed hardwareClass, uint256 slot, uint256 weightWei);
    event Requested(bytes32 indexed key, uint256 indexed jobId, uint32 indexed milestone, uint64 l1Block, uint64 commitEndS);
    event Seeded(bytes32 indexed key, uint64 l1Block, bytes32 seed);
    event Drawn(bytes32 indexed key, uint256 seat, address indexed verifier, uint256 lockedWei);
    event Declined(bytes32 indexed key, uint256 seat, address indexed verifier);
    event Committed(bytes32 indexed key, uint256 seat, address indexed verifier, bytes32 commitment);
    event Revealed(bytes32 indexed key, uint256 seat, address indexed verifier, bytes32 root, bool agrees);
    event Conceded(bytes32 indexed key, uint256 seat, address indexed verifier, uint256 penaltyWei);
    event Collected(bytes32 indexed key, uint256 seat, address indexed verifier, uint256 paidWei, uint256 slashedWei);

    /// The root of a verifier that could not have the program or the data.
    function UNAVAILABLE() external view returns (bytes32);
    function drawOf(bytes32 key) external view returns (Draw memory);
    function seats(bytes32 key) external view returns (Seat[] memory);

    // verifiers
    /// Puts the caller's stake into the draws of a hardware class, or takes it out.
    function enlist(uint32 hardwareClass, bool listed) external;
    function decline(bytes32 key, uint256 seat) external;
    function commit(bytes32 key, uint256 seat, bytes32 commitment) external;
    function reveal(bytes32 key, uint256 seat, bytes32 root, bytes32 salt) external;
    /// "My disk may be bad": gives up another root for a small penalty, while the claim stands.
    function concede(bytes32 key, uint256 seat) external;

    // anyone
    /// Brings a verifier's weight up to date with its stake.
    function sync(address verifier, uint32 hardwareClass) external;
    /// Draws, once the L1 block is there.
    function draw(bytes32 key) external;
    /// Pays or slashes a seat, once its claim is final, convicted or void.
    function collect(bytes32 key, uint256 seat) external;
}
