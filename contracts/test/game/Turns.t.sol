// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header, StateDecl} from "@ir/Program.sol";
import {Dispute, IDisputes, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {JobSpec} from "../../src/interfaces/IJobMarket.sol";
import {OperandWitness} from "../../src/interfaces/IReferee.sol";
import {Game} from "../../src/game/Game.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// At every place where a dispute can stand: every move of another phase, of the other side, of another caller, answering
/// another position, or too late is refused with its reason.
contract TurnsTest is World {
    struct Move {
        bytes4 selector;
        Phase[3] phases;
        Side side;
        bool anyone;
    }

    uint256 private checked;

    function move(bytes4 selector, Phase phase, Side side, bool anyone) private pure returns (Move memory m) {
        m.selector = selector;
        m.phases = [phase, phase, phase];
        m.side = side;
        m.anyone = anyone;
    }

    function moves() private pure returns (Move[] memory all) {
        all = new Move[](13);
        all[0] = move(IDisputes.postSteps.selector, Phase.Steps, Side.Defender, false);
        all[1] = move(IDisputes.postTrace.selector, Phase.Trace, Side.Defender, false);
        all[2] = move(IDisputes.postChildren.selector, Phase.Nodes, Side.Defender, false);
        all[2].phases = [Phase.Nodes, Phase.States, Phase.Chunks];
        all[3] = move(IDisputes.postTensor.selector, Phase.Tensor, Side.Defender, false);
        all[4] = move(IDisputes.postChunk.selector, Phase.Chunk, Side.Defender, false);
        all[5] = move(IDisputes.postBlocks.selector, Phase.Blocks, Side.Defender, false);
        all[6] = move(IDisputes.pointStep.selector, Phase.Steps, Side.Challenger, false);
        all[7] = move(IDisputes.pointChild.selector, Phase.Nodes, Side.Challenger, false);
        all[7].phases = [Phase.Nodes, Phase.States, Phase.Chunks];
        all[8] = move(IDisputes.pointState.selector, Phase.Nodes, Side.Challenger, false);
        all[9] = move(IDisputes.pointElement.selector, Phase.Chunk, Side.Challenger, false);
        all[10] = move(IDisputes.pointBlock.selector, Phase.Blocks, Side.Challenger, false);
        all[11] = move(IDisputes.judge.selector, Phase.Judge, Side.Challenger, true);
        all[12] = move(IDisputes.judgeState.selector, Phase.JudgeState, Side.Challenger, true);
    }

    /// A well-formed call; what it says does not matter, for it must be refused before that is read.
    function encode(bytes4 s, bytes32 p) private view returns (bytes memory) {
        Header memory h;
        StateDecl memory decl;
        bytes32[] memory none = new bytes32[](0);
        if (s == IDisputes.postTrace.selector) return abi.encodeWithSelector(s, id, p, h, p, none);
        if (s == IDisputes.postTensor.selector) return abi.encodeWithSelector(s, id, p, h, "", none, p, none);
        if (s == IDisputes.pointState.selector) return abi.encodeWithSelector(s, id, p, h);
        if (s == IDisputes.pointStep.selector) return abi.encodeWithSelector(s, id, p, 0, p, none, p, none);
        if (s == IDisputes.pointChild.selector) return abi.encodeWithSelector(s, id, p, 0, p, none);
        if (s == IDisputes.pointElement.selector || s == IDisputes.pointBlock.selector) {
            return abi.encodeWithSelector(s, id, p, 0, "");
        }
        if (s == IDisputes.judge.selector) {
            return abi.encodeWithSelector(s, id, p, h, "", "", new OperandWitness[](0));
        }
        if (s == IDisputes.judgeState.selector) return abi.encodeWithSelector(s, id, p, h, decl, none, p, none);
        return abi.encodeWithSelector(s, id, p, none); // a list of hashes, or bytes
    }

    function assertRefused(address who, bytes memory call, bytes memory reason) private {
        vm.prank(who);
        (bool ok, bytes memory answer) = address(disputes).call(call);
        assertFalse(ok);
        assertEq(answer, reason);
        ++checked;
    }

    /// Tries everything that is not allowed now.
    function checkHere() private {
        Dispute memory d = disputes.dispute(id);
        Move[] memory all = moves();
        for (uint256 i = 0; i < all.length; ++i) {
            Move memory m = all[i];
            bytes memory call = encode(m.selector, d.position);
            address mover = m.side == Side.Defender ? solver : challenger;
            if (m.phases[0] != d.phase && m.phases[1] != d.phase && m.phases[2] != d.phase) {
                assertRefused(mover, call, abi.encodeWithSelector(Game.WrongPhase.selector, d.phase));
            } else if (m.side != d.turn) {
                assertRefused(mover, call, abi.encodeWithSelector(Game.WrongTurn.selector, d.turn));
            } else {
                checkMove(m, d, mover);
            }
        }
        checkTimeout(d);
    }

    function checkMove(Move memory m, Dispute memory d, address mover) private {
        bytes32 other = keccak256(abi.encode(d.position));
        bytes memory reason = abi.encodeWithSelector(Game.WrongPosition.selector, d.position, other);
        assertRefused(mover, encode(m.selector, other), reason);
        bytes memory call = encode(m.selector, d.position);
        if (!m.anyone) {
            bytes4 selector = m.side == Side.Defender ? Game.NotDefender.selector : Game.NotChallenger.selector;
            assertRefused(stranger, call, abi.encodeWithSelector(selector, stranger, mover));
            address opponent = m.side == Side.Defender ? challenger : solver;
            assertRefused(opponent, call, abi.encodeWithSelector(selector, opponent, mover));
        }
        uint64 deadline = disputes.deadlineS(id);
        uint256 fork = vm.snapshotState();
        vm.warp(deadline + 1);
        assertRefused(mover, call, abi.encodeWithSelector(Game.TimeIsUp.selector, deadline));
        vm.revertToState(fork);
    }

    function checkTimeout(Dispute memory d) private {
        bytes memory call = abi.encodeCall(IDisputes.timeout, (id, d.position));
        if (uint256(d.phase) == 0 || uint256(d.phase) >= uint256(Phase.DefenderWon)) {
            assertRefused(stranger, call, abi.encodeWithSelector(Game.WrongPhase.selector, d.phase));
            return;
        }
        uint64 deadline = disputes.deadlineS(id);
        assertRefused(stranger, call, abi.encodeWithSelector(Game.NotYetTimedOut.selector, deadline));
        bytes32 other = keccak256(abi.encode(d.position));
        assertRefused(
            stranger,
            abi.encodeCall(IDisputes.timeout, (id, other)),
            abi.encodeWithSelector(Game.WrongPosition.selector, d.position, other)
        );
    }

    function test_everyPlaceOfAGameAboutANumber() public {
        setTensor(0, 700, 257);
        nodeCount = 600;
        checkHere(); // there is no dispute
        openSteps();
        checkHere();
        bytes32 claimedRoot = disputes.dispute(id).afterRoot;
        bytes32[] memory roots = hashes("root", 2);
        roots[1] = claimedRoot;
        bytes32 p = position();
        vm.prank(solver);
        disputes.postSteps(id, p, roots);
        checkHere();
        p = position();
        bytes32 before = disputes.dispute(id).beforeRoot;
        bytes32[] memory proof = Trees.leafProof(roots, 0);
        vm.prank(challenger);
        disputes.pointStep(id, p, 0, before, new bytes32[](0), roots[0], proof);
        checkHere();
        postTrace();
        checkHere();
        bytes32[] memory level = Trees.children(traceLeaves(), 10, 0);
        pointChild(0, level[0], Trees.proof(level, 2, 8, 0));
        checkHere();
        walkTo(traceLeaves(), node);
        checkHere();
        postTensor();
        checkHere();
        walkTo(Trees.chunkLeaves(tensor()), 0);
        checkHere();
        postChunk(chunkAt(0));
        checkHere();
        pointElement(0, chunkAt(0));
        checkHere();
        postBlocks(new bytes(8));
        checkHere();
        pointBlock(1, new bytes(8));
        checkHere();
        vm.warp(disputes.deadlineS(id) + 1);
        timeout();
        checkHere();
        assertTrue(checked > 200, "the loop tried them all");
    }

    function test_everyPlaceOfAGameAboutTheState() public {
        setTensor(0, 1, 0);
        openWorld();
        postTrace();
        pointState();
        checkHere();
        postChildren(Trees.children(afterLeaves(), 2, 0));
        checkHere();
        walkTo(afterLeaves(), 2);
        checkHere();
        judgeState();
        checkHere();
    }

    function openSteps() private {
        JobSpec memory spec = worldSpec();
        (spec.steps, spec.stepsPerCheckpoint) = (2, 2);
        openSimple(spec, keccak256("claimed"));
    }
}
