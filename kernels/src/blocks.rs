//! Any node, evaluated over blocks of lanes.
//!
//! A lane of a map is an output element. In a fold it is one accumulator: of an output element, of a leaf block of it (when there are
//! few elements and many blocks), and of one of the sixteen lanes of that block. All lanes take the same steps through the fold, so
//! that each operation of `body` runs over a whole register.

use lockstep_ir::{
    Node, Order,
    program::LANES,
    scalar::{Instr, Op},
};

use crate::{
    Error,
    access::{Address, BLOCK, Places, row_major},
    code::{Code, NEXT, Registers, WIDTH},
    compile::{Assembly, FoldKernel, MapKernel, Shape, Stored, Target},
    memory::Pattern,
};

/// A node compiled for the vector evaluator.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    pub(crate) places: Places,
    pub(crate) registers: Registers,
    pub(crate) fold: Option<FoldCode>,
    pub(crate) finish: Code,
    pub(crate) out: lockstep_ir::DType,
    /// `(register, dimension of the merged domain)`.
    pub(crate) coords: Vec<(u32, usize)>,
    /// How the outputs of a block of consecutive elements lie in each linear operand, where that is the same for all blocks.
    pub(crate) patterns: Vec<Option<Pattern>>,
    /// Blocks do not cross rows of the merged domain, for operands then have simpler patterns.
    pub(crate) cut_rows: bool,
    /// `finish` as machine code, where the machine has what it takes.
    pub(crate) map: Option<MapKernel>,
    /// Operations per output element, for deciding how many threads are worth it.
    pub(crate) work: u64,
}

/// A compiled fold.
#[derive(Clone, Debug)]
pub(crate) struct FoldCode {
    pub(crate) order: Order,
    pub(crate) init: u32,
    /// From the accumulator to its successor, and back.
    pub(crate) body: [Code; 2],
    pub(crate) combine: Code,
    pub(crate) length: u64,
    /// Machine code for it, where it lies well and the machine has what it takes.
    pub(crate) kernel: Option<FoldKernel>,
}

impl FoldCode {
    /// Accumulators of one leaf block.
    pub(crate) fn accumulators(&self) -> usize {
        if self.order == Order::Lanes { LANES } else { 1 }
    }

    pub(crate) fn leaf_blocks(&self) -> u64 {
        self.length.div_ceil(BLOCK)
    }
}

/// Rows at least this long are worth ending a block for.
const LONG_ROW: u64 = 128;

impl Blocks {
    /// For a valid node.
    pub(crate) fn new(node: &Node) -> Self {
        let places = Places::new(node);
        let fold_programs = node.fold.iter().flat_map(|f| f.body.iter().chain(&f.combine));
        let mut registers = Registers::new(fold_programs.chain(&node.finish));
        let finish = registers.compile(&node.finish, |_| true, None);
        let fold = node.fold.as_ref().map(|f| {
            let body = registers.compile(&f.body, |i| places.operands[i].fixed, Some(NEXT));
            registers.pin(&body);
            let combine =
                if f.combine.is_empty() { Code::default() } else { registers.compile(&f.combine, |_| true, None) };
            let length = node.fold_length();
            FoldCode {
                order: f.order,
                init: f.init,
                body: [body.clone(), body.swapped()],
                combine,
                length,
                kernel: None,
            }
        });
        let coords = registers.coords.iter().filter_map(|(&d, &r)| places.coords[d].map(|d| (r, d))).collect();
        let patterns: Vec<_> = places.operands.iter().map(|p| static_pattern(&p.address, &places.domain)).collect();
        let runs = (0..places.operands.len()).any(|i| places.runs_along(i));
        let irregular = runs || patterns.iter().any(Option::is_none);
        let cut_rows = irregular && places.domain.last().is_some_and(|&n| n >= LONG_ROW);
        let per_fold = node.fold.as_ref().map_or(0, |f| node.fold_length() * code_work(&f.body));
        let work = per_fold + code_work(&node.finish);
        Self { places, registers, fold, finish, out: node.out.dtype, coords, patterns, cut_rows, map: None, work }
    }

    /// Makes machine code for the node, which stores these values of its `finish`, and for its fold if `folds`.
    ///
    /// # Errors
    /// The assembler refuses an instruction.
    pub(crate) fn compile(
        &mut self,
        node: &Node,
        outputs: &[Stored],
        folds: bool,
        target: Target,
        assembly: &mut Assembly,
    ) -> Result<(), Error> {
        let shape = Shape { places: &self.places, patterns: &self.patterns, cut_rows: self.cut_rows };
        self.map = Some(MapKernel::new(target, assembly, &shape, &node.finish, outputs)?);
        if let Some(fold) = self.fold.as_mut().filter(|_| folds) {
            fold.kernel = FoldKernel::new(target, assembly, node, &self.places)?;
        }
        Ok(())
    }

    /// Elements from `first` that are evaluated together, at most `limit`.
    pub(crate) fn block(&self, first: u64, limit: u64) -> usize {
        let row = match self.places.domain.last() {
            Some(&n) if self.cut_rows => n - first % n,
            _ => u64::MAX,
        };
        row.min(limit).min(WIDTH as u64) as usize
    }

    /// How `outputs` elements from `first` lie in linear operand `i` with these domain coefficients.
    pub(crate) fn pattern(&self, i: usize, domain: &[i64], first: u64, outputs: usize) -> Pattern {
        if let Some(p) = self.patterns[i] {
            return p;
        }
        match (self.places.domain.last(), domain.last()) {
            (Some(&n), Some(&c)) if first % n + outputs as u64 <= n => by_stride(c),
            _ => Pattern::Table,
        }
    }
}

/// A load is dearer than an operation, and an integer FMA much dearer, but a rough measure does.
fn code_work(code: &[Instr]) -> u64 {
    let one = |i: &Instr| match *i {
        Instr::Op { op: Op::Load, .. } => 4,
        _ => 1,
    };
    1 + code.iter().map(one).sum::<u64>()
}

fn by_stride(c: i64) -> Pattern {
    match c {
        0 => Pattern::Uniform,
        1 => Pattern::Contiguous,
        c => Pattern::Strided(c),
    }
}

fn static_pattern(address: &Address, sizes: &[u64]) -> Option<Pattern> {
    let Address::Linear { domain, .. } = address else { return Some(Pattern::Table) };
    if domain.iter().all(|&c| c == 0) {
        Some(Pattern::Uniform)
    } else if *domain == row_major(sizes) {
        Some(Pattern::Contiguous)
    } else if let [c] = domain[..] {
        Some(Pattern::Strided(c))
    } else {
        None
    }
}
