//! Folds whose leaf blocks run as machine code: which way a node can take, and its routines.

use lockstep_ir::{
    DType, Node, Operand, Order,
    program::{BLOCK, LANES},
    scalar::{Instr, Op},
};

use super::{
    code::{Assembly, Entry},
    draft::{Body, Def, Draft, Item, Kind, Pool, Val},
    emit::POINTERS,
    fold_routine::{ColumnsSpec, ROWS, ROWS_REGISTERS, RowsSpec, columns, rows},
    lower::{Lower, Scalar},
    ops::Target,
    routine::{LONGEST_BODY, Routine},
};
use crate::{
    Error,
    access::{Address, Place, Places, Row},
};

/// How the leaf blocks of a fold are computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// One output after the other, its values lying one after the other, in `lanes` order.
    Rows,
    /// Neighbouring outputs side by side, all at the same fold position.
    Columns,
}

/// What a fold's body reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Operand(usize),
    /// All ones where an operand is in bounds, zero where the body is left out.
    Inside(usize),
    /// The fold position, from a list of them.
    Position,
    /// The coordinate of a dimension of the merged domain, from the same list.
    Coordinate(usize),
}

/// One tensor that a fold's body reads, or the fold's positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoldStream {
    pub(crate) source: Source,
    pub(crate) kind: Kind,
    /// Elements from one fold position to the next, if that is always the same.
    pub(crate) stride: i64,
    pub(crate) lies: Lies,
}

/// Where a stream's elements lie at one fold position after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lies {
    /// A fixed distance further on.
    Evenly,
    /// Anywhere, or out of bounds, but those of all outputs together: the routine is given a list.
    InLines,
    /// In no way that the routine can read. They are copied block by block: see [`crate::lines`].
    Apart,
}

/// A compiled fold.
#[derive(Clone, Debug)]
pub(crate) struct FoldKernel {
    pub(crate) way: Way,
    pub(crate) leaf: Entry,
    pub(crate) combine: Option<Entry>,
    pub(crate) streams: Vec<FoldStream>,
    /// Numbers from 0 on, as far as a stream reads fold positions or coordinates.
    pub(crate) positions: Vec<u32>,
    /// Registers of scratch of both routines.
    pub(crate) slots: usize,
    /// Where `rows` reads its mask: a slot for each of its registers.
    pub(crate) mask: usize,
    /// Lanes of a register.
    pub(crate) lanes: usize,
    /// The leaf routine takes a list of addresses.
    pub(crate) listed: bool,
    /// What a leaf block gives that has no fold position.
    pub(crate) init: u32,
}

/// Most positions or coordinates that are kept as a list: 4 MiB.
const MOST_POSITIONS: u64 = 1 << 20;

/// Steps of a leaf block that one accumulator takes at a time, where there are two.
const AHEAD: usize = 4;

/// Outputs in a row from which on copying their operands is worth it.
const WIDE: u64 = 16;

/// The way that a node's fold can take, and what its body reads.
pub(crate) fn way(node: &Node, places: &Places) -> Option<(Way, Vec<FoldStream>)> {
    let fold = node.fold.as_ref()?;
    let has = |ops: &[Op]| fold.body.iter().any(|i| matches!(i, Instr::Op { op, .. } if ops.contains(op)));
    let factors = has(&[Op::Kf]) && places.fold.len() > 1;
    if factors || has(&[Op::K, Op::Kf]) && node.fold_length() > MOST_POSITIONS {
        return None;
    }
    [Way::Rows, Way::Columns].into_iter().find_map(|way| {
        let streams = streams(node, &fold.body, places, way)?;
        let rows = fold.order == Order::Lanes && streams.iter().any(|s| s.stride == 1);
        let rest = !node.fold_length().is_multiple_of(16);
        let widened = streams.iter().any(|s| matches!(s.kind, Kind::Byte | Kind::Half));
        let fits = match way {
            Way::Rows => rows && !(rest && widened),
            Way::Columns => streams.iter().any(|s| s.kind != Kind::Same),
        };
        // Beside the streams' addresses, that of the results has a register, and `rows` counts leaf blocks in one.
        let others = if way == Way::Rows { 2 } else { 1 };
        (fits && streams.len() + others <= POINTERS.len()).then_some((way, streams))
    })
}

