//! Measures hashing beside its peers and prints one record a line: `cargo xtask bench kernels` makes the table.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a benchmark")]

use std::{num::NonZeroUsize, time::Duration};

use keccak_asm::Digest as _; // the same trait as that of sha3
use lockstep_bench::{Clock, Record, in_pieces, interleaved};
use lockstep_commit::{
    CHUNK_BYTES, Isa, TensorTree, keccak::hash_chunks, roots::root_of_tensors_on, tensor::TensorStream,
};
use lockstep_ir::{DType, Tensor, TensorDecl};

const SUITE: &str = "kernels";
/// What is asked of one core, in GB/s.
const GOAL_AVX2: f64 = 1.1;
const GOAL_AVX512: f64 = 2.0;
/// Bytes that stay in the cache of one core.
const CACHED: usize = 256 * CHUNK_BYTES;

fn tensor(bytes: usize) -> Tensor {
    let values = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
    Tensor::from_bytes(TensorDecl { dtype: DType::I8, shape: vec![bytes as u32] }, values).unwrap()
}

fn on(threads: usize) -> NonZeroUsize {
    NonZeroUsize::new(threads).unwrap()
}

fn main() {
    let quick = std::env::args().any(|word| word == "--quick");
    let budget = Duration::from_millis(if quick { 200 } else { 2_000 });
    let isa = Isa::detect().unwrap();
    let mut emit = |record: Record| println!("{}", record.line());
    leaves(budget, isa, &mut emit);
    root(if quick { 64 << 20 } else { 1 << 30 }, budget, isa, &mut emit);
    update(budget, &mut emit);
}

/// Leaves of 512 chunks on one thread, little enough for one, against other implementations on the same chunks.
fn leaves(budget: Duration, isa: Isa, emit: &mut dyn FnMut(Record)) {
    let tensor = tensor(512 * CHUNK_BYTES);
    let bytes = tensor.bytes();
    let mut ours = || _ = std::hint::black_box(hash_chunks(bytes));
    let mut sha3 = || bytes.chunks(CHUNK_BYTES).for_each(|c| _ = std::hint::black_box(sha3::Keccak256::digest(c)));
    let mut asm = || bytes.chunks(CHUNK_BYTES).for_each(|c| _ = std::hint::black_box(keccak_asm::Keccak256::digest(c)));
    let samples = interleaved(Clock::Thread, &mut [&mut ours, &mut sha3, &mut asm], budget);
    let rate = |i| bytes.len() as f64 / samples.best(i) / 1e9;
    for (i, name) in [(1, "sha3"), (2, "keccak-asm")] {
        let case = format!("keccak leaves of 1 KiB, {}, 1 thread", isa.name());
        emit(Record::new(SUITE, case, "GB/s", rate(0)).against(name, rate(i), samples.ratio(0, i)));
    }
}

/// The whole root on one thread, and on two, beside as many hashes of chunks that are in the cache.
fn root(bytes: usize, budget: Duration, isa: Isa, emit: &mut dyn FnMut(Record)) {
    let tensor = tensor(bytes);
    let case = |what: &str| format!("tensor root of {} MiB, {}, {what}", bytes >> 20, isa.name());
    let goal = |record: Record| match isa {
        Isa::Portable => record,
        Isa::Avx2 => record.of_limit(GOAL_AVX2),
        Isa::Avx512 => record.of_limit(GOAL_AVX512),
    };
    let rate = |seconds: f64| bytes as f64 / seconds / 1e9;
    let cached = self::tensor(CACHED);
    let cached = || std::iter::repeat_n(&cached, bytes / CACHED);
    let mut one = || _ = std::hint::black_box(root_of_tensors_on(on(1), [&tensor]));
    let mut near = || _ = std::hint::black_box(root_of_tensors_on(on(1), cached()));
    let own = interleaved(Clock::Thread, &mut [&mut one, &mut near], budget);
    let record = Record::new(SUITE, case("1 thread"), "GB/s", rate(own.best(0)));
    emit(goal(record.against("from cache", rate(own.best(1)), own.ratio(0, 1))));
    let pieces = streamed(&tensor, budget);
    let record = Record::new(SUITE, case("streamed, every 16 MiB at its best, 1 thread"), "GB/s", rate(pieces[0]));
    emit(goal(record.against("from cache", rate(pieces[1]), pieces[1] / pieces[0])));

    let mut two = || _ = std::hint::black_box(root_of_tensors_on(on(2), [&tensor]));
    let mut both_near = || _ = std::hint::black_box(root_of_tensors_on(on(2), cached()));
    let wall = interleaved(Clock::Wall, &mut [&mut two, &mut one, &mut both_near, &mut near], budget);
    let record = Record::new(SUITE, case("from cache, 2 threads"), "GB/s", rate(wall.best(2)));
    emit(record.against("1 thread", rate(wall.best(3)), wall.ratio(2, 3)));
    let record = Record::new(SUITE, case("2 threads"), "GB/s", rate(wall.best(0)));
    let record = record.against("1 thread", rate(wall.best(1)), wall.ratio(0, 1));
    emit(record.of_limit(wall.ratio(2, 3) * rate(wall.best(1))));
}

/// Seconds for the root of a tensor that comes in pieces, and for as many bytes that are in the cache.
fn streamed(tensor: &Tensor, budget: Duration) -> Vec<f64> {
    let pieces: Vec<&[u8]> = tensor.bytes().chunks(16 << 20).collect();
    let run = |near: bool| {
        let start = || TensorStream::new(tensor.decl().clone()).unwrap();
        let mut stream = start();
        let pieces = pieces.clone();
        move |piece: usize| {
            for at in 0..pieces[piece].len() / CACHED {
                let at = if near { 0 } else { at * CACHED };
                stream.push(&pieces[if near { 0 } else { piece }][at..at + CACHED]).unwrap();
            }
            if piece + 1 == pieces.len() {
                std::hint::black_box(std::mem::replace(&mut stream, start()).finish().unwrap());
            }
        }
    };
    in_pieces(Clock::Thread, pieces.len(), &mut [&mut run(false), &mut run(true)], budget)
}

/// One chunk in a thousand of 64 MiB changed.
fn update(budget: Duration, emit: &mut dyn FnMut(Record)) {
    let tensor = tensor(64 << 20);
    let changed: Vec<u64> = (0..65_536).step_by(1000).collect();
    let mut tree = TensorTree::new(&tensor);
    let mut updated = || tree.update(&tensor, &changed).unwrap();
    let mut anew = || _ = std::hint::black_box(root_of_tensors_on(on(1), [&tensor]));
    let samples = interleaved(Clock::Thread, &mut [&mut updated, &mut anew], budget);
    let record = Record::new(SUITE, "tree of 64 MiB with 66 changed chunks, 1 thread", "ms", samples.best(0) * 1e3);
    emit(record.against("hashed anew", samples.best(1) * 1e3, samples.ratio(0, 1)));
}
