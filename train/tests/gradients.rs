//! Gradients against central differences of the same loss, written out in `f64`.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use lockstep_ir::{DType, Tensor, eval};
use lockstep_train::{
    grad::gradients,
    graph::{Graph, GraphError, Var},
    lower::lower,
    model::{Linear, Mlp},
    ops::MatMul,
    philox::{Stream, uniform, word},
};

/// Numbers in ±1 that do not repeat.
fn numbers(n: usize, stream: u32) -> Vec<f32> {
    (0..n as u32).map(|i| 2.0 * uniform(word([5, 6], Stream::Weights(stream), i)) - 1.0).collect()
}

/// Evaluates the gradient of `loss` with respect to `wrt` for these values of all state and data.
fn evaluate(mut g: Graph, loss: Var, wrt: &[Var], state: &[Tensor], data: &[Tensor]) -> Vec<Vec<f32>> {
    let found = gradients(&mut g, loss, wrt).unwrap();
    let mut inputs = state.to_vec();
    for (i, &d) in found.iter().enumerate() {
        let decl = g.decl(d).unwrap().clone();
        let slot = g.state(&format!("gradient{i}"), decl.dtype, &decl.shape).unwrap();
        g.set(slot, d).unwrap();
        inputs.push(Tensor::zeros(decl).unwrap());
    }
    for &v in wrt {
        g.set(v, v).unwrap();
    }
    let after = eval::step(&lower(&g).unwrap().program, &inputs, data).unwrap().state;
    after[state.len()..].iter().map(|t| t.to_f32().unwrap()).collect()
}

/// Central differences of `loss` in every element of every parameter.
fn differences(parameters: &[Vec<f32>], loss: impl Fn(&[Vec<f64>]) -> f64) -> Vec<Vec<f64>> {
    let mut p: Vec<Vec<f64>> = parameters.iter().map(|p| p.iter().map(|&x| f64::from(x)).collect()).collect();
    let h = 1e-6;
    let mut out = Vec::new();
    for t in 0..p.len() {
        let mut d = Vec::new();
        for i in 0..p[t].len() {
            let x = p[t][i];
            p[t][i] = x + h;
            let up = loss(&p);
            p[t][i] = x - h;
            let down = loss(&p);
            p[t][i] = x;
            d.push((up - down) / (2.0 * h));
        }
        out.push(d);
    }
    out
}

fn assert_close(got: &[Vec<f32>], expected: &[Vec<f64>]) {
    assert_eq!(got.len(), expected.len());
    for (t, (g, e)) in got.iter().zip(expected).enumerate() {
        assert_eq!(g.len(), e.len());
        assert!(e.iter().any(|x| x.abs() > 1e-3), "tensor {t} has no gradient to check");
        for (i, (&g, &e)) in g.iter().zip(e).enumerate() {
            assert!((f64::from(g) - e).abs() < 1e-6 + 1e-5 * e.abs(), "tensor {t}, element {i}: {g} against {e}");
        }
    }
}

/// `a[m,k]·b[k,n]`, each read transposed or not.
fn product(a: &[f64], b: &[f64], [m, k, n]: [usize; 3], ta: bool, tb: bool) -> Vec<f64> {
    let at = |i: usize, j: usize| if ta { a[j * m + i] } else { a[i * k + j] };
    let bt = |i: usize, j: usize| if tb { b[j * k + i] } else { b[i * n + j] };
    (0..m * n).map(|x| (0..k).map(|l| at(x / n, l) * bt(l, x % n)).sum()).collect()
}

fn cross_entropy(logits: &[f64], labels: &[u32], n: usize) -> f64 {
    let row = |(row, &label): (&[f64], &u32)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[label as usize];
    logits.chunks(n).zip(labels).map(row).sum::<f64>() / labels.len() as f64
}

#[test]
fn matmul_in_every_transposition() {
    let size @ [m, k, n] = [3usize, 5, 4];
    let labels = [3u32, 0, 2];
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        let shape = |rows: usize, columns: usize, t: bool| if t { [columns, rows] } else { [rows, columns] };
        let (sa, sb) = (shape(m, k, ta).map(|x| x as u32), shape(k, n, tb).map(|x| x as u32));
        let mut g = Graph::new();
        let a = g.state("a", DType::F32, &sa).unwrap();
        let b = g.state("b", DType::F32, &sb).unwrap();
        let l = g.data("labels", DType::U32, &[m as u32]).unwrap();
        let y = g.apply(MatMul { transpose_a: ta, transpose_b: tb }, &[a, b]).unwrap();
        let losses = g.softmax_cross_entropy(y, l).unwrap();
        let loss = g.mean(losses).unwrap();

        let values = [numbers(m * k, 0), numbers(k * n, 1)];
        let state = [Tensor::from_f32(&sa, &values[0]).unwrap(), Tensor::from_f32(&sb, &values[1]).unwrap()];
        let got = evaluate(g, loss, &[a, b], &state, &[Tensor::from_u32(&[3], &labels).unwrap()]);
        let expected = differences(&values, |p| cross_entropy(&product(&p[0], &p[1], size, ta, tb), &labels, n));
        assert_close(&got, &expected);
    }
}

