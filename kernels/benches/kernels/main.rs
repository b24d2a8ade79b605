//! Prints a table per kernel, with the peer measured in the same run. `cargo bench -p lockstep-kernels -- [gemm] [maps] [rows] [--quick]`.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a benchmark")]

mod gemm_table;
mod maps_table;
mod timing;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = words.iter().any(|w| w == "--quick");
    let wanted = |name: &str| words.iter().all(|w| w.starts_with("--")) || words.iter().any(|w| w == name);
    println!("{}\n", timing::machine());
    if wanted("gemm") {
        gemm_table::print(quick);
    }
    if wanted("maps") {
        maps_table::print_maps(quick);
    }
    if wanted("rows") {
        maps_table::print_rows(quick);
    }
}
