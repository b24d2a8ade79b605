//! Maps (and the `finish` of folds) as one loop: every operand is read where it lies, or packed into the first-level cache before.

use lockstep_ir::{
    DType,
    scalar::{Instr, Op},
};

use super::{
    code::{Assembly, Entry},
    draft::{Body, Def, Draft, Kind, Pool},
    lower::{Lower, Scalar},
    ops::Target,
    routine::{self, MapSpec},
};
use crate::{
    Error,
    access::{Address, Places},
    memory::Pattern,
};

/// A value of a scalar program that is stored: which instruction's, and as what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Stored {
    pub(crate) at: usize,
    pub(crate) dtype: DType,
}

/// How a stream or a uniform value is fed to the loop.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Feed {
    /// Elements that lie one after the other, as do the outputs.
    Direct(usize),
    /// One element for all outputs of a segment.
    Same(usize),
    /// Elements that lie one after the other as far as they are in bounds.
    Row(usize),
    /// Elements that are packed first.
    Packed(usize),
    /// A domain coordinate that differs from output to output.
    Coordinate(usize),
    /// A domain coordinate that all outputs of a segment share.
    SameCoordinate(usize),
    /// Folded values.
    Folded,
}

impl Feed {
    const fn is_uniform(&self) -> bool {
        matches!(self, Self::Same(_) | Self::SameCoordinate(_))
    }
}

/// A compiled map.
#[derive(Clone, Debug)]
pub(crate) struct MapKernel {
    pub(crate) entry: Entry,
    /// Registers of scratch.
    pub(crate) slots: usize,
    /// Lanes of a register.
    pub(crate) lanes: usize,
    pub(crate) streams: Vec<Feed>,
    pub(crate) uniforms: Vec<Feed>,
    /// Types of the outputs.
    pub(crate) outputs: Vec<DType>,
    /// Segments end with rows of the merged domain.
    pub(crate) cut_rows: bool,
}

/// What is known about a node's outputs when it is compiled.
pub(crate) struct Shape<'a> {
    pub(crate) places: &'a Places,
    pub(crate) patterns: &'a [Option<Pattern>],
    pub(crate) cut_rows: bool,
}

impl Shape<'_> {
    fn operand(&self, i: usize) -> Feed {
        let Address::Linear { domain, .. } = &self.places.operands[i].address else {
            let along = self.cut_rows && self.places.runs_along(i);
            return if along { Feed::Row(i) } else { Feed::Packed(i) };
        };
        let inner = domain.last().copied();
        match (self.patterns[i], inner) {
            (Some(Pattern::Uniform), _) => Feed::Same(i),
            (Some(Pattern::Contiguous), _) => Feed::Direct(i),
            (None, Some(0)) if self.cut_rows => Feed::Same(i),
            (None, Some(1)) if self.cut_rows => Feed::Direct(i),
            _ => Feed::Packed(i),
        }
    }

    fn coordinate(&self, axis: usize) -> Option<Feed> {
        let d = self.places.coords.get(axis).copied().flatten()?;
        let inner = d + 1 == self.places.domain.len();
        Some(if self.cut_rows && !inner { Feed::SameCoordinate(d) } else { Feed::Coordinate(d) })
    }
}

/// Collects what the scalar programs read.
#[derive(Default)]
struct Feeds {
    streams: Vec<(Feed, Kind)>,
    uniforms: Vec<Feed>,
}

impl Feeds {
    fn def(&mut self, feed: Feed, kind: Kind) -> Def {
        if feed.is_uniform() {
            let known = self.uniforms.iter().position(|f| *f == feed);
            return Def::Uniform(known.unwrap_or_else(|| {
                self.uniforms.push(feed);
                self.uniforms.len() - 1
            }));
        }
        let known = self.streams.iter().position(|f| f.0 == feed);
        let slot = known.unwrap_or_else(|| {
            self.streams.push((feed, kind));
            self.streams.len() - 1
        });
        Def::Stream { slot, lane: 0 }
    }
}

impl MapKernel {
    /// Compiles a scalar program and what of it is stored.
    ///
    /// # Errors
    /// The assembler refuses an instruction.
    pub(crate) fn new(
        target: Target,
        assembly: &mut Assembly,
        shape: &Shape<'_>,
        code: &[Instr],
        outputs: &[Stored],
    ) -> Result<Self, Error> {
        let (mut draft, mut pool, mut feeds) = (Draft::default(), Pool::default(), Feeds::default());
        let mut lower = Lower { draft: &mut draft, pool: &mut pool, target };
        let wanted: Vec<usize> = outputs.iter().map(|o| o.at).collect();
        let values = lower.results(code, &wanted, |lower, op, index| {
            let feed = match op {
                Op::Load => return Some(Scalar::Bits(operand(lower, &mut feeds, shape, index))),
                Op::Acc => Feed::Folded,
                Op::Coord => shape.coordinate(index)?,
                _ => return None,
            };
            Some(Scalar::Bits(lower.draft.value(feeds.def(feed, Kind::Word))))
        });
        let values =
            values.ok_or_else(|| Error::Assembler("a scalar program reads what a map does not have".into()))?;
        let mut ends = Vec::new();
        for (out, (value, stored)) in values.into_iter().zip(outputs).enumerate() {
            let bits = lower.bits(value);
            ends.push(lower.store(stored.dtype, bits, out));
        }
        let body = Body::new(&draft, &ends);
        let streams: Vec<Kind> = feeds.streams.iter().map(|s| s.1).collect();
        let (outs, uniforms) = (outputs.len(), feeds.uniforms.len());
        let spec = MapSpec { target, pool: &pool, body: &body, streams: &streams, outputs: outs, uniforms };
        let routine = routine::map(&spec).map_err(|e| Error::Assembler(e.to_string()))?;
        Ok(Self {
            entry: assembly.add(&routine),
            slots: routine.slots,
            lanes: target.lanes(),
            streams: feeds.streams.into_iter().map(|s| s.0).collect(),
            uniforms: feeds.uniforms,
            outputs: outputs.iter().map(|o| o.dtype).collect(),
            cut_rows: shape.cut_rows,
        })
    }

    /// Whether something has to be packed, so that segments are short.
    pub(crate) fn packs(&self) -> bool {
        self.streams.iter().any(|f| matches!(f, Feed::Packed(_) | Feed::Row(_) | Feed::Coordinate(_)))
    }
}

fn operand(lower: &mut Lower<'_>, feeds: &mut Feeds, shape: &Shape<'_>, i: usize) -> usize {
    let dtype = shape.places.operands[i].dtype;
    let feed = shape.operand(i);
    // What is packed or uniform is widened on the way.
    if !matches!(feed, Feed::Direct(_)) {
        return lower.draft.value(feeds.def(feed, Kind::Word));
    }
    let kind = match dtype {
        DType::F32 | DType::I32 | DType::U32 => Kind::Word,
        DType::I8 => Kind::Byte,
        DType::Bf16 => Kind::Half,
    };
    let element = lower.draft.value(feeds.def(feed, kind));
    lower.widened(dtype, element)
}
