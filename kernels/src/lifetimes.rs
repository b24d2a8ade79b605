//! How long node outputs live, and how much memory that takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lockstep_ir::{Program, Source, TensorDecl};

use crate::group::Unit;

pub(crate) fn bytes(decl: &TensorDecl) -> u64 {
    decl.elements().unwrap_or(0) * decl.dtype.size() as u64
}

/// How long each output lives, and which memory is used again.
pub(crate) struct Lifetimes {
    /// For each unit, the outputs that are dropped after it.
    pub(crate) release: Vec<Vec<usize>>,
    /// For each output of each unit, the output whose memory it takes over: one of the same type and shape that nobody reads any more.
    pub(crate) reuse: Vec<Vec<Option<usize>>>,
    /// Most bytes of outputs and new state that are held at once.
    pub(crate) peak_bytes: u64,
}

impl Lifetimes {
    pub(crate) fn new(program: &Program, units: &[Unit]) -> Self {
        let dead = dead_after(program, units);
        let mut reuse = Vec::new();
        let mut waiting: HashMap<&TensorDecl, Vec<usize>> = HashMap::new();
        for (unit, dead) in units.iter().zip(&dead) {
            let mut take = |&number: &usize| waiting.get_mut(&program.nodes[number].out).and_then(Vec::pop);
            reuse.push(unit.outputs.iter().map(&mut take).collect::<Vec<_>>());
            for &d in dead {
                waiting.entry(&program.nodes[d].out).or_default().push(d);
            }
        }
        let taken: BTreeSet<usize> = reuse.iter().flatten().flatten().copied().collect();
        let kept = |list: Vec<usize>| list.into_iter().filter(|d| !taken.contains(d)).collect();
        let release: Vec<Vec<usize>> = dead.into_iter().map(kept).collect();
        let peak_bytes = peak_bytes(program, units, &release, &reuse);
        Self { release, reuse, peak_bytes }
    }
}

/// For each unit, the outputs that nobody reads after it.
fn dead_after(program: &Program, units: &[Unit]) -> Vec<Vec<usize>> {
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        let read = unit.node.operands.iter().filter_map(|o| match o.source {
            Source::Node(i) => Some(i as usize),
            _ => None,
        });
        for number in unit.outputs.iter().copied().chain(read) {
            last.insert(number, at);
        }
    }
    let kept: BTreeSet<Source> = program.state.iter().map(|s| s.next).collect();
    let mut out = vec![Vec::new(); units.len()];
    for (number, at) in last.into_iter().filter(|&(i, _)| !kept.contains(&Source::Node(i as u32))) {
        out[at].push(number);
    }
    out
}

fn peak_bytes(program: &Program, units: &[Unit], release: &[Vec<usize>], reuse: &[Vec<Option<usize>>]) -> u64 {
    let (mut now, mut peak) = (0u64, 0u64);
    for ((unit, release), reuse) in units.iter().zip(release).zip(reuse) {
        for (&number, _) in unit.outputs.iter().zip(reuse).filter(|o| o.1.is_none()) {
            now = now.saturating_add(bytes(&program.nodes[number].out));
        }
        peak = peak.max(now);
        now -= release.iter().map(|&i| bytes(&program.nodes[i].out)).sum::<u64>();
    }
    // State that is not the only one made from a node's output is copied at the end.
    let mut seen = BTreeSet::new();
    let copied = program.state.iter().filter(|s| !matches!(s.next, Source::Node(_)) || !seen.insert(s.next));
    peak.max(now.saturating_add(copied.map(|s| bytes(&s.decl)).sum()))
}
