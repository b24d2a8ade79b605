// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Side} from "./IDisputes.sol";
import {JobSpec} from "./IJobMarket.sol";

enum EntryStatus {
    None,
    Announced, // committed to, not named
    Queued, // named, waits for a place
    Active, // played
    Won, // decided; `pay` pays
    Lost,
    Refunded, // the claim is void: the bond went back
    Forfeited // announced and not named in time
}

/// A challenge. Its number is the dispute's.
struct Entry {
    EntryStatus status;
    address challenger;
    uint64 announcedS;
    /// Whether a decided challenge was paid.
    bool paid;
    uint128 bondWei;
    uint32 parametersVersion;
    uint32 milestone;
    uint32 attempt;
    uint32 checkpoint;
    /// At most half of a bond, which is below 2^96.
    uint96 tipWei;
    /// Who judged, and has the tip; zero when a clock decided.
    address judge;
    uint256 jobId;
    /// keccak256(abi.encode(challenger, jobId, attempt, milestone, checkpoint, claimRoot, salt)).
    bytes32 commitment;
    /// The claim's key, once it is named.
    bytes32 key;
}

/// What a challenge says once it is named. `beforeProof` is empty for checkpoint 0.
struct Opening {
    uint32 attempt;
    uint32 milestone;
    uint32 checkpoint;
    bytes32 claimRoot;
    bytes32 salt;
    bytes32 beforeRoot;
    bytes32[] beforeProof;
    bytes32 afterRoot;
    bytes32[] afterProof;
}

/// Who challenges what, in which order, and what that pays. A challenge is announced by a hash and named later, so nobody can
/// copy it and be first. One dispute per checkpoint is played at a time and eight per claim; the others wait with their bonds.
interface IDocket {
    event Announced(uint256 indexed disputeId, uint256 indexed jobId, address indexed challenger, uint256 bondWei, uint64 nameUntilS);
    event Named(
        uint256 indexed disputeId, uint256 indexed jobId, uint32 indexed milestone, uint32 checkpoint, address challenger, bool queued
    );
    event Activated(uint256 indexed disputeId);
    /// What it pays waits for `pay`.
    event Decided(uint256 indexed disputeId, EntryStatus status, address judge);
    event BondReturned(uint256 indexed disputeId, address indexed challenger, uint256 amountWei);
    event BondLost(
        uint256 indexed disputeId, address indexed challenger, uint256 tipWei, uint256 defenderWei, uint256 treasuryWei
    );
    event Forfeited(uint256 indexed disputeId, address indexed challenger, uint256 lostWei, uint256 returnedWei);

    function disputeCount() external view returns (uint256);
    function entry(uint256 disputeId) external view returns (Entry memory);
    /// Dispute played over a checkpoint of a claim; zero if none.
    function active(bytes32 key, uint32 checkpoint) external view returns (uint256);
    function activeCount(bytes32 key) external view returns (uint256);
    /// Disputes that wait over a checkpoint.
    function queued(bytes32 key, uint32 checkpoint) external view returns (uint256);

    /// Takes the bond.
    function announce(uint256 jobId, JobSpec calldata spec, bytes32 commitment) external returns (uint256 disputeId);
    /// Names what was announced, in a later block and before the window ends; starts the game or queues.
    function open(uint256 disputeId, JobSpec calldata spec, Opening calldata opening) external;
    /// Starts the earliest dispute that waits over this checkpoint, if there is a place. Anyone may.
    function activate(uint256 disputeId, JobSpec calldata spec, Opening calldata opening) external;
    /// The claim is void: the bond of an announced, queued or played dispute goes back.
    function reclaim(uint256 disputeId, Opening calldata opening) external;
    /// An announcement that was not named in time loses part of its bond.
    function forfeit(uint256 disputeId) external;

    /// Pays what a verdict decided, once: bonds, tip and slashed stake become balances. Anyone may; nobody can make it fail.
    function pay(uint256 disputeId) external;

    // for the disputes contract only
    function resolved(uint256 disputeId, Side winner, address judge) external;
}
