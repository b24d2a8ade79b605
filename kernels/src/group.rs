//! Maps that run as one loop with several outputs.
//!
//! An optimiser reads a gradient, two moments and a parameter and writes all but the gradient: four maps, of which each reads what the
//! others write. As one loop they read and write everything once.

use lockstep_ir::{
    DType, Node, Operand, Program, Source,
    scalar::{Instr, Op},
};

use crate::{
    compile::Stored,
    inline::{MOST_OPERANDS, is_identity, renumbered},
};

/// Nodes that run together.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Nodes whose outputs are stored.
    pub(crate) outputs: Vec<usize>,
    /// What of `node`'s `finish` they are.
    pub(crate) stored: Vec<Stored>,
    /// One node that computes all of them.
    pub(crate) node: Node,
}

/// Most outputs of a loop.
const MOST_OUTPUTS: usize = 6;
/// Longest scalar program of a loop of several nodes.
const LONGEST: usize = 400;

impl Unit {
    /// A node by itself.
    pub(crate) fn single(number: usize, node: &Node) -> Self {
        let stored = Stored { at: node.finish.len().saturating_sub(1), dtype: node.out.dtype };
        Self { outputs: vec![number], stored: vec![stored], node: node.clone() }
    }
}

/// The needed nodes one by one.
pub(crate) fn singles(program: &Program, needed: &[bool]) -> Vec<Unit> {
    let all = program.nodes.iter().enumerate().filter(|&(i, _)| needed[i]);
    all.map(|(number, node)| Unit::single(number, node)).collect()
}

/// Maps of one domain while they are collected.
struct Group {
    members: Vec<usize>,
    /// Nobody outside has read an output yet, so the group can still run later.
    open: bool,
}

/// The needed nodes, maps that belong together as one. In an order in which everything is made before it is read.
pub(crate) fn grouped(program: &Program, needed: &[bool]) -> Vec<Unit> {
    let readers = Readers::new(program, needed);
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: Vec<Option<usize>> = vec![None; program.nodes.len()];
    for (number, node) in program.nodes.iter().enumerate().filter(|&(i, _)| needed[i]) {
        let joined = joinable(program, node, &groups, &group_of);
        let mut members: Vec<usize> = joined.iter().flat_map(|&g| groups[g].members.clone()).chain([number]).collect();
        members.sort_unstable();
        let together = joined.is_empty() || build(program, &readers, &members).is_some();
        let mine = groups.len();
        if together {
            joined.iter().for_each(|&g| groups[g].members.clear());
        } else {
            members = vec![number];
        }
        members.iter().for_each(|&m| group_of[m] = Some(mine));
        groups.push(Group { members, open: node.fold.is_none() });
        for source in sources(node) {
            if let Some(g) = group_of[source].filter(|&g| g != mine) {
                groups[g].open = false;
            }
        }
    }
    let mut units: Vec<(usize, Unit)> = Vec::new();
    for group in groups.iter().filter(|g| !g.members.is_empty()) {
        let last = group.members.last().copied().unwrap_or(0);
        let unit = match group.members[..] {
            [one] => Unit::single(one, &program.nodes[one]),
            _ => build(program, &readers, &group.members).unwrap_or_else(|| Unit::single(last, &program.nodes[last])),
        };
        units.push((last, unit));
    }
    units.sort_by_key(|u| u.0);
    units.into_iter().map(|u| u.1).collect()
}

fn sources(node: &Node) -> impl Iterator<Item = usize> {
    node.operands.iter().filter_map(|o| match o.source {
        Source::Node(i) => Some(i as usize),
        _ => None,
    })
}

