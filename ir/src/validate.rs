//! Which programs are accepted. Everyone validates before acting on a program, so that nobody meets a node that the referee refuses.

use alloc::{string::String, vec, vec::Vec};

use crate::{
    judge::{self, Cost},
    number::canonical,
    program::{BLOCK, Fold, Node, Operand, Order, Program, Source, TensorDecl},
    scalar::{Instr, MAX_INSTRUCTIONS, Op},
    types::{MAX_RANK, Ty, element_count, shape_text},
};

/// Most operands of a node.
pub const MAX_OPERANDS: usize = 16;
/// Most nodes, state tensors, data tensors of a program, each.
pub const MAX_TENSORS: usize = 65_536;

/// Which rule of docs/protocol.md a program breaks, and where. Give up on the program, or fix what built it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    /// Too many tensors of one kind.
    #[error("the program has {got} {what}, more than {MAX_TENSORS}")]
    TooMany {
        /// Nodes, state tensors or data tensors.
        what: &'static str,
        /// How many.
        got: usize,
    },
    /// No nodes, or no state.
    #[error("the program has no {0}")]
    Empty(&'static str),
    /// A declared tensor has a refused shape.
    #[error("{at} has shape {shape}: at most 6 dimensions, none of them 0, at most 2^40 elements")]
    Shape {
        /// Which tensor.
        at: Source,
        /// Its shape.
        shape: String,
    },
    /// A state tensor's next value does not exist or is of another type or shape.
    #[error("state tensor s{state} should become {next}, which is missing or has another type or shape")]
    Next {
        /// Which state tensor.
        state: u32,
        /// The source named.
        next: Source,
    },
    /// A rule of nodes.
    #[error("node {node}: {rule}")]
    Node {
        /// Which node.
        node: usize,
        /// The rule it breaks.
        rule: Rule,
    },
}

/// Rules of docs/protocol.md, sections 2.1 to 2.3, that a node can break.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rule {
    /// A refused shape.
    #[error("{what} {shape} is refused: at most 6 factors, none of them 0, at most 2^40 elements (2^32-1 for a fold)")]
    Shape {
        /// Output, domain, view or fold.
        what: &'static str,
        /// The shape.
        shape: String,
    },
    /// Domain or view with another number of elements than what it factors.
    #[error("{what} {got} has not as many elements as {expected}")]
    Elements {
        /// Domain or view.
        what: &'static str,
        /// Shape found.
        got: String,
        /// Shape factored.
        expected: String,
    },
    /// Too many operands.
    #[error("{0} operands, more than {MAX_OPERANDS}")]
    TooManyOperands(usize),
    /// An operand names a tensor that does not exist, or not yet.
    #[error("operand {operand} reads {from}, which does not exist before this node")]
    NoSource {
        /// Which operand.
        operand: usize,
        /// What it names.
        from: Source,
    },
    /// An operand's declaration differs from its source's.
    #[error("operand {operand} declares {got}, but {from} is {expected}")]
    Declaration {
        /// Which operand.
        operand: usize,
        /// What it reads.
        from: Source,
        /// What it declares.
        got: String,
        /// What the source is.
        expected: String,
    },
    /// The access matrix has a wrong size.
    #[error("operand {operand} has {got} access numbers, its ranks need {expected}")]
    Access {
        /// Which operand.
        operand: usize,
        /// Numbers found.
        got: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// A gather breaks a rule.
    #[error(
        "operand {operand}: a gather must name an ascending dimension and an integer operand that itself neither gathers nor skips"
    )]
    Gather {
        /// Which operand.
        operand: usize,
    },
    /// A coordinate could leave 64 bits.
    #[error("operand {operand}: coordinate {dim} could leave 64 bits")]
    CoordinateRange {
        /// Which operand.
        operand: usize,
        /// Which dimension.
        dim: usize,
    },
    /// Nothing loads the operand.
    #[error("operand {0} is never read")]
    Unused(usize),
    /// A constant, initial value or fill that is a NaN other than the canonical one.
    #[error("{0} is a NaN other than 0x7fc00000")]
    Nan(&'static str),
    /// A scalar program is empty where one is needed.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A scalar program that is never used.
    #[error("`combine` is given, but a chain of at most 256 never combines")]
    Needless,
    /// Too many instructions.
    #[error("`{0}` has more than {MAX_INSTRUCTIONS} instructions")]
    TooLong(&'static str),
    /// An instruction whose argument does not come before it.
    #[error("`{program}` instruction {at}: argument {argument} is not an earlier value")]
    Argument {
        /// Which scalar program.
        program: &'static str,
        /// Which instruction.
        at: usize,
        /// The value named.
        argument: u16,
    },
    /// An instruction whose argument has a wrong type.
    #[error("`{program}` instruction {at}, `{op}`: expected {expected}, got {got}")]
    Type {
        /// Which scalar program.
        program: &'static str,
        /// Which instruction.
        at: usize,
        /// Its name.
        op: &'static str,
        /// Type needed.
        expected: Ty,
        /// Type found.
        got: Ty,
    },
    /// An input that this scalar program does not have.
    #[error("`{program}` instruction {at}: `{op}` is not available here")]
    Input {
        /// Which scalar program.
        program: &'static str,
        /// Which instruction.
        at: usize,
        /// Its name.
        op: &'static str,
    },
    /// The last value has a wrong type.
    #[error("`{program}` gives {got}, {expected} is needed")]
    Result {
        /// Which scalar program.
        program: &'static str,
        /// Type needed.
        expected: Ty,
        /// Type found.
        got: Ty,
    },
    /// `finish` loads an operand that depends on the fold or skips.
    #[error("`finish` loads operand {0}, which depends on the fold position or skips")]
    FinishLoad(usize),
    /// Not judgeable: a unit reads too many chunks.
    #[error("not judgeable: one unit reads up to {got} chunks, more than {max}; copy the operand into the fold's order first", max = judge::MAX_CHUNKS)]
    Chunks {
        /// Worst case.
        got: u64,
    },
    /// Not judgeable: a body or combine is too dear.
    #[error("not judgeable: one application of `{program}` can cost {got} gas, more than {max}; move work into a map", max = judge::MAX_BODY_GAS)]
    Gas {
        /// Which scalar program.
        program: &'static str,
        /// Worst case.
        got: u64,
    },
    /// Not judgeable: the fold's factors give more block patterns than can be checked.
    #[error(
        "not judgeable: the fold's factors {0} give too many different blocks; make the inner factors multiples or divisors of 256"
    )]
    Patterns(String),
}

