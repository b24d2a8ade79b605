// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {DevToken} from "../../src/DevToken.sol";
import {Test} from "../Test.sol";

/// Cheat codes that only this test needs.
interface VmKeys {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
}

contract DevTokenTest is Test {
    DevToken private token = new DevToken(1e24);

    function test_theDeployerHasItAll() public view {
        assertEq(token.totalSupply(), 1e24);
        assertEq(token.balanceOf(address(this)), 1e24);
        assertEq(token.decimals(), 18);
    }

    function test_permit() public {
        VmKeys keys = VmKeys(address(vm));
        address owner = keys.addr(7);
        address spender = makeAddr("spender");
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 message = keccak256(abi.encode(typeHash, owner, spender, 55, 0, block.timestamp));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), message));
        (uint8 v, bytes32 r, bytes32 s) = keys.sign(7, digest);
        token.permit(owner, spender, 55, block.timestamp, v, r, s);
        assertEq(token.allowance(owner, spender), 55);
        vm.expectPartialRevert(bytes4(keccak256("ERC2612InvalidSigner(address,address)")));
        token.permit(owner, spender, 55, block.timestamp, v, r, s);
    }
}
