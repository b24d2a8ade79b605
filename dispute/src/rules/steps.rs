//! Phase `Steps`: from a segment between two checkpoints down to one step.

use alloy_primitives::B256;
use lockstep_commit::tree;

use super::{check_count, check_hash};
use crate::illegal::Illegal;
use crate::layout;
use crate::state::{Phase, Side, State};

impl State {
    pub(super) fn post_steps(&mut self, state_roots: &[B256]) -> Result<(), Illegal> {
        let parts = layout::parts(self.steps);
        check_count(parts, state_roots.len())?;
        check_hash(self.after_root, state_roots.last().copied().unwrap_or_default())?;
        self.cursor = tree::root(state_roots);
        self.depth = tree::depth(parts);
        self.index = 0;
        self.count = parts;
        self.to(Phase::Steps, Side::Challenger);
        Ok(())
    }

    pub(super) fn point_step(
        &mut self,
        part: u64,
        (before_root, before_proof): (B256, &[B256]),
        (after_root, after_proof): (B256, &[B256]),
    ) -> Result<(), Illegal> {
        tree::verify(self.cursor, self.count, part, after_root, after_proof)?;
        if part == 0 {
            check_count(0, before_proof.len())?;
            check_hash(self.before_root, before_root)?;
        } else {
            tree::verify(self.cursor, self.count, part - 1, before_root, before_proof)?;
        }
        self.before_root = before_root;
        self.after_root = after_root;
        let (start, steps) = layout::part(self.steps, part);
        self.first_step += start;
        self.steps = steps;
        self.to(Self::segment_phase(steps), Side::Defender);
        Ok(())
    }
}
