//! A training step with the shapes of GPT-2 small: 12 layers, 12 heads of 64, 1,024 tokens, 50,257 words. Every kind of node that such a
//! step has is there; not every one is there as often, and what is random about it (dropout) is not.

use lockstep_ir::{
    DType, Order, Program,
    build::{Access, BuildError, Draft, Index, NodeBuilder, ProgramBuilder, TensorRef, at, gather, k, o},
    expr::{Expr, acc, coord, f, load, max_nan, rhs, select},
    func::{erf, exp, log, rsqrt},
};

const F: DType = DType::F32;
const TOKENS: u32 = 1_024;
const WORDS: u32 = 50_257;
const WIDTH: u32 = 768;
const HEADS: u32 = 12;
const HEAD: u32 = 64;
const LAYERS: u32 = 12;

/// A program, and which of its nodes stand for a kind, by name.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) kinds: Vec<(String, u32)>,
}

/// Adds nodes and remembers the first of every name.
pub(crate) struct Named {
    pub(crate) p: ProgramBuilder,
    kinds: Vec<(String, u32)>,
    count: u32,
}

impl Named {
    pub(crate) fn new() -> Self {
        Self { p: ProgramBuilder::new(), kinds: vec![], count: 0 }
    }

    pub(crate) fn node(&mut self, name: &str, draft: Draft) -> Result<TensorRef, BuildError> {
        if !self.kinds.iter().any(|kind| kind.0 == name) {
            self.kinds.push((name.to_owned(), self.count));
        }
        self.count += 1;
        self.p.node(draft)
    }

    pub(crate) fn build(self, name: &'static str) -> Result<Model, BuildError> {
        Ok(Model { name, program: self.p.build()?, kinds: self.kinds })
    }

    /// Element by element over tensors of one shape.
    fn map(&mut self, name: &str, args: &[&TensorRef], finish: Expr) -> Result<TensorRef, BuildError> {
        let shape = args[0].decl.shape.clone();
        let node = args.iter().fold(NodeBuilder::new(F, &shape), |node, x| node.operand(same(x)));
        self.node(name, node.finish(finish))
    }

    /// `a·bᵀ` for matrices, both read along their rows.
    fn matmul(&mut self, name: &str, a: &TensorRef, b: &TensorRef) -> Result<TensorRef, BuildError> {
        let [m, n, inner] = [a.decl.shape[0], b.decl.shape[0], a.decl.shape[1]];
        let node = NodeBuilder::new(F, &[m, n]).operand(a.at([o(0), k(0)])).operand(b.at([o(1), k(0)]));
        let node = node.fold(&[inner], Order::Chain, f(0.0), load(0).fma(&load(1), &acc())).combine(acc() + rhs());
        self.node(name, node.finish(acc()))
    }

    fn transposed(&mut self, x: &TensorRef) -> Result<TensorRef, BuildError> {
        let [rows, columns] = [x.decl.shape[0], x.decl.shape[1]];
        self.node("copy, transposed", NodeBuilder::new(F, &[columns, rows]).operand(x.at([o(1), o(0)])).finish(load(0)))
    }

    /// A fold of the last dimension in lanes.
    fn row(
        &mut self,
        name: &str,
        x: &TensorRef,
        [init, body, combine, finish]: [Expr; 4],
    ) -> Result<TensorRef, BuildError> {
        let (last, rows) = x.decl.shape.split_last().unwrap_or((&1, &[]));
        let place: Vec<Index> = (0..rows.len()).map(o).chain([k(0)]).collect();
        let node =
            NodeBuilder::new(F, rows).operand(x.at(place)).fold(&[*last], Order::Lanes, init, body).combine(combine);
        self.node(name, node.finish(finish))
    }

    fn row_sum(&mut self, name: &str, x: &TensorRef) -> Result<TensorRef, BuildError> {
        self.row(name, x, [f(0.0), acc() + load(0), acc() + rhs(), acc()])
    }