/// Whether a fold runs well without a copy that puts its values one after the other: all outputs side by side.
pub(crate) fn reads_columns(node: &Node) -> bool {
    let places = Places::new(node);
    let wide = places.domain.last().is_some_and(|&n| n >= WIDE);
    wide && way(node, &places)
        .is_some_and(|(way, streams)| way == Way::Columns && streams.iter().all(|s| s.lies != Lies::Apart))
}

/// Whether a fold's leaf blocks run as machine code.
pub(crate) fn runs_compiled(node: &Node) -> bool {
    way(node, &Places::new(node)).is_some()
}

/// What an instruction of the body reads beside the accumulator, if anything that changes from one fold position to the next, or may.
fn source(instr: &Instr, places: &Places) -> Option<Source> {
    match *instr {
        Instr::Op { op: Op::Load, a, .. } => Some(Source::Operand(usize::from(a))),
        Instr::Op { op: Op::K, .. } => Some(Source::Position),
        // With one dimension of more than one position, it is the position.
        Instr::Op { op: Op::Kf, a, .. } => places.kf[usize::from(a)].map(|_| Source::Position),
        Instr::Op { op: Op::Coord, a, .. } => places.coords[usize::from(a)].map(Source::Coordinate),
        _ => None,
    }
}

/// What the body reads, each once, and where it is left out; `None` if something lies otherwise than this way wants it.
fn streams(node: &Node, body: &[Instr], places: &Places, way: Way) -> Option<Vec<FoldStream>> {
    if way == Way::Rows && places.fold.len() != 1 {
        return None;
    }
    // What is never out of bounds is never skipped, and lines that are skipped are not in the list.
    let skips = |(operand, place): (&Operand, &Place)| {
        operand.skip && matches!(place.address, Address::Tested(_)) && in_lines(place, places).is_none()
    };
    let tested = (0..).zip(node.operands.iter().zip(&places.operands)).filter(|(_, o)| skips(*o));
    let tested = tested.map(|(i, _)| Source::Inside(i));
    let mut streams: Vec<FoldStream> = Vec::new();
    for source in body.iter().filter_map(|i| source(i, places)).chain(tested) {
        if !streams.iter().any(|s| s.source == source) {
            streams.push(stream(source, places, way)?);
        }
    }
    Some(streams)
}

fn stream(source: Source, places: &Places, way: Way) -> Option<FoldStream> {
    let evenly = |kind, stride| Some(FoldStream { source, kind, stride, lies: Lies::Evenly });
    let otherwise = |place: &Place| {
        let wide = places.domain.last().is_some_and(|&n| n >= WIDE);
        let (kind, lies) = match (source, in_lines(place, places)) {
            (Source::Operand(_), Some(kind)) => (kind, Lies::InLines),
            _ => (Kind::Word, Lies::Apart),
        };
        (wide && way == Way::Columns).then_some(FoldStream { source, kind, stride: 0, lies })
    };
    let operand = match source {
        Source::Operand(i) | Source::Inside(i) => i,
        Source::Position => {
            let kind = if way == Way::Rows { Kind::Word } else { Kind::Same };
            return evenly(kind, 1);
        }
        Source::Coordinate(d) => {
            let along = way == Way::Columns && d + 1 == places.domain.len();
            let kind = if along { Kind::Word } else { Kind::Same };
            return evenly(kind, 0).filter(|_| places.domain[d] <= MOST_POSITIONS);
        }
    };
    let place = &places.operands[operand];
    let (domain, fold) = match &place.address {
        Address::Linear { domain, fold, .. } => (domain, fold),
        Address::Tested(rows) => return if rows.iter().all(|r| r.gather.is_none()) { otherwise(place) } else { None },
    };
    if fold.len() > 1 && fold.iter().any(|&c| c != 0) {
        return otherwise(place);
    }
    // Places do not count an extent of one, so a missing dimension is a step that is never taken.
    let stride = fold.first().copied().unwrap_or(0);
    let side = if way == Way::Rows { stride } else { domain.last().copied().unwrap_or(0) };
    match beside(side, place.dtype) {
        Some(kind) => evenly(kind, stride),
        None => otherwise(place),
    }
}

