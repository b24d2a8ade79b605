//! Scalar code written as expressions; types are found when it is compiled.
//!
//! ```
//! use lockstep_ir::expr::{acc, f, load};
//! // One step of a dot product, and a scaled result.
//! let body = load(0).fma(&load(1), &acc());
//! let finish = acc() * f(0.5);
//! # let _ = (body, finish);
//! ```

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use core::ops;

use crate::{
    number::canonical,
    scalar::{Instr, MAX_INSTRUCTIONS, Op},
    types::Ty,
};

/// A value of a scalar program. Cloning is cheap and shares the value.
#[derive(Clone, Debug)]
pub struct Expr(Rc<Kind>);

#[derive(Debug)]
enum Kind {
    Const(Ty, u32),
    Input(Op, u16),
    /// Chosen by the type of the first argument: f32, i32, u32.
    Typed {
        name: &'static str,
        ops: [Option<Op>; 3],
        args: Vec<Expr>,
        out: Out,
    },
}

/// Type of a result.
#[derive(Clone, Copy, Debug)]
enum Out {
    Same,
    Is(Ty),
}

/// Why an expression has no meaning.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExprError {
    /// An argument of the wrong type.
    #[error("`{op}` expected {expected} as argument {argument}, got {got}")]
    Type {
        /// Operation.
        op: &'static str,
        /// Which argument, from 0.
        argument: usize,
        /// Type needed.
        expected: Ty,
        /// Type found.
        got: Ty,
    },
    /// An operation that this type does not have.
    #[error("`{op}` does not exist for {ty}")]
    NoSuchOp {
        /// Operation.
        op: &'static str,
        /// Type of its first argument.
        ty: Ty,
    },
    /// An operand that the node does not have.
    #[error("`load({operand})`: the node has {count} operands")]
    NoSuchOperand {
        /// Operand named.
        operand: u16,
        /// How many there are.
        count: usize,
    },
    /// The accumulator or the right-hand side where there is none.
    #[error("`{0}` cannot be used in this scalar program")]
    NoSuchInput(&'static str),
    /// Too long.
    #[error("the expression takes {0} instructions, more than {MAX_INSTRUCTIONS}")]
    TooLong(usize),
}

/// What an expression may read: types of the operands' loads, and of the accumulator if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Types<'a> {
    /// Type each operand loads as.
    pub loads: &'a [Ty],
    /// Accumulator's type.
    pub acc: Option<Ty>,
}

/// The accumulator.
#[must_use]
pub fn acc() -> Expr {
    Expr::input(Op::Acc, 0)
}

/// The second value of a combine.
#[must_use]
pub fn rhs() -> Expr {
    Expr::input(Op::Rhs, 0)
}

/// The element of operand `i` at this position.
#[must_use]
pub fn load(i: u16) -> Expr {
    Expr::input(Op::Load, i)
}

/// Domain coordinate `d`.
#[must_use]
pub fn coord(d: u16) -> Expr {
    Expr::input(Op::Coord, d)
}

/// Linear position in the fold.
#[must_use]
pub fn k() -> Expr {
    Expr::input(Op::K, 0)
}

/// Coordinate `i` of the fold position.
#[must_use]
pub fn kf(i: u16) -> Expr {
    Expr::input(Op::Kf, i)
}

/// An `f32` constant.
#[must_use]
pub fn f(value: f32) -> Expr {
    Expr(Rc::new(Kind::Const(Ty::F32, canonical(value.to_bits()))))
}

/// An `i32` constant.
#[must_use]
pub fn i(value: i32) -> Expr {
    Expr(Rc::new(Kind::Const(Ty::I32, value as u32)))
}

/// A `u32` constant.
#[must_use]
pub fn u(value: u32) -> Expr {
    Expr(Rc::new(Kind::Const(Ty::U32, value)))
}

/// `yes` where `condition` (a `u32`) is not 0, else `no`.
#[must_use]
pub fn select(condition: &Expr, yes: &Expr, no: &Expr) -> Expr {
    Expr(Rc::new(Kind::Typed {
        name: "select",
        ops: [None, None, Some(Op::Select)],
        args: Vec::from([condition.clone(), yes.clone(), no.clone()]),
        out: Out::Same,
    }))
}

/// `a` where `a > b`, else `b`: `b` on NaN and on equal zeros.
#[must_use]
pub fn max(a: &Expr, b: &Expr) -> Expr {
    select(&b.lt(a), a, b)
}

