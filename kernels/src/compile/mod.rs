//! Scalar programs as machine code.
//!
//! ```text
//!  scalar instructions ─► lower ─► draft: vector values ─► emit: registers ─► asm ─► code: executable memory
//!                                  (ops: one table for       routine: the loops around it
//!                                   AVX2 and AVX-512)
//! ```
//!
//! A program runs as one loop, element after element in registers, where the evaluator ([`crate::vector`]) runs each operation over a
//! block in the cache before the next one. Both give the same bits; the evaluator stays for machines without these instructions
//! and for access patterns that are not worth a loop of their own.

mod asm;
mod code;
mod draft;
mod emit;
mod fold;
mod fold_routine;
mod lower;
mod map;
mod masks;
mod operate;
mod ops;
mod routine;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod tests;

pub(crate) use code::Assembly;
pub(crate) use draft::Kind;
pub(crate) use fold::{FoldKernel, FoldStream, Lies, Source, Way, reads_columns, runs_compiled};
pub(crate) use map::{Feed, MapKernel, Shape, Stored};
pub(crate) use ops::Target;

use crate::Isa;

impl Target {
    /// What code for these instructions is made for, if any is made.
    pub(crate) const fn new(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Portable => None,
            Isa::Avx2 => Some(Self::Avx2),
            Isa::Avx512 => Some(Self::Avx512),
        }
    }
}