    /// Softmax of the last dimension.
    fn softmax(&mut self, x: &TensorRef) -> Result<[TensorRef; 3], BuildError> {
        let lowest = f(f32::NEG_INFINITY);
        let max = self.row("row maximum", x, [lowest, max_nan(&acc(), &load(0)), max_nan(&acc(), &rhs()), acc()])?;
        let shape = x.decl.shape.clone();
        let of_row = |t: &TensorRef| t.at((0..shape.len() - 1).map(o).collect::<Vec<_>>());
        let shifted = NodeBuilder::new(F, &shape).operand(same(x)).operand(of_row(&max));
        let e = self.node("exponential of x − maximum", shifted.finish(exp(&(load(0) - load(1)))))?;
        let sum = self.row_sum("row sum", &e)?;
        let divided = NodeBuilder::new(F, &shape).operand(same(&e)).operand(of_row(&sum));
        Ok([self.node("softmax, division by the sum", divided.finish(load(0) / load(1)))?, max, sum])
    }

    /// Layer normalisation; also the normed values and the reciprocal deviations.
    fn layer_norm(&mut self, x: &TensorRef, [w, b]: [&TensorRef; 2]) -> Result<[TensorRef; 3], BuildError> {
        let n = f(x.decl.shape[1] as f32);
        let mean = self.row("layer norm, mean", x, [f(0.0), acc() + load(0), acc() + rhs(), acc() / n.clone()])?;
        let node = NodeBuilder::new(F, &x.decl.shape).operand(same(x)).operand(mean.at([o(0)]));
        let centred = self.node("layer norm, x − mean", node.finish(load(0) - load(1)))?;
        let squares = load(0).fma(&load(0), &acc());
        let finish = rsqrt(&(acc() / n + f(1e-5)));
        let deviation = self.row("layer norm, deviation", &centred, [f(0.0), squares, acc() + rhs(), finish])?;
        let node = NodeBuilder::new(F, &x.decl.shape).operand(same(&centred)).operand(deviation.at([o(0)]));
        let normed = self.node("layer norm, normed", node.finish(load(0) * load(1)))?;
        let node =
            NodeBuilder::new(F, &x.decl.shape).operand(same(&normed)).operand(w.at([o(1)])).operand(b.at([o(1)]));
        Ok([self.node("layer norm, scaled", node.finish(load(0).fma(&load(1), &load(2))))?, normed, deviation])
    }
}

fn same(x: &TensorRef) -> Access {
    x.at((0..x.decl.shape.len()).map(o).collect::<Vec<Index>>())
}

/// A parameter with its two moments.
struct Param {
    w: TensorRef,
    moments: [TensorRef; 2],
}

fn param(n: &mut Named, shape: &[u32]) -> Param {
    Param { w: n.p.state(F, shape), moments: [n.p.state(F, shape), n.p.state(F, shape)] }
}

/// AdamW with running powers of both betas.
fn adamw(n: &mut Named, x: &Param, gradient: &TensorRef, powers: [&TensorRef; 2]) -> Result<(), BuildError> {
    let [m, v] = [&x.moments[0], &x.moments[1]];
    let first = n.map("AdamW, first moment", &[m, gradient], f(0.9).fma(&load(0), &(f(0.1) * load(1))))?;
    let second = f(0.95).fma(&load(0), &(f(0.05) * load(1) * load(1)));
    let second = n.map("AdamW, second moment", &[v, gradient], second)?;
    let shape = x.w.decl.shape.clone();
    let node = NodeBuilder::new(F, &shape).operand(same(&x.w)).operand(same(&first)).operand(same(&second));
    let scalar: [Index; 0] = [];
    let node = node.operand(powers[0].at(scalar.clone())).operand(powers[1].at(scalar));
    let corrected = |moment: u16, power: u16| load(moment) / (f(1.0) - load(power));
    let update = corrected(1, 3) / (corrected(2, 4).sqrt() + f(1e-8));
    let next = n.node("AdamW, parameter", node.finish(f(-6e-4).fma(&update, &(load(0) * f(0.99994)))))?;
    n.p.set(m, &first);
    n.p.set(v, &second);
    n.p.set(&x.w, &next);
    Ok(())
}

