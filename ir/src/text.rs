//! A form of programs that a person can read in a bug report, and that [`crate::parse`] reads back exactly.
//!
//! Newlines and spaces mean nothing; `;` starts a comment that ends with the line. `f32` constants are written as bits, with
//! their value as a comment. A coordinate is a sum of domain coordinates `o0`, `o1`, …, fold coordinates `k0`, `k1`, …, at most
//! one `gather(operand)`, each times a number, and a number. An address that has no such form (no valid program has one) is
//! written `raw`.
//!
//! ```
//! use lockstep_ir::Program;
//! let text = "\
//! lockstep program 1
//!
//! state s0 f32[2] next n0
//! data d0 f32[2,2]
//!
//! node n0 f32[2] {
//!   fold [2] chain from f32 0x00000000 ; 0.0
//!   operand 0 d0 f32[2,2] at (o0, k0)
//!   operand 1 s0 f32[2] at (k0)
//!   body {
//!     v0 = load 0
//!     v1 = load 1
//!     v2 = acc
//!     v3 = fma v0 v1 v2
//!   }
//!   finish {
//!     v0 = acc
//!   }
//! }
//! ";
//! let program: Program = text.parse()?;
//! assert_eq!(program.to_string(), text);
//! lockstep_ir::validate(&program)?;
//!
//! let error = text.replace("load 1", "lode 1").parse::<Program>().unwrap_err();
//! assert_eq!(error.to_string(), "line 12, column 10: expected an operation, found `lode`");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::fmt::{Display, Formatter, Result};

use crate::{
    program::{Fold, Node, Operand, Order, Program, VERSION},
    scalar::{Instr, Op},
    types::{MAX_RANK, Ty, shape_text},
};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "lockstep program {VERSION}\n")?;
        for (i, s) in self.state.iter().enumerate() {
            writeln!(f, "state s{i} {}{} next {}", s.decl.dtype, shape_text(&s.decl.shape), s.next)?;
        }
        for (i, d) in self.data.iter().enumerate() {
            writeln!(f, "data d{i} {}{}", d.dtype, shape_text(&d.shape))?;
        }
        for (i, n) in self.nodes.iter().enumerate() {
            write!(f, "\nnode n{i} ")?;
            node(n, f)?;
        }
        Ok(())
    }
}

/// The node as inside a program, without its number.
impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("node ")?;
        node(self, f)
    }
}

fn node(n: &Node, f: &mut Formatter<'_>) -> Result {
    writeln!(f, "{}{} {{", n.out.dtype, shape_text(&n.out.shape))?;
    if n.domain != n.out.shape {
        writeln!(f, "  domain {}", shape_text(&n.domain))?;
    }
    if let Some(Fold { factors, order, ty, init, .. }) = &n.fold {
        let order = if *order == Order::Chain { "chain" } else { "lanes" };
        writeln!(f, "  fold {} {order} from {}", shape_text(factors), Constant(*ty, *init))?;
    }
    for (i, op) in n.operands.iter().enumerate() {
        write!(f, "  operand {i} ")?;
        operand(n, op, f)?;
    }
    if let Some(fold) = &n.fold {
        code("body", &fold.body, f)?;
        if !fold.combine.is_empty() {
            code("combine", &fold.combine, f)?;
        }
    }
    code("finish", &n.finish, f)?;
    f.write_str("}\n")
}

fn operand(n: &Node, op: &Operand, f: &mut Formatter<'_>) -> Result {
    write!(f, "{} {}{}", op.source, op.decl.dtype, shape_text(&op.decl.shape))?;
    if op.view != op.decl.shape {
        write!(f, " as {}", shape_text(&op.view))?;
    }
    if has_coordinates(n, op) {
        coordinates(n, op, f)?;
    } else {
        raw(op, f)?;
    }
    if op.skip {
        f.write_str(" skip")?;
    }
    if op.fill != 0 {
        write!(f, " fill {}", Constant(op.decl.dtype.ty(), op.fill))?;
    }
    f.write_str("\n")
}

