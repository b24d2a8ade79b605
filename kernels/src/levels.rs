//! Block results folded upwards while they come in (docs/protocol.md, section 2.2).

use crate::access::BLOCK;

/// Block results of all levels above the leaves, of many outputs at once: one unfinished block per level.
#[derive(Default)]
pub(crate) struct Levels {
    /// The unfinished block of level 2, 3, …: how many values it has taken, and their fold.
    open: Vec<(u64, Vec<u32>)>,
}

impl Levels {
    /// Takes the next leaf block's results. `combine` puts its second argument into its first.
    pub(crate) fn push(&mut self, leaf: &[u32], combine: &mut impl FnMut(&mut [u32], &[u32])) {
        let mut carried: Option<Vec<u32>> = None;
        for (count, acc) in &mut self.open {
            let value = carried.as_deref().unwrap_or(leaf);
            if *count == 0 {
                acc.copy_from_slice(value);
            } else {
                combine(acc, value);
            }
            *count += 1;
            if *count < BLOCK {
                return;
            }
            *count = 0;
            carried = Some(acc.clone());
        }
        self.open.push((1, carried.unwrap_or_else(|| leaf.to_vec())));
    }

    /// The fold of everything taken: unfinished blocks go up as they are.
    pub(crate) fn finish(self, combine: &mut impl FnMut(&mut [u32], &[u32])) -> Vec<u32> {
        let mut carried: Option<Vec<u32>> = None;
        for (count, mut acc) in self.open {
            if count == 0 {
                continue;
            }
            if let Some(value) = &carried {
                combine(&mut acc, value);
            }
            carried = Some(acc);
        }
        carried.unwrap_or_default()
    }
}
