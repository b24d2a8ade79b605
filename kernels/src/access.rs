//! How operands are addressed, worked out when the plan is made.
//!
//! Most operands are proven in bounds for every position; their address is one linear function. The others keep one row per dimension,
//! which is tested. Domain dimensions that every operand walks through alike are merged, so that a contiguous tensor of any rank
//! becomes one run.

use lockstep_ir::{DType, Node, Operand, program, scalar::Op};

/// One dimension of a view whose coordinate has to be tested.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) extent: i64,
    pub(crate) offset: i64,
    pub(crate) domain: Vec<i64>,
    pub(crate) fold: Vec<i64>,
    /// Operand that holds an index, and its factor.
    pub(crate) gather: Option<(usize, i64)>,
}

impl Row {
    /// Its lowest and its highest coordinate, without a gather. Exact: the extremes of an affine function are at corners.
    fn reach(&self, domain: &[u64], fold: &[u64]) -> (i128, i128) {
        let terms = self.domain.iter().zip(domain).chain(self.fold.iter().zip(fold));
        let (mut low, mut high) = (i128::from(self.offset), i128::from(self.offset));
        for (&c, &n) in terms {
            let reach = i128::from(c) * i128::from(n - 1);
            *(if reach < 0 { &mut low } else { &mut high }) += reach;
        }
        (low, high)
    }

    /// Whether the coordinate is in bounds at every position.
    pub(crate) fn in_bounds(&self, domain: &[u64], fold: &[u64]) -> bool {
        let (low, high) = self.reach(domain, fold);
        self.gather.is_none() && low >= 0 && high < i128::from(self.extent)
    }
}

/// The address of an operand.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// Element index, in bounds everywhere.
    Linear {
        /// At the origin.
        base: i64,
        /// Per domain coordinate.
        domain: Vec<i64>,
        /// Per fold coordinate.
        fold: Vec<i64>,
    },
    /// One row per dimension of the view, tested at every position.
    Tested(Vec<Row>),
}

/// A compiled operand.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) dtype: DType,
    pub(crate) address: Address,
    pub(crate) fill: u32,
    /// Leaves out the body where it is out of bounds.
    pub(crate) skip: bool,
    /// Nothing about its address depends on the fold position.
    pub(crate) fixed: bool,
}

/// All operands of a node, over its merged domain and fold.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) operands: Vec<Place>,
    pub(crate) domain: Vec<u64>,
    pub(crate) fold: Vec<u64>,
    /// Dimension of `domain` for each domain coordinate that a scalar program reads.
    pub(crate) coords: Vec<Option<usize>>,
    /// Dimension of `fold` for each fold coordinate that a scalar program reads.
    pub(crate) kf: Vec<Option<usize>>,
}

impl Places {
    /// For a valid node.
    pub(crate) fn new(node: &Node) -> Self {
        let mut operands: Vec<Place> = node.operands.iter().map(|op| place(node, op)).collect();
        let gathered: Vec<bool> = node.operands.iter().map(|op| depends_through_gathers(node, op)).collect();
        for (i, p) in operands.iter_mut().enumerate() {
            p.fixed = !gathered[i] && !p.skip && !depends(p);
        }
        let used = |which: Op, n: usize| {
            let body = node.fold.as_ref().map_or(&[][..], |f| &f.body);
            let named = |d: usize| {
                body.iter().chain(&node.finish).any(
                    |i| matches!(*i, lockstep_ir::scalar::Instr::Op { op, a, .. } if op == which && usize::from(a) == d),
                )
            };
            (0..n).map(named).collect::<Vec<_>>()
        };
        let (ro, rk) = (node.domain.len(), node.fold_factors().len());
        let (domain, coords) = merge(&node.domain, &used(Op::Coord, ro), &mut operands, |r| &mut *r.0);
        let (fold, kf) = merge(node.fold_factors(), &used(Op::Kf, rk), &mut operands, |r| &mut *r.1);
        Self { operands, domain, fold, coords, kf }
    }
}

