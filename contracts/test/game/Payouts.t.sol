// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IJobMarket, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Phase} from "../../src/interfaces/IDisputes.sol";
import {UnitKind} from "../../src/game/UnitKind.sol";
import {World} from "./World.sol";

/// Every ending of a dispute, to the wei. Stake 1003, bond 501, tip 101, price 333, fee 2.5 %; a lost
/// bond after the tip: three quarters to the defender.
contract PayoutsTest is World {
    uint256 private constant FEE = 8; // 333 * 250 / 10,000, rounded down

    function setUp() public override {
        super.setUp();
        setTensor(0, 2, 0);
    }

    function judgeElement(bool honest) private {
        reachElement(0);
        verdict(honest);
    }

    function verdict(bool honest) private {
        answer(honest ? claimed() : claimed() ^ 1, UnitKind.ELEMENT, 0, 0, "");
        judgeUnit("");
    }

    function test_challengerLosesByJudgement() public {
        judgeElement(true);
        assertPurse(challenger, 0, 501);
        assertEarned(judge, 101);
        assertPurse(solver, 300, 1003);
        assertEarned(treasury, 100);
        assertEq(stakes.heldWei(address(docket)), 0, "no bond left");
        assertEq(stakes.heldWei(address(market)), 333, "escrow untouched");
        passWindow();
        settle();
        assertPurse(solver, 300 + 333 - FEE, 0);
        assertSettledToTheWei();
    }

    function test_challengerLosesByTime() public {
        reachElement(0);
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPurse(challenger, 0, 501);
        assertPurse(solver, 375, 1003);
        passWindow();
        settle();
        assertPurse(solver, 375 + 333 - FEE, 0);
        assertEarned(judge, 0); // no tip
        assertSettledToTheWei();
    }

    function test_defenderLosesByJudgement() public {
        reachElement(0);
        answer(claimed() ^ 1, UnitKind.ELEMENT, 0, 0, "");
        // half of 1003 is 501, less the tip 400; of the other 502 the requester has 401 and the treasury 101
        paysLater = true;
        vm.expectEmit();
        emit IJobMarket.SolverConvicted(jobId, 0, solver, id);
        judgeUnit("");
        vm.expectEmit();
        emit IJobMarket.StakeSlashed(jobId, 0, solver, challenger, 1003, 400, 0, 401);
        pay();
        assertPurse(challenger, 400, 0);
        assertEarned(judge, 101);
        assertPurse(requester, 401, 333);
        assertEarned(treasury, 101);
        assertPurse(solver, 0, 1003);
        assertStatus(JobStatus.Convicted);
        withdrawJob();
        assertPurse(requester, 401, 0);
        assertSettledToTheWei();
    }

    function test_defenderLosesByTime() public {
        openWorld();
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPurse(challenger, 501, 0);
        assertPurse(requester, 401, 333);
        assertEarned(treasury, 101);
        assertPurse(solver, 0, 1003);
        withdrawJob();
        assertSettledToTheWei();
    }

    function test_defenderLosesOverTheState() public {
        lieAt = 2;
        openWorld();
        postTrace();
        pointState();
        walkTo(afterLeaves(), 2);
        judgeState();
        assertPurse(challenger, 400, 0);
        assertEarned(judge, 101);
        withdrawJob();
        assertSettledToTheWei();
    }

    function test_convictionAfterAFinalMilestoneRefundsTheRest() public {
        JobSpec memory spec = defaultSpec();
        spec.steps = 3;
        post(spec);
        take();
        claim(hashes("a", 1));
        passWindow();
        settle();
        claim(hashes("b", 1));
        openFirst(nth("b", 0));
        vm.warp(disputes.deadlineS(id) + 1);
        paysLater = true;
        timeout();
        vm.expectEmit();
        emit IJobMarket.StakeSlashed(jobId, 1, solver, challenger, 1003, 501, 0, 401);
        pay();
        vm.expectEmit();
        emit IJobMarket.JobWithdrawn(jobId, 666);
        withdrawJob();
        assertPurse(requester, 401, 333);
        assertPurse(solver, 333 - FEE, 1003);
        assertSettledToTheWei();
    }

    function test_theJudgeMayBeTheChallenger() public {
        judge = challenger;
        judgeElement(false);
        assertPurse(challenger, 501, 0);
    }

    function test_jobsDoNotShareMoney() public {
        post(defaultSpec()); // another requester's escrow of 333, open
        uint256 other = jobId;
        judgeElement(false);
        withdrawJob();
        assertEq(stakes.heldWei(address(market)), 333, "the other job's escrow");
        jobId = other;
        withdrawJob();
        assertEq(stakes.heldWei(address(market)), 0, "market");
    }

    // ---- against oneself ---------------------------------------------------------------------------------------

    /// Both sides are one party, with the judge: what it holds at the end is less than at the start.
    function test_convictingOneselfCosts() public {
        judge = solver;
        challenger = solver;
        reachElement(0);
        assertEq(disputes.dispute(id).defender, disputes.dispute(id).challenger);
        verdict(false);
        // the other half of the stake is gone: more than the milestone would have paid
        assertPurse(solver, 0, 502);
        assertGt(502, 333);
        assertPurse(requester, 401, 333);
    }

    function test_losingToOneselfCosts() public {
        judge = solver;
        challenger = solver;
        judgeElement(true);
        // the stake stays locked; of the bond, what is left after the tip and the defender's part is gone
        assertPurse(solver, 0, 1003 + 100);
        assertEarned(treasury, 100);
    }

    /// Whatever the terms, the parts that one party cannot get back are worth more than a milestone.
    function testFuzz_selfChallengeAlwaysCosts(uint128 price, uint128 stake, uint128 bond, uint128 tip, bool byTime)
        public
    {
        judge = solver;
        challenger = solver;
        JobSpec memory spec = fuzzSpec(stake, bond, tip, price);
        post(spec);
        take();
        uint256 before = purse(solver) + spec.stakeWei;
        claim(list(keccak256("claimed")));
        openFirst(keccak256("claimed"));
        uint256 game = vm.snapshotState();
        late(); // convicted
        assertGt(before - purse(solver), spec.endPriceWei);
        vm.revertToState(game);
        postTrace();
        if (byTime) {
            late(); // the challenge is lost
        } else {
            walkTo(traceLeaves(), node);
            postTensor();
            postChunk(chunkAt(0));
            pointElement(0, chunkAt(0));
            verdict(true);
        }
        assertGt(before - spec.stakeWei, purse(solver));
    }

    // ---- whatever the amounts ----------------------------------------------------------------------------------

    function fuzzSpec(uint128 stake, uint128 bond, uint128 tip, uint128 price)
        private
        view
        returns (JobSpec memory spec)
    {
        spec = worldSpec();
        spec.endPriceWei = 1 + price % 1e28;
        spec.startPriceWei = spec.endPriceWei;
        spec.stakeWei = 2 * spec.endPriceWei + 100 + stake % 1e28;
        spec.bondWei = 10 + bond % (spec.stakeWei / 2 - 9);
        spec.tipWei = tip % (spec.bondWei / 2 + 1);
    }

    function testFuzz_everyEndingPaysOutExactly(uint128 stake, uint128 bond, uint128 tip, uint128 price, uint8 ending)
        public
    {
        post(fuzzSpec(stake, bond, tip, price));
        end(ending % 8);
        if (status() == JobStatus.Convicted || status() == JobStatus.Open) withdrawJob();
        assertSettledToTheWei();
    }

    function end(uint8 ending) private {
        if (ending == 0) return withdrawJob();
        if (ending == 1) return pastDeadline();
        take();
        if (ending == 2) return pastDeadline();
        bytes32[] memory roots = list(keccak256("claimed"));
        claim(roots);
        if (ending > 3) dispute(ending, roots[0]);
        if (status() != JobStatus.Taken) return;
        passWindow();
        settle();
    }

    function dispute(uint8 ending, bytes32 root) private {
        openFirst(root);
        if (ending == 4) return late();
        postTrace();
        if (ending == 5) return late();
        walkTo(traceLeaves(), node);
        postTensor();
        postChunk(chunkAt(0));
        pointElement(0, chunkAt(0));
        verdict(ending == 6);
    }

    function late() private {
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
    }

    function pastDeadline() private {
        vm.warp(market.job(jobId).deadlineS + 1);
        expire();
    }
}
