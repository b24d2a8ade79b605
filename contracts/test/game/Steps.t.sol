// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../../src/ChunkTree.sol";
import {Dispute, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {JobSpec} from "../../src/interfaces/IJobMarket.sol";
import {Docket} from "../../src/Docket.sol";
import {Opening} from "../../src/interfaces/IDocket.sol";
import {Jobs} from "../../src/market/Jobs.sol";
import {Game} from "../../src/game/Game.sol";
import {StepMoves} from "../../src/game/StepMoves.sol";
import {Fixture} from "./Fixture.sol";
import {Trees} from "./Trees.sol";

/// Opening a dispute, and phase Steps.
contract StepsTest is Fixture {
    bytes32[] private none;
    bytes32 private constant CLAIMED = keccak256("claimed");

    function openSteps(uint64 steps) private {
        JobSpec memory spec = defaultSpec();
        spec.steps = steps;
        spec.stepsPerCheckpoint = steps;
        openSimple(spec, CLAIMED);
    }

    function posted(uint256 parts) private view returns (bytes32[] memory roots) {
        roots = hashes("root", parts);
        roots[parts - 1] = disputes.dispute(id).afterRoot;
    }

    function postSteps(bytes32[] memory roots) private {
        bytes32 p = position();
        as_(solver);
        disputes.postSteps(id, p, roots);
    }

    function pointStep(bytes32[] memory roots, uint32 part) private {
        bytes32 before = part == 0 ? disputes.dispute(id).beforeRoot : roots[part - 1];
        bytes32[] memory beforeProof = part == 0 ? none : Trees.leafProof(roots, part - 1);
        pointStep(part, before, beforeProof, roots[part], Trees.leafProof(roots, part));
    }

    function pointStep(uint32 part, bytes32 before, bytes32[] memory bp, bytes32 afterRoot, bytes32[] memory ap)
        private
    {
        bytes32 p = position();
        as_(challenger);
        disputes.pointStep(id, p, part, before, bp, afterRoot, ap);
    }

    function assertSegment(uint64 firstStep, uint64 steps) private view {
        Dispute memory d = disputes.dispute(id);
        assertEq(d.firstStep, firstStep, "firstStep");
        assertEq(d.steps, steps, "steps");
    }

    // ---- open --------------------------------------------------------------------------------------------------

    function test_openStartsAtTheTraceWhenTheSegmentIsOneStep() public {
        openSteps(1);
        assertStands(Phase.Trace, Side.Defender);
        Dispute memory d = disputes.dispute(id);
        assertEq(d.defender, solver);
        assertEq(d.challenger, challenger);
        assertEq(d.position, keccak256(abi.encode(id, CLAIMED, uint32(0))));
        assertEq(d.beforeRoot, keccak256("initial state"));
        assertEq(d.afterRoot, CLAIMED);
        assertEq(standingClaim().disputes, 1);
        assertEq(stakes.heldWei(address(docket)), 501);
    }

    function test_openCoversTheStepsOfItsCheckpoint() public {
        // 23 steps, a checkpoint every 5, milestones of 2: checkpoints end at 5 10 | 15 20 | 23
        JobSpec memory spec = defaultSpec();
        (spec.steps, spec.stepsPerCheckpoint, spec.checkpointsPerMilestone) = (23, 5, 2);
        post(spec);
        take();
        for (uint256 m = 0; m < 2; ++m) {
            bytes32[] memory roots = hashes(m == 0 ? "first" : "second", 2);
            claim(roots);
            assertEq(claimRoot(), Trees.root(roots));
            openAs(challenger, openingAt(roots, 1));
            assertSegment(uint64(10 * m + 5), 5);
            assertEq(disputes.dispute(id).milestone, m, "milestone");
            loseByTime();
            passWindow();
            settle();
            assertEq(market.job(jobId).stateRoot, roots[1]);
        }
        bytes32[] memory last = hashes("last", 1);
        claim(last);
        openFirst(last[0]);
        assertSegment(20, 3);
        assertEq(disputes.dispute(id).beforeRoot, nth("second", 1));
    }

    /// The defender answers, the challenger does not.
    function loseByTime() private {
        postSteps(posted(5));
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPhase(Phase.DefenderWon);
    }

    function test_openRefusesWhatTheClaimDoesNotSay() public {
        JobSpec memory spec = defaultSpec();
        (spec.steps, spec.checkpointsPerMilestone) = (3, 3);
        post(spec);
        take();
        bytes32[] memory roots = hashes("root", 3);
        claim(roots);
        bytes32 c = claimRoot();
        bytes32 initial = spec.initialStateRoot;
        bytes32 other = keccak256("other");
        Opening memory o = openingAt(roots, 0);

        o.claimRoot = other;
        refused(abi.encodeWithSelector(Docket.WrongClaim.selector, c, other));
        openAs(challenger, o);
        o = openingAt(roots, 2);
        o.checkpoint = 3;
        refused(abi.encodeWithSelector(Docket.PastTheEnd.selector, 3, 3));
        openAs(challenger, o);
        o = openingAt(roots, 0);
        o.afterRoot = other;
        refused(abi.encodeWithSelector(Docket.WrongHash.selector, c, proofRoot(other, 0, o.afterProof)));
        openAs(challenger, o);
        o = openingAt(roots, 0);
        o.beforeRoot = other;
        refused(abi.encodeWithSelector(Docket.WrongBeforeRoot.selector, initial, other));
        openAs(challenger, o);
        o = openingAt(roots, 0);
        o.beforeProof = o.afterProof;
        refused(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, 2, 0));
        openAs(challenger, o);
        o = openingAt(roots, 1);
        o.beforeRoot = other;
        refused(abi.encodeWithSelector(Docket.WrongHash.selector, c, proofRoot(other, 0, o.beforeProof)));
        openAs(challenger, o);
        o.beforeRoot = roots[0];
        o.beforeProof = none;
        refused(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, 0, 2));
        openAs(challenger, o);
        openAs(challenger, openingAt(roots, 1));
    }

    function proofRoot(bytes32 leaf, uint256 index, bytes32[] memory proof) private pure returns (bytes32 hash) {
        hash = leaf;
        for (uint256 l = 0; l < proof.length; ++l) {
            hash = (index >> l) & 1 == 0 ? Trees.pair(hash, proof[l]) : Trees.pair(proof[l], hash);
        }
    }

    function test_openOnlyAgainstAStandingClaimInItsWindow() public {
        post(defaultSpec());
        take();
        refused(abi.encodeWithSelector(Jobs.NoSuchClaim.selector, jobId, 0));
        openFirst(CLAIMED);
        claim(list(CLAIMED));
        uint64 end = standingClaim().windowEndS;
        vm.warp(end - 1);
        refused(abi.encodeWithSelector(Docket.WindowClosed.selector, end));
        openFirst(CLAIMED); // is named a second later
        vm.warp(end - 2);
        openFirst(CLAIMED);
    }

    function test_announcingNeedsTheBond() public {
        post(defaultSpec());
        take();
        claim(list(CLAIMED));
        vm.prank(challenger);
        token.approve(address(stakes), 500);
        refused(
            abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", address(stakes), 500, 501)
        );
        announce(challenger, opening(CLAIMED));
    }

    // ---- steps -------------------------------------------------------------------------------------------------

    function test_twoSteps() public {
        openSteps(2);
        assertStands(Phase.Steps, Side.Defender);
        bytes32[] memory roots = posted(2);
        postSteps(roots);
        assertStands(Phase.Steps, Side.Challenger);
        pointStep(roots, 1);
        assertStands(Phase.Trace, Side.Defender);
        assertSegment(1, 1);
        assertEq(disputes.dispute(id).beforeRoot, roots[0]);
        assertEq(disputes.dispute(id).afterRoot, CLAIMED);
    }

    function test_256StepsAreOneList() public {
        openSteps(256);
        bytes32[] memory roots = posted(256);
        postSteps(roots);
        pointStep(roots, 0);
        assertStands(Phase.Trace, Side.Defender);
        assertSegment(0, 1);
        assertEq(disputes.dispute(id).beforeRoot, keccak256("initial state"));
        assertEq(disputes.dispute(id).afterRoot, roots[0]);
    }

    function test_257StepsAreAPartOf256AndAPartOfOne() public {
        openSteps(257);
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 2, 257));
        postSteps(posted(257));
        bytes32[] memory roots = posted(2);
        postSteps(roots);
        uint256 fork = vm.snapshotState();
        pointStep(roots, 1);
        assertStands(Phase.Trace, Side.Defender);
        assertSegment(256, 1);
        vm.revertToState(fork);
        pointStep(roots, 0);
        assertStands(Phase.Steps, Side.Defender);
        assertSegment(0, 256);
        postSteps(posted(256));
    }

    function test_65537StepsTakeThreeLists() public {
        openSteps(65_537);
        bytes32[] memory roots = posted(2); // parts of 65,536
        postSteps(roots);
        pointStep(roots, 0);
        assertSegment(0, 65_536);
        roots = posted(256); // parts of 256
        postSteps(roots);
        pointStep(roots, 200);
        assertSegment(51_200, 256);
        roots = posted(256);
        postSteps(roots);
        pointStep(roots, 255);
        assertSegment(51_455, 1);
        assertStands(Phase.Trace, Side.Defender);
    }

    function testFuzz_everyWalkEndsAtOneStepInside(uint64 steps, uint256 seed) public {
        steps = 1 + steps % (1 << 40);
        openSteps(steps);
        uint256 lists = 0;
        while (disputes.dispute(id).phase == Phase.Steps) {
            uint256 part = 1;
            uint256 left = disputes.dispute(id).steps;
            while (part * 256 < left) part *= 256;
            uint256 parts = (left + part - 1) / part;
            bytes32[] memory roots = posted(parts);
            postSteps(roots);
            seed = uint256(keccak256(abi.encode(seed)));
            pointStep(roots, uint32(seed % parts));
            ++lists;
        }
        assertStands(Phase.Trace, Side.Defender);
        Dispute memory d = disputes.dispute(id);
        assertEq(d.steps, 1, "one step");
        assertTrue(d.firstStep < steps);
        assertTrue(lists <= 5);
    }

    function test_postStepsRefusesAnotherEndOrCount() public {
        openSteps(3);
        bytes32[] memory roots = posted(3);
        roots[2] = keccak256("other");
        refused(abi.encodeWithSelector(Game.WrongHash.selector, CLAIMED, roots[2]));
        postSteps(roots);
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 3, 2));
        postSteps(posted(2));
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 3, 0));
        postSteps(none);
    }

    function test_pointStepRefusesWhatWasNotPosted() public {
        openSteps(3);
        bytes32[] memory roots = posted(3);
        postSteps(roots);
        bytes32 other = keccak256("other");
        bytes32[] memory p0 = Trees.leafProof(roots, 0);
        bytes32[] memory p1 = Trees.leafProof(roots, 1);
        bytes32 cursor = Trees.root(roots);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, cursor, proofRoot(other, 1, p1)));
        pointStep(1, roots[0], p0, other, p1);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, cursor, proofRoot(other, 0, p0)));
        pointStep(1, other, p0, roots[1], p1);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, cursor, proofRoot(roots[1], 0, p1)));
        pointStep(1, roots[1], p1, roots[1], p1);
        refused(abi.encodeWithSelector(StepMoves.WrongBeforeRoot.selector, keccak256("initial state"), other));
        pointStep(0, other, none, roots[0], p0);
        refused(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, 2, 0));
        pointStep(0, keccak256("initial state"), p0, roots[0], p0);
        refused(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, 0, 2));
        pointStep(1, roots[0], none, roots[1], p1);
    }

    function test_pointerPastTheEndOfTheSteps() public {
        openSteps(3);
        bytes32[] memory roots = posted(3);
        postSteps(roots);
        // the fourth place is in the tree, but padding
        bytes32[] memory proof = new bytes32[](2);
        (proof[0], proof[1]) = (roots[2], Trees.pair(roots[0], roots[1]));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointStep(3, roots[2], Trees.leafProof(roots, 2), 0, proof);
    }
}
