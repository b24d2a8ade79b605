// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Docket} from "../../src/Docket.sol";
import {JobMarket} from "../../src/JobMarket.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Jobs} from "../../src/market/Jobs.sol";
import {Side} from "../../src/interfaces/IDisputes.sol";
import {EntryStatus, IDocket, Opening} from "../../src/interfaces/IDocket.sol";
import {JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Fixture} from "./Fixture.sol";

/// Between verdict and payment: everything is decided, nothing has moved, and nobody gets away. Price 333, stake 1003, bond
/// 501, tip 101.
contract PayTest is Fixture {
    bytes32[] private roots;

    function setUp() public override {
        super.setUp();
        paysLater = true;
        roots = hashes("root", 2);
        JobSpec memory spec = defaultSpec();
        (spec.steps, spec.checkpointsPerMilestone) = (2, 2);
        post(spec);
        take();
        claim(roots);
    }

    function decide(uint256 disputeId, Side winner) private {
        vm.prank(address(disputes));
        docket.resolved(disputeId, winner, judge);
    }

    function convicted() private {
        openAs(challenger, openingAt(roots, 0));
        vm.expectEmit();
        emit IDocket.Decided(id, EntryStatus.Won, judge);
        decide(id, Side.Challenger);
    }

    function unslashed() private {
        refused(abi.encodeWithSelector(JobMarket.NotYetSlashed.selector, jobId, 1003));
    }

    function test_aVerdictMovesNothing() public {
        convicted();
        assertStatus(JobStatus.Convicted);
        assertPurse(challenger, 0, 501);
        assertPurse(solver, 0, 1003);
        assertEarned(judge, 0);
        assertEq(stakes.account(solver).lockedWei, 1003, "at stake still");
        assertSolvent();
        pay();
        assertPurse(challenger, 400, 0);
        assertEarned(judge, 101);
        assertEq(stakes.account(solver).lockedWei, 0);
        assertSolvent();
    }

    function test_aConvictedStakeCannotLeaveBeforeItIsSlashed() public {
        convicted();
        uint128 all = stakes.account(solver).stakeWei;
        uint256 free = stakes.freeStakeWei(solver);
        assertEq(free, all - 1003);
        refused(abi.encodeWithSelector(Stakes.NotEnough.selector, "free stake", free, all));
        as_(solver);
        stakes.unbond(all);
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Convicted));
        expire();
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Convicted));
        settle();
        // nobody takes the job, or its escrow, away from under the payment
        unslashed();
        withdrawJob();
        unslashed();
        reopen();
        pay();
        reopen();
        withdrawJob();
        assertSettledToTheWei();
    }

    function test_paidOnce() public {
        convicted();
        pay();
        refused(abi.encodeWithSelector(Docket.AlreadyPaid.selector, id));
        pay();
        assertPurse(challenger, 400, 0);
    }

    function test_nothingToPayBeforeAVerdict() public {
        openAs(challenger, openingAt(roots, 0));
        refused(abi.encodeWithSelector(Docket.WrongEntry.selector, id, EntryStatus.Active));
        pay();
        ++id;
        refused(abi.encodeWithSelector(Docket.WrongEntry.selector, id, EntryStatus.None));
        pay();
    }

    function test_nothingToPayForAVoidClaim() public {
        convicted();
        uint256 first = id;
        assertFalse(market.stands(jobId, 1, 0));
        id = first;
        pay();
        refused(abi.encodeWithSelector(Jobs.NoSuchClaim.selector, jobId, 0));
        openAs(challenger, openingAt(roots, 1));
    }

    /// The bond of a challenge that failed is the defender's of that game, whoever has the job when it is paid.
    function test_aLatePaymentFindsTheDefenderOfTheGame() public {
        openAs(challenger, openingAt(roots, 1));
        uint256 failed = id;
        decide(failed, Side.Defender);
        convicted();
        pay();
        reopen();
        vm.startPrank(stranger);
        stakes.deposit(2_000);
        stakes.registerSolver(HARDWARE, true);
        vm.stopPrank();
        takeAs(stranger);
        assertPurse(solver, 0, 1003);
        id = failed;
        pay();
        assertPurse(solver, 300, 1003);
    }

    /// Who announced first has the winner's share, also if it took its bond back in the meantime.
    function test_whoWaitsAndReclaimsStillWins() public {
        Opening memory o = openingAt(roots, 0);
        uint256 earlier = announce(stranger, o);
        openAs(challenger, o);
        uint256 played = id;
        nameAs(stranger, earlier, o);
        assertEq(uint256(docket.entry(earlier).status), uint256(EntryStatus.Queued));
        decide(played, Side.Challenger);
        docket.reclaim(earlier, o);
        pay();
        assertPurse(stranger, 400, 0);
        assertPurse(challenger, 0, 0);
        withdrawJob();
        assertSettledToTheWei();
    }

    /// No payment is needed for the game to go on, or for a claim that stands to become final.
    function test_nothingWaitsForThePaymentOfALostBond() public {
        openAs(challenger, openingAt(roots, 1));
        decide(id, Side.Defender);
        uint256 failed = id;
        openAs(challenger, openingAt(roots, 1));
        assertEq(uint256(docket.entry(id).status), uint256(EntryStatus.Active), "the place is free");
        decide(id, Side.Defender);
        passWindow();
        settle();
        assertStatus(JobStatus.Done);
        pay();
        id = failed;
        pay();
        assertSettledToTheWei();
    }
}
