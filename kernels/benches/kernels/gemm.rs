//! Matrix products in `f32` against the crates `gemm` and `matrixmultiply` and PyTorch, and of bytes against those in `f32`.

use std::{num::NonZeroUsize, time::Duration};

use lockstep_bench::{Clock, Record, Samples, Timed, interleaved, self_timed};
use lockstep_ir::{
    DType, Order, Program, Tensor, TensorDecl,
    build::{NodeBuilder, ProgramBuilder, TensorRef, k, o},
    expr::{acc, f, i, load, rhs},
};
use lockstep_kernels::{Options, Plan, testing::Rng};

use crate::{SUITE, peak::fma_peak, torch::Torch};

/// Which factors lie transposed: `B` in NT, `A` in TN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    Nn,
    Nt,
    Tn,
}

/// Square shapes, and forward and gradients of a GPT-2-small layer over 512 tokens.
const SHAPES: [(u32, u32, u32); 10] = [
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (512, 2304, 768),
    (512, 768, 768),
    (512, 3072, 768),
    (512, 768, 3072),
    (768, 2304, 512),
    (768, 3072, 512),
    (3072, 768, 512),
];

/// The product as a judgeable program says it: a factor whose fold is not contiguous is copied first, which a step leaves out.
fn product(layout: Layout, (m, n, depth): (u32, u32, u32)) -> Program {
    let mut p = ProgramBuilder::new();
    let c = p.state(DType::F32, &[m, n]);
    let a = transposed_if(&mut p, layout == Layout::Tn, m, depth);
    let b = transposed_if(&mut p, layout != Layout::Nt, n, depth);
    let node = NodeBuilder::new(DType::F32, &[m, n])
        .operand(a.at([o(0), k(0)]))
        .operand(b.at([o(1), k(0)]))
        .fold(&[depth], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
        .combine(acc() + rhs())
        .finish(acc());
    let product = p.node(node).unwrap();
    p.set(&c, &product);
    p.build().unwrap()
}

/// A factor of `rows` contiguous folds, or the copy that makes one.
fn transposed_if(p: &mut ProgramBuilder, transposed: bool, rows: u32, depth: u32) -> TensorRef {
    if !transposed {
        return p.data(DType::F32, &[rows, depth]);
    }
    let original = p.data(DType::F32, &[depth, rows]);
    p.node(NodeBuilder::new(DType::F32, &[rows, depth]).operand(original.at([o(1), o(0)])).finish(load(0))).unwrap()
}

fn values(rng: &mut Rng, n: u32) -> Vec<f32> {
    (0..n).map(|_| rng.below(2001) as f32 / 1000.0 - 1.0).collect()
}

/// Row and column strides of a factor of `rows × columns`, stored transposed or not.
fn strides(transposed: bool, rows: u32, columns: u32) -> (isize, isize) {
    if transposed { (1, rows as isize) } else { (columns as isize, 1) }
}

/// Ours, then `gemm`, then `matrixmultiply` on one thread (it is built without more), then PyTorch if there is one.
fn measure(
    layout: Layout,
    shape: (u32, u32, u32),
    threads: usize,
    torch: Option<&mut Torch>,
    budget: Duration,
) -> Samples {
    let (m, n, depth) = shape;
    let program = product(layout, shape);
    let plan = Plan::with(&program, Options { threads: NonZeroUsize::new(threads), ..Options::default() }).unwrap();
    let mut rng = Rng::new(7);
    let (a, b) = (values(&mut rng, m * depth), values(&mut rng, n * depth));
    let data =
        [Tensor::from_f32(&program.data[0].shape, &a).unwrap(), Tensor::from_f32(&program.data[1].shape, &b).unwrap()];
    let state = [Tensor::from_f32(&[m, n], &vec![0.0; (m * n) as usize]).unwrap()];
    let (a_row, a_column) = strides(layout == Layout::Tn, m, depth);
    let (b_row, b_column) = strides(layout == Layout::Nt, depth, n);
    let (mut c1, mut c2) = (vec![0f32; (m * n) as usize], vec![0f32; (m * n) as usize]);
    let parallel = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
    let (ms, ns, ks) = (m as usize, n as usize, depth as usize);
    let mut ours = || {
        std::hint::black_box(plan.step(&state, &data).unwrap());
    };
    #[allow(unsafe_code, reason = "the peers take pointers")]
    // SAFETY: the strides address the whole of each slice and no more.
    let mut gemm_crate = || unsafe {
        let (c, c_row, a, b) = (c1.as_mut_ptr(), ns as isize, a.as_ptr(), b.as_ptr());
        let (x, y) = ((a_column, a_row), (b_column, b_row));
        gemm::gemm(ms, ns, ks, c, 1, c_row, false, a, x.0, x.1, b, y.0, y.1, 0.0, 1.0, false, false, false, parallel);
    };
    #[allow(unsafe_code, reason = "the peers take pointers")]
    // SAFETY: as above.
    let mut matrixmultiply_crate = || unsafe {
        let (c, a, b) = (c2.as_mut_ptr(), a.as_ptr(), b.as_ptr());
        matrixmultiply::sgemm(ms, ks, ns, 1.0, a, a_row, a_column, b, b_row, b_column, 0.0, c, ns as isize, 1);
    };
    let clock = if threads == 1 { Clock::Thread } else { Clock::Wall };
    let mut contenders: Vec<Timed<'_>> =
        vec![Box::new(|times| clock.time(times, &mut ours)), Box::new(|times| clock.time(times, &mut gemm_crate))];
    if threads == 1 {
        contenders.push(Box::new(|times| clock.time(times, &mut matrixmultiply_crate)));
    }
    if let Some(torch) = torch {
        torch.shape(&format!("{layout:?}"), shape);
        contenders.push(Box::new(|times| torch.run(times)));
    }
    self_timed(&mut contenders, budget)
}

/// GFLOP/s of every shape in every layout, each against the better crate, and geometric means against it and against PyTorch.
pub(crate) fn run(quick: bool, sink: &mut dyn FnMut(Record)) {
    for threads in [1, 2] {
        let peak = fma_peak(threads);
        let on = if threads == 1 { "1 thread" } else { "2 threads" };
        sink(Record::new(SUITE, format!("multiply-adds in registers only, {on}"), "GFLOP/s", peak));
        let mut torch = Torch::start(threads);
        for layout in [Layout::Nn, Layout::Nt, Layout::Tn] {
            shapes(layout, threads, &mut torch, peak, quick, sink);
        }
    }
}

/// All shapes of a layout on so many threads.
fn shapes(
    layout: Layout,
    threads: usize,
    torch: &mut Result<Torch, String>,
    peak: f64,
    quick: bool,
    sink: &mut dyn FnMut(Record),
) {
    let budget = Duration::from_millis(if quick { 300 } else { 2_000 });
    let name = format!("{layout:?}").to_uppercase();
    let on = if threads == 1 { "1 thread" } else { "2 threads" };
    let (mut ratios, mut beside_torch) = (Vec::new(), Vec::new());
    for &shape in if quick { &SHAPES[..3] } else { &SHAPES[..] } {
        let samples = measure(layout, shape, threads, torch.as_mut().ok(), budget);
        let (m, n, k) = shape;
        let rate = |seconds: f64| 2.0 * f64::from(m) * f64::from(n) * f64::from(k) / seconds / 1e9;
        let second = threads == 1 && samples.best(2) < samples.best(1);
        let (peer, peer_name) = if second { (2, "matrixmultiply") } else { (1, "gemm") };
        let ours =
            Record::new(SUITE, format!("gemm f32 {name} {m} × {n} × {k}, {on}"), "GFLOP/s", rate(samples.best(0)));
        ratios.push(samples.ratio(0, peer));
        sink(ours.against(peer_name, rate(samples.best(peer)), samples.ratio(0, peer)).of_limit(peak));
        if torch.is_ok() {
            // PyTorch comes after the crates, of which one thread has two.
            beside_torch.push(samples.ratio(0, if threads == 1 { 3 } else { 2 }));
        }
    }
    let mean = |ratios: &[f64]| (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let case = format!("gemm f32 {name}, geometric mean, {on}");
    sink(Record::new(SUITE, case, "times the better crate", mean(&ratios)).of_limit(1.0));
    let case = format!("gemm f32 {name}, geometric mean beside PyTorch, {on}");
    let record = Record::new(SUITE, case, "times PyTorch", mean(&beside_torch));
    sink(match torch {
        Ok(torch) => record.against(&format!("PyTorch {}", torch.version), 1.0, mean(&beside_torch)).of_limit(1.05),
        Err(why) => record.missing_peer(why),
    });
}

/// GB/s of the matrix in products with a vector, one thread.
pub(crate) fn vectors(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 200 } else { 1_000 });
    let matrix_first = |m| (Layout::Nt, (m, 1, 768));
    let vector_first = |n| (Layout::Nn, (1, n, 768));
    for (layout, shape) in [matrix_first(3072), matrix_first(50_257), vector_first(3072), vector_first(50_257)] {
        let samples = measure(layout, shape, 1, None, budget);
        let (m, n, depth) = shape;
        let rate = |i| f64::from(m) * f64::from(n) * f64::from(depth) * 4.0 / samples.best(i) / 1e9;
        let what = if n == 1 { "matrix × vector" } else { "vector × matrix" };
        let case = format!("{what}, {m} × {depth} by {depth} × {n}, 1 thread");
        sink(Record::new(SUITE, case, "GB/s", rate(0)).against("gemm", rate(1), samples.ratio(0, 1)));
    }
}