fn decl_text(d: &TensorDecl) -> String {
    alloc::format!("{}{}", d.dtype, shape_text(&d.shape))
}

fn shape(what: &'static str, s: &[u32]) -> Result<u64, Rule> {
    let n = if s.len() <= MAX_RANK { element_count(s) } else { None };
    n.ok_or_else(|| Rule::Shape { what, shape: shape_text(s) })
}

/// Checks a whole program.
///
/// # Errors
/// The first rule broken, with the node.
pub fn validate(program: &Program) -> Result<Vec<Cost>, Invalid> {
    let counts =
        [("nodes", program.nodes.len()), ("state tensors", program.state.len()), ("data tensors", program.data.len())];
    for (what, got) in counts {
        if got > MAX_TENSORS {
            return Err(Invalid::TooMany { what, got });
        }
        if got == 0 && what != "data tensors" {
            return Err(Invalid::Empty(what));
        }
    }
    let declared = (program.state.iter().map(|s| &s.decl).enumerate().map(|(i, d)| (Source::State(i as u32), d)))
        .chain(program.data.iter().enumerate().map(|(i, d)| (Source::Data(i as u32), d)));
    for (at, decl) in declared {
        shape("tensor", &decl.shape).map_err(|_| Invalid::Shape { at, shape: shape_text(&decl.shape) })?;
    }
    let costs = (0..program.nodes.len())
        .map(|i| node(program, i).map_err(|rule| Invalid::Node { node: i, rule }))
        .collect::<Result<_, _>>()?;
    for (state, s) in program.state.iter().enumerate() {
        if program.decl(s.next) != Some(&s.decl) {
            return Err(Invalid::Next { state: state as u32, next: s.next });
        }
    }
    Ok(costs)
}

fn node(program: &Program, number: usize) -> Result<Cost, Rule> {
    let n = &program.nodes[number];
    let elements = shape("output", &n.out.shape)?;
    if shape("domain", &n.domain)? != elements {
        let (got, expected) = (shape_text(&n.domain), shape_text(&n.out.shape));
        return Err(Rule::Elements { what: "domain", got, expected });
    }
    if let Some(fold) = &n.fold {
        let refused = || Rule::Shape { what: "fold", shape: shape_text(&fold.factors) };
        shape("fold", &fold.factors)?;
        if fold.factors.is_empty() {
            return Err(refused());
        }
        fold.length().ok_or_else(refused)?;
    }
    if n.operands.len() > MAX_OPERANDS {
        return Err(Rule::TooManyOperands(n.operands.len()));
    }
    for i in 0..n.operands.len() {
        operand(program, number, i)?;
    }
    code(n)?;
    judge::cost(n)
}