/// Whether the address can be written as coordinates: sizes fit, and every dimension gathers at most once, ascending.
fn has_coordinates(n: &Node, op: &Operand) -> bool {
    let ranks = [n.domain.len(), n.fold_factors().len(), op.view.len()];
    let width = 1 + ranks[0] + ranks[1];
    ranks.iter().all(|&r| r <= MAX_RANK)
        && op.access.len() == op.view.len() * width
        && op.gathers.is_sorted_by(|a, b| a.dim < b.dim)
        && op.gathers.iter().all(|g| usize::from(g.dim) < op.view.len())
}

fn coordinates(n: &Node, op: &Operand, f: &mut Formatter<'_>) -> Result {
    let rank = n.domain.len();
    f.write_str(" at (")?;
    for (dim, row) in op.access.chunks_exact(1 + rank + n.fold_factors().len()).enumerate() {
        if dim > 0 {
            f.write_str(", ")?;
        }
        let mut sum = Sum { f, empty: true };
        if let Some(g) = op.gathers.iter().find(|g| usize::from(g.dim) == dim) {
            sum.term(g.stride, format_args!("gather({})", g.operand))?;
        }
        for (i, &c) in row[1..].iter().enumerate().filter(|(_, c)| **c != 0) {
            let (name, i) = if i < rank { ('o', i) } else { ('k', i - rank) };
            sum.term(c, format_args!("{name}{i}"))?;
        }
        if row[0] != 0 || sum.empty {
            sum.sign(row[0])?;
            write!(sum.f, "{}", row[0].unsigned_abs())?;
        }
    }
    f.write_str(")")
}

/// A sum being written: every term but the first has its sign between it and the last one.
struct Sum<'a, 'b> {
    f: &'a mut Formatter<'b>,
    empty: bool,
}

impl Sum<'_, '_> {
    fn sign(&mut self, c: i64) -> Result {
        let sign = if c < 0 {
            "-"
        } else if self.empty {
            ""
        } else {
            "+"
        };
        self.empty = false;
        self.f.write_str(sign)
    }

    fn term(&mut self, c: i64, what: core::fmt::Arguments<'_>) -> Result {
        self.sign(c)?;
        self.f.write_fmt(what)?;
        if c.unsigned_abs() == 1 { Ok(()) } else { write!(self.f, "*{}", c.unsigned_abs()) }
    }
}

fn raw(op: &Operand, f: &mut Formatter<'_>) -> Result {
    f.write_str(" raw [")?;
    for (i, c) in op.access.iter().enumerate() {
        write!(f, "{}{c}", if i == 0 { "" } else { "," })?;
    }
    f.write_str("]")?;
    op.gathers.iter().try_for_each(|g| write!(f, " gather({},{},{})", g.dim, g.operand, g.stride))
}

fn code(name: &str, code: &[Instr], f: &mut Formatter<'_>) -> Result {
    writeln!(f, "  {name} {{")?;
    for (i, instr) in code.iter().enumerate() {
        writeln!(f, "    v{i} = {instr}")?;
    }
    f.write_str("  }\n")
}

/// One instruction, without the number of its value.
impl Display for Instr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            Self::Const(ty, bits) => Constant(ty, bits).fmt(f),
            Self::Op { op, a, .. } if matches!(op, Op::Load | Op::Coord | Op::Kf) => write!(f, "{} {a}", op.text()),
            Self::Op { op, .. } => {
                f.write_str(op.text())?;
                self.args().try_for_each(|v| write!(f, " v{v}"))
            }
        }
    }
}

/// A typed constant; a float's value is a comment, so it must end its line.
struct Constant(Ty, u32);

impl Display for Constant {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(ty, bits) = *self;
        match ty {
            Ty::F32 => write!(f, "f32 {bits:#010x} ; {:?}", f32::from_bits(bits)),
            Ty::I32 => write!(f, "i32 {}", bits as i32),
            Ty::U32 => write!(f, "u32 {bits}"),
        }
    }
}
