//! What the machine's multiply-add units give at most.

use std::time::Duration;

use lockstep_bench::{Clock, interleaved};

/// GFLOP/s of so many threads at once that do nothing but multiply-adds in registers. What the machine calls two cores may be one.
pub(crate) fn fma_peak(threads: usize) -> f64 {
    const ROUNDS: u32 = 200_000;
    let rounds = if threads == 1 { ROUNDS } else { 50 * ROUNDS };
    let per_round = burn(1);
    let clock = if threads == 1 { Clock::Thread } else { Clock::Wall };
    let mut run = || {
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| burn(rounds));
            }
            burn(rounds);
        });
    };
    let samples = interleaved(clock, &mut [&mut run], Duration::from_millis(1_000));
    threads as f64 * f64::from(rounds) * per_round / samples.best(0) / 1e9
}

/// Runs that many rounds of independent multiply-adds; floating-point operations of one round.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "calls what needs instructions that were found to be there")]
fn burn(rounds: u32) -> f64 {
    match lockstep_kernels::Isa::detect() {
        // SAFETY: detected.
        Ok(lockstep_kernels::Isa::Avx512) => unsafe { burn_avx512(rounds) },
        // SAFETY: detected.
        Ok(lockstep_kernels::Isa::Avx2) => unsafe { burn_avx2(rounds) },
        _ => f64::NAN,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn burn(_: u32) -> f64 {
    f64::NAN
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn burn_avx2(rounds: u32) -> f64 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    let (x, y) = std::hint::black_box((_mm256_set1_ps(0.999), _mm256_set1_ps(1e-3)));
    let mut acc = [x; 12];
    for _ in 0..rounds {
        acc.iter_mut().for_each(|a| *a = _mm256_fmadd_ps(*a, x, y));
    }
    std::hint::black_box(acc);
    12.0 * 8.0 * 2.0
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn burn_avx512(rounds: u32) -> f64 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
    let (x, y) = std::hint::black_box((_mm512_set1_ps(0.999), _mm512_set1_ps(1e-3)));
    let mut acc = [x; 12];
    for _ in 0..rounds {
        acc.iter_mut().for_each(|a| *a = _mm512_fmadd_ps(*a, x, y));
    }
    std::hint::black_box(acc);
    12.0 * 16.0 * 2.0
}