fn operand(program: &Program, number: usize, i: usize) -> Result<(), Rule> {
    let n = &program.nodes[number];
    let op = &n.operands[i];
    let exists = !matches!(op.source, Source::Node(j) if j as usize >= number);
    let source = program.decl(op.source).filter(|_| exists);
    let source = source.ok_or(Rule::NoSource { operand: i, from: op.source })?;
    if *source != op.decl {
        let (got, expected) = (decl_text(&op.decl), decl_text(source));
        return Err(Rule::Declaration { operand: i, from: op.source, got, expected });
    }
    if shape("view", &op.view)? != shape("operand", &op.decl.shape)? {
        let (got, expected) = (shape_text(&op.view), shape_text(&op.decl.shape));
        return Err(Rule::Elements { what: "view", got, expected });
    }
    let width = 1 + n.domain.len() + n.fold_factors().len();
    if op.access.len() != op.view.len() * width {
        return Err(Rule::Access { operand: i, got: op.access.len(), expected: op.view.len() * width });
    }
    if op.decl.dtype.ty() == Ty::F32 && canonical(op.fill) != op.fill {
        return Err(Rule::Nan("fill"));
    }
    gathers(n, i)?;
    for (dim, row) in op.access.chunks_exact(width).enumerate() {
        if coordinate_bound(n, op, dim, row) > i128::from(i64::MAX) {
            return Err(Rule::CoordinateRange { operand: i, dim });
        }
    }
    Ok(())
}

fn gathers(n: &Node, i: usize) -> Result<(), Rule> {
    let op = &n.operands[i];
    let mut next = 0;
    for g in &op.gathers {
        let index = n.operands.get(usize::from(g.operand));
        let fits = index.is_some_and(|x| x.decl.dtype.ty() != Ty::F32 && x.gathers.is_empty() && !x.skip);
        if !fits || usize::from(g.dim) < next || usize::from(g.dim) >= op.view.len() {
            return Err(Rule::Gather { operand: i });
        }
        next = usize::from(g.dim) + 1;
    }
    Ok(())
}

/// Largest magnitude that coordinate `dim`, or any partial sum of it, can reach.
fn coordinate_bound(n: &Node, op: &Operand, dim: usize, row: &[i64]) -> i128 {
    let places = n.domain.iter().chain(n.fold_factors());
    let affine: i128 = row[1..].iter().zip(places).map(|(&c, &x)| i128::from(c).abs() * i128::from(x - 1)).sum();
    let gather: i128 = (op.gathers.iter().filter(|g| usize::from(g.dim) == dim))
        .map(|g| i128::from(g.stride).abs() * i128::from(u32::MAX))
        .sum();
    i128::from(row[0]).abs() + affine + gather
}

/// What a scalar program may use, and how it is called in messages.
struct Context<'a> {
    name: &'static str,
    node: &'a Node,
    acc: Option<Ty>,
    rhs: bool,
    load: bool,
    fold_position: bool,
}

fn code(n: &Node) -> Result<(), Rule> {
    let mut used = vec![false; n.operands.len()];
    if let Some(fold) = &n.fold {
        if fold.ty == Ty::F32 && canonical(fold.init) != fold.init {
            return Err(Rule::Nan("init"));
        }
        let base = Context { name: "body", node: n, acc: Some(fold.ty), rhs: false, load: true, fold_position: true };
        expect(&base, &fold.body, fold.ty)?;
        mark(&fold.body, &mut used);
        combine(n, fold)?;
    }
    let finish = Context {
        name: "finish",
        node: n,
        acc: n.fold.as_ref().map(|f| f.ty),
        rhs: false,
        load: true,
        fold_position: false,
    };
    expect(&finish, &n.finish, n.out.dtype.ty())?;
    let mut in_finish = vec![false; n.operands.len()];
    mark(&n.finish, &mut in_finish);
    for (i, _) in in_finish.iter().enumerate().filter(|(_, u)| **u) {
        let gathered = n.operands[i].gathers.iter().map(|g| usize::from(g.operand));
        if n.operands[i].skip || gathered.chain([i]).any(|j| judge::depends_on_fold(n, j)) {
            return Err(Rule::FinishLoad(i));
        }
        used[i] = true;
    }
    for i in 0..used.len() {
        if used[i] {
            n.operands[i].gathers.iter().for_each(|g| used[usize::from(g.operand)] = true);
        }
    }
    used.iter().position(|u| !u).map_or(Ok(()), |i| Err(Rule::Unused(i)))
}

fn combine(n: &Node, fold: &Fold) -> Result<(), Rule> {
    let needed = fold.order == Order::Lanes || fold.length().is_none_or(|k| k > BLOCK);
    if !needed {
        return if fold.combine.is_empty() { Ok(()) } else { Err(Rule::Needless) };
    }
    let context =
        Context { name: "combine", node: n, acc: Some(fold.ty), rhs: true, load: false, fold_position: false };
    expect(&context, &fold.combine, fold.ty)
}

