//! Nodes that a step computes where they are read.
//!
//! A map that only one node reads, and reads each element of only once, need not be stored: its scalar program moves into the reader's.
//! A fold that only one map reads, element for element, takes the map's program into its own `finish`. What is computed stays the
//! same, bit for bit; a trace makes every node.

use lockstep_ir::{
    DType, Node, Operand, Program, Source,
    scalar::{Instr, MAX_INSTRUCTIONS, Op},
};

use crate::{
    compile::runs_compiled,
    elide::{compose, is_in_bounds, strides},
};

/// Most operands of a node that others have moved into.
pub(crate) const MOST_OPERANDS: usize = 12;
/// Longest body that a map may move into.
const LONGEST_BODY: usize = 64;

/// Moves what can be moved; `needed` tells which nodes are left. `is_gemm` says which nodes must stay matrix products.
pub(crate) fn inline(program: &mut Program, needed: &mut [bool], is_gemm: impl Fn(&Node) -> bool) -> bool {
    let mut changed = false;
    let mut readers = Readers::new(program, needed);
    for number in 0..program.nodes.len() {
        let mut i = 0;
        while needed[number] && i < program.nodes[number].operands.len() {
            let reader = &program.nodes[number];
            let moved = readers.only_reader(program, reader.operands[i].source).and_then(|from| {
                let source = &program.nodes[from];
                let node = if source.fold.is_some() { append(source, reader, i) } else { prepend(source, reader, i) }?;
                let before = if source.fold.is_some() { source } else { reader };
                let fits = node.fold.is_none() || if is_gemm(before) { is_gemm(&node) } else { runs_compiled(&node) };
                fits.then_some((from, node))
            });
            if let Some((from, node)) = moved {
                readers.count(&program.nodes[from], -1);
                readers.count(&program.nodes[number], -1);
                readers.count(&node, 1);
                program.nodes[number] = node;
                needed[from] = false;
                changed = true;
                i = 0;
            } else {
                i += 1;
            }
        }
    }
    changed
}

/// How many operands read each node's output; the next state counts as many.
struct Readers(Vec<i64>);

impl Readers {
    fn new(program: &Program, needed: &[bool]) -> Self {
        let mut readers = Self(vec![0; program.nodes.len()]);
        program.nodes.iter().zip(needed).filter(|n| *n.1).for_each(|n| readers.count(n.0, 1));
        for state in &program.state {
            if let Source::Node(i) = state.next {
                readers.0[i as usize] += 1 << 32;
            }
        }
        readers
    }

    fn count(&mut self, node: &Node, by: i64) {
        for operand in &node.operands {
            if let Source::Node(i) = operand.source {
                self.0[i as usize] += by;
            }
        }
    }

    /// The node that makes this, if only one operand reads it and nothing is rounded in between.
    fn only_reader(&self, program: &Program, source: Source) -> Option<usize> {
        let Source::Node(from) = source else { return None };
        let from = from as usize;
        let exact = matches!(program.nodes[from].out.dtype, DType::F32 | DType::I32 | DType::U32);
        (exact && self.0[from] == 1).then_some(from)
    }
}

/// Whether an operand reads a node's elements in the order of the reader's outputs.
pub(crate) fn is_identity(operand: &Operand, source: &Node, reader: &Node) -> bool {
    let fold = reader.fold_factors().len();
    let width = 1 + reader.domain.len() + fold;
    if source.domain != reader.domain || !operand.gathers.is_empty() || operand.skip {
        return false;
    }
    let mut plain = operand.clone();
    plain.access = Vec::new();
    for row in operand.access.chunks_exact(width) {
        if row[1 + reader.domain.len()..].iter().any(|&c| c != 0) {
            return false;
        }
        plain.access.extend(&row[..=reader.domain.len()]);
    }
    let Some(found) = strides(&plain, &reader.domain) else { return false };
    let sizes: Vec<u64> = reader.domain.iter().map(|&n| u64::from(n)).collect();
    let expected = crate::access::row_major(&sizes);
    let same = |((&a, &b), &n): ((&i64, &i64), &u64)| n == 1 || a == b;
    found.base == 0 && found.coefficients.iter().zip(&expected).zip(&sizes).all(same)
}

