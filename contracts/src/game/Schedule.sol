// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Which steps a milestone and a checkpoint cover; docs/protocol.md, section 4. Market and game both count with it.
library Schedule {
    /// Milestones of the whole job.
    function milestones(uint64 steps, uint64 stepsPerCheckpoint, uint32 checkpointsPerMilestone)
        internal
        pure
        returns (uint256)
    {
        return _ceilDiv(_ceilDiv(steps, stepsPerCheckpoint), checkpointsPerMilestone);
    }

    /// Checkpoints of one milestone; the last one of a job may have fewer. `milestone` must be one of the job's.
    function checkpointsIn(uint64 steps, uint64 stepsPerCheckpoint, uint32 checkpointsPerMilestone, uint32 milestone)
        internal
        pure
        returns (uint256)
    {
        uint256 left = _ceilDiv(steps, stepsPerCheckpoint) - uint256(milestone) * uint256(checkpointsPerMilestone);
        return left < checkpointsPerMilestone ? left : checkpointsPerMilestone;
    }

    /// First step and number of steps between checkpoint `index` of the whole job and the one before it.
    function segment(uint64 steps, uint64 stepsPerCheckpoint, uint256 index)
        internal
        pure
        returns (uint64 firstStep, uint64 count)
    {
        uint256 first = index * stepsPerCheckpoint;
        uint256 left = steps - first;
        firstStep = uint64(first); // below `steps`
        count = left < stepsPerCheckpoint ? uint64(left) : stepsPerCheckpoint;
    }

    function _ceilDiv(uint256 a, uint256 b) private pure returns (uint256) {
        return (a + b - 1) / b;
    }
}
