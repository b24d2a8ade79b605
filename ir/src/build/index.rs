//! Coordinates of an address, as sums and products.

use alloc::{vec, vec::Vec};
use core::ops::{Add, Mul};

use super::BuildError;

/// A coordinate: affine in `o` and `k`, with at most one gathered index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    offset: i64,
    o: Vec<(usize, i64)>,
    k: Vec<(usize, i64)>,
    gathers: Vec<(u8, i64)>,
    /// A number left 64 bits on the way.
    overflow: bool,
}

/// Domain coordinate `d`.
#[must_use]
pub fn o(d: usize) -> Index {
    Index { o: vec![(d, 1)], ..Index::default() }
}

/// Fold coordinate `d`.
#[must_use]
pub fn k(d: usize) -> Index {
    Index { k: vec![(d, 1)], ..Index::default() }
}

/// A constant coordinate.
#[must_use]
pub fn at(offset: i64) -> Index {
    Index { offset, ..Index::default() }
}

/// The value of integer operand `operand` of the same node.
#[must_use]
pub fn gather(operand: u8) -> Index {
    Index { gathers: vec![(operand, 1)], ..Index::default() }
}

impl Add for Index {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        let mut sum = self + b.offset;
        sum.o.extend(b.o);
        sum.k.extend(b.k);
        sum.gathers.extend(b.gathers);
        if b.overflow {
            sum.overflow = true;
        }
        sum
    }
}

impl Add<i64> for Index {
    type Output = Self;
    fn add(mut self, b: i64) -> Self {
        let (offset, overflow) = self.offset.overflowing_add(b);
        self.offset = offset;
        if overflow {
            self.overflow = true;
        }
        self
    }
}

impl Mul<i64> for Index {
    type Output = Self;
    fn mul(mut self, by: i64) -> Self {
        let linear = self.o.iter_mut().chain(&mut self.k).map(|(_, c)| c);
        let numbers = linear.chain(self.gathers.iter_mut().map(|(_, c)| c)).chain([&mut self.offset]);
        for number in numbers {
            let overflow;
            (*number, overflow) = number.overflowing_mul(by);
            if overflow {
                self.overflow = true;
            }
        }
        self
    }
}

/// A row of the access matrix; operand and stride of its gather.
type Row = (Vec<i64>, Option<(u8, i64)>);

impl Index {
    pub(super) fn row(&self, place: [usize; 3], [rank_o, rank_k]: [usize; 2]) -> Result<Row, BuildError> {
        let [node, operand, dim] = place;
        let mut row = vec![0i64; 1 + rank_o + rank_k];
        row[0] = self.offset;
        let mut overflow = self.overflow;
        for (what, terms, base, count) in [("o", &self.o, 1, rank_o), ("k", &self.k, 1 + rank_o, rank_k)] {
            for &(index, c) in terms {
                if index >= count {
                    return Err(BuildError::Coordinate { node, operand, what, index, count });
                }
                let over;
                (row[base + index], over) = row[base + index].overflowing_add(c);
                overflow |= over;
            }
        }
        match self.gathers[..] {
            _ if overflow => Err(BuildError::Range { node, operand, dim }),
            [] => Ok((row, None)),
            [gather] => Ok((row, Some(gather))),
            _ => Err(BuildError::Gathers { node, operand, dim, got: self.gathers.len() }),
        }
    }
}
