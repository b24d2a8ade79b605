// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Disputes} from "../../src/Disputes.sol";
import {Dispute, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {Test} from "../Test.sol";

/// The game with a dispute put on the board, so that one move can be made from any state of the clocks.
contract Board is Disputes {
    constructor() Disputes(address(1)) {}

    function put(Side turn, uint32 moverS, uint32 otherS, uint32 graceS, uint64 startedS) external {
        Dispute storage d = _disputes[0];
        (d.phase, d.turn, d.turnStartedS) = (Phase.Judge, turn, startedS);
        (d.defenderClockS, d.challengerClockS) = turn == Side.Defender ? (moverS, otherS) : (otherS, moverS);
        _terms[0].graceS = graceS;
    }

    /// What every move does first; who moves is not checked here.
    function move() external {
        _judgement(0, 0, Phase.Judge);
    }
}

/// The clocks for all values. `forge test` draws them; halmos proves them: docs/analysis.md.
contract ClocksProof is Test {
    Board private board = new Board();

    function testProve_clocksNeverGiveBackMoreThanTheGrace(
        bool defender,
        uint32 moverS,
        uint32 otherS,
        uint32 graceS,
        uint32 startedS,
        uint32 elapsedS
    ) public {
        board.put(defender ? Side.Defender : Side.Challenger, moverS, otherS, graceS, startedS);
        uint256 mayS = moverS > graceS ? moverS : graceS;
        assert(board.deadlineS(0) == uint256(startedS) + mayS);
        vm.warp(uint256(startedS) + elapsedS);
        try board.move() {
            assert(elapsedS <= mayS);
            Dispute memory d = board.dispute(0);
            (uint32 leftS, uint32 untouchedS) =
                defender ? (d.defenderClockS, d.challengerClockS) : (d.challengerClockS, d.defenderClockS);
            assert(untouchedS == otherS);
            assert(leftS == (elapsedS < moverS ? moverS - elapsedS : 0));
            // What was used and what is left is never more than there was, but for the grace of this one move.
            assert(uint256(leftS) + elapsedS <= mayS);
        } catch {
            assert(elapsedS > mayS);
        }
    }
}