/// How a routine reads elements of which the next one is so far on.
fn beside(step: i64, dtype: DType) -> Option<Kind> {
    match (step, dtype) {
        (1, DType::I8) => Some(Kind::Byte),
        (1, DType::Bf16) => Some(Kind::Half),
        (1, _) => Some(Kind::Word),
        (0, DType::F32 | DType::I32 | DType::U32) => Some(Kind::Same),
        _ => None,
    }
}

/// How neighbouring outputs read an operand that is in or out of bounds for all of them together.
fn in_lines(place: &Place, places: &Places) -> Option<Kind> {
    let inner = |domain: &[i64]| domain.last().copied().unwrap_or(0);
    match &place.address {
        Address::Linear { domain, .. } => beside(inner(domain), place.dtype),
        Address::Tested(rows) => {
            let together =
                |r: &Row| r.gather.is_none() && (inner(&r.domain) == 0 || r.in_bounds(&places.domain, &places.fold));
            let step = rows.iter().fold(0i64, |step, r| step.wrapping_mul(r.extent).wrapping_add(inner(&r.domain)));
            // What is filled in is made of words.
            let kind = beside(step, place.dtype).filter(|k| place.skip || matches!(k, Kind::Word | Kind::Same));
            kind.filter(|_| rows.iter().all(together))
        }
    }
}

fn takes_list(streams: &[FoldStream]) -> bool {
    streams.iter().any(|s| s.lies == Lies::InLines)
}

/// Makes the drafts of one fold's routines.
struct Builder<'a> {
    node: &'a Node,
    places: &'a Places,
    streams: &'a [FoldStream],
    target: Target,
    pool: Pool,
}

/// How a body reads a stream: the definition of its elements from this lane on.
type Read<'a> = &'a dyn Fn(usize, usize) -> Def;

