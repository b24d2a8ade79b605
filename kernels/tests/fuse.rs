//! Steps whose nodes run together, against the reference evaluator, which runs each by itself.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroUsize;

use lockstep_ir::{
    DType, Order, Program,
    build::{Access, NodeBuilder, ProgramBuilder, TensorRef, at, gather, k, o},
    eval,
    expr::{Expr, acc, f, load, max_nan, rhs, select, u},
    func::exp,
};
use lockstep_kernels::{
    Isa, Options, Plan,
    testing::{self, Rng, inputs},
};

/// Compares with the reference on every path; how many nodes the best one leaves out.
fn check(p: &Program, seed: u64) -> usize {
    let (state, data) = inputs(&mut Rng::new(seed), p);
    let expected = eval::step(p, &state, &data).unwrap().state;
    for isa in testing::paths() {
        for threads in [1, 2] {
            let threads = NonZeroUsize::new(threads);
            let options = Options { isa: Some(isa), threads, split_small: true, interpret: false };
            let after = Plan::with(p, options).unwrap().step(&state, &data).unwrap();
            assert!(after == expected, "{isa:?}, {threads:?} threads, seed {seed}\n{p}");
        }
    }
    Plan::new(p).unwrap().left_out()
}

/// Tensors of the shapes that random graphs are made of.
struct Graph {
    p: ProgramBuilder,
    rows: u32,
    columns: u32,
    /// `rows × columns`.
    full: Vec<TensorRef>,
    /// One value per row.
    per_row: Vec<TensorRef>,
    per_column: TensorRef,
    factors: [TensorRef; 2],
}

impl Graph {
    fn new(rng: &mut Rng) -> (Self, Vec<TensorRef>) {
        let sizes = [1, 2, 5, 8, 9, 16, 31, 40, 130, 150];
        let (rows, columns) = (rng.pick(&sizes), rng.pick(&sizes));
        let mut p = ProgramBuilder::new();
        let state: Vec<TensorRef> = (0..3).map(|_| p.state(DType::F32, &[rows, columns])).collect();
        let mut full = state.clone();
        full.push(p.data(DType::F32, &[rows, columns]));
        full.push(p.data(rng.pick(&[DType::Bf16, DType::F32]), &[rows, columns]));
        let per_row = vec![p.data(DType::F32, &[rows])];
        let per_column = p.data(DType::F32, &[columns]);
        let depth = rng.pick(&[3, 20]);
        let factors = [p.data(DType::F32, &[rows, depth]), p.data(DType::F32, &[depth, columns])];
        (Self { p, rows, columns, full, per_row, per_column, factors }, state)
    }

    fn any(&self, rng: &mut Rng) -> Access {
        match rng.below(9) {
            0 => self.per_row[rng.below(self.per_row.len())].at([o(0)]),
            1 => self.per_column.at([o(1)]),
            2 => {
                let flip = o(0) * -1 + at(i64::from(self.rows) - 1);
                self.full[rng.below(self.full.len())].at([flip, o(1)])
            }
            // Out of bounds in the first column.
            3 => self.full[rng.below(self.full.len())].at([o(0), o(1) + at(-1)]),
            n => {
                let late = self.full.len() - if n > 5 { 1 } else { 1 + rng.below(self.full.len()) };
                self.full[late].at([o(0), o(1)])
            }
        }
    }

    fn map(&mut self, rng: &mut Rng) {
        let operands: Vec<Access> = (0..1 + rng.below(3)).map(|_| self.any(rng)).collect();
        let mut node = NodeBuilder::new(DType::F32, &[self.rows, self.columns]);
        let expr = expression(rng, operands.len());
        for a in operands {
            node = node.operand(a);
        }
        let out = self.p.node(node.finish(expr)).unwrap();
        self.full.push(out);
    }

    /// A fold over rows, on what is perhaps made for it alone.
    fn fold(&mut self, rng: &mut Rng) {
        let x = self.full.last().unwrap().clone();
        let (body, init) =
            if rng.one_in(2) { (acc() + load(0), 0.0) } else { (max_nan(&acc(), &load(0)), f32::NEG_INFINITY) };
        let combine = if init == 0.0 { acc() + rhs() } else { max_nan(&acc(), &rhs()) };
        let order = rng.pick(&[Order::Lanes, Order::Lanes, Order::Chain]);
        let node = NodeBuilder::new(DType::F32, &[self.rows]).operand(x.at([o(0), k(0)]));
        let node = node.fold(&[self.columns], order, f(init), body).combine(combine);
        let folded = self.p.node(node.finish(acc() * f(0.5))).unwrap();
        let node = NodeBuilder::new(DType::F32, &[self.rows]).operand(folded.at([o(0)]));
        let node = node.operand(self.per_row[0].at([o(0)])).finish(load(0) + load(1));
        let out = self.p.node(node).unwrap();
        self.per_row.push(out);
    }

