// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IParameters, Shares, Values} from "./interfaces/IParameters.sol";
import {JobSpec} from "./interfaces/IJobMarket.sol";
import {JobBounds} from "./game/JobBounds.sol";
import {ParameterBounds} from "./game/ParameterBounds.sol";

/// What the owner, a timelock, may set: fees, shares, least stakes and times, each within bounds in code. Every change is
/// a new version, and a job keeps the version it was posted under.
contract Parameters is IParameters, Ownable {
    /// There is no such version yet.
    error UnknownVersion(uint32 version, uint32 current);
    /// New jobs are refused for now; running ones go on.
    error JobsPaused();

    Values[] private _versions;
    bool public override paused;

    constructor(address owner_, Values memory first) Ownable(owner_) {
        _push(first);
    }

    function set(Values calldata values) external onlyOwner {
        _push(values);
    }

    function pause(bool on) external onlyOwner {
        paused = on;
        emit Paused(on);
    }

    function current() public view returns (uint32) {
        return uint32(_versions.length);
    }

    function valuesOf(uint32 version) external view returns (Values memory) {
        return _at(version);
    }

    function shares(uint32 version) external view returns (Shares memory) {
        Values storage v = _at(version);
        return Shares(v.feeBps, v.winnerBps, v.reservedBps, v.requesterBps, v.lateBps, v.retractBps);
    }

    function _at(uint32 version) private view returns (Values storage) {
        if (version == 0 || version > _versions.length) revert UnknownVersion(version, current());
        return _versions[version - 1];
    }

    function check(JobSpec calldata spec) external view returns (uint32 version, uint32 milestones) {
        if (paused) revert JobsPaused();
        version = current();
        milestones = JobBounds.checkSpec(spec, _versions[version - 1]);
    }

    function _push(Values memory values) private {
        ParameterBounds.check(values);
        _versions.push(values);
        emit ParametersSet(current(), values);
    }
}
