//! What operations compute, bit for bit, and that large ones stay judgeable.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use lockstep_ir::{DType, Program, Tensor, eval, validate};
use lockstep_train::{
    JobFile, TrainingJob,
    graph::{Graph, Var},
    lower::lower,
    ops::{MatMul, Sample, SumRows},
    philox::{self, Stream, uniform, word},
};

fn numbers(n: u32, stream: u32) -> Vec<f32> {
    (0..n).map(|i| 2.0 * uniform(word([1, 2], Stream::Weights(stream), i)) - 1.0).collect()
}

/// A program whose only state is `out`, and what it computes from `data`.
fn run(mut g: Graph, out: Var, data: &[Tensor]) -> (Program, Vec<String>, Tensor) {
    let decl = g.decl(out).unwrap().clone();
    let slot = g.state("out", decl.dtype, &decl.shape).unwrap();
    g.set(slot, out).unwrap();
    let lowered = lower(&g).unwrap();
    let state = eval::step(&lowered.program, &[Tensor::zeros(decl).unwrap()], data).unwrap().state;
    (lowered.program, lowered.node_names, state[0].clone())
}

/// The order of docs/protocol.md, section 2.2: blocks of 256, each a chain of fused multiply-adds, then summed.
fn dot(k: usize, a: impl Fn(usize) -> f32, b: impl Fn(usize) -> f32) -> f32 {
    let ks: Vec<usize> = (0..k).collect();
    let blocks = ks.chunks(256).map(|block| block.iter().fold(0.0f32, |acc, &k| a(k).mul_add(b(k), acc)));
    blocks.reduce(|acc, next| acc + next).unwrap()
}

#[test]
fn matmul_in_every_transposition_small_and_large() {
    // The strided operands of the larger sizes span too many chunks, so they must be copied first.
    for [m, k, n] in [[3, 5, 2], [1, 300, 2], [4, 300, 5], [20, 600, 24]] {
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            let (sa, sb) = (if ta { [k, m] } else { [m, k] }, if tb { [n, k] } else { [k, n] });
            let mut g = Graph::new();
            let a = g.data("a", DType::F32, &sa).unwrap();
            let b = g.data("b", DType::F32, &sb).unwrap();
            let y = g.apply(MatMul { transpose_a: ta, transpose_b: tb }, &[a, b]).unwrap();
            let (va, vb) = (numbers(m * k, 0), numbers(k * n, 1));
            let data = [Tensor::from_f32(&sa, &va).unwrap(), Tensor::from_f32(&sb, &vb).unwrap()];
            let (program, names, got) = run(g, y, &data);

            let strided = usize::from(ta) + usize::from(!tb);
            let copies = if m < 4 { 0 } else { strided };
            assert_eq!(names.len(), 1 + copies, "{m}×{k}×{n} {ta} {tb}");
            assert_eq!(validate(&program).unwrap().len(), names.len());
            let (m, k, n) = (m as usize, k as usize, n as usize);
            let at = |i: usize, j: usize| if ta { va[j * m + i] } else { va[i * k + j] };
            let bt = |i: usize, j: usize| if tb { vb[j * k + i] } else { vb[i * n + j] };
            let expected: Vec<u32> = (0..m * n).map(|x| dot(k, |l| at(x / n, l), |l| bt(l, x % n)).to_bits()).collect();
            assert_eq!(got.to_f32().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn long_column_sums_are_copied_into_order() {
    let (rows, columns) = (700, 40);
    let mut g = Graph::new();
    let x = g.data("x", DType::F32, &[rows, columns]).unwrap();
    let y = g.apply(SumRows, &[x]).unwrap();
    // Whole numbers: every order of summation is exact.
    let values: Vec<f32> = (0..rows * columns).map(|i| (i % 251) as f32).collect();
    let (program, names, got) = run(g, y, &[Tensor::from_f32(&[rows, columns], &values).unwrap()]);
    assert_eq!(names, ["sum_rows", "sum_rows"]);
    assert_eq!(program.nodes[0].out.shape, [columns, rows]);
    let column = |c: u32| (0..rows).map(|r| values[(r * columns + c) as usize]).sum::<f32>();
    assert_eq!(got.to_f32().unwrap(), (0..columns).map(column).collect::<Vec<_>>());
}

#[test]
fn jobs_of_many_sizes_can_be_judged() {
    for (hidden, batch) in [(vec![], 1), (vec![1], 1), (vec![32], 64), (vec![100, 50], 300), (vec![257], 513)] {
        let job = TrainingJob::new(&JobFile { hidden: hidden.clone(), batch, ..JobFile::default() });
        assert!(job.is_ok(), "hidden {hidden:?}, batch {batch}: {:?}", job.err());
    }
}

#[test]
fn cross_entropy_does_not_overflow() {
    let mut g = Graph::new();
    let x = g.data("x", DType::F32, &[4, 3]).unwrap();
    let l = g.data("l", DType::U32, &[4]).unwrap();
    let y = g.softmax_cross_entropy(x, l).unwrap();
    let logits = [1e30, 0.0, 0.0, -200.0, -300.0, -200.0, 0.0, 0.0, 0.0, f32::NAN, 1.0, 2.0];
    let data = [Tensor::from_f32(&[4, 3], &logits).unwrap(), Tensor::from_u32(&[4], &[0, 2, 1, 1]).unwrap()];
    let got = run(g, y, &data).2.to_f32().unwrap();
    assert_eq!(got[0], 0.0);
    assert!((got[1] - 2f32.ln()).abs() < 2e-5, "{}", got[1]);
    assert!((got[2] - 3f32.ln()).abs() < 1e-6, "{}", got[2]);
    assert!(got[3].is_nan(), "a NaN must not hide: {}", got[3]);
}

#[test]
fn the_batch_is_what_philox_says() {
    let mut g = Graph::new();
    let step = g.data("step", DType::U32, &[]).unwrap();
    let key = g.data("key", DType::U32, &[2]).unwrap();
    let y = g.apply(Sample { count: 100, below: 1437 }, &[step, key]).unwrap();
    let key = philox::key(0x1234_5678_9abc_def0);
    let data = [Tensor::from_u32(&[], &[77]).unwrap(), Tensor::from_u32(&[2], &key).unwrap()];
    let got = run(g, y, &data).2.to_u32().unwrap();
    let expected: Vec<u32> = (0..100).map(|i| philox::below(philox::philox([77, i, 0, 0], key)[0], 1437)).collect();
    assert_eq!(got, expected);
    assert!(got.iter().any(|&i| i > 1000) && got.iter().any(|&i| i < 400));
}

#[test]
fn rows_are_gathered_from_any_rank_and_type() {
    let mut g = Graph::new();
    let table = g.data("table", DType::U32, &[3, 2, 2]).unwrap();
    let index = g.data("index", DType::U32, &[4]).unwrap();
    let y = g.gather_rows(table, index).unwrap();
    let table: Vec<u32> = (0..12).collect();
    let data = [Tensor::from_u32(&[3, 2, 2], &table).unwrap(), Tensor::from_u32(&[4], &[2, 0, 2, 3]).unwrap()];
    let (_, _, got) = run(g, y, &data);
    assert_eq!(got.decl().shape, [4, 2, 2]);
    assert_eq!(got.to_u32().unwrap(), [8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11, 0, 0, 0, 0]);
}