    fn product(&mut self) {
        let [a, b] = &self.factors;
        let node = NodeBuilder::new(DType::F32, &[self.rows, self.columns])
            .operand(a.at([o(0), k(0)]))
            .operand(b.at([k(0), o(1)]))
            .fold(&[a.decl.shape[1]], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
            .finish(acc());
        let out = self.p.node(node).unwrap();
        self.full.push(out);
    }
}

fn expression(rng: &mut Rng, operands: usize) -> Expr {
    let mut e = load(0);
    for i in 1..operands {
        let next = load(i as _);
        e = match rng.below(4) {
            0 => e + next,
            1 => e.fma(&next, &f(0.25)),
            2 => max_nan(&e, &next),
            _ => select(&e.lt(&next), &(&e * &next), &next),
        };
    }
    match rng.below(5) {
        0 => exp(&e),
        // A NaN's payload would show here.
        1 => e.to_bits().xor(&u(0x8000_0001)).bits_to_f32(),
        2 => &e / &(e.abs() + f(1.0)),
        _ => e * f(1.5),
    }
}

#[test]
fn random_graphs() {
    let mut left_out = 0;
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let (mut g, state) = Graph::new(&mut rng);
        for _ in 0..3 + rng.below(9) {
            match rng.below(6) {
                0 => g.fold(&mut rng),
                1 => g.product(),
                _ => g.map(&mut rng),
            }
        }
        for s in &state {
            let late = g.full.len() - 1 - rng.below(4);
            let next = g.full[late].clone();
            if next.decl == s.decl { g.p.set(s, &next) } else { g.p.keep(s) }
        }
        left_out += check(&g.p.build().unwrap(), seed);
    }
    assert!(Isa::detect().unwrap() == Isa::Portable || left_out > 400, "only {left_out} nodes left out");
}

/// `AdamW`: four maps, of which three are stored.
#[test]
fn an_optimiser_is_one_loop() {
    let n = 1037;
    let mut p = ProgramBuilder::new();
    let [w, m, v] = [0; 3].map(|_| p.state(DType::F32, &[n]));
    let g = p.data(DType::F32, &[n]);
    let node = |a: [&TensorRef; 2], e: Expr| {
        NodeBuilder::new(DType::F32, &[n]).operand(a[0].at([o(0)])).operand(a[1].at([o(0)])).finish(e)
    };
    let m1 = p.node(node([&m, &g], f(0.9).fma(&load(0), &(f(0.1) * load(1))))).unwrap();
    let v1 = p.node(node([&v, &g], f(0.999).fma(&load(0), &(f(0.001) * load(1) * load(1))))).unwrap();
    let update = p.node(node([&m1, &v1], load(0) / (load(1).sqrt() + f(1e-8)))).unwrap();
    let w1 = p.node(node([&w, &update], load(0) - f(0.01) * (load(1) + f(0.1) * load(0)))).unwrap();
    p.set(&w, &w1);
    p.set(&m, &m1);
    p.set(&v, &v1);
    let left_out = check(&p.build().unwrap(), 5);
    assert_eq!(left_out, if Isa::detect().unwrap() == Isa::Portable { 0 } else { 3 });
}

/// A lookup that is only read once moves into its reader, with its index.
#[test]
fn a_gather_moves_with_its_index() {
    for width in [1, 24, 128, 129, 300] {
        lookup(width);
    }
}

fn lookup(width: u32) {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &[40, width]);
    let table = p.data(DType::F32, &[50, width]);
    let index = p.data(DType::U32, &[40]);
    let node =
        NodeBuilder::new(DType::F32, &[40, width]).operand(index.at([o(0)])).operand(table.at([gather(0), o(1)]));
    let found = p.node(node.finish(load(1))).unwrap();
    let node = NodeBuilder::new(DType::F32, &[40, width]).operand(s.at([o(0), o(1)])).operand(found.at([o(0), o(1)]));
    let sum = p.node(node.finish(load(0) + load(1))).unwrap();
    p.set(&s, &sum);
    assert_eq!(check(&p.build().unwrap(), u64::from(width)), usize::from(Isa::detect().unwrap() != Isa::Portable));
}