fn mark(code: &[Instr], used: &mut [bool]) {
    for instr in code {
        if let Instr::Op { op: Op::Load, a, .. } = *instr {
            used[usize::from(a)] = true;
        }
    }
}

fn expect(context: &Context<'_>, code: &[Instr], expected: Ty) -> Result<(), Rule> {
    let program = context.name;
    if code.len() > MAX_INSTRUCTIONS {
        return Err(Rule::TooLong(program));
    }
    let types = infer(context, code)?;
    let got = *types.last().ok_or(Rule::Missing(program))?;
    if got == expected { Ok(()) } else { Err(Rule::Result { program, expected, got }) }
}

fn infer(context: &Context<'_>, code: &[Instr]) -> Result<Vec<Ty>, Rule> {
    let mut types: Vec<Ty> = Vec::with_capacity(code.len());
    for (at, &instr) in code.iter().enumerate() {
        if let Some(argument) = instr.args().find(|&a| usize::from(a) >= at) {
            return Err(Rule::Argument { program: context.name, at, argument });
        }
        let ty = match instr {
            Instr::Const(Ty::F32, bits) if canonical(bits) != bits => return Err(Rule::Nan("a constant")),
            Instr::Const(ty, _) => ty,
            Instr::Op { op, a, .. } if op.arity() == 0 => input(context, at, op, usize::from(a))?,
            Instr::Op { op, a, b, c } => computed(context.name, at, op, [a, b, c].map(usize::from), &types)?,
        };
        types.push(ty);
    }
    Ok(types)
}

fn input(context: &Context<'_>, at: usize, op: Op, index: usize) -> Result<Ty, Rule> {
    let n = context.node;
    let ty = match op {
        Op::Acc => context.acc,
        Op::Rhs => context.acc.filter(|_| context.rhs),
        Op::Load => n.operands.get(index).filter(|_| context.load).map(|o| o.decl.dtype.ty()),
        Op::Coord => n.domain.get(index).filter(|_| context.load).map(|_| Ty::U32),
        Op::K => context.fold_position.then_some(Ty::U32),
        Op::Kf => n.fold_factors().get(index).filter(|_| context.fold_position).map(|_| Ty::U32),
        _ => None,
    };
    ty.ok_or(Rule::Input { program: context.name, at, op: op.text() })
}

/// Types: of the result, checking those of the arguments.
fn computed(program: &'static str, at: usize, op: Op, args: [usize; 3], types: &[Ty]) -> Result<Ty, Rule> {
    use Ty::{F32, I32, U32};
    let check = |argument: usize, expected: Ty| {
        let got = types[args[argument]];
        if got == expected { Ok(()) } else { Err(Rule::Type { program, at, op: op.text(), expected, got }) }
    };
    let all = |expected: Ty, out: Ty| (0..op.arity()).try_for_each(|i| check(i, expected)).map(|()| out);
    // Integer operations with one meaning for both types take any two of a kind.
    let integer = |out: Option<Ty>| {
        let ty = if types[args[0]] == I32 { I32 } else { U32 };
        all(ty, out.unwrap_or(ty))
    };
    match op {
        Op::FAdd | Op::FSub | Op::FMul | Op::FDiv | Op::FSqrt | Op::Fma | Op::FNeg | Op::FAbs => all(F32, F32),
        Op::FFloor | Op::FRint => all(F32, F32),
        Op::FEq | Op::FNe | Op::FLt | Op::FLe => all(F32, U32),
        Op::Add | Op::Sub | Op::Mul | Op::And | Op::Or | Op::Xor => integer(None),
        Op::Eq | Op::Ne => integer(Some(U32)),
        Op::MulHiS => all(I32, I32),
        Op::MulHiU => all(U32, U32),
        Op::LtS | Op::LeS => all(I32, U32),
        Op::LtU | Op::LeU => all(U32, U32),
        Op::Shl | Op::ShrU | Op::ShrS => {
            let ty = match (op, types[args[0]]) {
                (Op::ShrU, _) => U32,
                (Op::ShrS, _) | (_, I32) => I32,
                _ => U32,
            };
            check(0, ty)?;
            check(1, U32).map(|()| ty)
        }
        Op::Select => {
            check(0, U32)?;
            check(2, types[args[1]]).map(|()| types[args[1]])
        }
        Op::FToI => all(F32, I32),
        Op::FToU | Op::FToBits => all(F32, U32),
        Op::IToF => all(I32, F32),
        Op::UToF | Op::BitsToF => all(U32, F32),
        Op::AsI => all(U32, I32),
        Op::AsU => all(I32, U32),
        Op::Const | Op::Acc | Op::Rhs | Op::Load | Op::Coord | Op::K | Op::Kf => {
            Err(Rule::Input { program, at, op: op.text() })
        }
    }
}
