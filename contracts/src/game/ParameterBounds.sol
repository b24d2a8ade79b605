// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Values} from "../interfaces/IParameters.sol";
import {JobBounds} from "./JobBounds.sol";

/// Hard bounds of the parameters. No owner can leave them.
library ParameterBounds {
    uint16 internal constant BPS = 10_000;
    /// Longer than a window, both clocks and the graces of a game together.
    uint32 internal constant MIN_UNBONDING_S = JobBounds.MAX_WINDOW_S + 2 * JobBounds.MAX_CLOCK_S;
    uint32 internal constant MAX_UNBONDING_S = 365 days;

    function check(Values memory v) internal pure {
        _checkShares(v);
        _check("maxStandingClaims", v.maxStandingClaims, 1, 16);
        _check("minWindowS", v.minWindowS, 1, 7 days);
        _check("minClockS", v.minClockS, 1, 7 days);
        _check("challengeRevealS", v.challengeRevealS, 1, 7 days);
        _check("unbondingS", v.unbondingS, MIN_UNBONDING_S, MAX_UNBONDING_S);
        _check("minSolverStakeWei", v.minSolverStakeWei, 1, JobBounds.MAX_WEI);
        _check("minVerifierStakeWei", v.minVerifierStakeWei, 1, JobBounds.MAX_WEI);
        _check("minBondWei", v.minBondWei, 10, JobBounds.MAX_WEI);
    }

    function _checkShares(Values memory v) private pure {
        _check("feeBps", v.feeBps, 0, 1_000);
        _check("winnerBps", v.winnerBps, 1_000, 5_000);
        _check("reservedBps", v.reservedBps, 2_500, 5_000);
        _check("requesterBps", v.requesterBps, 0, 9_000);
        _check("defenderBps", v.defenderBps, 2_500, 9_000);
        _check("lateBps", v.lateBps, 500, 5_000);
        _check("retractBps", v.retractBps, 100, 2_500);
        _check("unrevealedBps", v.unrevealedBps, 500, 5_000);
        _check("idleBps", v.idleBps, 500, 5_000);
        _check("concedeBps", v.concedeBps, 100, 2_500);
    }

    function _check(string memory field, uint256 value, uint256 min, uint256 max) private pure {
        JobBounds.check(field, value, min, max);
    }
}
