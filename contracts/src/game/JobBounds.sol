// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IReferee} from "../interfaces/IReferee.sol";
import {JobSpec} from "../interfaces/IJobMarket.sol";
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

    function check(string memory field, uint256 value, uint256 min, uint256 max) internal pure {
        if (value < min || value > max) revert OutOfBounds(field, value, min, max);
    }

    /// Refuses a spec outside the limits; gives the number of its milestones.
    function checkSpec(JobSpec calldata s) internal view returns (uint32 milestones) {
        check("programRoot", uint256(s.programRoot), 1, type(uint256).max);
        check("initialStateRoot", uint256(s.initialStateRoot), 1, type(uint256).max);
        check("steps", s.steps, 1, MAX_STEPS);
        check("stepsPerCheckpoint", s.stepsPerCheckpoint, 1, s.steps);
        check("checkpointsPerMilestone", s.checkpointsPerMilestone, 1, MAX_CHECKPOINTS);
        uint256 count = Schedule.milestones(s.steps, s.stepsPerCheckpoint, s.checkpointsPerMilestone);
        check("milestones", count, 1, MAX_MILESTONES);
        _checkMoney(s);
        _checkTimes(s);
        check("uri", bytes(s.uri).length, 0, MAX_URI_BYTES);
        _checkReferee(s.referee);
        return uint32(count);
    }

    /// The stake covers the bond and the bond covers twice the tip, so every ending can pay what it owes.
    function _checkMoney(JobSpec calldata s) private pure {
        check("milestonePriceWei", s.milestonePriceWei, 1, type(uint128).max);
        check("bondWei", s.bondWei, 1, s.stakeWei);
        check("tipWei", s.tipWei, 0, s.bondWei / 2);
    }

    function _checkTimes(JobSpec calldata s) private pure {
        check("takeTimeoutS", s.takeTimeoutS, 1, MAX_WAIT_S);
        check("claimTimeoutS", s.claimTimeoutS, 1, MAX_WAIT_S);
        check("windowS", s.windowS, 1, MAX_WINDOW_S);
        check("clockS", s.clockS, 1, MAX_CLOCK_S);
        check("graceS", s.graceS, 1, s.clockS);
    }

    /// Asks with a plain call, so that whatever is at the address gets the same answer.
    function _checkReferee(address referee) private view {
        (bool ok, bytes memory answer) = referee.staticcall(abi.encodeCall(IReferee.version, ()));
        if (!ok || answer.length != 32 || abi.decode(answer, (uint256)) != VERSION) revert NotAReferee(referee);
    }
}
