// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// Payment token of development chains: a fixed supply, all of it the deployer's.
contract DevToken is ERC20, ERC20Permit {
    constructor(uint256 supplyWei)
        ERC20("Lockstep Development Token", "LOCK")
        ERC20Permit("Lockstep Development Token")
    {
        _mint(msg.sender, supplyWei);
    }
}