/// Gradient of a product `x·wᵀ`: of `x`, and of `w`, which is learned.
fn backward(
    n: &mut Named,
    dy: &TensorRef,
    x: &TensorRef,
    w: &Param,
    powers: [&TensorRef; 2],
) -> Result<TensorRef, BuildError> {
    let [dy_t, x_t, w_t] = [n.transposed(dy)?, n.transposed(x)?, n.transposed(&w.w)?];
    let dw = n.matmul("product over 1,024 tokens", &dy_t, &x_t)?;
    adamw(n, w, &dw, powers)?;
    n.matmul(if dy.decl.shape[1] > 4_096 { "product over 50,257 words" } else { "product, gradient of x" }, dy, &w_t)
}

/// The program.
pub(crate) fn gpt2() -> Result<Model, BuildError> {
    let mut model = Named::new();
    let n = &mut model;
    let words = param(n, &[WORDS, WIDTH]);
    let places = param(n, &[TOKENS, WIDTH]);
    let tokens = n.p.data(DType::U32, &[TOKENS + 1]);
    let beta = [n.p.state(F, &[]), n.p.state(F, &[])];
    let powers = [&beta[0], &beta[1]];
    let node = NodeBuilder::new(F, &[TOKENS, WIDTH]).operand(words.w.at([gather(1), o(1)])).operand(tokens.at([o(0)]));
    let mut x = n.node("embedding", node.operand(same(&places.w)).finish(load(0) + load(2)))?;
    for _ in 0..LAYERS {
        x = layer(n, &x, powers)?;
    }
    let norm = [param(n, &[WIDTH]), param(n, &[WIDTH])];
    let [last, normed, deviation] = n.layer_norm(&x, [&norm[0].w, &norm[1].w])?;
    let logits = n.matmul("logits, product over 768", &last, &words.w)?;
    let [soft, max, sum] = n.softmax(&logits)?;
    let node = NodeBuilder::new(F, &[TOKENS]).operand(logits.at([o(0), gather(1)])).operand(tokens.at([o(0) + at(1)]));
    let node = node.operand(max.at([o(0)])).operand(sum.at([o(0)]));
    let loss = n.node("loss", node.finish(log(&load(3)) - (load(0) - load(2))))?;
    n.row("mean of the loss", &loss, [f(0.0), acc() + load(0), acc() + rhs(), acc() / f(TOKENS as f32)])?;
    let node = NodeBuilder::new(F, &[TOKENS, WORDS]).operand(same(&soft)).operand(tokens.at([o(0) + at(1)]));
    let hit = select(&load(1).eq(&coord(1)), &f(1.0), &f(0.0));
    let d_logits = n.node("gradient of the logits", node.finish((load(0) - hit) / f(TOKENS as f32)))?;
    let d_last = {
        let w_t = n.transposed(&words.w)?;
        n.matmul("product over 50,257 words", &d_logits, &w_t)?
    };
    let dx = norm_backward(n, &d_last, &normed, &deviation, &norm, powers)?;
    // where a word was read, and where it was predicted
    let dx_t = n.transposed(&dx)?;
    let node = NodeBuilder::new(F, &[WORDS, WIDTH]).operand(tokens.at([k(0)])).operand(dx_t.at([o(1), k(0)]));
    let body = select(&load(0).eq(&coord(0)), &(acc() + load(1)), &acc());
    let node = node.fold(&[TOKENS], Order::Chain, f(0.0), body).combine(acc() + rhs());
    let read = n.node("gradient of the embedding", node.finish(acc()))?;
    let [dl_t, last_t] = [n.transposed(&d_logits)?, n.transposed(&last)?];
    let predicted = n.matmul("gradient of the output layer", &dl_t, &last_t)?;
    let both = n.map("sum of two tensors", &[&read, &predicted], load(0) + load(1))?;
    adamw(n, &words, &both, powers)?;
    adamw(n, &places, &dx, powers)?;
    for (power, beta) in beta.iter().zip([0.9, 0.95]) {
        let node = NodeBuilder::new(F, &[]).operand(same(power)).finish(load(0) * f(beta));
        let next = n.node("power of beta", node)?;
        n.p.set(power, &next);
    }
    model.build("GPT-2 small")
}

