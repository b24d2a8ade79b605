// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IReferee} from "../interfaces/IReferee.sol";
import {JobSpec} from "../interfaces/IJobMarket.sol";
import {Values} from "../interfaces/IParameters.sol";
import {Schedule} from "./Schedule.sol";

/// The limits on everything a requester may ask for. They keep every game finite and every payment covered.
library JobBounds {
    /// `field` must lie between `min` and `max`. Fix the value and post again.
    error OutOfBounds(string field, uint256 value, uint256 min, uint256 max);
    /// No contract that judges this version of the protocol is at that address.
    error NotAReferee(address referee);

    /// Version of the protocol, which the job's referee must judge.
    uint256 internal constant VERSION = 1;
    uint64 internal constant MAX_STEPS = 1 << 40;
    uint32 internal constant MAX_CHECKPOINTS = 256;
    uint256 internal constant MAX_MILESTONES = 65_536;
    uint256 internal constant MAX_URI_BYTES = 1024;
    uint32 internal constant MAX_WAIT_S = 365 days;
    uint32 internal constant MAX_WINDOW_S = 30 days;
    uint32 internal constant MAX_CLOCK_S = 30 days;
    uint8 internal constant MAX_VERIFIERS = 8;
    uint16 internal constant MAX_HOLDBACK_BPS = 3_000;
    /// Largest amount of one kind: the escrow of the longest job still fits 128 bits.
    uint128 internal constant MAX_WEI = type(uint96).max;
    uint256 private constant BPS = 10_000;

    function check(string memory field, uint256 value, uint256 min, uint256 max) internal pure {
        if (value < min || value > max) revert OutOfBounds(field, value, min, max);
    }

    /// Refuses a spec outside the limits; gives the number of its milestones.
    function checkSpec(JobSpec calldata s, Values memory v) internal view returns (uint32 milestones) {
        check("programRoot", uint256(s.programRoot), 1, type(uint256).max);
        check("initialStateRoot", uint256(s.initialStateRoot), 1, type(uint256).max);
        check("steps", s.steps, 1, MAX_STEPS);
        check("stepsPerCheckpoint", s.stepsPerCheckpoint, 1, s.steps);
        check("checkpointsPerMilestone", s.checkpointsPerMilestone, 1, MAX_CHECKPOINTS);
        uint256 count = Schedule.milestones(s.steps, s.stepsPerCheckpoint, s.checkpointsPerMilestone);
        check("milestones", count, 1, MAX_MILESTONES);
        _checkMoney(s, v);
        _checkTimes(s, v);
        check("standingClaims", s.standingClaims, 1, v.maxStandingClaims);
        check("uri", bytes(s.uri).length, 0, MAX_URI_BYTES);
        _checkReferee(s.referee);
        return uint32(count);
    }

    /// What convicting oneself gives back is at most the winner's share; the rest must be more than a milestone pays. The stake
    /// covers the bond and the bond twice the tip, so every ending can pay what it owes.
    function _checkMoney(JobSpec calldata s, Values memory v) private pure {
        check("endPriceWei", s.endPriceWei, 1, MAX_WEI);
        check("startPriceWei", s.startPriceWei, 1, s.endPriceWei);
        uint256 least = uint256(s.endPriceWei) * BPS / (BPS - v.winnerBps) + 2;
        check("stakeWei", s.stakeWei, least > v.minSolverStakeWei ? least : v.minSolverStakeWei, MAX_WEI);
        check("bondWei", s.bondWei, v.minBondWei, uint256(s.stakeWei) * v.winnerBps / BPS);
        check("tipWei", s.tipWei, 0, s.bondWei / 2);
        check("verifiers", s.verifiers, 0, MAX_VERIFIERS);
        check("verifierFeeWei", s.verifierFeeWei, 0, s.verifiers == 0 ? 0 : MAX_WEI);
        check("holdbackBps", s.holdbackBps, 0, MAX_HOLDBACK_BPS);
    }

    function _checkTimes(JobSpec calldata s, Values memory v) private pure {
        check("auctionS", s.auctionS, 0, MAX_WAIT_S);
        check("takeTimeoutS", s.takeTimeoutS, 1, MAX_WAIT_S);
        check("claimTimeoutS", s.claimTimeoutS, 1, MAX_WAIT_S);
        check("windowS", s.windowS, v.minWindowS, MAX_WINDOW_S);
        check("clockS", s.clockS, v.minClockS, MAX_CLOCK_S);
        check("graceS", s.graceS, 1, s.clockS);
        // a quarter of it is for declining
        check("verifyS", s.verifyS, s.verifiers == 0 ? 0 : 4 * v.minClockS, MAX_WAIT_S);
        check("receiptS", s.receiptS, s.holdbackBps == 0 ? 0 : 1, MAX_WINDOW_S);
    }

    /// Asks with a plain call, so that whatever is at the address gets the same answer.
    function _checkReferee(address referee) private view {
        (bool ok, bytes memory answer) = referee.staticcall(abi.encodeCall(IReferee.version, ()));
        if (!ok || answer.length != 32 || abi.decode(answer, (uint256)) != VERSION) revert NotAReferee(referee);
    }
}
