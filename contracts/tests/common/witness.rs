//! Builds what `Referee.recompute` takes from whole tensors.

use std::collections::BTreeMap;

use alloy_primitives::Bytes;
use lockstep_commit::{TensorTree, Tree, roots, tensor};
use lockstep_contracts::Referee::{ChunkWitness, Inputs, OperandWitness, Unit, recomputeCall};
use lockstep_dispute::{UnitKind, reads::reads, referee};
use lockstep_ir::{Node, Program, Source, Tensor, eval};

/// A step with every tensor around it, hashed.
pub(crate) struct Step {
    pub(crate) program: Program,
    pub(crate) state: Vec<Tensor>,
    pub(crate) data: Vec<Tensor>,
    pub(crate) trace: Vec<Tensor>,
    trees: [Tree; 3],
}

impl Step {
    /// Runs the reference evaluator.
    pub(crate) fn new(program: Program, state: Vec<Tensor>, data: Vec<Tensor>) -> Self {
        let trace = eval::step(&program, &state, &data).unwrap().trace;
        let trees = [&state, &data, &trace].map(roots::tree_of_tensors);
        Self { program, state, data, trace, trees }
    }

    /// The roots that operands are proven under.
    pub(crate) fn inputs(&self) -> Inputs {
        let [state, data, trace] = &self.trees;
        Inputs {
            stateRoot: state.root(),
            dataRoot: data.root(),
            traceRoot: trace.root(),
            stateCount: state.count() as u32,
            dataCount: data.count() as u32,
            nodeCount: trace.count() as u32,
        }
    }

    fn tensors(&self, node: &Node) -> Vec<&Tensor> {
        node.operands.iter().map(|op| eval::resolve(op.source, &self.state, &self.data, &self.trace)).collect()
    }

    /// The reference's value of a unit, and the call that makes the referee compute it, with the witness that a judge brings.
    pub(crate) fn unit(&self, index: usize, element: u64, unit: &eval::Unit) -> (u32, recomputeCall) {
        let node = &self.program.nodes[index];
        let tensors = self.tensors(node);
        let expected = eval::unit(node, &mut tensors.as_slice(), element, unit);
        let (unit_kind, block_index) = match unit {
            eval::Unit::Element => (UnitKind::Element, 0),
            eval::Unit::Leaf(block) => (UnitKind::Leaf, *block),
            eval::Unit::Combine(_) => (UnitKind::Combine, 0),
            eval::Unit::Top(_) => (UnitKind::Top, 0),
        };
        let read = reads(node, &referee::Unit { kind: unit_kind, element, block_index }, tensors.as_slice());
        let mut chunks: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        read.chunks.iter().for_each(|&(operand, chunk)| chunks.entry(operand).or_default().push(chunk));
        let witness = node.operands.iter().zip(&tensors).enumerate().map(|(i, (operand, tensor))| {
            chunks.get(&i).map_or_else(nothing, |chunks| self.prove(operand.source, tensor, chunks))
        });
        let values: &[u32] = match unit {
            eval::Unit::Combine(values) | eval::Unit::Top(values) => values,
            _ => &[],
        };
        let call = recomputeCall {
            node: node.encode().into(),
            inputs: self.inputs(),
            unit: Unit { kind: unit_kind as u8, element, blockIndex: block_index },
            values: values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
            witness: witness.collect(),
        };
        (expected, call)
    }

    fn prove(&self, source: Source, operand: &Tensor, chunks: &[u64]) -> OperandWitness {
        let (tree, index) = match source {
            Source::State(index) => (&self.trees[0], index),
            Source::Data(index) => (&self.trees[1], index),
            Source::Node(index) => (&self.trees[2], index),
        };
        let hashes = TensorTree::new(operand);
        let chunks = chunks.iter().map(|&chunk| ChunkWitness {
            index: chunk,
            data: Bytes::copy_from_slice(tensor::chunk(operand.bytes(), chunk).unwrap()),
            proof: hashes.tree().prove(chunk).unwrap(),
        });
        OperandWitness {
            merkleRoot: hashes.merkle_root(),
            rootProof: tree.prove(u64::from(index)).unwrap(),
            chunks: chunks.collect(),
        }
    }
}

fn nothing() -> OperandWitness {
    OperandWitness { merkleRoot: Default::default(), rootProof: vec![], chunks: vec![] }
}
