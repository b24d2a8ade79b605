// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IJobMarket, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Phase} from "../../src/interfaces/IDisputes.sol";
import {UnitKind} from "../../src/game/UnitKind.sol";
import {World} from "./World.sol";

/// Every ending of a dispute, to the wei. Stake 1003, bond 501, tip 101, price 333, fee 2.5 %.
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
        assertEq(token.balanceOf(judge), 101, "tip");
        assertPurse(solver, 400, 1003);
        assertEq(token.balanceOf(address(disputes)), 0, "no bond left");
        assertEq(token.balanceOf(address(market)), 1003 + 333, "stake and escrow untouched");
        passWindow();
        settle();
        assertPurse(solver, 400 + 333 - FEE, 0);
        assertSettledToTheWei();
    }

    function test_challengerLosesByTime() public {
        reachElement(0);
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPurse(challenger, 0, 501);
        assertPurse(solver, 501, 1003);
        passWindow();
        settle();
        assertPurse(solver, 501 + 333 - FEE, 0);
        assertEq(token.balanceOf(judge), 0, "no tip");
        assertSettledToTheWei();
    }

    function test_defenderLosesByJudgement() public {
        reachElement(0);
        answer(claimed() ^ 1, UnitKind.ELEMENT, 0, 0, "");
        // half of 1003 is 501, less the tip 400; of the other 502 the requester has 401 and the treasury 101
        vm.expectEmit();
        emit IJobMarket.SolverConvicted(jobId, 0, solver, challenger, 1003, 400, 333);
        judgeUnit("");
        assertPurse(challenger, 400, 0);
        assertEq(token.balanceOf(judge), 101, "tip");
        assertPurse(requester, 401, 0);
        assertEq(token.balanceOf(treasury), 101, "treasury");
        assertPurse(solver, 0, 1003);
        assertStatus(JobStatus.Convicted);
        assertSettledToTheWei();
    }

    function test_defenderLosesByTime() public {
        openWorld();
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPurse(challenger, 501, 0);
        assertPurse(requester, 401, 0);
        assertEq(token.balanceOf(treasury), 101, "treasury");
        assertPurse(solver, 0, 1003);
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
        assertEq(token.balanceOf(judge), 101, "tip");
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
        vm.expectEmit();
        emit IJobMarket.SolverConvicted(jobId, 1, solver, challenger, 1003, 501, 666);
        timeout();
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
        assertEq(token.balanceOf(address(market)), 333, "the other job's escrow");
        as_(requester);
        market.cancel(other);
        assertEq(token.balanceOf(address(market)), 0, "market");
    }

    // ---- against oneself ---------------------------------------------------------------------------------------

    /// Both sides are one party, with the judge: what it holds at the end is less than at the start.
    function test_convictingOneselfCosts() public {
        judge = solver;
        challenger = solver;
        reachElement(0);
        assertEq(disputes.dispute(id).defender, disputes.dispute(id).challenger);
        verdict(false);
        // the other half of the stake is gone
        assertPurse(solver, 0, 502);
        assertPurse(requester, 401, 0);
    }

    function test_losingToOneselfEarnsNothing() public {
        judge = solver;
        challenger = solver;
        uint256 windowEndS = block.timestamp + 300;
        judgeElement(true);
        assertPurse(solver, 0, 1003); // the stake stays locked; the bond came back, nothing more
        assertTrue(market.job(jobId).windowEndS >= windowEndS);
    }

    // ---- whatever the amounts ----------------------------------------------------------------------------------

    function testFuzz_everyEndingPaysOutExactly(uint128 stake, uint128 bond, uint128 tip, uint128 price, uint8 ending)
        public
    {
        JobSpec memory spec = worldSpec();
        spec.stakeWei = uint128(1 + stake % 1e29);
        spec.bondWei = 1 + bond % spec.stakeWei;
        spec.tipWei = tip % (spec.bondWei / 2 + 1);
        spec.milestonePriceWei = uint128(1 + price % 1e29);
        post(spec);
        end(ending % 8);
        assertSettledToTheWei();
    }

    function end(uint8 ending) private {
        if (ending == 0) {
            as_(requester);
            market.cancel(jobId);
            return;
        }
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