impl Builder<'_> {
    /// `body` applied to an accumulator.
    fn apply(&mut self, draft: &mut Draft, acc: Val, lane: usize, read: Read<'_>) -> Option<Val> {
        let fold = self.node.fold.as_ref()?;
        let (streams, places) = (self.streams, self.places);
        let mut lower = Lower { draft, pool: &mut self.pool, target: self.target };
        let result = lower.program(&fold.body, |lower, op, index| match op {
            Op::Acc => Some(Scalar::Bits(acc)),
            Op::Kf if places.kf[index].is_none() => Some(Scalar::Bits(lower.draft.splat(lower.pool, 0))),
            Op::Coord if places.coords[index].is_none() => Some(Scalar::Bits(lower.draft.splat(lower.pool, 0))),
            Op::Load | Op::K | Op::Kf | Op::Coord => {
                let source = match op {
                    Op::Load => Source::Operand(index),
                    Op::Coord => Source::Coordinate(places.coords[index]?),
                    _ => Source::Position,
                };
                let slot = streams.iter().position(|s| s.source == source)?;
                let element = lower.draft.value(read(slot, lane));
                let half = streams[slot].kind == Kind::Half;
                Some(Scalar::Bits(if half { lower.widened(places.operands[index].dtype, element) } else { element }))
            }
            _ => None,
        })?;
        Some(lower.bits(result))
    }

    fn combine(&mut self, draft: &mut Draft, acc: Val, rhs: Val) -> Option<Val> {
        let fold = self.node.fold.as_ref()?;
        let mut lower = Lower { draft, pool: &mut self.pool, target: self.target };
        let result = lower.program(&fold.combine, |_, op, _| match op {
            Op::Acc => Some(Scalar::Bits(acc)),
            Op::Rhs => Some(Scalar::Bits(rhs)),
            _ => None,
        })?;
        Some(lower.bits(result))
    }

    fn init(&mut self) -> Option<u32> {
        let bits = self.node.fold.as_ref()?.init;
        let mut draft = Draft::default();
        let val = draft.splat(&mut self.pool, bits);
        match draft.defs[val] {
            Def::Const(number) => Some(number),
            _ => None,
        }
    }

    /// `steps` times sixteen values; with a mask, lanes that it leaves out keep their accumulator.
    fn row_steps(&mut self, steps: usize, mask: Option<usize>, read: Read<'_>) -> Option<Body> {
        let lanes = ROWS.lanes();
        let mut draft = Draft::default();
        let mut accumulators: Vec<Val> = (0..ROWS_REGISTERS).map(|i| draft.value(Def::Carried(i))).collect();
        // A line of memory has values of all accumulators. Each takes some of its own before the next one does: what waits for memory
        // then waits once a line.
        for first in (0..steps).step_by(AHEAD) {
            for (i, acc) in accumulators.iter_mut().enumerate() {
                for step in first..steps.min(first + AHEAD) {
                    let mut next = self.apply(&mut draft, *acc, LANES * step + lanes * i, read)?;
                    if let Some(mask) = mask {
                        let mask = draft.value(Def::Uniform(mask + i));
                        let mut lower = Lower { draft: &mut draft, pool: &mut self.pool, target: self.target };
                        next = lower.select(mask, next, *acc);
                    }
                    *acc = next;
                }
            }
        }
        let ends: Vec<Item> = accumulators.iter().enumerate().map(|(to, &val)| Item::Carry { val, to }).collect();
        Some(Body::new(&draft, &ends))
    }

    /// The sixteen accumulators combined by halving; the first lane is stored.
    fn halving(&mut self) -> Option<Body> {
        let mut draft = Draft::default();
        let [low, high] = std::array::from_fn(|i| draft.value(Def::Carried(i)));
        let mut value = self.combine(&mut draft, low, high)?;
        let mut by = ROWS.lanes() / 2;
        while by > 0 {
            let mut lower = Lower { draft: &mut draft, pool: &mut self.pool, target: self.target };
            let high = lower.shifted_down(by as u32, value);
            value = self.combine(&mut draft, value, high)?;
            by /= 2;
        }
        Some(Body::new(&draft, &[Item::Store { val: value, out: 0, kind: Kind::Same, lane: 0 }]))
    }

    fn rows(&mut self) -> Option<(Result<Routine, iced_x86::IcedError>, usize)> {
        let kinds: Vec<Kind> = self.streams.iter().map(|s| s.kind).collect();
        let slots = kinds.len();
        let read = |slot: usize, lane: usize| match kinds[slot] {
            Kind::Same => Def::Uniform(slot),
            _ => Def::Stream { slot, lane },
        };
        let init = self.init()?;
        let step = self.row_steps(1, None, &read)?;
        let long = [16, 8, 4, 2].into_iter().find(|n| step.items.len() * n <= LONGEST_BODY / 2);
        let long = match long {
            Some(n) => Some((self.row_steps(n, None, &read)?, 16 * n)),
            None => None,
        };
        let rest = !self.node.fold_length().is_multiple_of(16);
        let rest = if rest { Some(self.row_steps(1, Some(slots), &read)?) } else { None };
        let halving = self.halving()?;
        let same: Vec<Option<usize>> = kinds.iter().enumerate().map(|(i, &k)| (k == Kind::Same).then_some(i)).collect();
        let spec = RowsSpec {
            pool: &self.pool,
            init,
            long: long.as_ref().map(|l| (&l.0, l.1)),
            step: &step,
            rest: rest.as_ref(),
            halving: &halving,
            streams: &kinds,
            same: &same,
            mask: slots,
            slots: slots + ROWS_REGISTERS,
        };
        Some((rows(&spec), slots))
    }

    fn columns(&mut self) -> Option<Result<Routine, iced_x86::IcedError>> {
        let kinds: Vec<Kind> = self.streams.iter().map(|s| s.kind).collect();
        let init = self.init()?;
        let mut draft = Draft::default();
        let acc = draft.value(Def::Carried(0));
        let mut next = self.apply(&mut draft, acc, 0, &|slot, lane| Def::Stream { slot, lane })?;
        for (slot, _) in self.streams.iter().enumerate().filter(|(_, s)| matches!(s.source, Source::Inside(_))) {
            let inside = draft.value(Def::Stream { slot, lane: 0 });
            let mut lower = Lower { draft: &mut draft, pool: &mut self.pool, target: self.target };
            next = lower.select(inside, next, acc);
        }
        let body = Body::new(&draft, &[Item::Carry { val: next, to: 0 }]);
        let spec = ColumnsSpec {
            target: self.target,
            pool: &self.pool,
            init: Some(init),
            body: &body,
            end: &store_accumulator(),
            streams: &kinds,
            listed: takes_list(self.streams),
        };
        Some(columns(&spec))
    }

    fn combine_routine(&mut self) -> Option<Result<Routine, iced_x86::IcedError>> {
        let mut draft = Draft::default();
        let [acc, rhs] = [Def::Carried(0), Def::Stream { slot: 0, lane: 0 }].map(|def| draft.value(def));
        let val = self.combine(&mut draft, acc, rhs)?;
        let body = Body::new(&draft, &[Item::Carry { val, to: 0 }]);
        let spec = ColumnsSpec {
            target: self.target,
            pool: &self.pool,
            init: None,
            body: &body,
            end: &store_accumulator(),
            streams: &[Kind::Word],
            listed: false,
        };
        Some(columns(&spec))
    }
}

