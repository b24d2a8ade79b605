// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Side} from "../../src/interfaces/IDisputes.sol";
import {Entry, EntryStatus, Opening} from "../../src/interfaces/IDocket.sol";
import {JobMarket} from "../../src/JobMarket.sol";
import {Claim, Job, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Account} from "../../src/interfaces/IStakes.sol";
import {Fixture} from "./Fixture.sol";
import {Trees} from "./Trees.sol";

/// Random lives of several jobs at once, with honest and dishonest parties on both sides. How a game gets to its end is tested
/// elsewhere: here it ends as the truth says, by a judge or by a clock.
///
/// INVARIANTS, after every step: solvent; locked and unbonding are part of the stake; the market holds what unfinished
/// milestones have in escrow. At the end: nothing is held or locked, and no honest party has lost.
contract WalkTest is Fixture {
    uint32 private constant CHECKPOINTS = 2;
    uint256 private constant JOBS = 3;
    uint256 private constant KINDS = 14;

    address private cheat = makeAddr("cheat");
    address private accuser = makeAddr("accuser");
    /// One more than the first wrong checkpoint of a claim; zero if it is right.
    mapping(bytes32 key => uint256) private lies;
    /// Openings of named challenges, to start and reclaim them.
    mapping(uint256 disputeId => Opening) private openings;
    uint256 private rng;
    /// Jobs and disputes that came to their end.
    uint256 private pastJobs;
    uint256 private pastDisputes;
    uint256 private lateWei;
    uint256[16] private done;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < 2; ++i) {
            address who = i == 0 ? cheat : accuser;
            token.transfer(who, PURSE / 10);
            vm.prank(who);
            token.approve(address(stakes), type(uint256).max);
        }
        vm.startPrank(cheat);
        stakes.deposit(uint128(PURSE / 20));
        stakes.registerSolver(HARDWARE, true);
        vm.stopPrank();
    }

    function below(uint256 n) private returns (uint256) {
        rng = uint256(keccak256(abi.encode(rng)));
        return rng % n;
    }

    function testFuzz_aWalk(uint256 seed) public {
        rng = seed;
        for (uint256 i = 0; i < 80; ++i) {
            step(below(KINDS));
            check();
        }
        finish();
    }

    /// Every kind of step succeeds somewhere in a long walk, or the walk would test nothing.
    function test_theWalkGoesEverywhere() public {
        rng = 1;
        for (uint256 i = 0; i < 6_000; ++i) {
            step(below(KINDS));
            if (i % 300 == 299) finish();
        }
        for (uint256 kind = 0; kind < KINDS; ++kind) {
            if (kind == 11) continue; // what is left to reclaim mostly shows in `finish`
            assertTrue(done[kind] > 0, vm.toString(kind));
        }
    }

    // ---- one step ----------------------------------------------------------------------------------------------

    function step(uint256 kind) private {
        bool ok;
        uint256 count = market.jobCount();
        if (kind == 0 || count == 0) {
            ok = open() < JOBS && postOne();
            kind = 0;
        } else {
            jobId = 1 + below(count);
            if (count > JOBS && below(4) != 0) jobId = count - below(JOBS);
            if (kind == 1) ok = takeOne();
            else if (kind == 2) ok = claimOne();
            else if (kind == 3) ok = challengeOne(challenger, true);
            else if (kind == 4) ok = challengeOne(accuser, false) && (below(2) == 0 || challengeOne(accuser, false) || true);
            else if (kind == 5) ok = resolveOne();
            else if (kind == 6) ok = activateOne();
            else if (kind == 7) ok = settleOne();
            else if (kind == 8) ok = below(4) == 0 && expireOne();
            else if (kind == 9) ok = byRequester();
            else if (kind == 10) ok = afterConviction();
            else if (kind == 11) ok = reclaimOne();
            else if (kind == 12) ok = payOne();
            else ok = pass();
        }
        if (ok) ++done[kind];
    }

    function open() private view returns (uint256 count) {
        for (uint256 i = pastJobs + 1; i <= market.jobCount(); ++i) {
            JobStatus s = market.job(i).status;
            if (s == JobStatus.Open || s == JobStatus.Taken || s == JobStatus.Convicted) ++count;
        }
    }

    function postOne() private returns (bool) {
        JobSpec memory spec = defaultSpec();
        spec.checkpointsPerMilestone = CHECKPOINTS;
        spec.steps = uint64(CHECKPOINTS * (1 + below(3)));
        spec.standingClaims = uint8(1 + below(3));
        spec.endPriceWei = uint128(1 + below(400));
        spec.startPriceWei = uint128(1 + below(spec.endPriceWei));
        (spec.auctionS, spec.stakeWei) = (uint32(below(90)), uint128(900 + below(400)));
        spec.bondWei = uint128(10 + below(spec.stakeWei / 2 - 10));
        spec.tipWei = uint128(below(spec.bondWei / 2 + 1));
        post(spec);
        return true;
    }

    function takeOne() private returns (bool) {
        address who = below(3) == 0 ? cheat : solver;
        if (market.job(jobId).status != JobStatus.Open || market.barred(jobId, who)) return false;
        if (block.timestamp > market.job(jobId).deadlineS) return false;
        takeAs(who);
        return true;
    }

    function roots(bytes32 key) private view returns (bytes32[] memory all) {
        all = new bytes32[](CHECKPOINTS);
        for (uint256 i = 0; i < CHECKPOINTS; ++i) {
            all[i] = keccak256(abi.encode(key, i, lies[key]));
        }
    }

    function keyOf(uint32 milestone) private view returns (bytes32) {
        return keccak256(abi.encode(jobId, market.job(jobId).attempt, milestone));
    }

    function claimOne() private returns (bool) {
        Job memory job = market.job(jobId);
        JobSpec memory spec = specs[jobId];
        uint32 m = job.finalMilestones + job.standingClaims;
        if (job.status != JobStatus.Taken || job.standingClaims == spec.standingClaims) return false;
        if (m == job.milestones || block.timestamp > job.deadlineS) return false;
        bytes32 key = keyOf(m);
        if (job.solver == cheat && below(2) == 0) lies[key] = 1 + below(CHECKPOINTS);
        bytes32[] memory claimed = roots(key);
        as_(job.solver);
        market.claim(jobId, spec, m, claimed, "");
        return true;
    }

    /// The honest challenger names the first wrong checkpoint of a wrong claim; the accuser whatever it likes.
    function challengeOne(address who, bool honest) private returns (bool) {
        Job memory job = market.job(jobId);
        if (job.status != JobStatus.Taken || job.standingClaims == 0) return false;
        uint32 m = job.finalMilestones + uint32(below(job.standingClaims));
        bytes32 key = keyOf(m);
        if (honest && lies[key] == 0) return false;
        if (block.timestamp + 1 >= market.claimAt(key).windowEndS) return false;
        Opening memory o = openingAt(roots(key), uint32(honest ? lies[key] - 1 : below(CHECKPOINTS)));
        o.milestone = m;
        if (o.checkpoint == 0 && m != job.finalMilestones) o.beforeRoot = market.claimOf(jobId, m - 1).endRoot;
        if (!honest && lies[key] == o.checkpoint + 1) return false; // it would be right
        openAs(who, o);
        openings[id] = o;
        return true;
    }

    function entryOf(EntryStatus status) private returns (uint256 found, Entry memory e) {
        uint256 count = docket.disputeCount() - pastDisputes;
        if (count == 0) return (0, e);
        uint256 start = below(count);
        for (uint256 i = 0; i < count; ++i) {
            found = pastDisputes + 1 + (start + i) % count;
            e = docket.entry(found);
            if (e.status == status) return (found, e);
        }
        return (0, e);
    }

    function resolveOne() private returns (bool) {
        (uint256 d, Entry memory e) = entryOf(EntryStatus.Active);
        if (d == 0) return false;
        resolve(d, e);
        return true;
    }

    function resolve(uint256 d, Entry memory e) private {
        bool wrong = lies[e.key] == e.checkpoint + 1;
        as_(address(disputes));
        docket.resolved(d, wrong ? Side.Challenger : Side.Defender, below(2) == 0 ? judge : address(0));
    }

    function payOne() private returns (bool) {
        for (uint256 d = pastDisputes + 1; d <= docket.disputeCount(); ++d) {
            Entry memory e = docket.entry(d);
            if ((e.status != EntryStatus.Won && e.status != EntryStatus.Lost) || e.paid || below(2) == 0) continue;
            docket.pay(d);
            return true;
        }
        return false;
    }

    function activateOne() private returns (bool) {
        (uint256 d, Entry memory e) = entryOf(EntryStatus.Queued);
        if (d == 0) return false;
        return activate(d, e);
    }

    function activate(uint256 d, Entry memory e) private returns (bool ok) {
        JobSpec memory spec = specs[e.jobId];
        Opening memory o = openings[d];
        as_(stranger);
        try docket.activate(d, spec, o) {
            ok = true;
        } catch {}
    }

    function settleOne() private returns (bool ok) {
        JobSpec memory spec = specs[jobId];
        Claim memory c = standingClaim();
        as_(stranger);
        try market.settle(jobId, spec, c.claimRoot) {
            ok = true;
            // a wrong claim became final: nobody looked in time
        } catch {}
    }

    function expireOne() private returns (bool ok) {
        Job memory job = market.job(jobId);
        JobSpec memory spec = specs[jobId];
        as_(stranger);
        try market.expire(jobId, spec) {
            ok = true;
            if (job.status == JobStatus.Taken && job.solver == solver) lateWei += uint256(job.stakeWei) / 2;
        } catch {}
    }

    function byRequester() private returns (bool ok) {
        JobSpec memory spec = specs[jobId];
        as_(requester);
        if (below(2) == 0) {
            try market.stop(jobId, spec) {
                ok = true;
            } catch {}
        } else if (below(4) == 0) {
            try market.withdraw(jobId, spec) {
                ok = true;
            } catch {}
        }
        vm.stopPrank();
    }

    function afterConviction() private returns (bool) {
        Job memory job = market.job(jobId);
        if (job.status != JobStatus.Convicted) return false;
        if (job.stakeWei != 0) refused(abi.encodeWithSelector(JobMarket.NotYetSlashed.selector, jobId, job.stakeWei));
        reopen();
        return job.stakeWei == 0;
    }

    function reclaimOne() private returns (bool) {
        for (uint256 d = pastDisputes + 1; d <= docket.disputeCount(); ++d) {
            Entry memory e = docket.entry(d);
            if (e.status != EntryStatus.Active && e.status != EntryStatus.Queued) continue;
            if (market.stands(e.jobId, e.attempt, e.milestone)) continue;
            docket.reclaim(d, openings[d]);
            return true;
        }
        return false;
    }

    function pass() private returns (bool) {
        vm.warp(block.timestamp + 1 + below(50));
        return true;
    }

    // ---- what always holds -------------------------------------------------------------------------------------

    function check() private view {
        uint256 owed;
        for (uint256 i = pastJobs + 1; i <= market.jobCount(); ++i) {
            Job memory job = market.job(i);
            if (job.status == JobStatus.Open || job.status == JobStatus.Taken || job.status == JobStatus.Convicted) {
                owed += uint256(specs[i].endPriceWei) * (job.milestones - job.finalMilestones);
            }
        }
        assertEq(stakes.heldWei(address(market)), owed, "escrow of what is not final");
        address[8] memory all = [requester, solver, challenger, stranger, judge, treasury, cheat, accuser];
        uint256 sum = owed + stakes.heldWei(address(docket));
        for (uint256 i = 0; i < 8; ++i) {
            Account memory a = stakes.account(all[i]);
            assertLe(a.lockedWei + a.unbondingWei, a.stakeWei, "part of the stake");
            sum += uint256(a.balanceWei) + a.stakeWei;
        }
        assertEq(token.balanceOf(address(stakes)), sum, "solvent");
    }

    /// Every job and every challenge comes to its end, whatever state it was in.
    function finish() private {
        for (uint256 round = 0; round < 12; ++round) {
            vm.warp(block.timestamp + 400);
            for (uint256 d = pastDisputes + 1; d <= docket.disputeCount(); ++d) {
                Entry memory e = docket.entry(d);
                if (e.status == EntryStatus.Active) resolve(d, e);
                e = docket.entry(d);
                if ((e.status == EntryStatus.Won || e.status == EntryStatus.Lost) && !e.paid) docket.pay(d);
                if (e.status == EntryStatus.Queued && !activate(d, e)) {
                    Opening memory o = openings[d];
                    try docket.reclaim(d, o) {} catch {}
                }
            }
            for (uint256 i = pastJobs + 1; i <= market.jobCount(); ++i) {
                jobId = i;
                settleOne();
                expireOne();
                if (status() == JobStatus.Open || status() == JobStatus.Convicted) withdrawJob();
            }
        }
        check();
        (pastJobs, pastDisputes) = (market.jobCount(), docket.disputeCount());
        assertEq(stakes.heldWei(address(market)), 0, "escrow left");
        assertEq(stakes.heldWei(address(docket)), 0, "bonds left");
        address[2] memory solvers = [solver, cheat];
        for (uint256 i = 0; i < 2; ++i) {
            assertEq(stakes.account(solvers[i]).lockedWei, 0, "stake left locked");
        }
        assertGe(purse(solver) + lateWei, PURSE); // an honest solver loses only by being late
        assertGe(purse(challenger), PURSE); // an honest challenger never
        assertLe(purse(accuser), PURSE / 10, "accusing falsely earns nothing");
    }
}