/// The open groups that make what a map reads element for element; none if it reads one of them in another way, too.
fn joinable(program: &Program, node: &Node, groups: &[Group], group_of: &[Option<usize>]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut refused: Vec<usize> = Vec::new();
    for (i, operand) in node.operands.iter().enumerate() {
        let Source::Node(source) = operand.source else { continue };
        let Some(g) = group_of[source as usize].filter(|&g| groups[g].open) else { continue };
        let from = &program.nodes[source as usize];
        let exact = matches!(from.out.dtype, DType::F32 | DType::I32 | DType::U32);
        let index = node.operands.iter().any(|o| o.gathers.iter().any(|x| usize::from(x.operand) == i));
        let joins = node.fold.is_none() && exact && !index && is_identity(operand, from, node);
        (if joins { &mut found } else { &mut refused }).push(g);
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|g| !refused.contains(g));
    found
}

/// One node for all members, ascending; `None` if it would be too large.
fn build(program: &Program, readers: &Readers, members: &[usize]) -> Option<Unit> {
    let mut operands: Vec<Operand> = Vec::new();
    let mut code: Vec<Instr> = Vec::new();
    let mut results: Vec<(usize, u16)> = Vec::new();
    for &member in members {
        let node = &program.nodes[member];
        // Where each operand is: another operand of the whole, or a value.
        let mut places: Vec<Result<usize, u16>> = Vec::new();
        for operand in &node.operands {
            let inside = results.iter().find(|r| operand.source == Source::Node(r.0 as u32));
            if let Some(&(_, value)) = inside {
                places.push(Err(value));
                continue;
            }
            let mut operand = operand.clone();
            for g in &mut operand.gathers {
                let Ok(index) = places.get(usize::from(g.operand))? else { return None };
                g.operand = u8::try_from(*index).ok()?;
            }
            let at = operands.iter().position(|o| *o == operand).unwrap_or(operands.len());
            if at == operands.len() {
                operands.push(operand);
            }
            places.push(Ok(at));
        }
        let mut values: Vec<u16> = Vec::new();
        for instr in &node.finish {
            let value = match *instr {
                Instr::Op { op: Op::Load, a, .. } => match places.get(usize::from(a))? {
                    Err(value) => *value,
                    Ok(operand) => {
                        code.push(Instr::op(Op::Load, *operand as u16, 0, 0));
                        code.len() as u16 - 1
                    }
                },
                instr => {
                    code.push(renumbered(instr, &[], &|a| values.get(usize::from(a)).copied().unwrap_or(0))?);
                    code.len() as u16 - 1
                }
            };
            values.push(value);
        }
        results.push((member, *values.last()?));
    }
    let kept: Vec<(usize, u16)> = results.into_iter().filter(|&(m, _)| readers.outside(m, members)).collect();
    let fits = operands.len() <= MOST_OPERANDS && kept.len() <= MOST_OUTPUTS && code.len() <= LONGEST;
    let first = program.nodes.get(*members.first()?)?;
    fits.then(|| Unit {
        outputs: kept.iter().map(|k| k.0).collect(),
        stored: kept.iter().map(|k| Stored { at: usize::from(k.1), dtype: program.nodes[k.0].out.dtype }).collect(),
        node: Node { operands, finish: code, ..first.clone() },
    })
}

/// Who reads each output.
struct Readers {
    nodes: Vec<Vec<usize>>,
    /// Whether it becomes state.
    kept: Vec<bool>,
}

impl Readers {
    fn new(program: &Program, needed: &[bool]) -> Self {
        let n = program.nodes.len();
        let (mut nodes, mut kept) = (vec![Vec::new(); n], vec![false; n]);
        for (number, node) in program.nodes.iter().enumerate().filter(|&(i, _)| needed[i]) {
            sources(node).for_each(|source| nodes[source].push(number));
        }
        for state in &program.state {
            if let Source::Node(i) = state.next {
                kept[i as usize] = true;
            }
        }
        Self { nodes, kept }
    }

    /// Whether somebody beside the members needs this member's output.
    fn outside(&self, member: usize, members: &[usize]) -> bool {
        self.kept[member] || self.nodes[member].iter().any(|reader| !members.contains(reader))
    }
}
