// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the node's tests call. The compiled form is in Probe.hex (solc 0.8, Cancun, optimised, without metadata).
contract Probe {
    event Set(address indexed by, uint256 indexed key, uint256 value);

    error TooBig(uint256 value, uint256 limit);

    mapping(uint256 => uint256) public values;

    function set(uint256 key, uint256 value) external {
        if (value > 1000) revert TooBig(value, 1000);
        values[key] = value;
        emit Set(msg.sender, key, value);
    }

    /// Sets a run of values; with value 0 it earns refunds.
    function fill(uint256 from, uint256 count, uint256 value) external {
        for (uint256 key = from; key < from + count; ++key) values[key] = value;
    }

    function why() external pure {
        revert("plainly no");
    }

    /// Works at the bottom of a stack of calls, each of which holds back a 64th of the gas.
    function deep(uint256 depth, uint256 rounds) external returns (bytes32 digest) {
        if (depth > 0) return this.deep(depth - 1, rounds);
        for (uint256 round = 0; round < rounds; ++round) digest = keccak256(abi.encode(digest, round));
        values[rounds] = uint256(digest);
    }

    /// Fails unless it has more gas left than it will use.
    function greedy(uint256 reserve) external {
        require(gasleft() > reserve, "not enough in reserve");
        values[1] = 1;
    }

    function environment() external view returns (uint256, uint256, uint256, uint256, address, bytes32) {
        return (block.number, block.timestamp, block.chainid, block.basefee, block.coinbase, blockhash(block.number - 1));
    }
}
