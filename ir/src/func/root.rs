//! The reciprocal of the square root.

use crate::expr::{Expr, f};

/// `1 / √x`, of the rounded root: ±∞ at ±0, NaN below.
#[must_use]
pub fn rsqrt(x: &Expr) -> Expr {
    f(1.0) / x.sqrt()
}
