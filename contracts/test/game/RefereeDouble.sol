// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Inputs, IReferee, OperandWitness, Unit} from "../../src/interfaces/IReferee.sol";

/// TEST DOUBLE, not a referee: answers what a test told it, for exactly the call the test expects. It lets the tests of the
/// game decide the verdict; what real units give is tested with the real referee.
contract RefereeDouble is IReferee {
    error UnexpectedCall(bytes32 expected, bytes32 given);

    uint32 private _bits;
    bytes32 private _call;
    bool private _refuses;

    function answer(uint32 bits, bytes32 callHash) external {
        (_bits, _call, _refuses) = (bits, callHash, false);
    }

    function refuse() external {
        _refuses = true;
    }

    function version() external pure returns (uint32) {
        return 1;
    }

    function recompute(
        bytes calldata node,
        Inputs calldata inputs,
        Unit calldata unit,
        bytes calldata values,
        OperandWitness[] calldata witness
    ) external view returns (uint32 bits) {
        if (_refuses) revert NotJudgeable("told to refuse");
        bytes32 given = keccak256(abi.encode(node, inputs, unit, values, witness));
        if (given != _call) revert UnexpectedCall(_call, given);
        return _bits;
    }
}

/// A contract at which a job finds another version than it asks for.
contract RefereeOfVersion2 {
    function version() external pure returns (uint32) {
        return 2;
    }
}
