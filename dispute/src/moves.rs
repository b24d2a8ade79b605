//! What the sides do, and what of it the other side keeps.

use alloy_primitives::B256;
use lockstep_ir::program::StateDecl;

use crate::state::Phase;

/// A chunk of an operand with its path under the operand's Merkle root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkWitness {
    /// Which chunk of the tensor.
    pub index: u64,
    /// Its real bytes.
    pub data: Vec<u8>,
    /// Siblings, lowest first.
    pub proof: Vec<B256>,
}

/// What proves one operand. All empty for an operand that the unit does not read; without chunks for one that it reads only
/// out of bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperandWitness {
    /// Merkle root inside the tensor root.
    pub merkle_root: B256,
    /// Path of the tensor root under the state, data or trace root.
    pub root_proof: Vec<B256>,
    /// The chunks that the unit reads, ascending.
    pub chunks: Vec<ChunkWitness>,
}

/// One call of the contract. The caller adds dispute, position and, where the call takes it, the program's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// `postSteps`: state roots after each part of the segment.
    PostSteps {
        /// 2 to 256; the last is the claimed root after the segment.
        state_roots: Vec<B256>,
    },
    /// `postTrace`.
    PostTrace {
        /// Root of the trace of the step.
        trace_root: B256,
        /// First level under it; empty if the program has one node.
        children: Vec<B256>,
    },
    /// `postChildren`: the next level under the cursor.
    PostChildren {
        /// The real subtrees.
        children: Vec<B256>,
    },
    /// `postTensor`.
    PostTensor {
        /// `abi.encode(Node)`.
        node: Vec<u8>,
        /// Path of its hash under the program's `nodesRoot`.
        node_proof: Vec<B256>,
        /// Merkle root of the node's output.
        merkle_root: B256,
        /// First level under it; empty if the output has one chunk.
        children: Vec<B256>,
    },
    /// `postChunk`.
    PostChunk {
        /// The chunk's real bytes.
        chunk: Vec<u8>,
    },
    /// `postBlocks`.
    PostBlocks {
        /// Block results; the contract takes them as packed little-endian words, see [`pack`].
        values: Vec<u32>,
    },
    /// `pointStep`.
    PointStep {
        /// The part that is wrong.
        part: u32,
        /// State root before it.
        before_root: B256,
        /// Its path under the posted list; empty for part 0.
        before_proof: Vec<B256>,
        /// State root posted after it.
        after_root: B256,
        /// Its path under the posted list.
        after_proof: Vec<B256>,
    },
    /// `pointChild`.
    PointChild {
        /// Counts within the posted level.
        child: u32,
        /// What was posted there.
        hash: B256,
        /// Its path up to the cursor.
        proof: Vec<B256>,
    },
    /// `pointState`: all nodes are right, the state after the step is not what they give.
    PointState,
    /// `pointElement`.
    PointElement {
        /// Counts within the whole tensor.
        element: u64,
        /// The chunk as posted.
        chunk: Vec<u8>,
    },
    /// `pointBlock`.
    PointBlock {
        /// Counts within the posted values; `None` is *top*, `type(uint32).max` in the call.
        child: Option<u32>,
        /// The values as posted.
        values: Vec<u32>,
    },
    /// `judge`.
    Judge {
        /// `abi.encode(Node)`.
        node: Vec<u8>,
        /// The values as posted, if they are what is combined; else empty.
        values: Vec<u32>,
        /// One entry per operand of the node.
        witness: Vec<OperandWitness>,
    },
    /// `judgeState`.
    JudgeState {
        /// The state tensor pointed at.
        decl: StateDecl,
        /// Path of its hash under the program's `stateDeclsRoot`.
        decl_proof: Vec<B256>,
        /// Root of the tensor that the declaration names.
        source_root: B256,
        /// Its path under trace, state or data root.
        source_proof: Vec<B256>,
    },
    /// `timeout`: the side to move let its time run out.
    Timeout,
}

/// Block results as the contract takes them: little-endian words.
#[must_use]
pub fn pack(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Block results from the contract's bytes; `None` if these are not whole words.
#[must_use]
pub fn unpack(bytes: &[u8]) -> Option<Vec<u32>> {
    let words = bytes.chunks_exact(4);
    if !words.remainder().is_empty() {
        return None;
    }
    Some(words.map(|word| word.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))).collect())
}

/// Everything the defender has posted that the challenger still needs: fill it from the contract's events, in order,
/// or from moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// Latest `StepsPosted`.
    pub state_roots: Vec<B256>,
    /// All levels of the trace tree: `TracePosted`, then `ChildrenPosted` in phase `Nodes`.
    pub trace_levels: Vec<Vec<B256>>,
    /// All levels of the state tree: `ChildrenPosted` in phase `States`.
    pub state_levels: Vec<Vec<B256>>,
    /// All levels of the chunk tree: `TensorPosted`, then `ChildrenPosted` in phase `Chunks`.
    pub chunk_levels: Vec<Vec<B256>>,
    /// `ChunkPosted`.
    pub chunk: Vec<u8>,
    /// Latest `BlocksPosted`.
    pub values: Vec<u32>,
}

impl Posted {
    /// Keeps what `mv`, accepted in `phase`, posted. Pointers and judgements post nothing.
    pub fn record(&mut self, phase: Phase, mv: &Move) {
        match mv {
            Move::PostSteps { state_roots } => self.state_roots.clone_from(state_roots),
            Move::PostTrace { children, .. } => self.trace_levels = vec![children.clone()],
            Move::PostTensor { children, .. } => self.chunk_levels = vec![children.clone()],
            Move::PostChildren { children } => self.record_children(phase, children.clone()),
            Move::PostChunk { chunk } => self.chunk.clone_from(chunk),
            Move::PostBlocks { values } => self.values.clone_from(values),
            _ => {}
        }
    }

    /// Keeps a `ChildrenPosted`.
    pub fn record_children(&mut self, phase: Phase, children: Vec<B256>) {
        match phase {
            Phase::Nodes => self.trace_levels.push(children),
            Phase::States => self.state_levels.push(children),
            Phase::Chunks => self.chunk_levels.push(children),
            _ => {}
        }
    }

    /// The latest level posted in a walk.
    #[must_use]
    pub fn level(&self, phase: Phase) -> Option<&[B256]> {
        let levels = match phase {
            Phase::Nodes => &self.trace_levels,
            Phase::States => &self.state_levels,
            Phase::Chunks => &self.chunk_levels,
            _ => return None,
        };
        levels.last().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_little_endian_words() {
        assert_eq!(pack(&[1, 0x0203_0405]), [1, 0, 0, 0, 5, 4, 3, 2]);
        assert_eq!(unpack(&pack(&[7, u32::MAX, 0])), Some(vec![7, u32::MAX, 0]));
        assert_eq!(unpack(&[1, 2, 3]), None);
    }
}