/// `a` where `a < b`, else `b`: `b` on NaN and on equal zeros.
#[must_use]
pub fn min(a: &Expr, b: &Expr) -> Expr {
    select(&a.lt(b), a, b)
}

/// The larger value; NaN if either is NaN (PyTorch's `maximum`).
#[must_use]
pub fn max_nan(a: &Expr, b: &Expr) -> Expr {
    select(&a.ne(a), a, &max(a, b))
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident ($($arg:ident),*) = [$f:expr, $i:expr, $u:expr] -> $out:expr;)*) => {
        impl Expr { $(
            $(#[$doc])*
            #[must_use]
            #[allow(clippy::should_implement_trait, reason = "references, as every method here")]
            pub fn $name(&self $(, $arg: &Expr)*) -> Expr {
                let args = Vec::from([self.clone() $(, $arg.clone())*]);
                Expr(Rc::new(Kind::Typed { name: stringify!($name), ops: [$f, $i, $u], args, out: $out }))
            }
        )* }
    };
}

methods! {
    /// Sum.
    add(b) = [Some(Op::FAdd), Some(Op::Add), Some(Op::Add)] -> Out::Same;
    /// Difference.
    sub(b) = [Some(Op::FSub), Some(Op::Sub), Some(Op::Sub)] -> Out::Same;
    /// Product; the lower half for integers.
    mul(b) = [Some(Op::FMul), Some(Op::Mul), Some(Op::Mul)] -> Out::Same;
    /// Upper half of the 64-bit product.
    mulhi(b) = [None, Some(Op::MulHiS), Some(Op::MulHiU)] -> Out::Same;
    /// Quotient.
    div(b) = [Some(Op::FDiv), None, None] -> Out::Same;
    /// Square root.
    sqrt() = [Some(Op::FSqrt), None, None] -> Out::Same;
    /// `self · b + c`, rounded once.
    fma(b, c) = [Some(Op::Fma), None, None] -> Out::Same;
    /// Sign changed.
    neg() = [Some(Op::FNeg), None, None] -> Out::Same;
    /// Sign dropped.
    abs() = [Some(Op::FAbs), None, None] -> Out::Same;
    /// Largest integer not above.
    floor() = [Some(Op::FFloor), None, None] -> Out::Same;
    /// Nearest integer, ties to even.
    rint() = [Some(Op::FRint), None, None] -> Out::Same;
    /// Bitwise and.
    and(b) = [None, Some(Op::And), Some(Op::And)] -> Out::Same;
    /// Bitwise or.
    or(b) = [None, Some(Op::Or), Some(Op::Or)] -> Out::Same;
    /// Bitwise exclusive or.
    xor(b) = [None, Some(Op::Xor), Some(Op::Xor)] -> Out::Same;
    /// Left shift by a `u32`.
    shl(b) = [None, Some(Op::Shl), Some(Op::Shl)] -> Out::Same;
    /// Right shift by a `u32`; keeps the sign of an `i32`.
    shr(b) = [None, Some(Op::ShrS), Some(Op::ShrU)] -> Out::Same;
    /// 1 if equal.
    eq(b) = [Some(Op::FEq), Some(Op::Eq), Some(Op::Eq)] -> Out::Is(Ty::U32);
    /// 1 if different.
    ne(b) = [Some(Op::FNe), Some(Op::Ne), Some(Op::Ne)] -> Out::Is(Ty::U32);
    /// 1 if less.
    lt(b) = [Some(Op::FLt), Some(Op::LtS), Some(Op::LtU)] -> Out::Is(Ty::U32);
    /// 1 if less or equal.
    le(b) = [Some(Op::FLe), Some(Op::LeS), Some(Op::LeU)] -> Out::Is(Ty::U32);
    /// To `i32`: truncated and saturated; bits kept from `u32`.
    to_i32() = [Some(Op::FToI), None, Some(Op::AsI)] -> Out::Is(Ty::I32);
    /// To `u32`: truncated and saturated; bits kept from `i32`.
    to_u32() = [Some(Op::FToU), Some(Op::AsU), None] -> Out::Is(Ty::U32);
    /// To `f32`, nearest even.
    to_f32() = [None, Some(Op::IToF), Some(Op::UToF)] -> Out::Is(Ty::F32);
    /// The `f32` with these bits; a NaN becomes the canonical one.
    bits_to_f32() = [None, None, Some(Op::BitsToF)] -> Out::Is(Ty::F32);
    /// The bits of an `f32`.
    to_bits() = [Some(Op::FToBits), None, None] -> Out::Is(Ty::U32);
}

