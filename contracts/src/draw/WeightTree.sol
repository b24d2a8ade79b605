// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// Weights of numbered slots with their sums in a binary tree, as they were at any time. Node 1 is the root, the children of
/// `n` are `2n` and `2n + 1`, slot `s` is leaf `SLOTS + s`.
library WeightTree {
    using Checkpoints for Checkpoints.Trace208;

    uint256 internal constant DEPTH = 12;
    uint256 internal constant SLOTS = 1 << DEPTH;

    struct Tree {
        mapping(uint256 node => Checkpoints.Trace208) nodes;
    }

    /// Sets a slot's weight from this second on.
    function set(Tree storage tree, uint256 slot, uint208 weight) internal {
        uint256 node = SLOTS + slot;
        uint208 before = tree.nodes[node].latest();
        if (before == weight) return;
        uint48 nowS = uint48(block.timestamp);
        for (; node != 0; node >>= 1) {
            // INVARIANT: a node is the sum of its children, so what is taken away is there
            tree.nodes[node].push(nowS, tree.nodes[node].latest() - before + weight);
        }
    }

    function total(Tree storage tree, uint48 atS) internal view returns (uint208) {
        return tree.nodes[1].upperLookupRecent(atS);
    }

    /// The slot whose part of the total, slots side by side, `point` falls into. `point` is below the total.
    function find(Tree storage tree, uint48 atS, uint256 point) internal view returns (uint256) {
        uint256 node = 1;
        while (node < SLOTS) {
            node <<= 1;
            uint256 left = tree.nodes[node].upperLookupRecent(atS);
            if (point >= left) {
                point -= left;
                ++node;
            }
        }
        return node - SLOTS;
    }
}