/// How many times as fast as ours of floats products of bytes are to be with VNNI.
const GOAL_VNNI: f64 = 3.7;

fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(lockstep_kernels::Isa::detect(), Ok(lockstep_kernels::Isa::Avx512))
        && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Products of bytes beside those of floats, both ours: billions of multiplications and additions per second.
pub(crate) fn bytes(quick: bool, sink: &mut dyn FnMut(Record)) {
    let budget = Duration::from_millis(if quick { 300 } else { 1_000 });
    for n in [512u32, 1024, 2048] {
        let plan = |dtype: DType| {
            let mut p = ProgramBuilder::new();
            let out = if dtype == DType::F32 { DType::F32 } else { DType::I32 };
            let c = p.state(out, &[n, n]);
            let [a, b] = [0; 2].map(|_| p.data(dtype, &[n, n]));
            let (init, body) = match dtype {
                DType::F32 => (f(0.0), load(0).fma(&load(1), &acc())),
                _ => (i(0), acc() + load(0) * load(1)),
            };
            let node = NodeBuilder::new(out, &[n, n]).operand(a.at([o(0), k(0)])).operand(b.at([o(1), k(0)]));
            let product = node.fold(&[n], Order::Chain, init, body).combine(acc() + rhs()).finish(acc());
            let product = p.node(product).unwrap();
            p.set(&c, &product);
            let options = Options { threads: NonZeroUsize::new(1), ..Options::default() };
            Plan::with(&p.build().unwrap(), options).unwrap()
        };
        let tensor = |dtype: DType| {
            let decl = TensorDecl { dtype, shape: vec![n, n] };
            let pattern: &[u8] = if dtype == DType::F32 { &0.5f32.to_le_bytes() } else { &[3, 250, 127, 128] };
            let size = (n * n) as usize * dtype.size();
            Tensor::from_bytes(decl, pattern.iter().copied().cycle().take(size).collect()).unwrap()
        };
        let run = |dtype, out| {
            let (plan, state, data) = (plan(dtype), [tensor(out)], [tensor(dtype), tensor(dtype)]);
            move || _ = std::hint::black_box(plan.step(&state, &data).unwrap())
        };
        let (mut bytes, mut floats) = (run(DType::I8, DType::I32), run(DType::F32, DType::F32));
        let samples = interleaved(Clock::Thread, &mut [&mut bytes, &mut floats], budget);
        let rate = |seconds: f64| 2.0 * f64::from(n).powi(3) / seconds / 1e9;
        let case = format!("gemm i8 NT {n} × {n} × {n}, 1 thread");
        let (ours, floats) = (Record::new(SUITE, case, "GOP/s", rate(samples.best(0))), rate(samples.best(1)));
        let ours = ours.against("our f32", floats, samples.ratio(0, 1));
        sink(if has_vnni() { ours.of_limit(GOAL_VNNI * floats) } else { ours });
    }
}