#[test]
fn a_variable_used_twice_collects_both_gradients() {
    let mut g = Graph::new();
    let w = g.state("w", DType::F32, &[3, 3]).unwrap();
    let l = g.data("labels", DType::U32, &[3]).unwrap();
    let square = g.matmul(w, w).unwrap();
    let y = g.sub(square, w).unwrap();
    let losses = g.softmax_cross_entropy(y, l).unwrap();
    let loss = g.mean(losses).unwrap();

    let (values, labels) = ([numbers(9, 0)], [2u32, 1, 0]);
    let state = [Tensor::from_f32(&[3, 3], &values[0]).unwrap()];
    let got = evaluate(g, loss, &[w], &state, &[Tensor::from_u32(&[3], &labels).unwrap()]);
    let expected = differences(&values, |p| {
        let square = product(&p[0], &p[0], [3; 3], false, false);
        let y: Vec<f64> = square.iter().zip(&p[0]).map(|(s, w)| s - w).collect();
        cross_entropy(&y, &labels, 3)
    });
    assert_close(&got, &expected);
}

#[test]
fn a_perceptron() {
    let (batch, widths) = (7usize, [6u32, 5, 4, 3]);
    let model = Mlp { widths: widths.to_vec() };
    let mut g = Graph::new();
    let layers = model.declare(&mut g).unwrap();
    let x = g.data("x", DType::F32, &[batch as u32, widths[0]]).unwrap();
    let l = g.data("labels", DType::U32, &[batch as u32]).unwrap();
    let logits = model.forward(&mut g, x, &layers).unwrap();
    let losses = g.softmax_cross_entropy(logits, l).unwrap();
    let loss = g.mean(losses).unwrap();
    let wrt: Vec<Var> = layers.iter().flat_map(|&Linear { weight, bias }| [weight, bias]).collect();

    let images = numbers(batch * widths[0] as usize, 100);
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 3).collect();
    let decls: Vec<_> = wrt.iter().map(|&v| g.decl(v).unwrap().clone()).collect();
    let values: Vec<Vec<f32>> =
        decls.iter().enumerate().map(|(i, d)| numbers(d.elements().unwrap() as usize, i as u32)).collect();
    let state: Vec<Tensor> = decls.iter().zip(&values).map(|(d, v)| Tensor::from_f32(&d.shape, v).unwrap()).collect();
    let data = [
        Tensor::from_f32(&[batch as u32, widths[0]], &images).unwrap(),
        Tensor::from_u32(&[batch as u32], &labels).unwrap(),
    ];
    let got = evaluate(g, loss, &wrt, &state, &data);

    let expected = differences(&values, |p| {
        let mut x: Vec<f64> = images.iter().map(|&x| f64::from(x)).collect();
        for (i, w) in widths.windows(2).enumerate() {
            if i > 0 {
                x.iter_mut().for_each(|x| *x = x.max(0.0));
            }
            let (inner, n) = (w[0] as usize, w[1] as usize);
            x = product(&x, &p[2 * i], [batch, inner, n], false, true);
            x.iter_mut().enumerate().for_each(|(j, x)| *x += p[2 * i + 1][j % n]);
        }
        cross_entropy(&x, &labels, 3)
    });
    assert_close(&got, &expected);
}

#[test]
fn what_cannot_be_differentiated_says_why() {
    let mut g = Graph::new();
    let w = g.state("w", DType::F32, &[3]).unwrap();
    let other = g.state("other", DType::F32, &[3]).unwrap();
    assert_eq!(gradients(&mut g, w, &[w]).unwrap_err(), GraphError::NotScalar("f32[3]".into()));
    let loss = g.mean(w).unwrap();
    let unused = gradients(&mut g, loss, &[w, other]).unwrap_err();
    assert_eq!(unused.to_string(), "the loss does not depend on variable 1");
    let index = g.data("index", DType::U32, &[3]).unwrap();
    let integers = gradients(&mut g, loss, &[w, index]).unwrap_err();
    assert!(integers.to_string().ends_with("is not f32, so it has no gradient"), "{integers}");
    let scaled = g.scale_add(2.0, w, w).unwrap();
    let loss = g.mean(scaled).unwrap();
    assert_eq!(gradients(&mut g, loss, &[w]).unwrap_err(), GraphError::NoGradient { op: "scale_add" });
}
