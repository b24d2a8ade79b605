//! The referee: recomputes one unit of one node from proven chunks. The contract's `Referee` gives the same answers.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use lockstep_commit::{CHUNK_BYTES, tensor, tree};
use lockstep_ir::abi::DecodeError;
use lockstep_ir::eval::{self, Operands};
use lockstep_ir::program::{BLOCK, Node, Operand};

use crate::moves::OperandWitness;
use crate::reads::Probe;
use crate::state::UnitKind;

/// The roots that operands come from, with the number of tensors under each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// State before the step.
    pub state_root: B256,
    /// The job's data.
    pub data_root: B256,
    /// The step's trace, as the defender posted it.
    pub trace_root: B256,
    /// Tensors of the state.
    pub state_count: u32,
    /// Tensors of the data.
    pub data_count: u32,
    /// Nodes of the program.
    pub node_count: u32,
}

/// What to recompute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Which kind of unit.
    pub kind: UnitKind,
    /// Element of the node's output.
    pub element: u64,
    /// Leaf block, for [`UnitKind::Leaf`].
    pub block_index: u64,
}

/// Why nothing can be recomputed. The witness is wrong or incomplete, but for `Node` and `NotJudgeable`, which mean that
/// the program should never have been accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefereeError {
    /// The bytes are not a node.
    #[error("node: {0}")]
    Node(#[from] DecodeError),
    /// The unit reads an operand that has no entry in the witness.
    #[error("operand {operand} is read, but the witness ends before it")]
    MissingOperand {
        /// Which operand.
        operand: usize,
    },
    /// The operand's tensor root is not where the source says.
    #[error("operand {operand}: {source}")]
    WrongOperandRoot {
        /// Which operand.
        operand: usize,
        /// What is wrong with its proof.
        source: lockstep_commit::Error,
    },
    /// A chunk is not what the operand's tensor has there.
    #[error("operand {operand}, chunk {chunk}: {source}")]
    WrongChunkProof {
        /// Which operand.
        operand: usize,
        /// Which chunk.
        chunk: u64,
        /// What is wrong with its bytes or proof.
        source: lockstep_commit::Error,
    },
    /// The unit reads a chunk that the witness lacks.
    #[error("operand {operand}, chunk {chunk} is read but not in the witness")]
    MissingChunk {
        /// Which operand.
        operand: usize,
        /// Which chunk.
        chunk: u64,
    },
    /// The unit does not exist in this node.
    #[error("not judgeable: {0}")]
    NotJudgeable(&'static str),
}

/// The chunks of a witness, once proven.
struct Proven<'a> {
    node: &'a Node,
    chunks: BTreeMap<(usize, u64), &'a [u8]>,
    missing: Option<(usize, u64)>,
}

impl Operands for Proven<'_> {
    fn stored(&mut self, operand: usize, index: u64) -> u32 {
        let size = self.node.operands[operand].decl.dtype.size();
        let at = index * size as u64;
        let (chunk, start) = (at / CHUNK_BYTES as u64, (at % CHUNK_BYTES as u64) as usize);
        let Some(bytes) = self.chunks.get(&(operand, chunk)).and_then(|data| data.get(start..start + size)) else {
            self.missing.get_or_insert((operand, chunk));
            return 0;
        };
        bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
    }
}

/// Recomputes a unit: the stored element (zero-extended) or the accumulator. `encoded` is `abi.encode(Node)`, known to
/// be under the program; the program must be valid.
///
/// # Errors
/// There is no answer; see [`RefereeError`].
pub fn recompute(
    encoded: &[u8],
    inputs: &Inputs,
    unit: &Unit,
    values: &[u32],
    witness: &[OperandWitness],
) -> Result<u32, RefereeError> {
    let node = Node::decode(encoded)?;
    let what = eval_unit(&node, unit, values)?;
    let probe = Probe::new(&node, unit.kind);
    let mut proven = Proven { node: &node, chunks: BTreeMap::new(), missing: None };
    for &operand in &probe.operands {
        let proof = witness.get(operand).ok_or(RefereeError::MissingOperand { operand })?;
        proven.add(operand, inputs, proof)?;
    }
    probe.run(unit, &mut proven);
    if let Some((operand, chunk)) = proven.missing {
        return Err(RefereeError::MissingChunk { operand, chunk });
    }
    Ok(eval::unit(&node, &mut proven, unit.element, &what))
}

impl<'a> Proven<'a> {
    /// Proves the operand's root and its chunks, and keeps these.
    fn add(&mut self, operand: usize, inputs: &Inputs, proof: &'a OperandWitness) -> Result<(), RefereeError> {
        let what = &self.node.operands[operand];
        prove_root(inputs, what, proof).map_err(|source| RefereeError::WrongOperandRoot { operand, source })?;
        let wrong = |source, chunk| RefereeError::WrongChunkProof { operand, chunk, source };
        let bytes = tensor::byte_count(&what.decl).map_err(|source| wrong(source, 0))?;
        for chunk in &proof.chunks {
            tensor::verify_chunk(proof.merkle_root, bytes, chunk.index, &chunk.data, &chunk.proof)
                .map_err(|source| wrong(source, chunk.index))?;
            self.chunks.insert((operand, chunk.index), &chunk.data);
        }
        Ok(())
    }
}

fn prove_root(inputs: &Inputs, operand: &Operand, proof: &OperandWitness) -> Result<(), lockstep_commit::Error> {
    let (root, count, index) = inputs.root_of(operand.source);
    let leaf = tensor::tensor_root(&operand.decl, proof.merkle_root);
    tree::verify(root, count, index, leaf, &proof.root_proof)
}

/// The evaluator's unit, if the node has it.
fn eval_unit(node: &Node, unit: &Unit, values: &[u32]) -> Result<eval::Unit, RefereeError> {
    let length = node.fold_length();
    let refuse = |rule| Err(RefereeError::NotJudgeable(rule));
    let combines = matches!(unit.kind, UnitKind::Combine | UnitKind::Top);
    if node.out.elements().is_none_or(|elements| unit.element >= elements) {
        return refuse("the element is not in the tensor");
    }
    if combines != (1..=BLOCK).contains(&(values.len() as u64)) || (!combines && !values.is_empty()) {
        return refuse("1 to 256 values are combined; other units take none");
    }
    match unit.kind {
        UnitKind::Element if length > BLOCK => refuse("an element of a longer fold is judged block by block"),
        UnitKind::Leaf if length <= BLOCK => refuse("a fold of one block is judged as an element"),
        UnitKind::Leaf if unit.block_index >= length.div_ceil(BLOCK) => refuse("the block is not in the fold"),
        UnitKind::Combine if length <= BLOCK * BLOCK => refuse("a fold of up to 65536 has no inner combine"),
        UnitKind::Top if length <= BLOCK => refuse("a fold of one block has no top"),
        UnitKind::Element => Ok(eval::Unit::Element),
        UnitKind::Leaf => Ok(eval::Unit::Leaf(unit.block_index)),
        UnitKind::Combine => Ok(eval::Unit::Combine(values.to_vec())),
        UnitKind::Top => Ok(eval::Unit::Top(values.to_vec())),
    }
}