/// The reader with the map `source` moved into it in place of operand `i`.
fn prepend(source: &Node, reader: &Node, i: usize) -> Option<Node> {
    let operand = &reader.operands[i];
    let gathered = reader.operands.iter().any(|o| o.gathers.iter().any(|g| usize::from(g.operand) == i));
    if gathered || operand.skip || !operand.gathers.is_empty() {
        return None;
    }
    let coordinates = source.finish.iter().any(|i| matches!(i, Instr::Op { op: Op::Coord, .. }));
    let identity = is_identity(operand, source, reader);
    // A body would compute again what does not depend on its fold position.
    if identity && reader.fold.as_ref().is_some_and(|f| loads(&f.body, i)) {
        return None;
    }
    let moved: Vec<Operand> = if identity {
        source.operands.iter().map(|o| widened(o, source.domain.len(), reader.fold_factors().len())).collect()
    } else {
        if coordinates || reader.fold.is_none() || !reads_once(source, reader, i) {
            return None;
        }
        source.operands.iter().map(|o| composed(o, source, reader, operand)).collect::<Option<_>>()?
    };
    let (operands, kept, from_source) = merged(&reader.operands, Some(i), &moved)?;
    let place = |code: &[Instr]| spliced(code, &kept, i, &source.finish, &from_source);
    let mut node = Node { operands, finish: place(&reader.finish)?, ..reader.clone() };
    if let Some(fold) = &mut node.fold {
        fold.body = place(&fold.body)?;
        (fold.body.len() <= LONGEST_BODY).then_some(())?;
    }
    Some(node)
}

fn loads(code: &[Instr], i: usize) -> bool {
    code.iter().any(|x| matches!(*x, Instr::Op { op: Op::Load, a, .. } if usize::from(a) == i))
}

/// Whether a fold's body reads each element of `source` once.
fn reads_once(source: &Node, reader: &Node, i: usize) -> bool {
    let count = |sizes: &[u32]| sizes.iter().map(|&n| u64::from(n)).product::<u64>();
    let reads = count(&reader.domain) * count(reader.fold_factors());
    let body = reader.fold.as_ref().is_some_and(|f| loads(&f.body, i));
    reads == count(&source.domain) && body && !loads(&reader.finish, i)
}

/// An operand of `source` as `reader` finds it behind its own `operand`.
fn composed(of_source: &Operand, source: &Node, reader: &Node, operand: &Operand) -> Option<Operand> {
    if !of_source.gathers.is_empty() {
        return None;
    }
    let strides = strides(of_source, &source.domain)?;
    let width = 1 + reader.domain.len() + reader.fold_factors().len();
    let rows: Vec<&[i64]> = operand.access.chunks_exact(width).collect();
    let sizes: Vec<u32> = reader.domain.iter().chain(reader.fold_factors()).copied().collect();
    if !rows.iter().zip(&operand.view).all(|(r, &n)| is_in_bounds(r, &sizes, n)) {
        return None;
    }
    let mut access = compose(&operand.view, &rows, &source.domain, &strides.coefficients, width)?;
    access[0] = access[0].checked_add(strides.base)?;
    let elements = u32::try_from(of_source.decl.elements()?).ok()?;
    Some(Operand { view: vec![elements], access, fill: 0, ..of_source.clone() })
}

/// The fold `source` with the map `reader`, whose operand `i` it is, moved into its `finish`.
fn append(source: &Node, reader: &Node, i: usize) -> Option<Node> {
    if reader.fold.is_some() || !is_identity(&reader.operands[i], source, reader) {
        return None;
    }
    let (rank, fold) = (source.domain.len(), source.fold_factors().len());
    let moved: Vec<Operand> = reader.operands.iter().map(|o| widened(o, rank, fold)).collect();
    let own: Vec<usize> = (0..source.operands.len()).collect();
    let gathered = reader.operands.iter().any(|o| o.gathers.iter().any(|g| usize::from(g.operand) == i));
    if gathered {
        return None;
    }
    // The operand that is the fold itself stays out.
    let (mut operands, mut places) = (source.operands.clone(), Vec::new());
    for (j, o) in moved.iter().enumerate() {
        places.push(if j == i { usize::MAX } else { operands.len() });
        if j != i {
            operands.push(o.clone());
        }
    }
    for o in &mut operands[own.len()..] {
        for g in &mut o.gathers {
            g.operand = u8::try_from(places[usize::from(g.operand)]).ok()?;
        }
    }
    (operands.len() <= MOST_OPERANDS).then_some(())?;
    let finish = spliced(&reader.finish, &places, i, &source.finish, &own)?;
    Some(Node { out: reader.out.clone(), operands, finish, ..source.clone() })
}