impl Places {
    /// Whether a tested operand runs along its last dimension where outputs run along theirs, and stays where it is in all others, so
    /// that a row of outputs needs one test.
    pub(crate) fn runs_along(&self, i: usize) -> bool {
        let inner = |c: &[i64]| c.last().copied().unwrap_or(0);
        let place = &self.operands[i];
        let Address::Tested(rows) = &place.address else { return false };
        let Some((last, others)) = rows.split_last() else { return false };
        let fixed = |row: &Row| match row.gather {
            None => true,
            Some((index, _)) => {
                matches!(&self.operands[index].address, Address::Linear { domain, .. } if inner(domain) == 0)
            }
        };
        let words = matches!(place.dtype, DType::F32 | DType::I32 | DType::U32);
        words
            && place.fixed
            && rows.iter().all(fixed)
            && inner(&last.domain) == 1
            && others.iter().all(|r| inner(&r.domain) == 0)
    }
}

fn depends(p: &Place) -> bool {
    match &p.address {
        Address::Linear { fold, .. } => fold.iter().any(|&c| c != 0),
        Address::Tested(rows) => rows.iter().any(|r| r.fold.iter().any(|&c| c != 0)),
    }
}

fn depends_through_gathers(node: &Node, op: &Operand) -> bool {
    op.gathers.iter().any(|g| lockstep_ir::judge::depends_on_fold(node, usize::from(g.operand)))
}

fn place(node: &Node, op: &Operand) -> Place {
    let (domain, fold) = (&node.domain[..], node.fold_factors());
    let width = 1 + domain.len() + fold.len();
    // A coefficient of a dimension of extent 1 never counts.
    let clean = |c: &[i64], sizes: &[u32]| -> Vec<i64> {
        c.iter().zip(sizes).map(|(&c, &n)| if n == 1 { 0 } else { c }).collect()
    };
    let rows: Vec<Row> = (op.access.chunks_exact(width).zip(&op.view).enumerate())
        .map(|(dim, (row, &extent))| Row {
            extent: i64::from(extent),
            offset: row[0],
            domain: clean(&row[1..=domain.len()], domain),
            fold: clean(&row[1 + domain.len()..], fold),
            gather: (op.gathers.iter().find(|g| usize::from(g.dim) == dim)).map(|g| (usize::from(g.operand), g.stride)),
        })
        .collect();
    let [domain, fold] = [domain, fold].map(|sizes| sizes.iter().map(|&n| u64::from(n)).collect::<Vec<_>>());
    let inside = rows.iter().all(|r| r.in_bounds(&domain, &fold));
    let address = if inside { linear(&rows) } else { Address::Tested(rows) };
    Place { dtype: op.decl.dtype, address, fill: op.fill, skip: op.skip, fixed: false }
}

/// The one linear function of coordinates that may run out of bounds, but by no more than their own extent, so that no sum overflows.
/// `None` for others, and for gathers.
pub(crate) fn linear_beyond(rows: &[Row], domain: &[u64], fold: &[u64]) -> Option<Address> {
    let near = |row: &Row| {
        let (low, high) = row.reach(domain, fold);
        let extent = i128::from(row.extent);
        row.gather.is_none() && low >= -extent && high < 2 * extent
    };
    rows.iter().all(near).then(|| linear(rows))
}

/// Row-major. Every sum here is below 2^40, for every term is an in-bounds index or the difference of two.
fn linear(rows: &[Row]) -> Address {
    let (ro, rk) = rows.first().map_or((0, 0), |r| (r.domain.len(), r.fold.len()));
    let (mut base, mut domain, mut fold) = (0, vec![0; ro], vec![0; rk]);
    let mut stride = 1;
    for row in rows.iter().rev() {
        base += stride * row.offset;
        domain.iter_mut().zip(&row.domain).for_each(|(s, &c)| *s += stride * c);
        fold.iter_mut().zip(&row.fold).for_each(|(s, &c)| *s += stride * c);
        stride *= row.extent;
    }
    Address::Linear { base, domain, fold }
}

/// The domain and fold coefficients of one row.
type Coefficients<'a> = (&'a mut Vec<i64>, &'a mut Vec<i64>);

