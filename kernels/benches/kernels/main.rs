//! Measures kernels beside their peers and prints one record a line: `cargo xtask bench kernels` makes the table.
//! `cargo bench -p lockstep-kernels --profile release -- [gemm] [vectors] [bytes] [convolution] [maps] [scatter] [rows] [windows] [--quick]` measures a part; with PyTorch as a peer where `$LOCKSTEP_PYTHON` (or `python3`) has it.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a benchmark")]

mod convolution;
mod fused;
mod gemm;
mod peak;
mod rows;
mod scatter;
mod torch;
mod windows;

use lockstep_bench::Record;

/// The suite of all records here.
const SUITE: &str = "kernels";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = words.iter().any(|w| w == "--quick");
    let wanted = |name: &str| words.iter().all(|w| w.starts_with("--")) || words.iter().any(|w| w == name);
    let sink = &mut |record: Record| println!("{}", record.line());
    if wanted("gemm") {
        gemm::run(quick, sink);
    }
    if wanted("vectors") {
        gemm::vectors(quick, sink);
    }
    if wanted("bytes") {
        gemm::bytes(quick, sink);
    }
    if wanted("convolution") {
        convolution::run(quick, sink);
    }
    if wanted("maps") {
        fused::run(quick, sink);
    }
    if wanted("scatter") {
        scatter::run(quick, sink);
    }
    if wanted("rows") {
        rows::run(quick, sink);
    }
    if wanted("windows") {
        windows::run(quick, sink);
    }
}
