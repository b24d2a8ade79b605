//! The roots around one node of a step too large to run, and the witness of one of its units.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_commit::{B256, tensor_root};
use lockstep_dispute::{ChunkWitness, OperandWitness, UnitKind, reads::reads, referee};
use lockstep_ir::{Node, Program, Source, TensorDecl, eval};

use crate::sparse::{Numbers, SparseTree, chunk, tensor_tree};

/// What is known of the step: the operands of one node, as far as one unit reads them.
pub(crate) struct Around<'a> {
    node: &'a Node,
    reads: lockstep_dispute::reads::Reads,
    tensors: BTreeMap<Source, SparseTree>,
    pub(crate) state: SparseTree,
    pub(crate) data: SparseTree,
    pub(crate) trace: SparseTree,
}

impl<'a> Around<'a> {
    /// `more` are leaves of the trace besides the operands'.
    pub(crate) fn new(program: &'a Program, node: u32, unit: &referee::Unit, more: &[(u64, B256)]) -> Self {
        let node = &program.nodes[node as usize];
        let reads = reads(node, unit, Numbers(node));
        let mut chunks: BTreeMap<Source, (&TensorDecl, BTreeSet<u64>)> = BTreeMap::new();
        for &operand in &reads.operands {
            let operand = &node.operands[operand];
            chunks.entry(operand.source).or_insert_with(|| (&operand.decl, BTreeSet::new()));
        }
        for &(operand, chunk) in &reads.chunks {
            if let Some(entry) = chunks.get_mut(&node.operands[operand].source) {
                entry.1.insert(chunk);
            }
        }
        let mut leaves: [Vec<(u64, B256)>; 3] = [vec![], vec![], more.to_vec()];
        let mut tensors = BTreeMap::new();
        for (source, (decl, chunks)) in chunks {
            let tree = tensor_tree(decl, source, chunks);
            let (set, index) = match source {
                Source::State(index) => (0, index),
                Source::Data(index) => (1, index),
                Source::Node(index) => (2, index),
            };
            leaves[set].push((u64::from(index), tensor_root(decl, tree.root())));
            tensors.insert(source, tree);
        }
        let [state, data, trace] = leaves;
        let count = |n: usize| n as u64;
        Self {
            node,
            reads,
            tensors,
            state: SparseTree::new(count(program.state.len()), 3 << 40, state),
            data: SparseTree::new(count(program.data.len()), 4 << 40, data),
            trace: SparseTree::new(count(program.nodes.len()), 5 << 40, trace),
        }
    }

    /// One entry per operand.
    pub(crate) fn witness(&self) -> Vec<OperandWitness> {
        let prove = |(i, operand): (usize, &lockstep_ir::Operand)| {
            if !self.reads.operands.contains(&i) {
                return OperandWitness::default();
            }
            let tree = &self.tensors[&operand.source];
            let (above, index) = match operand.source {
                Source::State(index) => (&self.state, index),
                Source::Data(index) => (&self.data, index),
                Source::Node(index) => (&self.trace, index),
            };
            let read = self.reads.chunks.iter().filter(|read| read.0 == i).map(|read| read.1);
            let chunks = read.map(|index| ChunkWitness {
                index,
                data: chunk(&operand.decl, operand.source, index),
                proof: tree.prove(index),
            });
            OperandWitness {
                merkle_root: tree.root(),
                root_proof: above.prove(u64::from(index)),
                chunks: chunks.collect(),
            }
        };
        self.node.operands.iter().enumerate().map(prove).collect()
    }

    /// The reference's value.
    pub(crate) fn value(&self, unit: &referee::Unit, values: &[u32]) -> u32 {
        let what = match unit.kind {
            UnitKind::Element => eval::Unit::Element,
            UnitKind::Leaf => eval::Unit::Leaf(unit.block_index),
            UnitKind::Combine => eval::Unit::Combine(values.to_vec()),
            UnitKind::Top => eval::Unit::Top(values.to_vec()),
        };
        eval::unit(self.node, &mut Numbers(self.node), unit.element, &what)
    }
}
