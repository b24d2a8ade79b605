// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// The owner of the parameters: what its proposer wants is public for `delayS` before anyone can carry it out. It has no
/// other administrator than itself.
contract Timelock is TimelockController {
    constructor(uint256 delayS, address[] memory proposers)
        TimelockController(delayS, proposers, new address[](1), address(0))
    {}
}
