//! Random valid programs, bit for bit against the reference evaluator, on every instruction set and with one and two threads.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{num::NonZeroUsize, ops::ControlFlow};

use lockstep_ir::{Program, Tensor, eval};
use lockstep_kernels::{
    Isa, Options, Plan,
    testing::{self, Rng, Size, inputs, program},
};

/// Every instruction set, with machine code and without.
fn paths() -> impl Iterator<Item = (Isa, bool)> {
    let there = testing::paths();
    there.flat_map(|isa| [(isa, false), (isa, true)]).filter(|&path| path != (Isa::Portable, true))
}

fn compare(seed: u64, p: &Program, state: &[Tensor], data: &[Tensor]) {
    let expected = eval::step(p, state, data).unwrap();
    for (isa, interpret) in paths() {
        for threads in [1, 2] {
            let threads = NonZeroUsize::new(threads);
            let options = Options { isa: Some(isa), threads, split_small: true, interpret };
            let plan = Plan::with(p, options).unwrap();
            let mut seen = 0;
            let traced = plan.trace(state, data, |i, out| {
                assert_same(out, &expected.trace[i], &format!("seed {seed}, node {i}, {options:?}"), p, i);
                seen += 1;
                ControlFlow::<()>::Continue(())
            });
            assert_eq!(seen, p.nodes.len());
            assert_eq!(traced.unwrap(), ControlFlow::Continue(expected.state.clone()), "seed {seed}");
            assert_eq!(plan.step(state, data).unwrap(), expected.state, "seed {seed}");
        }
    }
}

fn assert_same(got: &Tensor, expected: &Tensor, at: &str, p: &Program, i: usize) {
    let different = (0..expected.len()).find(|&e| got.stored(e) != expected.stored(e));
    if let Some(e) = different {
        let (got, want) = (got.stored(e), expected.stored(e));
        panic!("{at}: element {e} is {got:#010x}, should be {want:#010x}\n{:#?}", p.nodes[i]);
    }
}

fn check(seeds: std::ops::Range<u64>, size: Size) {
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let p = program(&mut rng, size);
        let (state, data) = inputs(&mut rng, &p);
        compare(seed, &p, &state, &data);
    }
}

#[test]
fn small_programs() {
    check(0..400, Size::default());
}

#[test]
fn many_tiny_nodes() {
    check(10_000..10_300, Size { nodes: 8, elements: 40, work: 2_000, fold: 300 });
}

#[test]
fn wide_outputs() {
    check(20_000..20_060, Size { nodes: 3, elements: 3_000, work: 30_000, fold: 70 });
}

#[test]
fn long_folds() {
    check(30_000..30_040, Size { nodes: 2, elements: 5_000, work: 20_000, fold: 9_000 });
}

#[test]
fn folds_of_three_levels() {
    check(40_000..40_012, Size { nodes: 2, elements: 70_000, work: 140_000, fold: 70_000 });
}