fn coefficients(p: &mut Place) -> Vec<Coefficients<'_>> {
    match &mut p.address {
        Address::Linear { domain, fold, .. } => vec![(domain, fold)],
        Address::Tested(rows) => rows.iter_mut().map(|r| (&mut r.domain, &mut r.fold)).collect(),
    }
}

/// Merges neighbouring dimensions that every row walks through like one; keeps those that are `read` by themselves. Gives the new
/// extents, and where the dimensions that are read went.
fn merge(
    sizes: &[u32],
    read: &[bool],
    operands: &mut [Place],
    part: impl for<'a, 'b> Fn(&'b mut Coefficients<'a>) -> &'b mut Vec<i64>,
) -> (Vec<u64>, Vec<Option<usize>>) {
    let mut rows: Vec<Coefficients<'_>> = operands.iter_mut().flat_map(coefficients).collect();
    // A rank-0 view has a linear address without coefficients.
    rows.iter_mut().for_each(|r| part(r).resize(sizes.len(), 0));
    let mut kept: Vec<usize> = Vec::new();
    let mut extents: Vec<u64> = Vec::new();
    let mut at = vec![None; sizes.len()];
    for d in 0..sizes.len() {
        let size = u64::from(sizes[d]);
        if size == 1 && !read[d] {
            continue;
        }
        let joins = kept.last().is_some_and(|&last| {
            let alike = |r: &mut Coefficients<'_>| {
                let c = part(r);
                c[d].checked_mul(i64::from(sizes[d])) == Some(c[last])
            };
            !read[d] && !read[last] && rows.iter_mut().all(alike)
        });
        match (joins, kept.last_mut(), extents.last_mut()) {
            (true, Some(last), Some(extent)) => {
                *last = d;
                *extent *= size;
            }
            _ => {
                at[d] = read[d].then_some(kept.len());
                kept.push(d);
                extents.push(size);
            }
        }
    }
    for r in &mut rows {
        let c = part(r);
        *c = kept.iter().map(|&d| c[d]).collect();
    }
    (extents, at)
}

/// Row-major coordinates of `index`.
pub(crate) fn digits(mut index: u64, sizes: &[u64], out: &mut Vec<u64>) {
    out.clear();
    out.resize(sizes.len(), 0);
    for (slot, &n) in out.iter_mut().zip(sizes).rev() {
        *slot = index % n;
        index /= n;
    }
}

/// `base + Σ coefficient · coordinate` for the elements from `start` on, one per slot.
pub(crate) fn affine(sizes: &[u64], coefficients: &[i64], base: i64, start: u64, out: &mut [i64]) {
    let Some((&inner, outer)) = sizes.split_last() else {
        out.fill(base);
        return;
    };
    let step = coefficients[outer.len()];
    let mut at = Vec::with_capacity(sizes.len());
    digits(start, sizes, &mut at);
    let mut rest = out;
    while !rest.is_empty() {
        let from = at[outer.len()];
        let take = rest.len().min((inner - from) as usize);
        let row: i64 = base + at[..outer.len()].iter().zip(coefficients).map(|(&x, &c)| c * x as i64).sum::<i64>();
        let (now, later) = std::mem::take(&mut rest).split_at_mut(take);
        let mut value = row.wrapping_add(step.wrapping_mul(from as i64));
        for slot in now {
            *slot = value;
            value = value.wrapping_add(step);
        }
        rest = later;
        at[outer.len()] = 0;
        for (x, &n) in at[..outer.len()].iter_mut().zip(outer).rev() {
            *x += 1;
            if *x < n {
                break;
            }
            *x = 0;
        }
    }
}

/// Coefficients of the elements' own row-major index.
pub(crate) fn row_major(sizes: &[u64]) -> Vec<i64> {
    let mut out = vec![0; sizes.len()];
    let mut stride = 1i64;
    for (slot, &n) in out.iter_mut().zip(sizes).rev() {
        *slot = stride;
        stride *= n as i64;
    }
    out
}

/// Values folded by a leaf block.
pub(crate) const BLOCK: u64 = program::BLOCK;
