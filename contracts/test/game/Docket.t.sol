// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Docket} from "../../src/Docket.sol";
import {Game} from "../../src/game/Game.sol";
import {Header} from "@ir/Program.sol";
import {Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {EntryStatus, IDocket, Opening} from "../../src/interfaces/IDocket.sol";
import {JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Jobs} from "../../src/market/Jobs.sol";
import {Fixture} from "./Fixture.sol";
import {Trees} from "./Trees.sol";

/// Challenges before and after their game: announced, named, waiting, paid. Bond 501: lost by time, the defender has 375.
contract DocketTest is Fixture {
    uint32 private constant CHECKPOINTS = 12;
    bytes32[] private roots;

    function setUp() public override {
        super.setUp();
        JobSpec memory spec = defaultSpec();
        // one step to a checkpoint: a game starts at the trace
        (spec.steps, spec.checkpointsPerMilestone, spec.windowS) = (CHECKPOINTS, CHECKPOINTS, 3_000);
        post(spec);
        take();
        roots = hashes("root", CHECKPOINTS);
        claim(roots);
        for (uint256 i = 0; i < CHECKPOINTS; ++i) {
            address who = rival(i);
            token.transfer(who, 1_000);
            vm.prank(who);
            token.approve(address(stakes), type(uint256).max);
        }
    }

    function rival(uint256 i) private returns (address) {
        return makeAddr(string(abi.encodePacked("rival", bytes1(uint8(0x41 + i)))));
    }

    function assertEntry(uint256 entryId, EntryStatus expected) private view {
        assertEq(uint256(docket.entry(entryId).status), uint256(expected), "entry");
    }

    function key() private view returns (bytes32) {
        return keccak256(abi.encode(jobId, uint32(1), uint32(0)));
    }

    /// The side to move in dispute `d` lets its time run out.
    function runOut(uint256 d) private {
        id = d;
        uint64 end = disputes.deadlineS(id);
        if (block.timestamp <= end) vm.warp(end + 1);
        timeout();
    }

    /// The defender answers, so that it is the challenger who runs out.
    function loseAsChallenger(uint256 d) private {
        // straight from the game's contract: how it gets there is tested elsewhere
        id = d;
        vm.prank(address(disputes));
        docket.resolved(d, Side.Defender, address(0));
        payAtOnce();
    }

    // ---- announcing and naming ---------------------------------------------------------------------------------

    function test_announcedHidesAndHoldsTheBond() public {
        Opening memory o = openingAt(roots, 3);
        vm.expectEmit();
        emit IDocket.Announced(1, jobId, challenger, 501, uint64(block.timestamp + 60));
        uint256 a = announce(challenger, o);
        assertEntry(a, EntryStatus.Announced);
        assertEq(stakes.heldWei(address(docket)), 501, "bond");
        assertEq(standingClaim().disputes, 0, "nothing stands yet");
        refused(abi.encodeWithSelector(Docket.TooSoon.selector, uint64(block.timestamp)));
        nameAs(challenger, a, o);
        vm.warp(block.timestamp + 1);
        refused(abi.encodeWithSelector(Docket.NotChallenger.selector, stranger, challenger));
        nameAs(stranger, a, o);
        o.salt = keccak256("another");
        refused(abi.encodeWithSelector(Docket.WrongCommitment.selector, commitmentOf(challenger, openingAt(roots, 3)), commitmentOf(challenger, o)));
        nameAs(challenger, a, o);
        o.salt = SALT;
        vm.expectEmit();
        emit IDocket.Named(a, jobId, 0, 3, challenger, false);
        nameAs(challenger, a, o);
        assertEntry(a, EntryStatus.Active);
        assertEq(docket.active(key(), 3), a);
        refused(abi.encodeWithSelector(Docket.WrongEntry.selector, a, EntryStatus.Active));
        nameAs(challenger, a, o);
    }

    /// Somebody sees what is named in the pool of transactions and copies it: it is later all the same.
    function test_frontRunningAChallenge() public {
        Opening memory o = openingAt(roots, 3);
        uint256 first = announce(challenger, o);
        vm.warp(block.timestamp + 1);
        // the copy needs an announcement of its own, and a block after that
        uint256 copy = announce(stranger, o);
        refused(abi.encodeWithSelector(Docket.TooSoon.selector, uint64(block.timestamp)));
        nameAs(stranger, copy, o);
        // whoever made it cannot use the first one's
        refused(abi.encodeWithSelector(Docket.NotChallenger.selector, stranger, challenger));
        nameAs(stranger, first, o);
        vm.warp(block.timestamp + 1);
        nameAs(stranger, copy, o); // even if it gets in before
        nameAs(challenger, first, o);
        assertEntry(copy, EntryStatus.Active);
        assertEntry(first, EntryStatus.Queued);
        // the copy plays, and the first one has the winner's share: 1003 / 2
        runOut(copy);
        assertPurse(challenger, 501, 501); // its bond still waits to be reclaimed
        assertPurse(stranger, 0, 0);
        docket.reclaim(first, o);
        assertPurse(challenger, 501, 0);
    }

    function test_whatIsNotNamedInTimeCosts() public {
        uint256 a = announce(challenger, openingAt(roots, 3));
        uint64 until = uint64(block.timestamp + 60);
        vm.warp(until);
        refused(abi.encodeWithSelector(Docket.NotYetForfeited.selector, until));
        as_(stranger);
        docket.forfeit(a);
        vm.warp(until + 1);
        vm.expectEmit();
        emit IDocket.Forfeited(a, challenger, 51, 450);
        as_(stranger);
        docket.forfeit(a);
        assertPurse(challenger, 0, 51);
        assertEarned(treasury, 51);
        refused(abi.encodeWithSelector(Docket.WrongEntry.selector, a, EntryStatus.Forfeited));
        nameAs(challenger, a, openingAt(roots, 3));
    }

    /// Late, but not forfeited by anybody: it still counts.
    function test_namingLateIsBetterThanNever() public {
        uint256 a = announce(challenger, openingAt(roots, 3));
        vm.warp(block.timestamp + 1_000);
        nameAs(challenger, a, openingAt(roots, 3));
        assertEntry(a, EntryStatus.Active);
    }

    function test_noneIsNamedAfterTheWindow() public {
        Opening memory o = openingAt(roots, 3);
        uint256 a = announce(challenger, o);
        uint64 end = standingClaim().windowEndS;
        vm.warp(end);
        refused(abi.encodeWithSelector(Docket.WindowClosed.selector, end));
        nameAs(challenger, a, o);
        refused(abi.encodeWithSelector(Docket.ClaimStands.selector, jobId, 0));
        as_(stranger);
        docket.reclaim(a, o);
        settle();
    }

    // ---- places and the queue ----------------------------------------------------------------------------------

    function test_eightArePlayedAndOthersWait() public {
        uint256[] memory ids = new uint256[](CHECKPOINTS);
        for (uint32 i = 0; i < CHECKPOINTS; ++i) {
            openAs(rival(i), openingAt(roots, i));
            ids[i] = id;
            assertEntry(id, i < 8 ? EntryStatus.Active : EntryStatus.Queued);
        }
        assertEq(docket.activeCount(key()), 8, "places");
        assertEq(standingClaim().disputes, CHECKPOINTS, "all stand");
        JobSpec memory spec = specs[jobId];
        Opening memory o = openingAt(roots, 8);
        refused(abi.encodeWithSelector(Docket.NoPlace.selector, 0, 8, ids[8]));
        as_(stranger);
        docket.activate(ids[8], spec, o);
        loseAsChallenger(ids[0]);
        as_(stranger);
        docket.activate(ids[8], spec, o);
        assertEntry(ids[8], EntryStatus.Active);
        id = ids[8];
        assertStands(Phase.Trace, Side.Defender);
        assertEq(disputes.dispute(id).challenger, rival(8));
    }

    /// 256 challenges against one checkpoint: one is played, the others burn no clock and block no other checkpoint; each that
    /// loses burns its bond.
    function test_overloadWith256Disputes() public {
        Opening memory o = openingAt(roots, 0);
        uint256[] memory ids = new uint256[](256);
        for (uint256 i = 0; i < 256; ++i) {
            openAs(challenger, o);
            ids[i] = id;
        }
        assertEq(docket.activeCount(key()), 1, "one place");
        assertEq(docket.queued(key(), 0), 255, "queue");
        openAs(stranger, openingAt(roots, 1)); // an honest challenger of another checkpoint plays at once
        uint256 honest = id;
        assertEntry(honest, EntryStatus.Active);
        JobSpec memory spec = specs[jobId];
        uint256 before = gasleft();
        loseAsChallenger(ids[0]);
        docket.activate(ids[1], spec, o);
        assertLt(before - gasleft(), 600_000);
        assertEntry(ids[1], EntryStatus.Active);
        // the honest one convicts, and every bond that was not lost goes back, page by page
        runOut(honest);
        assertStatus(JobStatus.Convicted);
        for (uint256 i = 1; i < 256; ++i) {
            docket.reclaim(ids[i], o);
        }
        assertPurse(challenger, 0, 501);
        withdrawJob();
        assertEq(stakes.heldWei(address(docket)), 0, "no bond left");
        assertEq(stakes.heldWei(address(market)), 0, "no escrow left");
    }

    function test_thoseThatWaitGoInTheOrderOfTheirAnnouncement() public {
        Opening memory o = openingAt(roots, 5);
        uint256 first = announce(rival(0), o);
        uint256 second = announce(rival(1), o);
        openAs(challenger, o);
        uint256 playing = id;
        nameAs(rival(1), second, o);
        nameAs(rival(0), first, o);
        loseAsChallenger(playing);
        JobSpec memory spec = specs[jobId];
        refused(abi.encodeWithSelector(Docket.NoPlace.selector, 0, 0, first));
        as_(stranger);
        docket.activate(second, spec, o);
        // a newcomer does not overtake those who wait
        openAs(stranger, o);
        assertEntry(id, EntryStatus.Queued);
        as_(stranger);
        docket.activate(first, spec, o);
        assertEntry(first, EntryStatus.Active);
    }

    function test_activateNeedsWhatWasNamed() public {
        openAs(challenger, openingAt(roots, 5));
        openAs(stranger, openingAt(roots, 5));
        uint256 waiting = id;
        loseAsChallenger(id - 1);
        JobSpec memory spec = specs[jobId];
        Opening memory o = openingAt(roots, 4);
        refused(abi.encodeWithSelector(Docket.PastTheEnd.selector, 5, 4));
        as_(stranger);
        docket.activate(waiting, spec, o);
        o = openingAt(roots, 5);
        o.afterRoot = keccak256("other");
        as_(stranger);
        vm.expectPartialRevert(Docket.WrongHash.selector);
        docket.activate(waiting, spec, o);
        spec.clockS += 1;
        o = openingAt(roots, 5);
        as_(stranger);
        vm.expectPartialRevert(Docket.WrongSpecHash.selector);
        docket.activate(waiting, spec, o);
    }

    // ---- the end -----------------------------------------------------------------------------------------------

    /// Disputes of a claim that fell for another one are nobody's fault, whatever becomes of them.
    function test_disputesOfAVoidClaimAreRefunded() public {
        openAs(rival(0), openingAt(roots, 0));
        uint256 convicts = id;
        openAs(rival(1), openingAt(roots, 1));
        uint256 played = id;
        openAs(rival(2), openingAt(roots, 1));
        uint256 waits = id;
        Opening memory o = openingAt(roots, 2);
        uint256 announced = announce(rival(3), o);
        refused(abi.encodeWithSelector(Docket.ClaimStands.selector, jobId, 0));
        as_(stranger);
        docket.reclaim(waits, o);
        runOut(convicts);
        assertStatus(JobStatus.Convicted);
        runOut(played); // the game goes on for whoever wants, and changes nothing
        docket.reclaim(waits, o);
        docket.reclaim(announced, o);
        for (uint256 i = 1; i < 4; ++i) {
            assertEq(purse(rival(i)), 1_000, "bond back");
        }
        assertEntry(played, EntryStatus.Refunded);
        refused(abi.encodeWithSelector(Docket.WrongEntry.selector, played, EntryStatus.Refunded));
        as_(stranger);
        docket.reclaim(played, o);
        assertEq(stakes.heldWei(address(docket)), 0, "no bond left");
    }

    function test_aRefundedGameThatGoesOnPaysNobody() public {
        openAs(rival(0), openingAt(roots, 0));
        uint256 convicts = id;
        openAs(rival(1), openingAt(roots, 1));
        uint256 played = id;
        runOut(convicts);
        docket.reclaim(played, openingAt(roots, 1));
        uint256 before = stakes.heldWei(address(docket));
        runOut(played);
        assertPhase(Phase.ChallengerWon);
        assertEq(stakes.heldWei(address(docket)), before, "nothing moved");
        assertEntry(played, EntryStatus.Refunded);
    }

    function test_onlyTheGameResolves() public {
        openAs(challenger, openingAt(roots, 0));
        refused(abi.encodeWithSelector(Docket.NotDisputes.selector, stranger, address(disputes)));
        as_(stranger);
        docket.resolved(id, Side.Challenger, stranger);
    }

    function test_announcingChecksTheSpec() public {
        JobSpec memory spec = specs[jobId];
        spec.bondWei = 10;
        as_(challenger);
        vm.expectPartialRevert(Docket.WrongSpecHash.selector);
        docket.announce(jobId, spec, keccak256("commitment"));
    }

    // ---- delegated keys ----------------------------------------------------------------------------------------

    function test_aDelegateAnswersForTheDefender() public {
        openAs(challenger, openingAt(roots, 0));
        bytes32 p = position();
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.Trace));
        as_(stranger);
        disputes.postChunk(id, p, "");
        as_(solver);
        disputes.setDelegate(stranger);
        assertEq(disputes.delegate(solver), stranger);
        // refused for what it says, not for who it is
        as_(stranger);
        vm.expectPartialRevert(Game.WrongHeader.selector);
        disputes.postTrace(id, p, emptyHeader(), 0, new bytes32[](0));
        as_(solver);
        disputes.setDelegate(address(0));
        refused(abi.encodeWithSelector(Game.NotDefender.selector, stranger, solver));
        as_(stranger);
        disputes.postTrace(id, p, emptyHeader(), 0, new bytes32[](0));
    }

    function emptyHeader() private pure returns (Header memory h) {}
}
