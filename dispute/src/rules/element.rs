//! Phases `Chunk` and `Blocks`: from a chunk to one element, and down the radix-256 tree of its fold.

use alloy_primitives::keccak256;
use lockstep_commit::keccak::hash_chunk;
use lockstep_commit::{CHUNK_BYTES, tensor};
use lockstep_ir::program::BLOCK;

use super::{check_count, check_hash};
use crate::illegal::Illegal;
use crate::layout;
use crate::moves::pack;
use crate::state::{Phase, Side, State, UnitKind};

impl State {
    pub(super) fn post_chunk(&mut self, chunk: &[u8]) -> Result<(), Illegal> {
        self.check_chunk(chunk)?;
        self.to(Phase::Chunk, Side::Challenger);
        Ok(())
    }

    pub(super) fn point_element(&mut self, element: u64, chunk: &[u8]) -> Result<(), Illegal> {
        self.check_chunk(chunk)?;
        if element >= self.element_count {
            return Err(Illegal::PastTheEnd { count: self.element_count, given: element });
        }
        let at = element * u64::from(self.element_size);
        if at / CHUNK_BYTES as u64 != self.index {
            return Err(Illegal::NotInChunk { chunk: self.index, element });
        }
        let start = (at % CHUNK_BYTES as u64) as usize;
        let bytes = chunk[start..].iter().take(usize::from(self.element_size));
        self.value = bytes.rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        self.element = element;
        self.block_level = 0;
        self.block_index = 0;
        if self.fold_length > BLOCK {
            self.to(Phase::Blocks, Side::Defender);
        } else {
            self.unit_kind = UnitKind::Element;
            self.to(Phase::Judge, Side::Challenger);
        }
        Ok(())
    }

    fn check_chunk(&self, chunk: &[u8]) -> Result<(), Illegal> {
        let bytes = self.element_count * u64::from(self.element_size);
        check_count(tensor::chunk_len(bytes, self.index) as u64, chunk.len())?;
        check_hash(self.cursor, hash_chunk(chunk))
    }

    pub(super) fn post_blocks(&mut self, values: &[u32]) -> Result<(), Illegal> {
        let list = self.block_list();
        check_count(list.count, values.len())?;
        self.cursor = keccak256(pack(values));
        self.count = list.count;
        self.to(Phase::Blocks, Side::Challenger);
        Ok(())
    }

    pub(super) fn point_block(&mut self, child: Option<u32>, values: &[u32]) -> Result<(), Illegal> {
        check_hash(self.cursor, keccak256(pack(values)))?;
        let Some(child) = child else {
            self.unit_kind = if self.block_level == 0 { UnitKind::Top } else { UnitKind::Combine };
            self.to(Phase::Judge, Side::Challenger);
            return Ok(());
        };
        let Some(&value) = values.get(child as usize) else {
            return Err(Illegal::PastTheEnd { count: self.count, given: u64::from(child) });
        };
        (self.block_level, self.block_index) =
            layout::enter_block(self.fold_length, self.block_list(), u64::from(child));
        self.value = value;
        self.unit_kind = UnitKind::Leaf;
        match self.block_level {
            1 => self.to(Phase::Judge, Side::Challenger),
            _ => self.to(Phase::Blocks, Side::Defender),
        }
        Ok(())
    }
}
