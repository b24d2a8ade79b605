//! Phases `Judge` and `JudgeState`: how a game ends.

use alloy_primitives::{B256, keccak256};
use lockstep_commit::tree;
use lockstep_ir::program::{Source, StateDecl};

use super::{check_count, check_hash};
use crate::illegal::Illegal;
use crate::moves::{OperandWitness, pack};
use crate::referee::{self, Inputs, Unit};
use crate::state::{Side, State, Terms, UnitKind};

impl State {
    pub(super) fn judge(
        &mut self,
        terms: &Terms,
        node: &[u8],
        values: &[u32],
        witness: &[OperandWitness],
    ) -> Result<(), Illegal> {
        check_hash(self.node_hash, keccak256(node))?;
        match self.unit_kind {
            UnitKind::Element | UnitKind::Leaf => check_count(0, values.len())?,
            UnitKind::Combine | UnitKind::Top => check_hash(self.cursor, keccak256(pack(values)))?,
        }
        let unit = Unit { kind: self.unit_kind, element: self.element, block_index: self.block_index };
        let bits = referee::recompute(node, &self.inputs(terms), &unit, values, witness)?;
        self.resolve(if bits == self.value { Side::Defender } else { Side::Challenger });
        Ok(())
    }

    pub(super) fn judge_state(
        &mut self,
        terms: &Terms,
        decl: &StateDecl,
        decl_proof: &[B256],
        source_root: B256,
        source_proof: &[B256],
    ) -> Result<(), Illegal> {
        let header = &terms.header;
        tree::verify(header.stateDeclsRoot, u64::from(header.stateCount), self.index, decl.hash(), decl_proof)?;
        let (root, count, index) = self.inputs(terms).root_of(decl.next);
        tree::verify(root, count, index, source_root, source_proof)?;
        self.resolve(if self.cursor == source_root { Side::Defender } else { Side::Challenger });
        Ok(())
    }

    fn inputs(&self, terms: &Terms) -> Inputs {
        let header = &terms.header;
        Inputs {
            state_root: self.before_root,
            data_root: terms.data_root,
            trace_root: self.trace_root,
            state_count: header.stateCount,
            data_count: header.dataCount,
            node_count: header.nodeCount,
        }
    }
}

impl Inputs {
    /// The root that a source is proven under, the number of tensors there, and which of them it is.
    pub(crate) fn root_of(&self, source: Source) -> (B256, u64, u64) {
        let (root, count, index) = match source {
            Source::State(index) => (self.state_root, self.state_count, index),
            Source::Data(index) => (self.data_root, self.data_count, index),
            Source::Node(index) => (self.trace_root, self.node_count, index),
        };
        (root, u64::from(count), u64::from(index))
    }
}
