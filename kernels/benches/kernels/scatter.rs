//! The gradient of an embedding beside a scatter-add by hand, which neither sorts nor keeps blocks apart.

use std::{num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, interleaved};
use lockstep_ir::{
    DType, Order, Tensor, TensorDecl,
    build::{NodeBuilder, ProgramBuilder, k, o},
    expr::{acc, coord, f, load, rhs, select},
};
use lockstep_kernels::{Options, Plan, testing::Rng};

use crate::SUITE;

/// Rows and columns of the table: GPT-2 small's.
const TABLE: (u32, u32) = (50_257, 768);

/// Milliseconds of the gradient of 512 and of 8,192 tokens.
pub(crate) fn run(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_500 });
    let (rows, columns) = TABLE;
    for tokens in [512u32, 8192] {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[rows, columns]);
        let index = p.data(DType::U32, &[tokens]);
        let values = p.data(DType::F32, &[tokens, columns]);
        let copy = NodeBuilder::new(DType::F32, &[columns, tokens]).operand(values.at([o(1), o(0)])).finish(load(0));
        let copy = p.node(copy).unwrap();
        let node = NodeBuilder::new(DType::F32, &[rows, columns])
            .operand(index.at([k(0)]))
            .operand(copy.at([o(1), k(0)]))
            .fold(&[tokens], Order::Chain, f(0.0), select(&load(0).eq(&coord(0)), &(acc() + load(1)), &acc()))
            .combine(acc() + rhs())
            .finish(acc());
        let gradient = p.node(node).unwrap();
        p.set(&s, &gradient);
        let options = Options { threads: NonZeroUsize::new(1), ..Options::default() };
        let plan = Plan::with(&p.build().unwrap(), options).unwrap();
        let mut rng = Rng::new(3);
        let ids: Vec<u32> = (0..tokens).map(|_| rng.below(rows as usize) as u32).collect();
        let gradients = vec![0.5f32; (tokens * columns) as usize];
        let bytes = ids.iter().flat_map(|i| i.to_le_bytes()).collect();
        let decl = TensorDecl { dtype: DType::U32, shape: vec![tokens] };
        let data =
            [Tensor::from_bytes(decl, bytes).unwrap(), Tensor::from_f32(&[tokens, columns], &gradients).unwrap()];
        let state = [Tensor::from_f32(&[rows, columns], &vec![0.0; (rows * columns) as usize]).unwrap()];
        let mut ours = || _ = std::hint::black_box(plan.step(&state, &data).unwrap());
        let mut by_hand = || {
            let mut table = vec![0f32; (rows * columns) as usize];
            // As in a step, all of it is written.
            std::hint::black_box(&mut table).fill(0.0);
            for (row, &id) in gradients.chunks_exact(columns as usize).zip(&ids) {
                let to = &mut table[(id * columns) as usize..][..columns as usize];
                to.iter_mut().zip(row).for_each(|(t, g)| *t += g);
            }
            std::hint::black_box(table);
        };
        let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut by_hand], budget);
        let case = format!("embedding gradient of {tokens} tokens, {rows} × {columns}");
        let ours = Record::new(SUITE, case, "ms", samples.best(0) * 1e3);
        sink(ours.against("scatter-add by hand", samples.best(1) * 1e3, samples.ratio(0, 1)));
    }
}
