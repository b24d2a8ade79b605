// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {StateDecl} from "@ir/Program.sol";
import {Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {IReferee, OperandWitness} from "../../src/interfaces/IReferee.sol";
import {Game} from "../../src/game/Game.sol";
import {Verdicts} from "../../src/game/Verdicts.sol";
import {UnitKind} from "../../src/game/UnitKind.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// Phases Judge and JudgeState. What the referee computes is the double's word here.
contract VerdictsTest is World {
    uint32 private constant TOP = type(uint32).max;
    bytes private constant TWO = hex"0101010102020202";

    function setUp() public override {
        super.setUp();
        setTensor(0, 300, 0);
    }

    function test_equalValueIsTheDefenders() public {
        reachElement(299);
        answer(claimed(), UnitKind.ELEMENT, 299, 0, "");
        judgeUnit("");
        assertPhase(Phase.DefenderWon);
        assertStatus(JobStatus.Taken);
    }

    function test_anotherValueIsTheChallengers() public {
        reachElement(299);
        answer(claimed() ^ 1, UnitKind.ELEMENT, 299, 0, "");
        judgeUnit("");
        assertPhase(Phase.ChallengerWon);
        assertStatus(JobStatus.Convicted);
    }

    function test_theRefereeIsAskedForTheUnitPointedAt() public {
        setTensor(0, 300, 65_537);
        reachElement(5);
        uint32 element = claimed();
        postBlocks(TWO);
        uint256 fork = vm.snapshotState();
        pointBlock(TOP, TWO);
        answer(element, UnitKind.TOP, 5, 0, TWO);
        judgeUnit(TWO);
        assertPhase(Phase.DefenderWon);
        vm.revertToState(fork);
        pointBlock(1, TWO);
        answer(0x02020202, UnitKind.LEAF, 5, 256, "");
        judgeUnit("");
        assertPhase(Phase.DefenderWon);
        vm.revertToState(fork);
        pointBlock(0, TWO);
        bytes memory list = new bytes(1024);
        postBlocks(list);
        pointBlock(TOP, list);
        answer(0x01010102, UnitKind.COMBINE, 5, 0, list);
        judgeUnit(list);
        assertPhase(Phase.ChallengerWon);
    }

    function test_judgeRefusesOtherValues() public {
        setTensor(0, 300, 65_537);
        reachElement(5);
        postBlocks(TWO);
        uint256 fork = vm.snapshotState();
        pointBlock(TOP, TWO);
        bytes memory other = hex"0101010102020203";
        refused(abi.encodeWithSelector(Game.WrongHash.selector, keccak256(TWO), keccak256(other)));
        judgeUnit(other);
        vm.revertToState(fork);
        pointBlock(1, TWO);
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 0, 8));
        judgeUnit(TWO);
    }

    function test_judgeRefusesAnotherNodeOrHeader() public {
        reachElement(5);
        bytes32 expected = keccak256(nodeBytes());
        bytes32 programRoot = keccak256(abi.encode(header()));
        fold = [7];
        refused(abi.encodeWithSelector(Game.WrongHeader.selector, programRoot, keccak256(abi.encode(header()))));
        judgeUnit("");
        bytes memory other = nodeBytes();
        fold = new uint32[](0);
        bytes32 p = position();
        OperandWitness[] memory witness = new OperandWitness[](0);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, expected, keccak256(other)));
        as_(judge);
        disputes.judge(id, p, header(), other, "", witness);
    }

    function test_aRevertIsNoJudgement() public {
        reachElement(5);
        referee.refuse();
        refused(abi.encodeWithSelector(IReferee.NotJudgeable.selector, "told to refuse"));
        judgeUnit("");
        assertStands(Phase.Judge, Side.Challenger);
    }

    // ---- the state ---------------------------------------------------------------------------------------------

    function reachState(uint256 index) private {
        openWorld();
        postTrace();
        pointState();
        walkTo(afterLeaves(), index);
        assertStands(Phase.JudgeState, Side.Challenger);
    }

    function test_everyKindOfSourceHonestAndNot() public {
        stateCount = 11;
        for (uint256 i = 0; i < stateCount; ++i) {
            uint256 fork = vm.snapshotState();
            reachState(i);
            judgeState();
            assertPhase(Phase.DefenderWon);
            vm.revertToState(fork);
            lieAt = i;
            reachState(i);
            judgeState();
            assertPhase(Phase.ChallengerWon);
            vm.revertToState(fork);
        }
    }

    function test_oneStateTensor() public {
        (stateCount, lieAt) = (1, 0);
        openWorld();
        postTrace();
        pointState();
        judgeState();
        assertPhase(Phase.ChallengerWon);
    }

    function test_judgeStateRefusesAnotherDeclaration() public {
        reachState(1);
        StateDecl memory decl = declAt(1);
        bytes32[] memory leaves = dataLeaves();
        bytes32[] memory declProof = Trees.leafProof(declLeaves(), 1);
        bytes32[] memory proof = Trees.leafProof(leaves, 1);
        decl.index = 1; // the declaration says 0
        bytes32[] memory forged = declLeaves();
        forged[1] = keccak256(abi.encode(decl));
        refused(abi.encodeWithSelector(Game.WrongHash.selector, header().stateDeclsRoot, Trees.root(forged)));
        judgeState(decl, declProof, leaves[1], proof);
    }

    function test_judgeStateRefusesAnotherSource() public {
        reachState(1);
        bytes32[] memory leaves = dataLeaves();
        bytes32[] memory proof = Trees.leafProof(leaves, 0);
        bytes32 other = keccak256("other");
        refused(abi.encodeWithSelector(Game.WrongHash.selector, Trees.root(leaves), Trees.pair(other, leaves[1])));
        judgeState(declAt(1), Trees.leafProof(declLeaves(), 1), other, proof);
    }

    function test_judgementsOnlyInTheirPhases() public {
        reachState(1);
        refused(abi.encodeWithSelector(Game.WrongPhase.selector, Phase.JudgeState));
        judgeUnit("");
    }
}

/// Programs that a requester should not post: the contract still answers with a reason.
contract MalformedProgramTest is World {
    uint8 private source;
    uint32 private index;

    function setUp() public override {
        super.setUp();
        setTensor(0, 8, 0);
    }

    function declAt(uint256) internal view override returns (StateDecl memory decl) {
        decl.shape = new uint32[](1);
        (decl.source, decl.index) = (source, index);
    }

    function afterLeaves() internal view override returns (bytes32[] memory) {
        return hashes("after", stateCount);
    }

    function reach() private {
        openWorld();
        postTrace();
        pointState();
        walkTo(afterLeaves(), 0);
    }

    function test_sourceOfNoKind() public {
        source = 3;
        reach();
        bytes32[] memory none = new bytes32[](0);
        refused(abi.encodeWithSelector(Verdicts.UnknownSource.selector, 3));
        judgeState(declAt(0), Trees.leafProof(declLeaves(), 0), 0, none);
    }

    function test_sourcePastTheEnd() public {
        (source, index) = (1, 2);
        reach();
        bytes32[] memory proof = Trees.leafProof(dataLeaves(), 0);
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 2, 2));
        judgeState(declAt(0), Trees.leafProof(declLeaves(), 0), 0, proof);
    }

    function test_typeOfNoKind() public {
        dtype = 9;
        reachTensor();
        refused(abi.encodeWithSignature("UnknownType(uint8)", 9));
        postTensor();
    }
}
