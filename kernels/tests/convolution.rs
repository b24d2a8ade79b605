//! Convolutions over one to three dimensions, channels last, and their gradients, bit for bit against the reference evaluator.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{num::NonZeroUsize, ops::ControlFlow};

use lockstep_ir::{
    DType, Order, Program, Tensor,
    build::{Access, BuildError, Index, NodeBuilder, ProgramBuilder, TensorRef, at, k, o},
    eval,
    expr::{acc, f, load, rhs},
    validate::{Invalid, Rule},
};
use lockstep_kernels::{
    Isa, Options, Plan,
    testing::{self, Rng, inputs, mild_inputs},
};

/// The sizes of a convolution: `dims` are image, taps and output along each dimension.
struct Case {
    images: u32,
    dims: Vec<[u32; 3]>,
    inner: u32,
    outer: u32,
    stride: u32,
    dilation: u32,
    pad: u32,
}

impl Case {
    /// `None` if there is no room for two outputs.
    fn new(rng: &mut Rng) -> Option<Self> {
        let (stride, dilation, pad): (u32, u32, u32) =
            (rng.pick(&[1, 1, 2]), rng.pick(&[1, 1, 2]), rng.pick(&[0, 1, 1, 2]));
        let rank = rng.pick(&[1, 2, 2, 2, 3]);
        let dim = |rng: &mut Rng| {
            let (n, taps): (u32, u32) =
                (rng.pick(&[2, 3, 5, 8]), rng.pick(if rank == 1 { &[2, 3, 7] } else { &[1, 2, 3] }));
            let room = (n + 2 * pad).checked_sub(dilation * (taps - 1) + 1)?;
            Some([n, taps, room / stride + 1]).filter(|d| d[2] > 1)
        };
        Some(Self {
            images: rng.pick(&[1, 2, 3]),
            dims: (0..rank).map(|_| dim(rng)).collect::<Option<_>>()?,
            inner: rng.pick(&[1, 2, 3, 16, 90]),
            outer: rng.pick(&[2, 5, 17, 33]),
            stride,
            dilation,
            pad,
        })
    }

    /// Sizes along the image (0), the taps (1) or the outputs (2), between two others.
    fn shape(&self, first: u32, which: usize, last: u32) -> Vec<u32> {
        [first].into_iter().chain(self.dims.iter().map(|d| d[which])).chain([last]).collect()
    }

    /// Where the image is read, for each dimension's output coordinate and tap.
    fn along(&self, y: impl Fn(usize) -> Index, tap: impl Fn(usize) -> Index) -> impl Iterator<Item = Index> {
        let [stride, dilation, pad] = [self.stride, self.dilation, self.pad].map(i64::from);
        (0..self.dims.len()).map(move |d| y(d) * stride + tap(d) * dilation + at(-pad))
    }
}

fn index(first: Index, middle: impl Iterator<Item = Index>, last: Index) -> Vec<Index> {
    [first].into_iter().chain(middle).chain([last]).collect()
}

/// With what stands beyond the edges.
fn edges(rng: &mut Rng, access: Access) -> Access {
    let fill = rng.pick(&[0, 0, 0x8000_0000, 0x3fc0_0000, 0x7f80_0000]);
    if rng.one_in(2) { access.skip() } else { access.fill(fill) }
}

/// A tensor with its dimensions in this order, as a node: what reads it is judgeable, and a step leaves it out.
fn copy(p: &mut ProgramBuilder, x: &TensorRef, order: &[usize]) -> TensorRef {
    let shape: Vec<u32> = order.iter().map(|&d| x.decl.shape[d]).collect();
    let from: Vec<Index> = (0..order.len()).map(|d| o(order.iter().position(|&at| at == d).unwrap())).collect();
    p.node(NodeBuilder::new(x.decl.dtype, &shape).operand(x.at(from)).finish(load(0))).unwrap()
}

/// `None` if it cannot be judged.
fn product(
    rng: &mut Rng,
    mut p: ProgramBuilder,
    (shape, fold): (&[u32], &[u32]),
    [a, b]: [Access; 2],
) -> Option<Program> {
    let dtype = rng.pick(&[DType::F32, DType::Bf16]);
    let s = p.state(dtype, shape);
    let node = NodeBuilder::new(dtype, shape)
        .operand(a)
        .operand(b)
        .fold(fold, Order::Chain, f(rng.pick(&[0.0, -0.0, 1.0])), load(0).fma(&load(1), &acc()))
        .combine(acc() + rhs())
        .finish(acc());
    let y = p.node(node).unwrap();
    p.set(&s, &y);
    match p.build() {
        Ok(program) => Some(program),
        Err(BuildError::Invalid(Invalid::Node { rule: Rule::Chunks { .. } | Rule::Gas { .. }, .. })) => None,
        Err(e) => panic!("{e}"),
    }
}

/// `[image, place…, channel]`, filters `[channel out, tap…, channel in]`.
fn forward(rng: &mut Rng) -> Option<Program> {
    let c = Case::new(rng)?;
    let rank = c.dims.len();
    let mut p = ProgramBuilder::new();
    let image = p.data(rng.pick(&[DType::F32, DType::F32, DType::Bf16]), &c.shape(c.images, 0, c.inner));
    let filters = p.data(DType::F32, &c.shape(c.outer, 1, c.inner));
    let taps = edges(rng, image.at(index(o(0), c.along(|d| o(1 + d), k), k(rank))));
    let filters = filters.at(index(o(1 + rank), (0..rank).map(k), k(rank)));
    let (shape, fold) = (c.shape(c.images, 2, c.outer), c.shape(1, 1, c.inner)[1..].to_vec());
    product(rng, p, (&shape, &fold), [taps, filters])
}

