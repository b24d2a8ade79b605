//! Row sums against a plain read of the same bytes, row by row as they lie: rows of an odd number of values are read across lines.

use std::{num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, interleaved};
use lockstep_ir::{
    DType, Order, Tensor,
    build::{NodeBuilder, ProgramBuilder, k, o},
    expr::{acc, f, load, rhs},
};
use lockstep_kernels::{Options, Plan};

use crate::SUITE;

/// GB/s of row sums in lanes order.
pub(crate) fn run(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_000 });
    for (rows, columns) in [(512u32, 768u32), (16_384, 768), (64, 50_257)] {
        let mut p = ProgramBuilder::new();
        let s = p.state(DType::F32, &[rows]);
        let x = p.data(DType::F32, &[rows, columns]);
        let node = NodeBuilder::new(DType::F32, &[rows])
            .operand(x.at([o(0), k(0)]))
            .fold(&[columns], Order::Lanes, f(0.0), acc() + load(0))
            .combine(acc() + rhs())
            .finish(acc());
        let sum = p.node(node).unwrap();
        p.set(&s, &sum);
        let plan =
            Plan::with(&p.build().unwrap(), Options { threads: NonZeroUsize::new(1), ..Options::default() }).unwrap();
        let values = vec![0.5f32; (rows * columns) as usize];
        let data = [Tensor::from_f32(&[rows, columns], &values).unwrap()];
        let state = [Tensor::from_f32(&[rows], &vec![0.0; rows as usize]).unwrap()];
        let mut ours = || {
            std::hint::black_box(plan.step(&state, &data).unwrap());
        };
        let row = columns as usize * 4;
        let mut read = || data[0].bytes().chunks(row).for_each(|row| _ = std::hint::black_box(read(row)));
        let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut read], budget);
        let rate = |s: f64| f64::from(rows) * f64::from(columns) * 4.0 / s / 1e9;
        sink(Record::new(SUITE, format!("row sums of {rows} × {columns}"), "GB/s", rate(samples.best(0))).against(
            "plain read, row by row",
            rate(samples.best(1)),
            samples.ratio(0, 1),
        ));
    }
}

/// Reads bytes and does next to nothing with them: several words at a time, or each would wait for the one before it.
fn read(bytes: &[u8]) -> [u64; 16] {
    let mut all = [0; 16];
    for block in bytes.as_chunks::<128>().0 {
        all.iter_mut().zip(block.as_chunks::<8>().0).for_each(|(all, &word)| *all ^= u64::from_le_bytes(word));
    }
    all
}
