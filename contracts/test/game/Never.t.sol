// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../../src/ChunkTree.sol";
import {JobMarket} from "../../src/JobMarket.sol";
import {Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {EntryStatus} from "../../src/interfaces/IDocket.sol";
import {Values} from "../../src/interfaces/IParameters.sol";
import {Jobs} from "../../src/market/Jobs.sol";
import {Game} from "../../src/game/Game.sol";
import {UnitKind} from "../../src/game/UnitKind.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// What must never work, one test each.
contract NeverTest is World {
    function setUp() public override {
        super.setUp();
        setTensor(0, 700, 0);
    }

    /// A defender commits to a last chunk with other bytes than zeros after the real ones: it can never post it.
    function test_nonZeroPaddingBytes() public {
        setTensor(0, 10, 0);
        bytes memory dirty = bytes.concat(tensor(), new bytes(1024 - 40));
        dirty[1023] = 0x01;
        bytes32 leaf = keccak256(dirty);
        bytes32[] memory trace = traceLeaves();
        trace[node] = keccak256(abi.encode(dtype, shape, leaf));
        bytes32[] memory none = new bytes32[](0);
        openWorld();
        postTrace(Trees.root(trace), rootLevel(trace));
        walkTo(trace, node);
        postTensor(nodeBytes(), leaf, none);
        refused(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 1024, 40));
        postChunk(dirty);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, leaf, merkleRoot()));
        postChunk(tensor());
        assertDefenderRunsOut();
    }

    function assertDefenderRunsOut() private {
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPhase(Phase.ChallengerWon);
    }

    /// A fourth leaf hidden in a tree of three nodes, or a whole subtree: no list can open such a root.
    function test_nonEmptyPaddedLeaf() public {
        bytes32[] memory four = new bytes32[](4);
        bytes32[] memory three = traceLeaves();
        (four[0], four[1], four[2], four[3]) = (three[0], three[1], three[2], keccak256("hidden"));
        openWorld();
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 3, 4));
        postTrace(Trees.root(four), four);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, Trees.root(four), Trees.root(three)));
        postTrace(Trees.root(four), three);
        assertDefenderRunsOut();
    }

    function test_nonEmptyPaddedSubtree() public {
        nodeCount = 513; // 129 fours in the first level; the tree has room for 256
        bytes32[] memory real = rootLevel(traceLeaves());
        bytes32[] memory more = new bytes32[](130);
        for (uint256 i = 0; i < 129; ++i) {
            more[i] = real[i];
        }
        more[129] = keccak256("hidden");
        bytes32[] memory row = more;
        for (uint256 l = 2; l < 10; ++l) {
            row = Trees.above(row, l);
        }
        bytes32 root = row[0];
        openWorld();
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 129, 130));
        postTrace(root, more);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, root, Trees.root(traceLeaves())));
        postTrace(root, real);
        assertDefenderRunsOut();
    }

    /// The pointer tests of every level are in StepsTest, WalksTest and ElementsTest; here all of one game in turn.
    function test_pointerPastTheEndAtEachLevel() public {
        fold = [513];
        openWorld();
        postTrace();
        bytes32[] memory level = rootLevel(traceLeaves());
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointChild(3, 0, Trees.proof(level, 0, 2, 3));
        walkTo(traceLeaves(), node);
        postTensor();
        level = rootLevel(Trees.chunkLeaves(tensor()));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointChild(3, 0, Trees.proof(level, 0, 2, 3));
        walkTo(Trees.chunkLeaves(tensor()), 2);
        postChunk(chunkAt(2));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 700, 700));
        pointElement(700, chunkAt(2));
        pointElement(699, chunkAt(2));
        postBlocks(new bytes(12));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointBlock(3, new bytes(12));
    }

    function test_judgeTimeOutBlamesTheChallenger() public {
        reachElement(0);
        assertStands(Phase.Judge, Side.Challenger);
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPhase(Phase.DefenderWon);
    }

    function test_judgeStateTimeOutBlamesTheChallenger() public {
        openWorld();
        postTrace();
        pointState();
        walkTo(afterLeaves(), 0);
        assertStands(Phase.JudgeState, Side.Challenger);
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertPhase(Phase.DefenderWon);
    }

    /// The trace is fixed before anything is pointed at, and stays what it is for the judgement.
    function test_aTraceRootChosenAfterThePointer() public {
        openWorld();
        postTrace();
        bytes32 first = disputes.dispute(id).traceRoot;
        bytes32[] memory other = hashes("another trace", 3);
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.Nodes));
        postTrace(Trees.root(other), other);
        walkTo(traceLeaves(), node);
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.Tensor));
        postTrace(Trees.root(other), other);
        assertEq(disputes.dispute(id).traceRoot, first);
    }

    /// One dispute is played per checkpoint: a second one waits, so there are no two games in which to say two things.
    function test_contradictoryAnswersInParallelDisputes() public {
        openWorld();
        uint256 first = id;
        openFirst(Trees.root(afterLeaves()));
        assertEq(uint256(docket.entry(id).status), uint256(EntryStatus.Queued));
        assertPhase(Phase.None);
        id = first;
        assertStands(Phase.Trace, Side.Defender);
    }

    function test_copiedPointerMoves() public {
        openWorld();
        postTrace();
        bytes32 p = position();
        bytes32[] memory level = rootLevel(traceLeaves());
        bytes32[] memory proof = Trees.proof(level, 0, 2, 1);
        refused(abi.encodeWithSelector(Game.NotChallenger.selector, stranger, challenger));
        as_(stranger);
        disputes.pointChild(id, p, 1, level[1], proof);
        pointChild(1, level[1], proof);
        // the same move again, and one that answers what stood before
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.Tensor));
        pointChild(1, level[1], proof);
        bytes32 now_ = position();
        refused(abi.encodeWithSelector(Game.WrongPosition.selector, now_, p));
        as_(solver);
        disputes.postTensor(id, p, header(), nodeBytes(), proof, 0, proof);
    }

    function test_raceToConvictOneself() public {
        challenger = solver;
        judge = solver;
        openWorld();
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        assertStatus(JobStatus.Convicted);
        // it has lost more than the milestone would have paid
        assertPurse(solver, 0, 502);
        assertTrue(502 > 333);
    }

    /// After one conviction no claim, settlement or dispute is left in the job until somebody else takes it.
    function test_claimsAfterAConviction() public {
        JobSpec memory spec = defaultSpec();
        spec.steps = 3;
        openSimple(spec, keccak256("claimed"));
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Convicted));
        claim(hashes("more", 1));
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Convicted));
        settle();
        refused(abi.encodeWithSelector(Jobs.WrongStatus.selector, jobId, JobStatus.Convicted));
        expire();
        refused(abi.encodeWithSelector(Jobs.NoSuchClaim.selector, jobId, 0));
        openFirst(keccak256("claimed"));
        reopen();
        refused(abi.encodeWithSelector(JobMarket.Barred.selector, jobId, solver));
        take();
    }

    /// A verdict is given once.
    function test_judgingTwice() public {
        reachElement(0);
        answer(claimed() ^ 1, UnitKind.ELEMENT, 0, 0, "");
        judgeUnit("");
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.ChallengerWon));
        judgeUnit("");
    }

    /// The code is there and is all there is: no switch, no proxy. A job pins its referee and its parameters when it is posted.
    function test_anUpgradeInMidDispute() public {
        reachElement(0);
        // what the owner may set is a new version, and this job keeps its own
        Values memory other = defaultValues();
        (other.winnerBps, other.requesterBps) = (1_000, 0);
        parameters.set(other);
        parameters.pause(true);
        answer(claimed() ^ 1, UnitKind.ELEMENT, 0, 0, "");
        judgeUnit("");
        assertPurse(challenger, 400, 0);
    }
}