/// `d filters[out, tap…, in] = Σ d y[image, place…, out] · x[image, place · stride + tap…, in]`, from copies with channels first.
fn of_filters(rng: &mut Rng) -> Option<Program> {
    let c = Case::new(rng)?;
    let rank = c.dims.len();
    let mut p = ProgramBuilder::new();
    let image = p.data(DType::F32, &c.shape(c.images, 0, c.inner));
    let gradient = p.data(DType::F32, &c.shape(c.images, 2, c.outer));
    let order: Vec<usize> = [rank + 1].into_iter().chain(0..=rank).collect();
    let (image, gradient) = (copy(&mut p, &image, &order), copy(&mut p, &gradient, &order));
    let last_first = |mut at: Vec<Index>| {
        at.rotate_right(1);
        at
    };
    let taps = last_first(index(k(0), c.along(|d| k(1 + d), |d| o(1 + d)), o(1 + rank)));
    let taps = edges(rng, image.at(taps));
    let gradient = gradient.at(last_first(index(k(0), (0..rank).map(|d| k(1 + d)), o(0))));
    let (shape, fold) = (c.shape(c.outer, 1, c.inner), c.shape(c.images, 2, 1)[..=rank].to_vec());
    product(rng, p, (&shape, &fold), [gradient, taps])
}

/// Of stride 1: `d x[image, place…, in] = Σ d y[image, place + pad - tap…, out] · filters[out, tap…, in]`.
fn of_image(rng: &mut Rng) -> Option<Program> {
    let c = Case { stride: 1, ..Case::new(rng)? };
    let rank = c.dims.len();
    let place = |d: &[u32; 3]| d[0] + 2 * c.pad - c.dilation * (d[1] - 1);
    let c = Case { dims: c.dims.iter().map(|d| [d[0], d[1], place(d)]).collect(), ..c };
    let mut p = ProgramBuilder::new();
    let gradient = p.data(DType::F32, &c.shape(c.images, 2, c.outer));
    let filters = p.data(DType::F32, &c.shape(c.outer, 1, c.inner));
    let order: Vec<usize> = [rank + 1].into_iter().chain(1..=rank).chain([0]).collect();
    let filters = copy(&mut p, &filters, &order);
    let [dilation, pad] = [c.dilation, c.pad].map(i64::from);
    let back = (0..rank).map(|d| o(1 + d) + k(d) * -dilation + at(pad));
    let taps = edges(rng, gradient.at(index(o(0), back, k(rank))));
    let filters = filters.at(index(o(1 + rank), (0..rank).map(k), k(rank)));
    let (shape, fold) = (c.shape(c.images, 0, c.inner), c.shape(1, 1, c.outer)[1..].to_vec());
    product(rng, p, (&shape, &fold), [taps, filters])
}

/// All paths give the reference's bits for the last node and for the state; gives 1 if it is no product.
fn compare(seed: u64, p: &Program, (state, data): (&[Tensor], &[Tensor])) -> usize {
    let expected = eval::step(p, state, data).unwrap();
    let (last, mut others) = (p.nodes.len() - 1, 0);
    for isa in testing::paths() {
        for threads in [1, 2] {
            let threads = NonZeroUsize::new(threads);
            let options = Options { isa: Some(isa), threads, split_small: true, interpret: false };
            let plan = Plan::with(p, options).unwrap();
            if isa != Isa::Portable && plan.kernels().last() != Some("gemm") {
                others = 1;
            }
            let broken = plan.trace(state, data, |i, t| match i == last {
                true => ControlFlow::Break(t.clone()),
                false => ControlFlow::Continue(()),
            });
            let ControlFlow::Break(output) = broken.unwrap() else { panic!("seed {seed}: no node was visited") };
            let what = || format!("seed {seed}, {isa:?}, {threads:?} threads\n{:#?}", p.nodes[last]);
            assert!(output == expected.trace[last], "{}", what());
            assert!(plan.step(state, data).unwrap() == expected.state, "step, {}", what());
            // Products read the originals of copies.
            assert!(
                isa == Isa::Portable || others > 0 || plan.left_out() == last,
                "{} left out, {}",
                plan.left_out(),
                what()
            );
        }
    }
    others
}

fn compare_all(make: fn(&mut Rng) -> Option<Program>, least: usize) {
    let (mut compared, mut others) = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let Some(p) = make(&mut rng) else { continue };
        let (state, data) = if rng.one_in(4) { inputs(&mut rng, &p) } else { mild_inputs(&mut rng, &p) };
        others += compare(seed, &p, (&state, &data));
        compared += 1;
    }
    assert!(compared >= least, "only {compared} programs could be judged");
    // Taps that go beyond an edge by more than the image are none.
    assert!(others * 10 < compared, "{others} of {compared} were no products");
}

#[test]
fn padded_strided_and_dilated() {
    compare_all(forward, 100);
}

#[test]
fn gradients_of_filters() {
    compare_all(of_filters, 100);
}

#[test]
fn gradients_of_images() {
    compare_all(of_image, 100);
}
