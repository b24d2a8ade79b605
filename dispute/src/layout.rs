//! How lists are laid out: parts of a segment, levels of a tree, block results of a fold.

use lockstep_commit::tree;
use lockstep_ir::program::{BLOCK, level_count, top_level};

/// Binary levels that one posted list spans at most.
pub const LEVELS: u8 = 8;
/// Entries that a posted list has at most.
pub const MAX_ENTRIES: u64 = 256;

/// Steps of one part of a segment: the largest power of 256 below `steps`, so that there are 2 to 256 parts.
#[must_use]
pub fn part_steps(steps: u64) -> u64 {
    let mut part = 1u64;
    while part.checked_mul(MAX_ENTRIES).is_some_and(|next| next < steps) {
        part *= MAX_ENTRIES;
    }
    part
}

/// Parts of a segment of `steps` steps; the last may be short.
#[must_use]
pub fn parts(steps: u64) -> u64 {
    steps.div_ceil(part_steps(steps))
}

/// Part `part` of a segment: steps from the segment's start to the part's, and steps in the part.
#[must_use]
pub fn part(steps: u64, part: u64) -> (u64, u64) {
    let size = part_steps(steps);
    let start = part * size;
    (start, size.min(steps.saturating_sub(start)))
}

/// The level of a tree that is posted under a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Binary levels from the cursor down to the entries.
    pub levels: u8,
    /// Binary levels from the entries down to the leaves.
    pub below: u8,
    /// Entries with a real leaf: the ones posted.
    pub real: u64,
}

/// The level under the subtree `index` with `depth` levels below it, in a tree over `count` leaves.
#[must_use]
pub fn level(count: u64, depth: u8, index: u64) -> Level {
    let levels = depth.min(LEVELS);
    Level { levels, below: depth - levels, real: tree::real_children(count, depth, index, levels) }
}

/// Block results of a fold that are posted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockList {
    /// Their level: 1 for results of leaf blocks.
    pub level: u32,
    /// Index of the first among all of that level.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// The list owed under block `block_index` of `block_level`; `block_level` 0 is the element itself, under which the highest
/// level with more than one value is owed. `fold_length` > 256.
#[must_use]
pub fn block_list(fold_length: u64, block_level: u8, block_index: u64) -> BlockList {
    if block_level == 0 {
        let level = top_level(fold_length);
        return BlockList { level, first: 0, count: level_count(fold_length, level) };
    }
    let level = u32::from(block_level) - 1;
    let first = block_index * BLOCK;
    BlockList { level, first, count: BLOCK.min(level_count(fold_length, level).saturating_sub(first)) }
}

/// Where a pointer at entry `child` of `list` leads: down through blocks with one child, whose value it is.
#[must_use]
pub fn enter_block(fold_length: u64, list: BlockList, child: u64) -> (u8, u64) {
    let (mut level, mut index) = (list.level as u8, list.first + child);
    while level > 1 && block_list(fold_length, level, index).count == 1 {
        level -= 1;
        index *= BLOCK;
    }
    (level, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_have_2_to_256_parts_that_cover_them() {
        for steps in [2, 3, 255, 256, 257, 511, 65_535, 65_536, 65_537, 70_000, 1 << 24, (1 << 24) + 1, u64::MAX] {
            let parts = parts(steps);
            assert!((2..=256).contains(&parts), "{steps}");
            let (start, size) = part(steps, parts - 1);
            assert_eq!(start + size, steps);
        }
        assert_eq!(part_steps(256), 1);
        assert_eq!(part_steps(257), 256);
        assert_eq!(part(257, 1), (256, 1));
    }

    #[test]
    fn blocks_with_one_child_are_skipped() {
        let top = block_list(65_537, 0, 0);
        assert_eq!(top, BlockList { level: 2, first: 0, count: 2 });
        assert_eq!(enter_block(65_537, top, 0), (2, 0));
        assert_eq!(enter_block(65_537, top, 1), (1, 256));
        assert_eq!(block_list(65_537, 2, 0), BlockList { level: 1, first: 0, count: 256 });
        assert_eq!(block_list(65_536, 0, 0), BlockList { level: 1, first: 0, count: 256 });
        assert_eq!(block_list(257, 0, 0), BlockList { level: 1, first: 0, count: 2 });
        let deep = u64::from(u32::MAX);
        assert_eq!(block_list(deep, 0, 0), BlockList { level: 3, first: 0, count: 256 });
    }

    #[test]
    fn only_real_subtrees_are_posted() {
        assert_eq!(level(257, 9, 0), Level { levels: 8, below: 1, real: 129 });
        assert_eq!(level(257, 1, 128), Level { levels: 1, below: 0, real: 1 });
        assert_eq!(level(1, 0, 0), Level { levels: 0, below: 0, real: 1 });
    }
}
