//! Scalar functions as instruction sequences. Their bits are part of the protocol: a changed bit is a new version.
//!
//! docs/numbers.md has the worst error of each over all 2^32 inputs, and the input that gives it.
//!
//! ```
//! use lockstep_ir::{Ty, expr::{Types, load}, func};
//! let gelu = load(0) * func::erf(&(load(0) * lockstep_ir::expr::f(core::f32::consts::FRAC_1_SQRT_2)));
//! let (code, ty) = gelu.compile(&Types { loads: &[Ty::F32], acc: None })?;
//! assert!(ty == Ty::F32 && code.len() < 100);
//! # Ok::<(), lockstep_ir::expr::ExprError>(())
//! ```

mod erf;
mod exp;
mod integer;
mod log;
mod random;
mod root;
mod trig;

pub use erf::erf;
pub use exp::{exp, sigmoid, tanh};
use integer::divide;
pub use integer::{div_i32, div_u32, rem_i32, rem_u32};
pub use log::log;
pub use random::{below, permutation, philox, uniform};
pub use root::rsqrt;
pub use trig::{cos, sin};

use crate::expr::Expr;
pub use crate::expr::{max, max_nan, min};

/// A function of one `f32` and its name.
pub type Unary = (&'static str, fn(&Expr) -> Expr);

/// Every function of one `f32`.
pub const UNARY: &[Unary] = &[
    ("exp", exp),
    ("log", log),
    ("tanh", tanh),
    ("sigmoid", sigmoid),
    ("erf", erf),
    ("sin", sin),
    ("cos", cos),
    ("rsqrt", rsqrt),
];