fn store_accumulator() -> Body {
    let mut draft = Draft::default();
    let val = draft.value(Def::Carried(0));
    Body::new(&draft, &[Item::Store { val, out: 0, kind: Kind::Word, lane: 0 }])
}

impl FoldKernel {
    /// Compiles a node's fold, if there is a way for it.
    ///
    /// # Errors
    /// The assembler refuses an instruction.
    pub(crate) fn new(
        target: Target,
        assembly: &mut Assembly,
        node: &Node,
        places: &Places,
    ) -> Result<Option<Self>, Error> {
        let Some((way, streams)) = way(node, places) else { return Ok(None) };
        let builder = |target| Builder { node, places, streams: &streams, target, pool: Pool::default() };
        let leaf_target = if way == Way::Rows { ROWS } else { target };
        let wrong = || Error::Assembler("a fold reads what it does not have".into());
        let failed = |e: iced_x86::IcedError| Error::Assembler(e.to_string());
        let (leaf, mask) = match way {
            Way::Rows => builder(leaf_target).rows().ok_or_else(wrong)?,
            Way::Columns => (builder(leaf_target).columns().ok_or_else(wrong)?, 0),
        };
        let leaf = leaf.map_err(failed)?;
        let combines = node.fold.as_ref().is_some_and(|f| f.order == Order::Lanes) || node.fold_length() > BLOCK;
        let combine =
            if combines { Some(builder(target).combine_routine().ok_or_else(wrong)?.map_err(failed)?) } else { None };
        let listed = |s: &FoldStream| match s.source {
            Source::Position => node.fold_length(),
            Source::Coordinate(d) => places.domain[d],
            _ => 0,
        };
        let positions = streams.iter().map(listed).max().unwrap_or(0);
        Ok(Some(Self {
            way,
            positions: (0..positions as u32).collect(),
            slots: leaf.slots.max(combine.as_ref().map_or(0, |c| c.slots)),
            leaf: assembly.add(&leaf),
            combine: combine.map(|c| assembly.add(&c)),
            mask,
            lanes: leaf_target.lanes(),
            listed: takes_list(&streams),
            init: node.fold.as_ref().map_or(0, |f| f.init),
            streams,
        }))
    }
}
