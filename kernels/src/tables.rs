//! Where the lanes of a block are.

use lockstep_ir::program::LANES;

use crate::{access::Address, code::WIDTH, memory::Pattern};

/// Where the lanes of a block are in one operand.
pub(crate) struct Table {
    /// Linear: element index of each output at fold position 0. Tested: the same per row, `WIDTH` apart.
    pub(crate) outputs: Vec<i64>,
    size: usize,
    /// Linear: per lane, when lanes differ in their fold position.
    pub(crate) lanes: Vec<i64>,
    pub(crate) pattern: Pattern,
    pub(crate) shift: i64,
    /// Tested: element index of each lane, and whether it is in bounds.
    pub(crate) index: Vec<i64>,
    pub(crate) inside: Vec<u32>,
    /// The position that `index` and `inside` are for.
    pub(crate) stamp: u64,
}

/// Fold positions of the lanes of every output.
#[derive(Default)]
pub(crate) struct Position {
    /// Linear position, one per sub-lane.
    pub(crate) k: Vec<u64>,
    /// Coordinates, all of the first sub-lane, then all of the next.
    pub(crate) digits: Vec<u64>,
    /// Counts the positions that were visited.
    pub(crate) stamp: u64,
}

impl Table {
    pub(crate) fn new(address: &Address) -> Self {
        let size = match address {
            Address::Linear { .. } => WIDTH,
            Address::Tested(rows) => rows.len() * WIDTH,
        };
        Self {
            outputs: Vec::new(),
            size,
            lanes: Vec::new(),
            pattern: Pattern::Table,
            shift: 0,
            index: Vec::new(),
            inside: Vec::new(),
            stamp: 0,
        }
    }

    /// Where the outputs' places go. Many nodes need none, so there is no room for them before the first time.
    pub(crate) fn outputs_mut(&mut self) -> &mut [i64] {
        self.outputs.resize(self.size, 0);
        &mut self.outputs
    }
}

impl Position {
    /// Whether some lane has run out of values. Positions ascend with the sub-lane.
    pub(crate) fn beyond(&self, length: u64) -> bool {
        self.k.last().is_some_and(|&k| k >= length)
    }
}

pub(crate) fn dot(coefficients: &[i64], digits: &[u64]) -> i64 {
    coefficients.iter().zip(digits).fold(0i64, |sum, (&c, &x)| sum.wrapping_add(c.wrapping_mul(x as i64)))
}

/// Sets the lanes of a linear operand from its outputs and their fold positions.
pub(crate) fn place_lanes(table: &mut Table, fold: &[i64], digits: &[u64], outputs: usize, sub: usize, fixed: bool) {
    let part = |s: usize| dot(fold, &digits[s * fold.len()..][..fold.len()]);
    table.shift = part(0);
    // With one fold dimension, lanes keep their distance from the first one.
    if sub == 1 || (fold.len() <= 1 && !table.lanes.is_empty()) {
        return;
    }
    table.lanes.clear();
    let parts: Vec<i64> = (0..sub).map(|s| part(s).wrapping_sub(table.shift)).collect();
    for &start in &table.outputs[..outputs] {
        table.lanes.extend(parts.iter().map(|&p| start.wrapping_add(p)));
    }
    let runs =
        !fixed && sub.is_multiple_of(LANES) && parts.chunks(LANES).all(|c| c.windows(2).all(|w| w[1] - w[0] == 1));
    table.pattern = if runs { Pattern::Runs } else { Pattern::Table };
}
