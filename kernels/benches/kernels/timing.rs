//! Timing of contenders side by side.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// What the numbers were taken on.
pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("?", |l| l.trim_start_matches([' ', '\t', ':']));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let isa = lockstep_kernels::Isa::detect().map_or("?", lockstep_kernels::Isa::name);
    format!("CPU: {model}, {threads} threads, path: {isa}")
}

/// Which clock a measurement uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Time on the wall: for several threads.
    Wall,
    /// Time that this thread ran: for one thread, on a machine that does other things too. The wall's where there is no such clock.
    Thread,
}

impl Clock {
    fn now(self) -> f64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let ran = || -> Option<f64> {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
            text.split(' ').next()?.parse().ok().map(|ns: f64| ns / 1e9)
        };
        let thread = if self == Self::Thread { ran() } else { None };
        thread.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_secs_f64())
    }
}

/// Seconds of one run of each contender: the best of several measurements. They take turns, so that whatever slows the machine down
/// slows all of them down.
pub(crate) fn best(clock: Clock, contenders: &mut [&mut dyn FnMut()], budget: Duration) -> Vec<f64> {
    // The scheduler counts a thread's time in ticks of up to 4 ms.
    let shortest = if clock == Clock::Thread { 0.1 } else { 1e-3 };
    let mut best = vec![f64::INFINITY; contenders.len()];
    let mut repeats = vec![1u32; contenders.len()];
    for (run, n) in contenders.iter_mut().zip(&mut repeats) {
        run();
        let start = Instant::now();
        run();
        *n = (shortest / start.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e6) as u32;
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < budget {
        for ((run, slot), &n) in contenders.iter_mut().zip(&mut best).zip(&repeats) {
            let start = clock.now();
            for _ in 0..n {
                run();
            }
            *slot = slot.min((clock.now() - start) / f64::from(n));
        }
        rounds += 1;
    }
    best
}

/// GFLOP/s of one thread that does nothing but multiply-adds in registers.
pub(crate) fn fma_peak() -> f64 {
    const ROUNDS: u32 = 200_000;
    let mut flops = 0.0;
    let mut run = || flops = f64::from(ROUNDS) * burn(ROUNDS);
    let seconds = best(Clock::Thread, &mut [&mut run], Duration::from_millis(300));
    flops / seconds[0] / 1e9
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
