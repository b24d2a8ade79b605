//! Random programs and tensors for tests of everything that runs programs. Behind the feature `sample`.
//!
//! ```
//! use lockstep_ir::{eval, sample::{Rng, tensors, valid_program}, validate};
//! let mut rng = Rng::new(1);
//! let program = valid_program(&mut rng, 4, 10_000);
//! assert!(validate(&program).is_ok());
//! let (state, data) = tensors(&mut rng, &program);
//! let trace = eval::step(&program, &state, &data)?.trace;
//! assert_eq!(trace.len(), program.nodes.len());
//! # Ok::<(), lockstep_ir::tensor::TensorError>(())
//! ```

mod code;
mod malformed;
mod node;
mod steps;

use alloc::{vec, vec::Vec};

pub use malformed::any_program;
pub use steps::{Step, steps};

use crate::{
    SplitMix64,
    number::canonical,
    program::{Program, Source, StateDecl, TensorDecl},
    tensor::{Tensor, narrow},
    types::{DType, Ty, element_count},
    validate::validate,
};

/// Random values for programs and tensors, from a seed.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    /// Numbers that this seed gives.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// A number below `n`; 0 for `n = 0`.
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.bits() as u128 * n as u128) >> 64) as u64
    }

    /// True once in `n`.
    pub const fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of the items, of which there must be at least one.
    pub const fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Any float but a NaN payload, with extremes of every field more often than chance gives them.
    pub fn float(&mut self) -> u32 {
        let r = self.bits();
        let fraction = match r >> 32 & 7 {
            0 => 0,
            1 => 0x7f_ffff,
            2 => 1,
            3 => 1 << (r >> 40 & 31) & 0x7f_ffff,
            _ => r as u32 & 0x7f_ffff,
        };
        let exponent = match r >> 48 & 15 {
            0 => 0,
            1 => 255,
            2 => 254,
            3 => 1,
            4..=9 => 120 + (r >> 56) as u32 % 16,
            _ => (r >> 56) as u32,
        };
        canonical(((r >> 47 & 1) as u32) << 31 | exponent << 23 | fraction)
    }

    /// Any integer; most of them small, and so useful as indices.
    pub const fn integer(&mut self) -> u32 {
        let r = self.bits();
        match r >> 61 {
            0 => r as u32,
            1 => 1 << (r & 31),
            2 => (1u32 << (r & 31)).wrapping_neg(),
            3 => (r as u32 & 7).wrapping_sub(4),
            4 => r as u32 & 31,
            _ => r as u32 & 3,
        }
    }

    /// Any value of this type.
    pub fn value(&mut self, ty: Ty) -> u32 {
        if ty == Ty::F32 { self.float() } else { self.integer() }
    }

    /// A random factoring of `n` into at most six factors.
    pub fn factors(&mut self, n: u64) -> Vec<u32> {
        let mut rest = n;
        let mut out = Vec::new();
        for _ in 0..self.below(6) {
            let divisors: Vec<u64> = (1..=rest.min(512)).filter(|d| rest.is_multiple_of(*d)).collect();
            let divisor = self.pick(&divisors);
            let factor = if self.once_in(3) && rest / divisor <= 512 { rest / divisor } else { divisor };
            out.push(factor as u32);
            rest /= factor;
        }
        if rest > 1 || (out.is_empty() && self.once_in(2)) {
            let at = self.below(out.len() as u64 + 1) as usize;
            out.insert(at, rest as u32);
        }
        out
    }
}

/// A random tensor without forbidden NaNs.
///
/// # Panics
/// The shape is refused: see [`crate::types::element_count`].
#[must_use]
pub fn tensor(rng: &mut Rng, decl: &TensorDecl) -> Tensor {
    let count = element_count(&decl.shape).unwrap_or_default();
    let size = decl.dtype.size();
    let bytes = (0..count).flat_map(|_| {
        let stored = narrow(decl.dtype, rng.value(decl.dtype.ty()));
        stored.to_le_bytes().into_iter().take(size)
    });
    match Tensor::from_bytes(decl.clone(), bytes.collect()) {
        Ok(tensor) => tensor,
        Err(error) => panic!("{error}"),
    }
}

/// Random tensors for every state and data tensor of a program.
///
/// # Panics
/// A shape is refused, which validation rules out.
#[must_use]
pub fn tensors(rng: &mut Rng, program: &Program) -> (Vec<Tensor>, Vec<Tensor>) {
    let state = program.state.iter().map(|s| tensor(rng, &s.decl)).collect();
    (state, program.data.iter().map(|d| tensor(rng, d)).collect())
}

/// A random valid program of `nodes` nodes: all types, ranks 0 to 6, maps and folds of both orders, views, gathers, fills, skips,
/// addresses that leave their tensor. A node takes at most about `work` applications of a body.
#[must_use]
pub fn valid_program(rng: &mut Rng, nodes: usize, work: u64) -> Program {
    let mut program = Program { state: Vec::new(), data: vec![], nodes: Vec::new() };
    while program.nodes.len() < nodes {
        let mut next = program.clone();
        node::push(rng, &mut next, work);
        // Not every draft is judgeable; another one is.
        if validate(&next).is_ok() {
            program = next;
        }
    }
    for i in 0..program.state.len() {
        let same = |source: &Source| program.decl(*source) == Some(&program.state[i].decl);
        let sources = (0..nodes as u32).map(Source::Node).chain((0..program.data.len() as u32).map(Source::Data));
        let fits: Vec<Source> = sources.filter(same).chain([Source::State(i as u32)]).collect();
        program.state[i].next = rng.pick(&fits);
    }
    program
}

/// A tensor that the program has, or a new state or data tensor, with its source.
fn any_tensor(rng: &mut Rng, program: &mut Program, decl: TensorDecl) -> Source {
    if program.state.is_empty() || rng.once_in(2) {
        let index = program.state.len() as u32;
        program.state.push(StateDecl { decl, next: Source::State(index) });
        Source::State(index)
    } else {
        program.data.push(decl);
        Source::Data(program.data.len() as u32 - 1)
    }
}

fn any_dtype(rng: &mut Rng) -> DType {
    // Half of all tensors are f32, as in real programs.
    if rng.once_in(2) { DType::F32 } else { rng.pick(&DType::ALL) }
}
