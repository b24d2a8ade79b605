//! The error function.

use super::exp;
use crate::expr::{Expr, f, select};

/// `erf x`: an odd polynomial up to 0.92; above, `1 − e^-r(x)` with a polynomial for `r = −ln erfc x`. Keeps the sign of a zero.
#[must_use]
pub fn erf(x: &Expr) -> Expr {
    let z = x * x;
    // Weighted minimax fit of (erf x − x) / x in x² on ±0.92.
    let mut p = f(7.991_312e-5);
    for c in [-8.048_934_4e-4, 5.192_365e-3, -2.685_572_6e-2, 0.112_836_26, -0.376_126_3, 0.128_379_17] {
        p = p.fma(&z, &f(c));
    }
    let small = x.fma(&p, x);
    // From 3.93 on the result is 1; the polynomial is fitted up to 4.
    let a = x.abs();
    let a = select(&f(4.0).lt(&a), &f(4.0), &a);
    let mut r = f(-1.959_324_7e-4);
    for c in [3.043_190_8e-3, -2.222_686_8e-2, 0.103_931_56, 0.637_182_24, 1.127_675_7, 1.956_665_4e-4] {
        r = r.fma(&a, &f(c));
    }
    let large = f(1.0) - exp(&r.neg());
    let large = select(&x.lt(&f(0.0)), &large.neg(), &large);
    select(&a.lt(&f(0.92)), &small, &large)
}