impl Expr {
    fn input(op: Op, a: u16) -> Self {
        Self(Rc::new(Kind::Input(op, a)))
    }

    /// Packs the expression; equal subexpressions become one instruction.
    ///
    /// # Errors
    /// It does not type-check, names an input that is not there, or is too long. Fix the expression.
    pub fn compile(&self, types: &Types<'_>) -> Result<(Vec<Instr>, Ty), ExprError> {
        let mut compiler =
            Compiler { types, code: Vec::new(), out: Vec::new(), seen: BTreeMap::new(), shared: BTreeMap::new() };
        let last = compiler.value(self)?;
        if compiler.code.len() > MAX_INSTRUCTIONS {
            return Err(ExprError::TooLong(compiler.code.len()));
        }
        let ty = compiler.out[usize::from(last)];
        // The result is the last value: what a shared result left after it is cut off, for nothing can depend on it.
        compiler.code.truncate(usize::from(last) + 1);
        Ok((compiler.code, ty))
    }
}

struct Compiler<'a> {
    types: &'a Types<'a>,
    code: Vec<Instr>,
    out: Vec<Ty>,
    seen: BTreeMap<*const Kind, u16>,
    shared: BTreeMap<Instr, u16>,
}

impl Compiler<'_> {
    fn value(&mut self, e: &Expr) -> Result<u16, ExprError> {
        if let Some(&v) = self.seen.get(&Rc::as_ptr(&e.0)) {
            return Ok(v);
        }
        let (instr, ty) = match &*e.0 {
            Kind::Const(ty, bits) => (Instr::Const(*ty, *bits), *ty),
            Kind::Input(op, a) => (Instr::op(*op, *a, 0, 0), self.input(*op, *a)?),
            Kind::Typed { name, ops, args, out } => self.typed(name, ops, args, *out)?,
        };
        let v = self.push(instr, ty)?;
        self.seen.insert(Rc::as_ptr(&e.0), v);
        Ok(v)
    }

    fn push(&mut self, instr: Instr, ty: Ty) -> Result<u16, ExprError> {
        if let Some(&v) = self.shared.get(&instr) {
            return Ok(v);
        }
        let v = u16::try_from(self.code.len()).map_err(|_| ExprError::TooLong(self.code.len()))?;
        self.code.push(instr);
        self.out.push(ty);
        self.shared.insert(instr, v);
        Ok(v)
    }

    fn input(&self, op: Op, a: u16) -> Result<Ty, ExprError> {
        match op {
            Op::Load => self
                .types
                .loads
                .get(usize::from(a))
                .copied()
                .ok_or(ExprError::NoSuchOperand { operand: a, count: self.types.loads.len() }),
            Op::Acc | Op::Rhs => self.types.acc.ok_or(ExprError::NoSuchInput(op.text())),
            _ => Ok(Ty::U32),
        }
    }

    fn typed(
        &mut self,
        name: &'static str,
        ops: &[Option<Op>; 3],
        args: &[Expr],
        out: Out,
    ) -> Result<(Instr, Ty), ExprError> {
        let mut values = [0u16; 3];
        for (slot, arg) in values.iter_mut().zip(args) {
            *slot = self.value(arg)?;
        }
        let ty = self.out[usize::from(values[0])];
        let op = ops[ty as usize].ok_or(ExprError::NoSuchOp { op: name, ty })?;
        let select = op == Op::Select;
        let shift = matches!(op, Op::Shl | Op::ShrU | Op::ShrS);
        let same = if select { self.out[usize::from(values[1])] } else { ty };
        for (argument, &v) in values.iter().enumerate().take(args.len()).skip(1) {
            let (expected, got) = (if shift { Ty::U32 } else { same }, self.out[usize::from(v)]);
            if expected != got {
                return Err(ExprError::Type { op: name, argument, expected, got });
            }
        }
        let [a, b, c] = values;
        Ok((Instr::op(op, a, b, c), if let Out::Is(t) = out { t } else { same }))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident;)*) => { $(
        impl ops::$trait for Expr {
            type Output = Self;
            fn $method(self, b: Self) -> Self { Self::$method(&self, &b) }
        }
        impl ops::$trait<&Expr> for &Expr {
            type Output = Expr;
            fn $method(self, b: &Expr) -> Expr { Expr::$method(self, b) }
        }
    )* };
}

operators! { Add add; Sub sub; Mul mul; Div div; }
