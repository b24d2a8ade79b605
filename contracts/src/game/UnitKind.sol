// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Codes of `IReferee.Unit.kind`.
library UnitKind {
    uint8 internal constant ELEMENT = 0;
    uint8 internal constant LEAF = 1;
    uint8 internal constant COMBINE = 2;
    uint8 internal constant TOP = 3;
}