/// One layer, forward, with the gradients of its parts taken at once: their operands are what counts here.
fn layer(n: &mut Named, x: &TensorRef, powers: [&TensorRef; 2]) -> Result<TensorRef, BuildError> {
    let norms = [0; 2].map(|_| [param(n, &[WIDTH]), param(n, &[WIDTH])]);
    let [qkv, out] = [param(n, &[3 * WIDTH, WIDTH]), param(n, &[WIDTH, WIDTH])];
    let [up, down] = [param(n, &[4 * WIDTH, WIDTH]), param(n, &[WIDTH, 4 * WIDTH])];
    let [normed, inner, deviation] = n.layer_norm(x, [&norms[0][0].w, &norms[0][1].w])?;
    let q = n.matmul("product over 768", &normed, &qkv.w)?;
    let part = |which: i64, head: Index, token: Index, place: Index| {
        q.view(&[TOKENS, 3, HEADS, HEAD]).at([token, at(which), head, place])
    };
    let scores = NodeBuilder::new(F, &[HEADS, TOKENS, TOKENS]).operand(part(0, o(0), o(1), k(0))).operand(part(
        1,
        o(0),
        o(2),
        k(0),
    ));
    let scores = scores.fold(&[HEAD], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()));
    let seen = select(&coord(2).le(&coord(1)), &(acc() * f(0.125)), &f(f32::NEG_INFINITY));
    let scores = n.node("attention, scores", scores.finish(seen))?;
    let [soft, ..] = n.softmax(&scores)?;
    let v_t = NodeBuilder::new(F, &[HEADS, HEAD, TOKENS]).operand(part(2, o(0), o(2), o(1))).finish(load(0));
    let v_t = n.node("attention, values transposed", v_t)?;
    let mixed = NodeBuilder::new(F, &[TOKENS, WIDTH]).domain(&[TOKENS, HEADS, HEAD]);
    let mixed = mixed.operand(soft.at([o(1), o(0), k(0)])).operand(v_t.at([o(1), o(2), k(0)]));
    let mixed = mixed.fold(&[TOKENS], Order::Chain, f(0.0), load(0).fma(&load(1), &acc())).combine(acc() + rhs());
    let mixed = n.node("attention, weighted values", mixed.finish(acc()))?;
    let heads = n.matmul("product over 768", &mixed, &out.w)?;
    let x = n.map("sum of two tensors", &[x, &heads], load(0) + load(1))?;
    let [normed_2, ..] = n.layer_norm(&x, [&norms[1][0].w, &norms[1][1].w])?;
    let wide = n.matmul("product over 768", &normed_2, &up.w)?;
    let half = || f(0.5) * (f(1.0) + erf(&(load(0) * f(core::f32::consts::FRAC_1_SQRT_2))));
    let gelu = n.map("GELU", &[&wide], load(0) * half())?;
    let narrow = n.matmul("product over 3,072", &gelu, &down.w)?;
    let y = n.map("sum of two tensors", &[&x, &narrow], load(0) + load(1))?;
    // gradients
    let d_gelu = backward(n, &y, &gelu, &down, powers)?;
    let density = exp(&(f(-0.5) * load(0) * load(0))) * f(0.398_942_3);
    let d_wide = n.map("GELU, gradient", &[&wide, &d_gelu], load(1) * load(0).fma(&density, &half()))?;
    let dx = backward(n, &d_wide, &normed_2, &up, powers)?;
    let dx = norm_backward(n, &dx, &inner, &deviation, &norms[1], powers)?;
    let d_mixed = backward(n, &dx, &mixed, &out, powers)?;
    let d_soft = NodeBuilder::new(F, &[HEADS, TOKENS, TOKENS]);
    let d_soft =
        d_soft.operand(d_mixed.view(&[TOKENS, HEADS, HEAD]).at([o(1), o(0), k(0)])).operand(part(2, o(0), o(2), k(0)));
    let d_soft = d_soft.fold(&[HEAD], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()));
    let d_soft = n.node("attention, gradient of the softmax", d_soft.finish(acc()))?;
    let product = n.map("product of two tensors", &[&d_soft, &soft], load(0) * load(1))?;
    let sum = n.row_sum("row sum", &product)?;
    let d_scores = NodeBuilder::new(F, &[HEADS, TOKENS, TOKENS])
        .operand(same(&soft))
        .operand(same(&d_soft))
        .operand(sum.at([o(0), o(1)]));
    let d_scores = n.node("softmax, gradient", d_scores.finish(load(0) * (load(1) - load(2)) * f(0.125)))?;
    let k_t = NodeBuilder::new(F, &[HEADS, HEAD, TOKENS]).operand(part(1, o(0), o(2), o(1))).finish(load(0));
    let k_t = n.node("attention, values transposed", k_t)?;
    let d_q = NodeBuilder::new(F, &[TOKENS, 3 * WIDTH]).domain(&[TOKENS, 3, HEADS, HEAD]);
    let d_q = d_q.operand(d_scores.at([o(2), o(0), k(0)])).operand(k_t.at([o(2), o(3), k(0)]));
    let d_q = d_q.fold(&[TOKENS], Order::Chain, f(0.0), load(0).fma(&load(1), &acc())).combine(acc() + rhs());
    let d_q = n.node("attention, weighted values", d_q.finish(acc()))?;
    let dx = backward(n, &d_q, &normed, &qkv, powers)?;
    norm_backward(n, &dx, &inner, &deviation, &norms[0], powers)?;
    Ok(y)
}

