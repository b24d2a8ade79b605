// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Dispute, IDisputes, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Game} from "../../src/game/Game.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// Chess clocks, grace and timeouts. Both sides start with 400 s; a move leaves the other at least 50 s.
contract ClocksTest is World {
    function setUp() public override {
        super.setUp();
        setTensor(0, 700, 0);
    }

    function pass(uint256 seconds_) private {
        vm.warp(block.timestamp + seconds_);
    }

    function assertClocks(uint32 defenderS, uint32 challengerS) private view {
        Dispute memory d = disputes.dispute(id);
        assertEq(d.defenderClockS, defenderS, "defender");
        assertEq(d.challengerClockS, challengerS, "challenger");
    }

    function test_aMoveChargesItsMover() public {
        openWorld();
        uint256 start = block.timestamp;
        assertClocks(400, 400);
        assertEq(disputes.deadlineS(id), start + 400, "first deadline");
        pass(30);
        postTrace();
        assertClocks(370, 400);
        assertEq(disputes.deadlineS(id), start + 30 + 400, "the challenger's");
        pass(7);
        pointState();
        assertClocks(370, 393);
        assertEq(disputes.deadlineS(id), start + 37 + 370, "the defender's");
        walkTo(afterLeaves(), 0);
        assertClocks(370, 393);
    }

    function test_movedTellsTheDeadline() public {
        openWorld();
        pass(30);
        bytes32 p = position();
        bytes32[] memory level = rootLevel(traceLeaves());
        bytes memory call = abi.encodeCall(IDisputes.postTrace, (id, p, header(), rootOfTrace(), level));
        bytes32 next = keccak256(abi.encode(p, keccak256(call)));
        vm.expectEmit();
        emit IDisputes.TracePosted(id, rootOfTrace(), level);
        vm.expectEmit();
        emit IDisputes.Moved(id, next, Phase.Nodes, Side.Challenger, uint64(block.timestamp + 400));
        postTrace();
        assertEq(position(), next);
    }

    function rootOfTrace() private view returns (bytes32) {
        return keccak256(
            bytes.concat(
                keccak256(bytes.concat(traceLeaves()[0], traceLeaves()[1])),
                keccak256(bytes.concat(traceLeaves()[2], bytes32(0)))
            )
        );
    }

    function test_whoStaysOnTheMoveIsChargedOnce() public {
        setTensor(0, 10, 0); // one chunk: the defender posts tensor and chunk in turn
        reachTensor();
        pass(40);
        postTensor();
        assertStands(Phase.Chunk, Side.Defender);
        assertClocks(360, 400);
        pass(10);
        postChunk(chunkAt(0));
        assertClocks(350, 400);
    }

    function test_theLastSecondCounts() public {
        openWorld();
        pass(400);
        refused(abi.encodeWithSelector(Game.NotYetTimedOut.selector, uint64(block.timestamp)));
        timeout();
        postTrace();
        assertClocks(0, 400);
    }

    function test_anEmptyClockStillHasGrace() public {
        openWorld();
        pass(400);
        postTrace();
        pointState();
        assertStands(Phase.States, Side.Defender);
        assertEq(disputes.deadlineS(id), block.timestamp + 50, "grace");
        pass(50);
        postChildren(rootLevel(afterLeaves()));
        assertClocks(0, 400);
    }

    function test_graceIsNotAddedToTheClock() public {
        openWorld();
        pass(360);
        postTrace(); // 40 s left: less than the grace
        pointState();
        assertEq(disputes.deadlineS(id), block.timestamp + 50, "not 90");
        pass(50);
        postChildren(rootLevel(afterLeaves()));
        assertClocks(0, 400);
    }

    function test_defenderOutOfTimeLoses() public {
        openWorld();
        pass(401);
        refused(abi.encodeWithSelector(Game.TimeIsUp.selector, uint64(block.timestamp - 1)));
        postTrace();
        vm.expectEmit();
        emit IDisputes.Resolved(id, Side.Challenger, true);
        timeout();
        assertPhase(Phase.ChallengerWon);
        assertStatus(JobStatus.Convicted);
    }

    function test_challengerOutOfTimeLoses() public {
        openWorld();
        postTrace();
        pass(401);
        refused(abi.encodeWithSelector(Game.TimeIsUp.selector, uint64(block.timestamp - 1)));
        pointState();
        vm.expectEmit();
        emit IDisputes.Resolved(id, Side.Defender, true);
        timeout();
        assertPhase(Phase.DefenderWon);
        assertStatus(JobStatus.Taken);
        assertEq(standingClaim().disputes, 0, "no dispute stands");
    }

    function test_timeoutAnswersAPosition() public {
        openWorld();
        bytes32 old = position();
        postTrace();
        pass(401);
        bytes32 p = position();
        refused(abi.encodeWithSelector(Game.WrongPosition.selector, p, old));
        as_(stranger);
        disputes.timeout(id, old);
    }

    function test_timeoutOfAFinishedOrUnknownGame() public {
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.None));
        timeout();
        vm.expectRevert(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.None));
        disputes.deadlineS(77);
        openWorld();
        pass(401);
        timeout();
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.ChallengerWon));
        timeout();
    }

    /// The sequencer is away for a whole sequencing window, in the turn of either side. Clocks are at least twice that, so who was
    /// to move moves when it is back, and nobody has lost.
    function test_clocksUnderASequencerOutage() public {
        uint32 window = 12 hours;
        JobSpec memory spec = worldSpec();
        (spec.clockS, spec.graceS) = (2 * window, 1 hours);
        openSimple(spec, Trees.root(afterLeaves()));
        pass(window);
        postTrace();
        assertClocks(window, 2 * window);
        pass(window);
        walkTo(traceLeaves(), node);
        assertClocks(window, window);
        pass(window);
        postTensor();
        assertClocks(0, window);
    }

    /// However long the game, extensions end with the moves: after both clocks a side has the grace, once for each move.
    function test_extensionsAreBounded() public {
        openWorld();
        uint256 start = block.timestamp;
        pass(400);
        postTrace();
        pass(400);
        pointState();
        // both clocks are empty; from here on a turn is a grace long
        pass(50);
        postChildren(rootLevel(afterLeaves()));
        assertEq(disputes.deadlineS(id), block.timestamp + 50);
        assertEq(block.timestamp - start, 2 * 400 + 50);
    }

    /// However both sides use their time, a charge takes what passed, never more than was left, and the deadline follows.
    function testFuzz_clocks(uint32 clockS, uint32 graceS, uint256 seed) public {
        clockS = 1 + clockS % 10_000;
        graceS = 1 + graceS % clockS;
        JobSpec memory spec = worldSpec();
        (spec.clockS, spec.graceS) = (clockS, graceS);
        openSimple(spec, keccak256("claimed"));
        uint256[2] memory left = [uint256(clockS), clockS];
        for (uint256 i = 0; i < 3; ++i) {
            uint256 budget = left[i % 2] > graceS ? left[i % 2] : graceS;
            assertEq(disputes.deadlineS(id), block.timestamp + budget, "deadline");
            uint256 used = uint256(keccak256(abi.encode(seed, i))) % (budget + 1);
            pass(used);
            left[i % 2] = used < left[i % 2] ? left[i % 2] - used : 0;
            if (i == 0) postTrace();
            else if (i == 1) walkTo(traceLeaves(), node);
            else postTensor();
            assertClocks(uint32(left[0]), uint32(left[1]));
        }
    }
}
