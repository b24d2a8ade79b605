// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {JobMarket} from "../../src/JobMarket.sol";
import {Parameters} from "../../src/Parameters.sol";
import {Stakes} from "../../src/Stakes.sol";
import {IJobMarket, IJobReceiver, Job, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {JobBounds} from "../../src/game/JobBounds.sol";
import {Claims} from "../../src/market/Claims.sol";
import {Jobs} from "../../src/market/Jobs.sol";
import {Fixture} from "./Fixture.sol";
import {Trees} from "./Trees.sol";

/// The life of a job without a dispute: who may do what, when, with what they believe.
contract MarketTest is Fixture {
    function threeMilestones() private view returns (JobSpec memory spec) {
        spec = defaultSpec();
        // checkpoints at 5 10 | 15 20 | 23
        (spec.steps, spec.stepsPerCheckpoint, spec.checkpointsPerMilestone) = (23, 5, 2);
    }

    /// Those of the next milestone to claim.
    function nextRoots() private view returns (bytes32[] memory) {
        Job memory job = market.job(jobId);
        uint256 m = job.finalMilestones + job.standingClaims;
        return hashes(m == 0 ? "a" : m == 1 ? "b" : "c", m == 2 ? 1 : 2);
    }

    // ---- post and withdraw -------------------------------------------------------------------------------------

    function test_postKeepsWhatItNeeds() public {
        JobSpec memory spec = threeMilestones();
        post(spec);
        assertEq(jobId, 1, "first job");
        assertEq(market.jobCount(), 1, "count");
        Job memory job = market.job(jobId);
        assertStatus(JobStatus.Open);
        assertEq(job.requester, requester);
        assertEq(job.milestones, 3, "milestones");
        assertEq(job.specHash, keccak256(abi.encode(spec)));
        assertEq(job.deadlineS, block.timestamp + 100, "take deadline");
        assertEq(stakes.heldWei(address(market)), 3 * 333, "escrow");
    }

    function test_postNeedsTheEscrow() public {
        vm.prank(requester);
        token.approve(address(stakes), 332);
        refused(
            abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", address(stakes), 332, 333)
        );
        post(defaultSpec());
    }

    function test_pausingStopsNewJobsOnly() public {
        post(defaultSpec());
        uint256 running = jobId;
        parameters.pause(true);
        refused(abi.encodeWithSelector(Parameters.JobsPaused.selector));
        post(defaultSpec());
        jobId = running;
        take();
        claim(hashes("a", 1));
        passWindow();
        settle();
        assertStatus(JobStatus.Done);
        parameters.pause(false);
        post(defaultSpec());
    }

    function test_withdraw() public {
        post(threeMilestones());
        JobSpec memory spec = specs[jobId];
        refused(abi.encodeWithSelector(Jobs.NotRequester.selector, stranger, requester));
        as_(stranger);
        market.withdraw(jobId, spec);
        vm.expectEmit();
        emit IJobMarket.JobWithdrawn(jobId, 999);
        withdrawJob();
        assertStatus(JobStatus.Withdrawn);
        assertPurse(requester, 0, 0);
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Withdrawn));
        withdrawJob();
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Withdrawn));
        take();
    }

    function test_aTakenJobCannotBeWithdrawn() public {
        post(defaultSpec());
        take();
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Taken));
        withdrawJob();
    }

    function test_unknownJob() public {
        jobId = 9;
        bytes memory reason = abi.encodeWithSelector(Jobs.WrongStatus.selector, 9, JobStatus.None);
        refused(reason);
        take();
        refused(reason);
        withdrawJob();
        refused(reason);
        claim(hashes("a", 1));
        refused(reason);
        settle();
        refused(reason);
        expire();
        refused(reason);
        reopen();
    }

    function test_everyCallChecksTheSpec() public {
        post(threeMilestones());
        bytes32 right = market.job(jobId).specHash;
        JobSpec memory spec = specs[jobId];
        spec.endPriceWei += 1;
        specs[jobId] = spec;
        bytes memory reason = abi.encodeWithSelector(Jobs.WrongSpecHash.selector, right, keccak256(abi.encode(spec)));
        refused(reason);
        take();
        refused(reason);
        withdrawJob();
        refused(reason);
        expire();
        spec.endPriceWei -= 1;
        specs[jobId] = spec;
        take();
        spec.uri = "elsewhere";
        specs[jobId] = spec;
        reason = abi.encodeWithSelector(Jobs.WrongSpecHash.selector, right, keccak256(abi.encode(spec)));
        refused(reason);
        claim(hashes("a", 2));
        refused(reason);
        settle();
        refused(reason);
        expire();
        refused(reason);
        as_(requester);
        market.stop(jobId, spec);
    }

    // ---- take --------------------------------------------------------------------------------------------------

    function test_take() public {
        post(defaultSpec());
        vm.warp(block.timestamp + 100);
        take();
        Job memory job = market.job(jobId);
        assertEq(job.solver, solver);
        assertEq(job.attempt, 1, "attempt");
        assertEq(job.deadlineS, block.timestamp + 200, "claim deadline");
        assertPurse(solver, 0, 1003);
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Taken));
        take();
    }

    function test_takeTooLate() public {
        post(defaultSpec());
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline + 1);
        refused(abi.encodeWithSelector(Jobs.TooLate.selector, deadline));
        take();
    }

    function test_takeNeedsHardwareAndStake() public {
        post(defaultSpec());
        refused(abi.encodeWithSelector(JobMarket.NotRegistered.selector, stranger, HARDWARE));
        takeAs(stranger);
        as_(stranger);
        stakes.registerSolver(HARDWARE, true);
        as_(stranger);
        stakes.deposit(1002);
        refused(abi.encodeWithSelector(Stakes.NotEnough.selector, "free stake", 1002, 1003));
        takeAs(stranger);
        as_(stranger);
        stakes.deposit(1);
        takeAs(stranger);
        assertEq(market.job(jobId).solver, stranger);
    }

    function test_thePriceRisesAndIsFixedByWhoTakes() public {
        JobSpec memory spec = threeMilestones();
        (spec.startPriceWei, spec.endPriceWei, spec.auctionS) = (100, 333, 80);
        post(spec);
        uint64 start = uint64(block.timestamp);
        uint256 opened = vm.snapshotState();
        uint128[5] memory prices = [uint128(100), 158, 216, 330, 333];
        uint8[5] memory seconds_ = [0, 20, 40, 79, 80];
        for (uint256 i = 0; i < 5; ++i) {
            vm.warp(start + seconds_[i]);
            refused(abi.encodeWithSelector(JobMarket.PriceBelow.selector, prices[i], prices[i] + 1));
            as_(solver);
            market.take(jobId, spec, prices[i] + 1);
            as_(solver);
            market.take(jobId, spec, prices[i]);
            assertEq(market.job(jobId).priceWei, prices[i], "price");
            vm.revertToState(opened);
        }
        vm.warp(start + 20);
        take();
        for (uint256 m = 0; m < 3; ++m) {
            claim(nextRoots());
            passWindow();
            settle();
        }
        // 158 less 3 of fee, three times; the rest of the escrow is back
        assertPurse(solver, 465, 0);
        assertPurse(requester, 0, 474);
        assertEarned(treasury, 9);
        assertSettledToTheWei();
    }

    // ---- claim and settle --------------------------------------------------------------------------------------

    function test_threeMilestonesToTheEnd() public {
        post(threeMilestones());
        take();
        uint256 fee = uint256(333) * FEE_BPS / 10_000;
        for (uint32 m = 0; m < 3; ++m) {
            bytes32[] memory roots = nextRoots();
            claim(roots);
            assertEq(claimRoot(), Trees.root(roots));
            refused(abi.encodeWithSelector(Jobs.WrongMilestone.selector, m + 1, m));
            claimAgain(m);
            passWindow();
            vm.expectEmit();
            emit IJobMarket.MilestoneSettled(jobId, m, 333 - fee, fee, 0, roots[roots.length - 1]);
            if (m == 2) {
                vm.expectEmit();
                emit IJobMarket.JobDone(jobId, roots[0]);
            }
            settle();
            assertEq(market.job(jobId).finalMilestones, m + 1, "final");
            assertEq(market.job(jobId).stateRoot, roots[roots.length - 1]);
        }
        assertStatus(JobStatus.Done);
        assertPurse(solver, 3 * (333 - fee), 0);
        assertPurse(requester, 0, 999);
        assertEarned(treasury, 3 * fee);
        assertSettledToTheWei();
    }

    function claimAgain(uint32 milestone) private {
        JobSpec memory spec = specs[jobId];
        as_(solver);
        market.claim(jobId, spec, milestone, hashes("again", 2), "");
    }

    function test_claimRefusals() public {
        post(threeMilestones());
        JobSpec memory spec = specs[jobId];
        bytes32[] memory roots = hashes("a", 2);
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Open));
        claim(roots);
        take();
        refused(abi.encodeWithSelector(Jobs.NotSolver.selector, stranger, solver));
        as_(stranger);
        market.claim(jobId, spec, 0, roots, "");
        refused(abi.encodeWithSelector(Jobs.WrongMilestone.selector, 0, 1));
        as_(solver);
        market.claim(jobId, spec, 1, roots, "");
        refused(abi.encodeWithSelector(Claims.WrongCheckpointCount.selector, 2, 1));
        claim(hashes("a", 1));
        refused(abi.encodeWithSelector(Claims.WrongCheckpointCount.selector, 2, 3));
        claim(hashes("a", 3));
        roots[1] = 0;
        refused(abi.encodeWithSelector(Claims.ZeroRoot.selector, 1));
        claim(roots);
        string memory uri = string(new bytes(1025));
        refused(abi.encodeWithSelector(JobBounds.OutOfBounds.selector, "uri", 1025, 0, 1024));
        as_(solver);
        market.claim(jobId, spec, 0, hashes("a", 2), uri);
        refused(abi.encodeWithSelector(Claims.WrongClaimKind.selector, 0));
        as_(solver);
        market.commitClaim(jobId, spec, 0, keccak256("commitment"));
        claim(hashes("a", 2));
        refused(abi.encodeWithSelector(Claims.TooManyClaims.selector, 1, 1));
        claim(hashes("b", 2));
        refused(abi.encodeWithSelector(Claims.AlreadyRevealed.selector, Trees.root(hashes("a", 2))));
        as_(solver);
        market.retract(jobId, spec, 0);
    }

    function test_claimTooLate() public {
        post(defaultSpec());
        take();
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline + 1);
        refused(abi.encodeWithSelector(Jobs.TooLate.selector, deadline));
        claim(hashes("a", 1));
        vm.warp(deadline);
        claim(hashes("a", 1));
    }

    function test_settleRefusals() public {
        post(defaultSpec());
        take();
        refused(abi.encodeWithSelector(Jobs.WrongClaim.selector, bytes32(0), bytes32(0)));
        settle();
        claim(hashes("a", 1));
        uint64 end = standingClaim().windowEndS;
        vm.warp(end - 1);
        refused(abi.encodeWithSelector(JobMarket.WindowOpen.selector, end));
        settle();
        vm.warp(end);
        JobSpec memory spec = specs[jobId];
        refused(abi.encodeWithSelector(Jobs.WrongClaim.selector, nth("a", 0), bytes32(uint256(1))));
        as_(stranger);
        market.settle(jobId, spec, bytes32(uint256(1)));
        settle();
    }

    // ---- claims side by side -----------------------------------------------------------------------------------

    function test_claimsStandSideBySideAndAreFinalInOrder() public {
        JobSpec memory spec = threeMilestones();
        spec.standingClaims = 2;
        post(spec);
        take();
        claim(nextRoots());
        vm.warp(block.timestamp + 100);
        claim(nextRoots());
        refused(abi.encodeWithSelector(Claims.TooManyClaims.selector, 2, 2));
        claim(nextRoots());
        assertEq(market.standing(jobId, 1).startRoot, nth("a", 1), "from where the claim before ends");
        vm.warp(block.timestamp + 400); // both windows are over
        bytes32 second = market.claimOf(jobId, 1).claimRoot;
        refused(abi.encodeWithSelector(Jobs.WrongClaim.selector, Trees.root(hashes("a", 2)), second));
        as_(stranger);
        market.settle(jobId, spec, second);
        settle();
        settle();
        claim(nextRoots());
        passWindow();
        settle();
        assertStatus(JobStatus.Done);
        assertSettledToTheWei();
    }

    /// A conviction voids every claim that is not final; what is final stays paid.
    function test_aChainOfClaimsVoidedByOneConviction() public {
        JobSpec memory spec = threeMilestones();
        (spec.steps, spec.standingClaims) = (40, 3); // four milestones
        post(spec);
        take();
        claim(hashes("a", 2));
        passWindow();
        settle();
        claim(hashes("b", 2));
        claim(hashes("c", 2));
        claim(hashes("d", 2));
        openAs(challenger, openingAt(hashes("b", 2), 1));
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertStatus(JobStatus.Convicted);
        for (uint32 m = 1; m < 4; ++m) {
            assertFalse(market.stands(jobId, 1, m));
        }
        reopen();
        becomeSolver(stranger);
        takeAs(stranger);
        assertEq(market.job(jobId).attempt, 2, "attempt");
        assertEq(market.job(jobId).stateRoot, nth("a", 1));
        solver = stranger;
        for (uint256 m = 1; m < 4; ++m) {
            claim(hashes("e", 2));
            passWindow();
            settle();
        }
        assertStatus(JobStatus.Done);
        solver = makeAddr("solver");
        assertSettledToTheWei();
    }

    // ---- stop --------------------------------------------------------------------------------------------------

    function test_stoppingEndsTheJobAfterTheMilestoneInWork() public {
        post(threeMilestones());
        take();
        JobSpec memory spec = specs[jobId];
        refused(abi.encodeWithSelector(Jobs.NotRequester.selector, solver, requester));
        as_(solver);
        market.stop(jobId, spec);
        claim(nextRoots());
        vm.expectEmit();
        emit IJobMarket.JobStopped(jobId, 2, 333);
        as_(requester);
        market.stop(jobId, spec);
        refused(abi.encodeWithSelector(JobMarket.NothingToStop.selector, 2));
        as_(requester);
        market.stop(jobId, spec);
        assertPurse(requester, 0, 666);
        passWindow();
        settle();
        claim(nextRoots());
        passWindow();
        settle();
        assertStatus(JobStatus.Done);
        assertSettledToTheWei();
    }

    // ---- expire ------------------------------------------------------------------------------------------------

    function test_expireWhatNobodyTook() public {
        post(threeMilestones());
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline);
        refused(abi.encodeWithSelector(Jobs.TooEarly.selector, deadline));
        expire();
        vm.warp(deadline + 1);
        vm.expectEmit();
        emit IJobMarket.JobExpired(jobId, 999);
        expire();
        assertStatus(JobStatus.Expired);
        assertPurse(requester, 0, 0);
        assertSettledToTheWei();
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Expired));
        expire();
    }

    function test_aLateSolverPaysAndTheJobGoesBackToTheMarket() public {
        post(threeMilestones());
        take();
        claim(nextRoots());
        passWindow();
        settle();
        uint256 fee = uint256(333) * FEE_BPS / 10_000;
        uint64 deadline = market.job(jobId).deadlineS;
        vm.warp(deadline);
        refused(abi.encodeWithSelector(Jobs.TooEarly.selector, deadline));
        expire();
        vm.warp(deadline + 1);
        vm.expectEmit();
        emit IJobMarket.SolverLate(jobId, solver, 1, 501);
        expire();
        assertStatus(JobStatus.Open);
        assertPurse(requester, 501, 999);
        assertPurse(solver, 333 - fee, 501);
        refused(abi.encodeWithSelector(JobMarket.Barred.selector, jobId, solver));
        take();
        withdrawJob();
        assertPurse(requester, 501, 333);
        assertSettledToTheWei();
    }

    function test_aStandingClaimIsNotLate() public {
        post(defaultSpec());
        take();
        claim(hashes("a", 1));
        vm.warp(block.timestamp + 10_000);
        refused(abi.encodeWithSelector(JobMarket.ClaimStands.selector, 0));
        expire();
        settle();
    }

    // ---- jobs of contracts -------------------------------------------------------------------------------------

    function test_aContractIsToldTheResult() public {
        Receiver receiver = new Receiver();
        JobSpec memory spec = defaultSpec();
        spec.callback = address(receiver);
        for (uint8 mood = 0; mood < 4; ++mood) {
            receiver.setMood(mood);
            post(spec);
            take();
            claim(hashes("a", 1));
            passWindow();
            if (mood != 0) {
                vm.expectEmit();
                emit IJobMarket.CallbackFailed(jobId, address(receiver));
            }
            settle();
            assertStatus(JobStatus.Done);
        }
        assertEq(receiver.results(1), nth("a", 0));
        assertSettledToTheWei();
    }

    /// Whoever settles cannot make the receiver fail by sending too little gas.
    function test_theReceiversGasIsThere() public {
        Receiver receiver = new Receiver();
        JobSpec memory spec = defaultSpec();
        spec.callback = address(receiver);
        post(spec);
        take();
        claim(hashes("a", 1));
        passWindow();
        bytes32 root = claimRoot();
        (bool ok, bytes memory answer) =
            address(market).call{gas: 250_000}(abi.encodeCall(IJobMarket.settle, (jobId, spec, root)));
        assertFalse(ok);
        assertEq(bytes32(bytes4(answer)), bytes32(JobMarket.NotEnoughGas.selector));
        settle();
        assertEq(receiver.results(jobId), nth("a", 0));
    }

    // ---- the docket's calls ------------------------------------------------------------------------------------

    function test_onlyTheDocket() public {
        bytes memory reason = abi.encodeWithSelector(Jobs.NotDocket.selector, stranger, address(docket));
        refused(reason);
        as_(stranger);
        market.disputeOpened(1, 0, 1);
        refused(reason);
        as_(stranger);
        market.decided(1, 1, 0, 1, true);
        refused(reason);
        as_(stranger);
        market.slash(1, 0, stranger, stranger, 0);
    }

    function test_noSettlementWhileADisputeStands() public {
        openSimple(defaultSpec(), keccak256("claimed"));
        passWindow();
        refused(abi.encodeWithSelector(JobMarket.DisputesStand.selector, 1));
        settle();
    }
}

/// A receiver of results, well behaved or not.
contract Receiver is IJobReceiver {
    mapping(uint256 jobId => bytes32) public results;
    uint8 private _mood;

    function setMood(uint8 mood) external {
        _mood = mood;
    }

    function jobDone(uint256 jobId, bytes32 root) external {
        if (_mood == 1) revert("no");
        if (_mood == 2) while (true) {}
        if (_mood == 3) {
            assembly ("memory-safe") {
                revert(0, 1000000)
            }
        }
        results[jobId] = root;
    }
}
