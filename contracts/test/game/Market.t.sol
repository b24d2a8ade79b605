// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {JobMarket} from "../../src/JobMarket.sol";
import {IJobMarket, Job, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {JobBounds} from "../../src/game/JobBounds.sol";
import {Fixture} from "./Fixture.sol";
import {Trees} from "./Trees.sol";

/// The life of a job without a dispute: who may do what, when, with what they believe.
contract MarketTest is Fixture {
    function threeMilestones() private view returns (JobSpec memory spec) {
        spec = defaultSpec();
        // checkpoints at 5 10 | 15 20 | 23
        (spec.steps, spec.stepsPerCheckpoint, spec.checkpointsPerMilestone) = (23, 5, 2);
    }

    function nextRoots() private view returns (bytes32[] memory) {
        uint32 m = market.job(jobId).finalMilestones;
        return hashes(m == 0 ? "a" : m == 1 ? "b" : "c", m == 2 ? 1 : 2);
    }

    // ---- post and cancel ---------------------------------------------------------------------------------------

    function test_postKeepsEverything() public {
        JobSpec memory spec = threeMilestones();
        post(spec);
        assertEq(jobId, 1, "first job");
        assertEq(market.jobCount(), 1, "count");
        Job memory job = market.job(jobId);
        assertStatus(JobStatus.Open);
        assertEq(job.requester, requester);
        assertEq(job.specHash, keccak256(abi.encode(spec)));
        assertEq(job.stateRoot, spec.initialStateRoot);
        assertEq(job.deadlineS, block.timestamp + 100, "take deadline");
        assertEq(keccak256(abi.encode(market.spec(jobId))), keccak256(abi.encode(spec)));
        assertEq(token.balanceOf(address(market)), 3 * 333, "escrow");
    }

    function test_postNeedsTheEscrow() public {
        vm.prank(requester);
        token.approve(address(market), 332);
        refused(
            abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", address(market), 332, 333)
        );
        post(defaultSpec());
    }

    function test_cancel() public {
        post(threeMilestones());
        refused(abi.encodeWithSelector(JobMarket.NotRequester.selector, stranger, requester));
        as_(stranger);
        market.cancel(jobId);
        vm.expectEmit();
        emit IJobMarket.JobCancelled(jobId, 999);
        as_(requester);
        market.cancel(jobId);
        assertStatus(JobStatus.Cancelled);
        assertPurse(requester, 0, 0);
        refused(abi.encodeWithSelector(JobMarket.WrongStatus.selector, jobId, JobStatus.Cancelled));
        as_(requester);
        market.cancel(jobId);
        refused(abi.encodeWithSelector(JobMarket.WrongStatus.selector, jobId, JobStatus.Cancelled));
        take();
    }

    function test_aTakenJobCannotBeCancelled() public {
        post(defaultSpec());
        take();
        refused(abi.encodeWithSelector(JobMarket.WrongStatus.selector, jobId, JobStatus.Taken));
        as_(requester);
        market.cancel(jobId);
    }

    function test_unknownJob() public {
        bytes memory reason = abi.encodeWithSelector(JobMarket.WrongStatus.selector, 9, JobStatus.None);
        refused(reason);
        as_(solver);
        market.take(9, 0);
        refused(reason);
        as_(requester);
        market.cancel(9);
        refused(reason);
        as_(solver);
        market.claim(9, 0, 0, hashes("a", 1), "");
        refused(reason);
        as_(solver);
        market.settle(9, bytes32(uint256(1)));
        refused(reason);
        as_(solver);
        market.expire(9);
    }

    // ---- take --------------------------------------------------------------------------------------------------

    function test_take() public {
        post(defaultSpec());
        bytes32 specHash = market.job(jobId).specHash;
        refused(abi.encodeWithSelector(JobMarket.WrongSpecHash.selector, specHash, bytes32(0)));
        as_(solver);
        market.take(jobId, 0);
        vm.warp(block.timestamp + 100);
        take();
        Job memory job = market.job(jobId);
        assertEq(job.solver, solver);
        assertEq(job.deadlineS, block.timestamp + 200, "claim deadline");
        assertPurse(solver, 0, 1003);
        refused(abi.encodeWithSelector(JobMarket.WrongStatus.selector, jobId, JobStatus.Taken));
        take();
    }

    function test_takeTooLate() public {
        post(defaultSpec());
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline + 1);
        refused(abi.encodeWithSelector(JobMarket.TooLate.selector, deadline));
        take();
    }

    function test_takeNeedsTheStake() public {
        post(defaultSpec());
        vm.prank(solver);
        token.approve(address(market), 1002);
        refused(
            abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", address(market), 1002, 1003)
        );
        take();
    }

    // ---- claim and settle --------------------------------------------------------------------------------------

    function test_threeMilestonesToTheEnd() public {
        post(threeMilestones());
        take();
        uint256 fee = uint256(333) * FEE_BPS / 10_000;
        for (uint32 m = 0; m < 3; ++m) {
            bytes32[] memory roots = nextRoots();
            bytes32 claimRoot = Trees.root(roots);
            vm.expectEmit();
            emit IJobMarket.MilestoneClaimed(jobId, m, claimRoot, roots, "file:///claim", uint64(block.timestamp + 300));
            claim(roots);
            assertEq(market.job(jobId).claimRoot, claimRoot);
            passWindow();
            vm.expectEmit();
            emit IJobMarket.MilestoneSettled(jobId, m, 333 - fee, fee, roots[roots.length - 1]);
            settle();
            Job memory job = market.job(jobId);
            assertEq(job.finalMilestones, m + 1, "final");
            assertEq(job.stateRoot, roots[roots.length - 1]);
            assertEq(job.claimRoot, bytes32(0));
            if (m < 2) assertEq(job.deadlineS, block.timestamp + 200, "next deadline");
        }
        assertStatus(JobStatus.Done);
        assertPurse(solver, 3 * (333 - fee), 0);
        assertEq(token.balanceOf(treasury), 3 * fee, "fees");
        assertSettledToTheWei();
        refused(abi.encodeWithSelector(JobMarket.WrongStatus.selector, jobId, JobStatus.Done));
        claim(hashes("more", 1));
    }

    function test_claimRefusals() public {
        post(threeMilestones());
        bytes32 specHash = market.job(jobId).specHash;
        bytes32[] memory roots = hashes("a", 2);
        refused(abi.encodeWithSelector(JobMarket.WrongStatus.selector, jobId, JobStatus.Open));
        claim(roots);
        take();
        refused(abi.encodeWithSelector(JobMarket.NotSolver.selector, stranger, solver));
        as_(stranger);
        market.claim(jobId, specHash, 0, roots, "");
        refused(abi.encodeWithSelector(JobMarket.WrongSpecHash.selector, specHash, bytes32(0)));
        as_(solver);
        market.claim(jobId, 0, 0, roots, "");
        refused(abi.encodeWithSelector(JobMarket.WrongMilestone.selector, 0, 1));
        as_(solver);
        market.claim(jobId, specHash, 1, roots, "");
        refused(abi.encodeWithSelector(JobMarket.WrongCheckpointCount.selector, 2, 1));
        claim(hashes("a", 1));
        refused(abi.encodeWithSelector(JobMarket.WrongCheckpointCount.selector, 2, 3));
        claim(hashes("a", 3));
        roots[1] = 0;
        refused(abi.encodeWithSelector(JobMarket.ZeroRoot.selector, 1));
        claim(roots);
        string memory uri = string(new bytes(1025));
        refused(abi.encodeWithSelector(JobBounds.OutOfBounds.selector, "uri", 1025, 0, 1024));
        as_(solver);
        market.claim(jobId, specHash, 0, hashes("a", 2), uri);
        claim(hashes("a", 2));
        refused(abi.encodeWithSelector(JobMarket.ClaimStands.selector, Trees.root(hashes("a", 2))));
        claim(hashes("a", 2));
    }

    function test_claimTooLate() public {
        post(defaultSpec());
        take();
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline + 1);
        refused(abi.encodeWithSelector(JobMarket.TooLate.selector, deadline));
        claim(hashes("a", 1));
        vm.warp(deadline);
        claim(hashes("a", 1));
    }

    function test_settleRefusals() public {
        post(defaultSpec());
        take();
        refused(abi.encodeWithSelector(JobMarket.WrongClaim.selector, bytes32(0), bytes32(0)));
        settle();
        claim(hashes("a", 1));
        uint64 end = market.job(jobId).windowEndS;
        vm.warp(end - 1);
        refused(abi.encodeWithSelector(JobMarket.WindowOpen.selector, end));
        settle();
        vm.warp(end);
        refused(abi.encodeWithSelector(JobMarket.WrongClaim.selector, nth("a", 0), bytes32(uint256(1))));
        as_(stranger);
        market.settle(jobId, bytes32(uint256(1)));
        settle();
    }

    // ---- expire ------------------------------------------------------------------------------------------------

    function test_expireWhatNobodyTook() public {
        post(threeMilestones());
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline);
        refused(abi.encodeWithSelector(JobMarket.TooEarly.selector, deadline));
        expire();
        vm.warp(deadline + 1);
        vm.expectEmit();
        emit IJobMarket.JobExpired(jobId, address(0), 0, 999);
        expire();
        assertStatus(JobStatus.Expired);
        assertPurse(requester, 0, 0);
        assertSettledToTheWei();
        refused(abi.encodeWithSelector(JobMarket.WrongStatus.selector, jobId, JobStatus.Expired));
        expire();
    }

    function test_expireWhatWasNotClaimed() public {
        post(threeMilestones());
        take();
        claim(nextRoots());
        passWindow();
        settle();
        uint256 fee = uint256(333) * FEE_BPS / 10_000;
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline);
        refused(abi.encodeWithSelector(JobMarket.TooEarly.selector, deadline));
        expire();
        vm.warp(deadline + 1);
        vm.expectEmit();
        emit IJobMarket.JobExpired(jobId, solver, 501, 666);
        expire();
        assertPurse(requester, 501, 333);
        assertPurse(solver, 333 - fee, 501);
        assertSettledToTheWei();
    }

    function test_aStandingClaimDoesNotExpire() public {
        post(defaultSpec());
        take();
        claim(hashes("a", 1));
        vm.warp(block.timestamp + 10_000);
        refused(abi.encodeWithSelector(JobMarket.ClaimStands.selector, nth("a", 0)));
        expire();
        settle();
    }

    // ---- the disputes contract's calls -------------------------------------------------------------------------

    function test_onlyTheDisputesContract() public {
        bytes memory reason = abi.encodeWithSelector(JobMarket.NotDisputes.selector, stranger, address(disputes));
        refused(reason);
        as_(stranger);
        market.disputeOpened(1, 0, 1);
        refused(reason);
        as_(stranger);
        market.disputeCleared(1, 1);
        refused(reason);
        as_(stranger);
        market.convict(1, 1, stranger, stranger);
    }

    function test_onlyTheStandingDispute() public {
        openSimple(defaultSpec(), keccak256("claimed"));
        bytes memory reason = abi.encodeWithSelector(JobMarket.WrongDispute.selector, id, id + 1);
        refused(reason);
        as_(address(disputes));
        market.disputeCleared(jobId, id + 1);
        refused(reason);
        as_(address(disputes));
        market.convict(jobId, id + 1, challenger, judge);
        refused(abi.encodeWithSelector(JobMarket.DisputeStands.selector, id));
        as_(address(disputes));
        market.disputeOpened(jobId, keccak256("claimed"), id + 1);
    }

    function test_noSettlementWhileADisputeStands() public {
        openSimple(defaultSpec(), keccak256("claimed"));
        passWindow();
        refused(abi.encodeWithSelector(JobMarket.DisputeStands.selector, id));
        settle();
    }

    /// A lost challenge gives the window back the time that it took.
    function test_theWindowIsExtendedByTheDispute() public {
        post(defaultSpec());
        take();
        claim(hashes("a", 1));
        uint64 end = market.job(jobId).windowEndS;
        vm.warp(end - 10);
        openFirst(nth("a", 0));
        loseTheChallenge();
        uint64 extended = market.job(jobId).windowEndS;
        assertEq(extended, block.timestamp + 10, "ten seconds were left");
        refused(abi.encodeWithSelector(JobMarket.WindowOpen.selector, extended));
        settle();
        openFirst(nth("a", 0)); // somebody else may still challenge
    }

    function loseTheChallenge() private {
        // straight from the disputes contract: how the game gets there is tested elsewhere
        vm.warp(block.timestamp + 1234);
        vm.expectEmit();
        emit IJobMarket.DisputeCleared(jobId, id, uint64(block.timestamp + 10));
        as_(address(disputes));
        market.disputeCleared(jobId, id);
    }
}
