//! Block results folded upwards while they come in (docs/protocol.md, section 2.2).

use crate::{access::BLOCK, code::Reg};

/// Block results of all levels above the leaves, of many outputs at once: one unfinished block per level.
#[derive(Default)]
pub(crate) struct Levels {
    /// The unfinished block of level 2, 3, …: how many values it has taken, and their fold.
    open: Vec<(u64, Reg)>,
}

impl Levels {
    /// Takes the next leaf block's results.
    pub(crate) fn push(&mut self, leaf: Reg, combine: &mut impl FnMut(&Reg, &Reg) -> Reg) {
        let mut value = leaf;
        for (count, acc) in &mut self.open {
            value = if *count == 0 { value } else { combine(acc, &value) };
            *count += 1;
            if *count < BLOCK {
                *acc = value;
                return;
            }
            *count = 0;
        }
        self.open.push((1, value));
    }

    /// The fold of everything taken: unfinished blocks go up as they are.
    pub(crate) fn finish(self, combine: &mut impl FnMut(&Reg, &Reg) -> Reg) -> Reg {
        let mut carried: Option<Reg> = None;
        for (count, acc) in self.open {
            carried = match carried {
                _ if count == 0 => carried,
                None => Some(acc),
                Some(value) => Some(combine(&acc, &value)),
            };
        }
        carried.unwrap_or(Reg::ZERO)
    }
}
