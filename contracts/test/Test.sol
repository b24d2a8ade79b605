// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// The cheat codes that our tests use; Foundry answers them at a fixed address. `forge-std` has no release on npm.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function deal(address who, uint256 wei_) external;
    function warp(uint256 timestamp) external;
    function roll(uint256 number) external;
    function label(address who, string calldata name) external;
    function assume(bool condition) external pure;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectEmit() external;
    function expectEmit(bool topic1, bool topic2, bool topic3, bool data) external;
    function mockCall(address callee, bytes calldata data, bytes calldata result) external;
    function clearMockedCalls() external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function snapshotState() external returns (uint256 id);
    function revertToState(uint256 id) external returns (bool);
    function getCode(string calldata artifact) external view returns (bytes memory);
    function readFile(string calldata path) external view returns (string memory);
    function etch(address who, bytes calldata code) external;
    function toString(uint256 value) external pure returns (string memory);

    function assertTrue(bool value, string calldata reason) external pure;
    function assertTrue(bool value) external pure;
    function assertFalse(bool value) external pure;
    function assertEq(bool a, bool b) external pure;
    function assertEq(uint256 a, uint256 b) external pure;
    function assertEq(uint256 a, uint256 b, string calldata reason) external pure;
    function assertEq(address a, address b) external pure;
    function assertEq(bytes32 a, bytes32 b) external pure;
    function assertEq(bytes32 a, bytes32 b, string calldata reason) external pure;
    function assertEq(string calldata a, string calldata b) external pure;
    function assertEq(bytes calldata a, bytes calldata b) external pure;
    function assertNotEq(bytes32 a, bytes32 b) external pure;
    function assertNotEq(uint256 a, uint256 b) external pure;
    function assertLt(uint256 a, uint256 b) external pure;
    function assertLe(uint256 a, uint256 b) external pure;
    function assertLe(uint256 a, uint256 b, string calldata reason) external pure;
    function assertGt(uint256 a, uint256 b) external pure;
    function assertGe(uint256 a, uint256 b) external pure;
}

/// What every test contract inherits: the cheat codes and assertions under short names.
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    /// Foundry runs a contract as a test when it says so.
    bool public constant IS_TEST = true;

    function assertTrue(bool value) internal pure {
        vm.assertTrue(value);
    }

    function assertTrue(bool value, string memory reason) internal pure {
        vm.assertTrue(value, reason);
    }

    function assertFalse(bool value) internal pure {
        vm.assertFalse(value);
    }

    function assertEq(bool a, bool b) internal pure {
        vm.assertEq(a, b);
    }

    function assertEq(uint256 a, uint256 b) internal pure {
        vm.assertEq(a, b);
    }

    function assertEq(uint256 a, uint256 b, string memory reason) internal pure {
        vm.assertEq(a, b, reason);
    }

    function assertEq(address a, address b) internal pure {
        vm.assertEq(a, b);
    }

    function assertEq(bytes32 a, bytes32 b) internal pure {
        vm.assertEq(a, b);
    }

    function assertEq(bytes32 a, bytes32 b, string memory reason) internal pure {
        vm.assertEq(a, b, reason);
    }

    function assertEq(bytes memory a, bytes memory b) internal pure {
        vm.assertEq(a, b);
    }

    function assertEq(string memory a, string memory b) internal pure {
        vm.assertEq(a, b);
    }

    function assertLe(uint256 a, uint256 b, string memory reason) internal pure {
        vm.assertLe(a, b, reason);
    }

    function assertGt(uint256 a, uint256 b) internal pure {
        vm.assertGt(a, b);
    }

    function assertLt(uint256 a, uint256 b) internal pure {
        vm.assertLt(a, b);
    }

    function assertGe(uint256 a, uint256 b) internal pure {
        vm.assertGe(a, b);
    }

    function makeAddr(string memory name) internal returns (address who) {
        who = address(uint160(uint256(keccak256(bytes(name)))));
        vm.label(who, name);
    }
}
