//! Nodes of a convolutional network and of 8-bit layers.

use lockstep_ir::{
    DType, Order,
    build::{BuildError, Index, NodeBuilder, at, k, o},
    expr::{acc, f, i, load, max, max_nan, rhs, select},
};

use crate::gpt2::{Model, Named};

const F: DType = DType::F32;

/// Pictures of 32×32 with 16 channels, 8 at once, in NHWC: forward and backward through one layer of 3×3 filters.
pub(crate) fn cnn() -> Result<Model, BuildError> {
    let mut n = Named::new();
    let filter = n.p.state(F, &[16, 3, 3, 16]);
    let bias = n.p.state(F, &[16]);
    n.p.keep(&filter);
    n.p.keep(&bias);
    let picture = n.p.data(F, &[8, 32, 32, 16]);
    let around = || [o(0), o(1) + k(0) + at(-1), o(2) + k(1) + at(-1), k(2)];
    let dot = || load(0).fma(&load(1), &acc());
    let node = NodeBuilder::new(F, &[8, 32, 32, 16]).operand(picture.at(around()).skip());
    let node = node.operand(filter.at([o(3), k(0), k(1), k(2)])).operand(bias.at([o(3)]));
    let y =
        n.node("3×3×16 convolution", node.fold(&[3, 3, 16], Order::Chain, f(0.0), dot()).finish(acc() + load(2)))?;
    let pair = |r: i64, c: i64| y.at([o(0), o(1) * 2 + at(r), o(2) * 2 + at(c), o(3)]);
    let node = NodeBuilder::new(F, &[8, 16, 16, 16])
        .operand(pair(0, 0))
        .operand(pair(0, 1))
        .operand(pair(1, 0))
        .operand(pair(1, 1));
    let largest = max(&max(&load(0), &load(1)), &max(&load(2), &load(3)));
    let pooled = n.node("2×2 maximum and rectifier", node.finish(max_nan(&largest, &f(0.0))))?;
    let node =
        NodeBuilder::new(F, &[8, 16, 256]).operand(pooled.view(&[8, 256, 16]).at([o(0), o(2), o(1)])).finish(load(0));
    let planes = n.node("copy to planes", node)?;
    let node = NodeBuilder::new(F, &[8, 16]).operand(planes.at([o(0), o(1), k(0)]));
    let node = node.fold(&[256], Order::Lanes, f(0.0), acc() + load(0)).combine(acc() + rhs());
    n.node("average of a plane", node.finish(acc() / f(256.0)))?;
    // columns of the input, for the gradient of the filter: 8,192 places
    let tap = [o(3), o(4) + o(1) + at(-1), o(5) + o(2) + at(-1), o(0)];
    let node =
        NodeBuilder::new(F, &[144, 8192]).domain(&[16, 3, 3, 8, 32, 32]).operand(picture.at(tap)).finish(load(0));
    let columns = n.node("columns of the input", node)?;
    let node = NodeBuilder::new(F, &[16, 8192]).operand(y.view(&[8192, 16]).at([o(1), o(0)])).finish(load(0));
    let dy = n.node("copy, transposed", node)?;
    let node = NodeBuilder::new(F, &[16, 144]).operand(dy.at([o(0), k(0)])).operand(columns.at([o(1), k(0)]));
    let node = node.fold(&[8192], Order::Chain, f(0.0), dot()).combine(acc() + rhs());
    n.node("gradient of the filter, over 8,192 places", node.finish(acc()))?;
    let node =
        NodeBuilder::new(F, &[16, 3, 3, 16]).operand(filter.at([o(3), at(2) + o(1) * -1, at(2) + o(2) * -1, o(0)]));
    let turned = n.node("filter turned around", node.finish(load(0)))?;
    let around: [Index; 4] = [o(0), o(1) + k(0) + at(-1), o(2) + k(1) + at(-1), k(2)];
    let node =
        NodeBuilder::new(F, &[8, 32, 32, 16]).operand(y.at(around).skip()).operand(turned.at([o(3), k(0), k(1), k(2)]));
    let node = node.fold(&[3, 3, 16], Order::Chain, f(0.0), dot());
    n.node("gradient of the input, 3×3×16", node.finish(acc()))?;
    n.build("CNN")
}

/// A layer of 8-bit integers, 768 wide.
pub(crate) fn int8() -> Result<Model, BuildError> {
    let mut n = Named::new();
    let w = n.p.state(DType::I8, &[768, 768]);
    n.p.keep(&w);
    let x = n.p.data(F, &[1024, 768]);
    let scale_w = n.p.data(F, &[768]);
    let node = NodeBuilder::new(F, &[1024]).operand(x.at([o(0), k(0)]));
    let node =
        node.fold(&[768], Order::Lanes, f(0.0), max_nan(&acc(), &load(0).abs())).combine(max_nan(&acc(), &rhs()));
    let top = n.node("largest magnitude of a row", node.finish(acc()))?;
    let node = NodeBuilder::new(DType::I8, &[1024, 768]).operand(x.at([o(0), o(1)])).operand(top.at([o(0)]));
    let scaled = (load(0) * (f(127.0) / load(1))).rint();
    let q = n.node("to 8 bits", node.finish(select(&load(1).eq(&f(0.0)), &i(0), &scaled.to_i32())))?;
    let node = NodeBuilder::new(DType::I32, &[1024, 768]).operand(q.at([o(0), k(0)])).operand(w.at([o(1), k(0)]));
    let node = node.fold(&[768], Order::Chain, i(0), acc() + load(0) * load(1)).combine(acc() + rhs());
    let y = n.node("8-bit product over 768", node.finish(acc()))?;
    let node = NodeBuilder::new(F, &[1024, 768])
        .operand(y.at([o(0), o(1)]))
        .operand(top.at([o(0)]))
        .operand(scale_w.at([o(1)]));
    n.node("from 32 bits", node.finish(load(0).to_f32() * (load(1) / f(127.0)) * load(2)))?;
    n.build("int8")
}