/// An operand of a map for a node that also folds.
fn widened(operand: &Operand, rank: usize, fold: usize) -> Operand {
    let rows = operand.access.chunks_exact(1 + rank);
    let access = rows.flat_map(|r| r.iter().copied().chain(std::iter::repeat_n(0, fold))).collect();
    Operand { access, ..operand.clone() }
}

/// Operands, and where those of the reader and of the source are among them.
pub(crate) type Merged = (Vec<Operand>, Vec<usize>, Vec<usize>);

/// The reader's operands without one, and those of the source; equal ones once.
pub(crate) fn merged(reader: &[Operand], without: Option<usize>, source: &[Operand]) -> Option<Merged> {
    let mut operands: Vec<Operand> = Vec::new();
    let mut kept = vec![usize::MAX; reader.len()];
    let mut moved = Vec::new();
    for (i, o) in reader.iter().enumerate().filter(|&(i, _)| Some(i) != without) {
        kept[i] = operands.len();
        operands.push(o.clone());
    }
    for o in &mut operands {
        for g in &mut o.gathers {
            g.operand = u8::try_from(kept[usize::from(g.operand)]).ok()?;
        }
    }
    for o in source {
        let mut o = o.clone();
        for g in &mut o.gathers {
            // What holds an index comes before what is gathered through it.
            g.operand = u8::try_from(*moved.get(usize::from(g.operand))?).ok()?;
        }
        let at = operands.iter().position(|known| *known == o).unwrap_or(operands.len());
        if at == operands.len() {
            operands.push(o);
        }
        moved.push(at);
    }
    (operands.len() <= MOST_OPERANDS).then_some((operands, kept, moved))
}

/// `code` with loads renumbered by `kept`, and with `inner` in place of loads of operand `i`, its loads renumbered by `moved`.
fn spliced(code: &[Instr], kept: &[usize], i: usize, inner: &[Instr], moved: &[usize]) -> Option<Vec<Instr>> {
    let mut out: Vec<Instr> = Vec::new();
    let mut inner_at: Option<u16> = None;
    let mut places: Vec<u16> = Vec::new();
    for instr in code {
        let place = match *instr {
            Instr::Op { op: Op::Load, a, .. } if usize::from(a) == i => match inner_at {
                Some(at) => at,
                None => {
                    let from = out.len() as u16;
                    for instr in inner {
                        out.push(renumbered(*instr, moved, &|a| from + a)?);
                    }
                    *inner_at.insert(out.len() as u16 - 1)
                }
            },
            instr => {
                out.push(renumbered(instr, kept, &|a| places.get(usize::from(a)).copied().unwrap_or(0))?);
                out.len() as u16 - 1
            }
        };
        places.push(place);
    }
    // The result is the last instruction; a program that ends elsewhere stays as it is.
    let result = *places.last()?;
    if usize::from(result) + 1 != out.len() {
        return None;
    }
    (out.len() <= MAX_INSTRUCTIONS).then_some(out)
}

pub(crate) fn renumbered(instr: Instr, loads: &[usize], value: &dyn Fn(u16) -> u16) -> Option<Instr> {
    let Instr::Op { op, a, b, c } = instr else { return Some(instr) };
    Some(match op {
        Op::Load => Instr::op(op, u16::try_from(*loads.get(usize::from(a))?).ok()?, 0, 0),
        _ if op.arity() == 0 => instr,
        _ => {
            let [a, b, c] = [(a, 0), (b, 1), (c, 2)].map(|(x, n)| if n < op.arity() { value(x) } else { 0 });
            Instr::op(op, a, b, c)
        }
    })
}
