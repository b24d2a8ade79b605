// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {JobSpec} from "./IJobMarket.sol";

/// What the protocol's owner may set, within the bounds of `ParameterBounds`. Shares are in hundredths of a percent.
struct Values {
    /// Of a paid milestone: to the treasury.
    uint16 feeBps;
    /// Of a convicted solver's stake: to the winner and the assigned verifiers that differed. At most half.
    uint16 winnerBps;
    /// Of the winner's share: kept for assigned verifiers that revealed another root.
    uint16 reservedBps;
    /// Of what the winner leaves of a stake: to the requester. The treasury has the rest.
    uint16 requesterBps;
    /// Of a lost bond after the tip: to the defender. The treasury has the rest, so that losing to oneself costs.
    uint16 defenderBps;
    /// Of the stake of a solver that let a deadline pass: to the requester.
    uint16 lateBps;
    /// Of a milestone's price: what a solver pays to take a committed claim back.
    uint16 retractBps;
    /// Of a bond: lost by who announces a challenge and does not name it.
    uint16 unrevealedBps;
    /// Of a verifier's lock: lost by who is drawn and does not reveal.
    uint16 idleBps;
    /// Of a verifier's lock: lost by who revealed another root and concedes.
    uint16 concedeBps;
    /// Most claims of one job that may stand at once.
    uint8 maxStandingClaims;
    /// Least window and clock that a job may ask for; in production no clock below twice the sequencing window.
    uint32 minWindowS;
    uint32 minClockS;
    /// From the announcement of a challenge: until when it must be named.
    uint32 challengeRevealS;
    /// From asking for a stake back until having it.
    uint32 unbondingS;
    uint128 minSolverStakeWei;
    uint128 minVerifierStakeWei;
    uint128 minBondWei;
}

/// The market's part of a version, as in `Values`.
struct Shares {
    uint16 feeBps;
    uint16 winnerBps;
    uint16 reservedBps;
    uint16 requesterBps;
    uint16 lateBps;
    uint16 retractBps;
}

/// Versions of the parameters. A version never changes; a job keeps the one it was posted under.
interface IParameters {
    event ParametersSet(uint32 indexed version, Values values);
    event Paused(bool paused);

    /// Number of the newest version; the first is 1.
    function current() external view returns (uint32);
    function valuesOf(uint32 version) external view returns (Values memory);
    /// What the market needs of a version.
    function shares(uint32 version) external view returns (Shares memory);
    /// Whether new jobs are refused. Nothing else is ever paused.
    function paused() external view returns (bool);
    /// Refuses a spec outside the limits of the newest version, or any spec while paused; gives that version and the number
    /// of the job's milestones.
    function check(JobSpec calldata spec) external view returns (uint32 version, uint32 milestones);

    // the owner, a timelock
    function set(Values calldata values) external;
    function pause(bool on) external;
}
