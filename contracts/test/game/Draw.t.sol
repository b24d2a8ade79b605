// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {VerifierDraw} from "../../src/VerifierDraw.sol";
import {WeightTree} from "../../src/draw/WeightTree.sol";
import {Jobs} from "../../src/market/Jobs.sol";
import {Opening} from "../../src/interfaces/IDocket.sol";
import {IJobMarket, Job, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Draw, Outcome, Seat, SeatStatus} from "../../src/interfaces/IVerifierDraw.sol";
import {Fixture} from "./Fixture.sol";

/// Assigned verifiers, from the solver's commitment to their pay. Lock 1000, fee 20 each, idle 10 %, concede 5 %.
contract DrawTest is Fixture {
    uint256 private constant VERIFIERS = 5;
    bytes32 private constant RIGHT = keccak256("right");
    bytes32 private constant WRONG = keccak256("wrong");

    bytes32 private key;
    /// Another window than the default one.
    uint32 private windowS;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            enlist(verifier(i), 2_000);
        }
        vm.warp(block.timestamp + 1);
    }

    function verifier(uint256 i) private returns (address) {
        return makeAddr(string(abi.encodePacked("verifier", bytes1(uint8(0x41 + i)))));
    }

    function enlist(address who, uint128 stakeWei) private {
        token.transfer(who, stakeWei);
        vm.startPrank(who);
        token.approve(address(stakes), type(uint256).max);
        stakes.deposit(stakeWei);
        draw.enlist(HARDWARE, true);
        vm.stopPrank();
    }

    function drawSpec() private view returns (JobSpec memory spec) {
        spec = defaultSpec();
        (spec.verifiers, spec.verifierFeeWei, spec.verifyS) = (2, 20, 400);
        spec.claimTimeoutS = 2_000;
        if (windowS != 0) spec.windowS = windowS;
    }

    // ---- steps of the story ------------------------------------------------------------------------------------

    function commitClaim(bytes32 root) private {
        JobSpec memory spec = specs[jobId];
        Job memory job = market.job(jobId);
        uint32 milestone = job.finalMilestones + job.standingClaims;
        key = keccak256(abi.encode(jobId, job.attempt, milestone));
        as_(solver);
        market.commitClaim(jobId, spec, milestone, keccak256(abi.encode(root, SALT)));
    }

    function revealClaim(bytes32 root) private {
        JobSpec memory spec = specs[jobId];
        as_(solver);
        market.revealClaim(jobId, spec, 0, list(root), SALT, "file:///claim");
    }

    function drawn() private {
        post(drawSpec());
        take();
        commitClaim(RIGHT);
        l1.set(l1.number() + 2, keccak256("an L1 block"));
        draw.draw(key);
    }

    function seat(uint256 i) private view returns (Seat memory) {
        return draw.seats(key)[i];
    }

    function commitmentOf(address who, bytes32 root) private view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, jobId, uint32(1), uint32(0), who, root, SALT));
    }

    function commit(uint256 i, bytes32 root) private {
        address who = seat(i).verifier;
        as_(who);
        draw.commit(key, i, commitmentOf(who, root));
    }

    function reveal(uint256 i, bytes32 root) private {
        as_(seat(i).verifier);
        draw.reveal(key, i, root, SALT);
    }

    /// Drawn, committed to these roots, and the solver's claim revealed.
    function committed(bytes32 first, bytes32 second) private {
        drawn();
        commit(0, first);
        commit(1, second);
        revealClaim(RIGHT);
    }

    /// What a verifier has of the 2000 it came with, and what it earned.
    function has(uint256 i) private view returns (uint256) {
        return purse(seat(i).verifier);
    }

    function convict() private {
        openAs(challenger, opening(RIGHT));
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertStatus(JobStatus.Convicted);
    }

    function collectBoth() private {
        draw.collect(key, 0);
        draw.collect(key, 1);
    }

    // ---- what is right -----------------------------------------------------------------------------------------

    function test_verifiersThatAgreeArePaid() public {
        committed(RIGHT, RIGHT);
        assertEq(stakes.heldWei(address(market)), 333 + 40, "price and fees");
        reveal(0, RIGHT);
        reveal(1, RIGHT);
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.StillPending.selector, key));
        draw.collect(key, 0);
        passWindow();
        settle();
        collectBoth();
        assertEq(has(0), 2_020);
        assertEq(has(1), 2_020);
        assertPurse(requester, 0, 373);
        assertEq(stakes.heldWei(address(draw)), 0, "nothing left");
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.WrongSeat.selector, key, 0, SeatStatus.Collected));
        draw.collect(key, 0);
    }

    function test_whoDoesNotRevealPaysAndHasNoFee() public {
        committed(RIGHT, RIGHT);
        reveal(0, RIGHT);
        passWindow();
        settle();
        collectBoth();
        assertEq(has(0), 2_020);
        assertEq(has(1), 1_900);
        assertPurse(requester, 0, 353); // the second fee is back
        assertEarned(treasury, 8 + 100);
    }

    function test_whoDoesNotCommitPaysToo() public {
        drawn();
        commit(0, RIGHT);
        Draw memory d = draw.drawOf(key);
        refused(abi.encodeWithSelector(VerifierDraw.StillCommitting.selector, d.request.commitEndS));
        revealClaim(RIGHT);
        vm.warp(d.request.commitEndS + 1);
        address late = seat(1).verifier;
        refused(abi.encodeWithSelector(VerifierDraw.TooLate.selector, d.request.commitEndS));
        as_(late);
        draw.commit(key, 1, commitmentOf(late, RIGHT));
        revealClaim(RIGHT);
        reveal(0, RIGHT);
        passWindow();
        settle();
        collectBoth();
        assertEq(has(0), 2_020);
        assertEq(has(1), 1_900);
    }

    // ---- never -------------------------------------------------------------------------------------------------

    /// The solver tells a friend its roots before it reveals them; the friend confirms without working. The claim falls, and so
    /// does the friend's stake.
    function test_leakedRootsAndALazyVerifier() public {
        committed(RIGHT, RIGHT);
        reveal(0, RIGHT);
        reveal(1, RIGHT);
        convict();
        collectBoth();
        assertEq(has(0), 1_000);
        assertEq(has(1), 1_000);
        // nobody revealed another root: the reserved half of the winner's 501 is the requester's
        assertPurse(requester, 401 + 250, 373);
        assertPurse(challenger, 251, 0);
    }

    /// A commitment holds the address of who made it: a copy cannot be revealed.
    function test_copiedCommitments() public {
        drawn();
        address first = seat(0).verifier;
        address second = seat(1).verifier;
        bytes32 theirs = commitmentOf(first, RIGHT);
        as_(first);
        draw.commit(key, 0, theirs);
        as_(second);
        draw.commit(key, 1, theirs);
        revealClaim(RIGHT);
        reveal(0, RIGHT);
        refused(abi.encodeWithSelector(VerifierDraw.WrongReveal.selector, theirs, commitmentOf(second, RIGHT)));
        as_(second);
        draw.reveal(key, 1, RIGHT, SALT);
    }

    /// Roots are revealed after the solver's, never before, so there is nothing to copy.
    function test_noRevealBeforeTheSolvers() public {
        drawn();
        commit(0, RIGHT);
        refused(abi.encodeWithSelector(VerifierDraw.NotYetRevealed.selector, key));
        reveal(0, RIGHT);
    }

    function test_theDrawCannotBeRepeated() public {
        drawn();
        Seat[] memory before = draw.seats(key);
        l1.set(l1.number() + 1, keccak256("another L1 block"));
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.AlreadyDrawn.selector, key));
        draw.draw(key);
        // taking the claim back and committing again costs a tenth of the price and meets the same verifiers
        JobSpec memory spec = specs[jobId];
        uint256 had = purse(solver);
        as_(solver);
        market.retract(jobId, spec, 0);
        assertEq(had - purse(solver), 33);
        commitClaim(RIGHT);
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.AlreadyDrawn.selector, key));
        draw.draw(key);
        assertEq(draw.seats(key)[0].verifier, before[0].verifier);
        assertEq(draw.seats(key)[1].verifier, before[1].verifier);
    }

    function test_nobodyKnowsTheHashWhenTheSolverCommits() public {
        post(drawSpec());
        take();
        uint64 now_ = l1.number();
        commitClaim(RIGHT);
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.TooEarly.selector, now_, now_ + 2));
        draw.draw(key);
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.UnknownDraw.selector, bytes32(0)));
        draw.draw(0);
    }

    /// Stake that comes after the commitment, when the draw could be guessed, counts for later draws only.
    function test_weightsAreThoseBeforeTheCommitment() public {
        post(drawSpec());
        take();
        enlist(challenger, 1e20); // this very second
        commitClaim(RIGHT);
        vm.warp(block.timestamp + 10);
        enlist(stranger, 1e20);
        l1.set(l1.number() + 2, keccak256("an L1 block"));
        draw.draw(key);
        for (uint256 i = 0; i < 2; ++i) {
            assertTrue(seat(i).verifier != stranger && seat(i).verifier != challenger);
        }
    }

    /// The claim fell while verifiers still had time to reveal. One that comes later has no part in a reward that is divided
    /// already, or it would be paid with what others have in this contract; and it loses nothing.
    function test_aRevealAfterTheRewardIsDivided() public {
        windowS = 4_000;
        committed(WRONG, WRONG);
        reveal(0, WRONG);
        convict();
        refused(abi.encodeWithSelector(VerifierDraw.TooLate.selector, 0));
        reveal(1, WRONG);
        collectBoth();
        assertEq(has(0), 2_250);
        assertEq(has(1), 2_000);
        assertEq(stakes.heldWei(address(draw)), 0, "nothing left, nothing missing");
    }

    /// A verifier that confirmed a wrong claim waits for the payment with everybody else.
    function test_nobodyCollectsBetweenVerdictAndPayment() public {
        committed(WRONG, RIGHT);
        reveal(0, WRONG);
        reveal(1, RIGHT);
        paysLater = true;
        convict();
        for (uint256 i = 0; i < 2; ++i) {
            refused(abi.encodeWithSelector(VerifierDraw.StillPending.selector, key));
            as_(stranger);
            draw.collect(key, i);
        }
        pay();
        collectBoth();
        assertEq(has(0), 2_250);
        assertEq(has(1), 1_000);
    }

    // ---- other roots -------------------------------------------------------------------------------------------

    function test_whoStoodByAnotherRootSharesTheReservedPart() public {
        committed(WRONG, RIGHT);
        reveal(0, WRONG);
        reveal(1, RIGHT);
        convict();
        collectBoth();
        assertEq(has(0), 2_250); // half of the winner's 501
        assertEq(has(1), 1_000);
        assertPurse(challenger, 251, 0);
        assertEq(stakes.heldWei(address(draw)), 0, "nothing left");
    }

    function test_whoWasWrongAndSilentPaysAsMuchAsOneThatSlept() public {
        committed(WRONG, RIGHT);
        reveal(0, WRONG);
        reveal(1, RIGHT);
        passWindow();
        settle();
        collectBoth();
        assertEq(has(0), 1_900);
        assertEq(has(1), 2_020);
        assertPurse(requester, 0, 353);
    }

    function test_conceding() public {
        committed(WRONG, RIGHT);
        reveal(0, WRONG);
        reveal(1, RIGHT);
        refused(abi.encodeWithSelector(VerifierDraw.NothingToConcede.selector, RIGHT));
        as_(seat(1).verifier);
        draw.concede(key, 1);
        as_(seat(0).verifier);
        draw.concede(key, 0);
        assertEq(has(0), 1_950);
        passWindow();
        settle();
        collectBoth();
        assertEq(has(0), 1_950);
        assertEq(has(1), 2_020);
    }

    /// Whoever conceded has no part in a conviction after all.
    function test_concedingGivesUpTheReward() public {
        committed(WRONG, WRONG);
        reveal(0, WRONG);
        reveal(1, WRONG);
        as_(seat(0).verifier);
        draw.concede(key, 0);
        convict();
        collectBoth();
        assertEq(has(0), 1_950);
        assertEq(has(1), 2_250);
    }

    function test_unavailableInputs() public {
        bytes32 unavailable = draw.UNAVAILABLE();
        committed(unavailable, RIGHT);
        reveal(0, unavailable);
        reveal(1, RIGHT);
        refused(abi.encodeWithSelector(VerifierDraw.NothingToConcede.selector, unavailable));
        as_(seat(0).verifier);
        draw.concede(key, 0);
        passWindow();
        settle();
        collectBoth();
        assertEq(has(0), 2_000); // no fee, no penalty
        assertEq(has(1), 2_020);
        assertPurse(requester, 0, 353);
    }

    function test_verifiersOfAVoidClaimAreFree() public {
        drawn();
        commit(0, RIGHT);
        // the solver never reveals
        vm.warp(draw.drawOf(key).request.commitEndS + 401);
        expire();
        assertStatus(JobStatus.Open);
        collectBoth();
        assertEq(has(0), 2_000);
        assertEq(has(1), 2_000);
        withdrawJob();
        assertEq(stakes.heldWei(address(market)), 0, "market");
        assertEq(stakes.heldWei(address(draw)), 0, "draw");
    }

    // ---- declining ---------------------------------------------------------------------------------------------

    function test_aSeatIsRedrawnOnce() public {
        drawn();
        address first = seat(0).verifier;
        as_(first);
        draw.decline(key, 0);
        assertEq(purse(first), 2_000);
        address second = seat(0).verifier;
        assertTrue(second != first && second != seat(1).verifier);
        as_(second);
        draw.decline(key, 0);
        assertEq(uint256(seat(0).status), uint256(SeatStatus.Empty));
        // one seat is empty: the other verifier is enough to go on, and the empty seat's fee goes back
        commit(1, RIGHT);
        revealClaim(RIGHT);
        reveal(1, RIGHT);
        passWindow();
        settle();
        draw.collect(key, 1);
        assertPurse(requester, 0, 353);
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.WrongSeat.selector, key, 0, SeatStatus.Empty));
        draw.collect(key, 0);
        assertEq(stakes.heldWei(address(draw)), 0, "nothing left");
    }

    function test_decliningIsForTheFirstQuarter() public {
        drawn();
        uint64 end = draw.drawOf(key).declineEndS;
        assertEq(end, block.timestamp + 100);
        vm.warp(end + 1);
        refused(abi.encodeWithSelector(VerifierDraw.TooLate.selector, end));
        as_(seat(0).verifier);
        draw.decline(key, 0);
        commit(0, RIGHT);
        vm.warp(end);
        refused(abi.encodeWithSelector(VerifierDraw.WrongSeat.selector, key, 0, SeatStatus.Committed));
        as_(seat(0).verifier);
        draw.decline(key, 0);
    }

    // ---- who may be drawn --------------------------------------------------------------------------------------

    function test_partiesAndThoseWithoutStakeAreNotDrawn() public {
        as_(solver);
        draw.enlist(HARDWARE, true);
        for (uint256 i = 2; i < VERIFIERS; ++i) {
            as_(verifier(i));
            stakes.unbond(1_001); // less than the lock is left
        }
        vm.warp(block.timestamp + 1);
        drawn();
        // the solver has nearly all the weight, and still the seats go to the two that are left, or stay empty
        for (uint256 i = 0; i < 2; ++i) {
            Seat memory s = seat(i);
            if (s.status == SeatStatus.Empty) continue;
            assertTrue(s.verifier == verifier(0) || s.verifier == verifier(1));
        }
    }

    function test_enlistingNeedsTheStake() public {
        vm.startPrank(stranger);
        stakes.deposit(999);
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.TooLittleStake.selector, 999, 1_000));
        draw.enlist(HARDWARE, true);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(VerifierDraw.NotEnlisted.selector, stranger, HARDWARE));
        draw.sync(stranger, HARDWARE);
    }

    function test_withNobodyEnlistedTheSeatsStayEmpty() public {
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            as_(verifier(i));
            draw.enlist(HARDWARE, false);
        }
        vm.warp(block.timestamp + 1);
        drawn();
        assertEq(uint256(seat(0).status), uint256(SeatStatus.Empty));
        revealClaim(RIGHT);
        passWindow();
        settle();
        assertPurse(requester, 0, 333);
    }

    /// Over many draws, who has twice the stake is drawn about twice as often.
    function test_theDrawFollowsTheStake() public {
        enlist(stranger, 10_000); // half of all
        vm.warp(block.timestamp + 1);
        JobSpec memory spec = drawSpec();
        (spec.verifiers, spec.steps, spec.bondWei) = (1, 1, 501);
        uint256 hits;
        uint256 state;
        for (uint256 i = 0; i < 100; ++i) {
            state = vm.snapshotState();
            post(spec);
            take();
            commitClaim(RIGHT);
            l1.set(l1.number() + 2, keccak256(abi.encode("block", i)));
            draw.draw(key);
            bool hit = seat(0).verifier == stranger;
            vm.revertToState(state);
            if (hit) ++hits;
        }
        assertGt(hits, 35);
        assertLt(hits, 65);
    }

    function test_onlyTheMarketTellsTheDraw() public {
        bytes memory reason = abi.encodeWithSelector(VerifierDraw.NotMarket.selector, stranger, address(market));
        refused(reason);
        as_(stranger);
        draw.settled(0);
        refused(reason);
        as_(stranger);
        draw.convicted(0);
        refused(reason);
        as_(stranger);
        draw.reward(0, 1);
        refused(reason);
        as_(stranger);
        draw.revealed(0, 0, 0);
    }
}

/// The tree of weights against the sums that it stands for.
contract WeightTreeTest is Fixture {
    using WeightTree for WeightTree.Tree;

    WeightTree.Tree private tree;

    function testFuzz_findIsTheSlotThatThePointFallsInto(uint64[8] memory weights, uint256 point) public {
        uint256 total;
        for (uint256 i = 0; i < 8; ++i) {
            tree.set(i * 511, weights[i]);
            total += weights[i];
        }
        assertEq(tree.total(uint48(block.timestamp)), total);
        if (total == 0) return;
        point %= total;
        uint256 expected;
        uint256 sum = weights[0];
        while (point >= sum) {
            ++expected;
            sum += weights[expected];
        }
        assertEq(tree.find(uint48(block.timestamp), point), expected * 511);
    }

    function test_thePastStaysWhatItWas() public {
        uint48 start = uint48(block.timestamp);
        tree.set(3, 10);
        vm.warp(start + 5);
        tree.set(3, 0);
        tree.set(4000, 7);
        assertEq(tree.total(start - 1), 0);
        assertEq(tree.total(start), 10);
        assertEq(tree.find(start + 4, 9), 3);
        assertEq(tree.total(start + 5), 7);
        assertEq(tree.find(start + 5, 0), 4000);
    }
}