/// Gradients of a layer norm: of its two parameters, learned at once, and of its input.
fn norm_backward(
    n: &mut Named,
    dy: &TensorRef,
    normed: &TensorRef,
    deviation: &TensorRef,
    [w, b]: &[Param; 2],
    powers: [&TensorRef; 2],
) -> Result<TensorRef, BuildError> {
    let [dy_t, normed_t] = [n.transposed(dy)?, n.transposed(normed)?];
    let node = NodeBuilder::new(F, &[WIDTH]).operand(dy_t.at([o(0), k(0)])).operand(normed_t.at([o(0), k(0)]));
    let node = node.fold(&[TOKENS], Order::Lanes, f(0.0), load(0).fma(&load(1), &acc())).combine(acc() + rhs());
    let dw = n.node("layer norm, gradient of the scale", node.finish(acc()))?;
    let db = n.row_sum("row sum", &dy_t)?;
    adamw(n, w, &dw, powers)?;
    adamw(n, b, &db, powers)?;
    let node = NodeBuilder::new(F, &dy.decl.shape).operand(same(dy)).operand(w.w.at([o(1)]));
    let scaled = n.node("layer norm, scaled gradient", node.finish(load(0) * load(1)))?;
    let node = NodeBuilder::new(F, &[TOKENS]).operand(scaled.at([o(0), k(0)])).operand(normed.at([o(0), k(0)]));
    let node = node.fold(&[WIDTH], Order::Lanes, f(0.0), load(0).fma(&load(1), &acc())).combine(acc() + rhs());
    let along = n.node("layer norm, gradient along itself", node.finish(acc() / f(WIDTH as f32)))?;
    let mean = n.row("layer norm, mean", &scaled, [f(0.0), acc() + load(0), acc() + rhs(), acc() / f(WIDTH as f32)])?;
    let node =
        NodeBuilder::new(F, &dy.decl.shape).operand(same(&scaled)).operand(same(normed)).operand(mean.at([o(0)]));
    let node = node.operand(along.at([o(0)])).operand(deviation.at([o(0)]));
    let rest = load(0) - load(2) - load(1) * load(3);
    n.node("layer norm, gradient of x", node.finish(load(4) * rest))
}
