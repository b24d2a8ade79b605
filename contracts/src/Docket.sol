// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Heap} from "@openzeppelin/contracts/utils/structs/Heap.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {Schedule} from "./game/Schedule.sol";
import {IDisputes, Side, Start} from "./interfaces/IDisputes.sol";
import {Entry, EntryStatus, IDocket, Opening} from "./interfaces/IDocket.sol";
import {IJobMarket, Job, JobSpec, Standing} from "./interfaces/IJobMarket.sol";
import {IParameters, Values} from "./interfaces/IParameters.sol";
import {IStakes} from "./interfaces/IStakes.sol";

/// Challenges before and after the game; docs/protocol.md, section 5. The bonds are with `Stakes`.
///
///   announce -> Announced -> open -> Queued -> activate -> Active -> Won | Lost -> pay
///                  \-> forfeit   \-------- a place is free ---^
///   any of them, when the claim is void -> Refunded
contract Docket is IDocket, ReentrancyGuardTransient {
    using Heap for Heap.Uint256Heap;

    error NotDisputes(address caller, address disputes);
    error WrongEntry(uint256 disputeId, EntryStatus current);
    error AlreadyPaid(uint256 disputeId);
    error NotChallenger(address caller, address challenger);
    error WrongSpecHash(bytes32 expected, bytes32 given);
    /// The claim that the caller means is not the one that stands. Read the job again.
    error WrongClaim(bytes32 standing, bytes32 given);
    /// The job was taken again since.
    error WrongAttempt(uint32 current, uint32 given);
    /// What is named is not what was announced.
    error WrongCommitment(bytes32 expected, bytes32 given);
    /// It is named in a later block than it was announced in, or anybody could have seen it.
    error TooSoon(uint64 announcedS);
    error NotYetForfeited(uint64 nameUntilS);
    error WindowClosed(uint64 windowEndS);
    /// The claim stands, so the bond is at risk.
    error ClaimStands(uint256 jobId, uint32 milestone);
    /// A dispute over this checkpoint is played, or eight over this claim, or an earlier one waits.
    error NoPlace(uint256 active, uint256 activeCount, uint256 first);
    /// The proof does not lead from the root to the hash.
    error WrongHash(bytes32 expected, bytes32 given);
    error WrongBeforeRoot(bytes32 expected, bytes32 given);
    error PastTheEnd(uint256 count, uint256 given);

    uint256 private constant BPS = 10_000;
    /// Disputes played at once over one claim: what a defender must be able to answer.
    uint256 public constant MAX_ACTIVE = 8;

    IStakes public immutable stakes;
    IJobMarket public immutable market;
    IDisputes public immutable disputes;
    IParameters public immutable parameters;
    address public immutable treasury;

    uint256 public override disputeCount;
    mapping(uint256 disputeId => Entry) private _entries;
    mapping(bytes32 key => uint256) public override activeCount;
    mapping(bytes32 key => mapping(uint32 checkpoint => uint256)) public override active;
    /// Waiting disputes of a checkpoint, the earliest announced first.
    mapping(bytes32 key => mapping(uint32 checkpoint => Heap.Uint256Heap)) private _queues;

    constructor(address stakes_, address market_, address disputes_, address parameters_, address treasury_) {
        stakes = IStakes(stakes_);
        market = IJobMarket(market_);
        disputes = IDisputes(disputes_);
        parameters = IParameters(parameters_);
        treasury = treasury_;
    }

    // ---- challengers -------------------------------------------------------------------------------------------

    function announce(uint256 jobId, JobSpec calldata spec, bytes32 commitment)
        external
        nonReentrant
        returns (uint256 disputeId)
    {
        Job memory j = market.job(jobId);
        _checkSpec(j, spec);
        disputeId = ++disputeCount;
        Entry storage e = _entries[disputeId];
        e.status = EntryStatus.Announced;
        e.challenger = msg.sender;
        e.announcedS = uint64(block.timestamp);
        e.parametersVersion = j.parametersVersion;
        e.bondWei = spec.bondWei;
        e.tipWei = uint96(spec.tipWei); // `JobBounds` keeps it below
        e.jobId = jobId;
        e.commitment = commitment;
        emit Announced(disputeId, jobId, msg.sender, spec.bondWei, _nameUntilS(e));
        stakes.collect(msg.sender, spec.bondWei);
    }

    function open(uint256 disputeId, JobSpec calldata spec, Opening calldata o) external nonReentrant {
        Entry storage e = _entryIn(disputeId, EntryStatus.Announced);
        _checkChallenger(e);
        _checkCommitment(e, o);
        // a block's time is later than its parent's
        if (block.timestamp <= e.announcedS) revert TooSoon(e.announcedS);
        Job memory j = market.job(e.jobId);
        _checkSpec(j, spec);
        Standing memory s = _standing(e.jobId, o);
        if (block.timestamp >= s.windowEndS) revert WindowClosed(s.windowEndS);
        if (o.attempt != j.attempt) revert WrongAttempt(j.attempt, o.attempt);
        (e.key, e.milestone, e.attempt, e.checkpoint) = (s.key, o.milestone, o.attempt, o.checkpoint);
        Start memory start = _start(e, spec, o, s);
        market.disputeOpened(e.jobId, o.milestone, disputeId);
        Heap.Uint256Heap storage queue = _queues[s.key][o.checkpoint];
        bool waits = active[s.key][o.checkpoint] != 0 || activeCount[s.key] == MAX_ACTIVE || queue.length() != 0;
        emit Named(disputeId, e.jobId, o.milestone, o.checkpoint, msg.sender, waits);
        if (waits) {
            e.status = EntryStatus.Queued;
            queue.insert(disputeId);
        } else {
            _activate(disputeId, e, start);
        }
    }

    function activate(uint256 disputeId, JobSpec calldata spec, Opening calldata o) external nonReentrant {
        Entry storage e = _entryIn(disputeId, EntryStatus.Queued);
        _checkSpec(market.job(e.jobId), spec);
        Heap.Uint256Heap storage queue = _queues[e.key][e.checkpoint];
        uint256 playing = active[e.key][e.checkpoint];
        uint256 first = queue.peek();
        if (playing != 0 || activeCount[e.key] == MAX_ACTIVE || first != disputeId) {
            revert NoPlace(playing, activeCount[e.key], first);
        }
        Standing memory s = _standing(e.jobId, o);
        // the key holds job, attempt and milestone
        if (s.key != e.key) revert WrongClaim(s.key, e.key);
        if (o.checkpoint != e.checkpoint) revert PastTheEnd(e.checkpoint, o.checkpoint);
        queue.pop();
        _activate(disputeId, e, _start(e, spec, o, s));
    }

    function reclaim(uint256 disputeId, Opening calldata o) external {
        Entry storage e = _entries[disputeId];
        if (e.status == EntryStatus.Announced) {
            // a claim that became void before the challenge was named
            _checkCommitment(e, o);
            (e.milestone, e.attempt) = (o.milestone, o.attempt);
            e.key = keccak256(abi.encode(e.jobId, o.attempt, o.milestone));
            bytes32 claimRoot = market.claimAt(e.key).claimRoot;
            if (claimRoot == 0 || claimRoot != o.claimRoot) revert WrongClaim(claimRoot, o.claimRoot);
        } else if (e.status != EntryStatus.Queued && e.status != EntryStatus.Active) {
            revert WrongEntry(disputeId, e.status);
        }
        if (market.stands(e.jobId, e.attempt, e.milestone)) revert ClaimStands(e.jobId, e.milestone);
        _return(disputeId, e, EntryStatus.Refunded);
    }

    function forfeit(uint256 disputeId) external {
        Entry storage e = _entryIn(disputeId, EntryStatus.Announced);
        uint64 untilS = _nameUntilS(e);
        if (block.timestamp <= untilS) revert NotYetForfeited(untilS);
        e.status = EntryStatus.Forfeited;
        uint256 bondWei = e.bondWei;
        uint256 lostWei = bondWei * parameters.valuesOf(e.parametersVersion).unrevealedBps / BPS + 1;
        emit Forfeited(disputeId, e.challenger, lostWei, bondWei - lostWei);
        _credit(treasury, lostWei);
        _credit(e.challenger, bondWei - lostWei);
    }

    // ---- the disputes contract ---------------------------------------------------------------------------------

    /// The game ended. If the claim became void meanwhile, nobody owes anybody anything. A verdict is one transaction with the
    /// referee's work, so it only notes who won: `pay` pays.
    function resolved(uint256 disputeId, Side winner, address judge) external nonReentrant {
        if (msg.sender != address(disputes)) revert NotDisputes(msg.sender, address(disputes));
        Entry storage e = _entries[disputeId];
        if (e.status == EntryStatus.Refunded) return;
        bool won = winner == Side.Challenger;
        if (!market.decided(e.jobId, e.attempt, e.milestone, disputeId, won)) {
            return _return(disputeId, e, EntryStatus.Refunded);
        }
        active[e.key][e.checkpoint] = 0;
        --activeCount[e.key];
        e.status = won ? EntryStatus.Won : EntryStatus.Lost;
        if (judge != address(0)) e.judge = judge;
        emit Decided(disputeId, e.status, judge);
    }

    // ---- payment -----------------------------------------------------------------------------------------------

    function pay(uint256 disputeId) external nonReentrant {
        Entry storage e = _entries[disputeId];
        bool won = e.status == EntryStatus.Won;
        if (!won && e.status != EntryStatus.Lost) revert WrongEntry(disputeId, e.status);
        if (e.paid) revert AlreadyPaid(disputeId);
        e.paid = true;
        if (won) _payWon(disputeId, e);
        else _payLost(disputeId, e);
    }

    /// The winner's share goes to the earliest announced dispute over the checkpoint that has not lost: who played, or one that
    /// was announced before and waits. Nobody joins or leaves the queue of a claim that fell.
    function _payWon(uint256 disputeId, Entry storage e) private {
        Heap.Uint256Heap storage queue = _queues[e.key][e.checkpoint];
        address winner = e.challenger;
        if (queue.length() != 0 && queue.peek() < disputeId) winner = _entries[queue.peek()].challenger;
        _return(disputeId, e, EntryStatus.Won);
        market.slash(e.jobId, e.milestone, winner, e.judge, e.tipWei);
    }

    /// A lost bond: the judge's tip, the defender's part, and the rest to the treasury, so that losing to oneself costs. The
    /// defender is the game's: the job may have another solver by now.
    function _payLost(uint256 disputeId, Entry storage e) private {
        uint256 tipWei = e.judge == address(0) ? 0 : e.tipWei;
        uint256 restWei = e.bondWei - tipWei;
        uint256 defenderWei = restWei * parameters.valuesOf(e.parametersVersion).defenderBps / BPS;
        emit BondLost(disputeId, e.challenger, tipWei, defenderWei, restWei - defenderWei);
        _credit(e.judge, tipWei);
        _credit(disputes.defenderOf(disputeId), defenderWei);
        _credit(treasury, restWei - defenderWei);
    }

    // ---- views -------------------------------------------------------------------------------------------------

    function entry(uint256 disputeId) external view returns (Entry memory) {
        return _entries[disputeId];
    }

    function queued(bytes32 key, uint32 checkpoint) external view returns (uint256) {
        return _queues[key][checkpoint].length();
    }

    // ---- inside ------------------------------------------------------------------------------------------------

    function _activate(uint256 disputeId, Entry storage e, Start memory start) private {
        e.status = EntryStatus.Active;
        active[e.key][e.checkpoint] = disputeId;
        ++activeCount[e.key];
        emit Activated(disputeId);
        disputes.start(disputeId, start);
    }

    /// What the game needs of the job, with the segment proven under the claim.
    function _start(Entry storage e, JobSpec calldata spec, Opening calldata o, Standing memory s)
        private
        view
        returns (Start memory start)
    {
        uint256 count =
            Schedule.checkpointsIn(spec.steps, spec.stepsPerCheckpoint, spec.checkpointsPerMilestone, o.milestone);
        if (o.checkpoint >= count) revert PastTheEnd(count, o.checkpoint);
        _checkProof(o.claimRoot, count, o.checkpoint, o.afterRoot, o.afterProof);
        if (o.checkpoint == 0) {
            if (o.beforeProof.length != 0) revert ChunkTree.WrongProofLength(o.beforeProof.length, 0);
            bytes32 before = s.startRoot == 0 ? spec.initialStateRoot : s.startRoot;
            if (before != o.beforeRoot) revert WrongBeforeRoot(before, o.beforeRoot);
        } else {
            _checkProof(o.claimRoot, count, o.checkpoint - 1, o.beforeRoot, o.beforeProof);
        }
        start.jobId = e.jobId;
        (start.milestone, start.checkpoint, start.claimRoot) = (o.milestone, o.checkpoint, o.claimRoot);
        (start.defender, start.challenger) = (s.solver, e.challenger);
        (start.programRoot, start.dataRoot, start.referee) = (spec.programRoot, spec.dataRoot, spec.referee);
        (start.clockS, start.graceS) = (spec.clockS, spec.graceS);
        (start.beforeRoot, start.afterRoot) = (o.beforeRoot, o.afterRoot);
        uint256 index = uint256(o.milestone) * spec.checkpointsPerMilestone + o.checkpoint;
        (start.firstStep, start.steps) = Schedule.segment(spec.steps, spec.stepsPerCheckpoint, index);
    }

    function _standing(uint256 jobId, Opening calldata o) private view returns (Standing memory s) {
        s = market.standing(jobId, o.milestone);
        if (s.claimRoot != o.claimRoot) revert WrongClaim(s.claimRoot, o.claimRoot);
    }

    function _return(uint256 disputeId, Entry storage e, EntryStatus status) private {
        e.status = status;
        emit BondReturned(disputeId, e.challenger, e.bondWei);
        _credit(e.challenger, e.bondWei);
    }

    function _credit(address to, uint256 amountWei) private {
        stakes.credit(to, amountWei);
    }

    function _nameUntilS(Entry storage e) private view returns (uint64) {
        return e.announcedS + parameters.valuesOf(e.parametersVersion).challengeRevealS;
    }

    function _entryIn(uint256 disputeId, EntryStatus status) private view returns (Entry storage e) {
        e = _entries[disputeId];
        if (e.status != status) revert WrongEntry(disputeId, e.status);
    }

    function _checkChallenger(Entry storage e) private view {
        if (msg.sender != e.challenger) revert NotChallenger(msg.sender, e.challenger);
    }

    function _checkSpec(Job memory j, JobSpec calldata spec) private pure {
        bytes32 given = keccak256(abi.encode(spec));
        if (given != j.specHash) revert WrongSpecHash(j.specHash, given);
    }

    function _checkCommitment(Entry storage e, Opening calldata o) private view {
        bytes32 given = keccak256(
            abi.encode(e.challenger, e.jobId, o.attempt, o.milestone, o.checkpoint, o.claimRoot, o.salt)
        );
        if (given != e.commitment) revert WrongCommitment(e.commitment, given);
    }

    function _checkProof(bytes32 root, uint256 count, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        private
        pure
    {
        bytes32 given = ChunkTree.proofRoot(ChunkTree.depth(count), index, leaf, proof);
        if (given != root) revert WrongHash(root, given);
    }
}
