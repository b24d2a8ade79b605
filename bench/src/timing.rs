//! Timing of contenders side by side.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// What the numbers were taken on.
#[must_use]
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")).map_or("?", |l| l.trim_start_matches([' ', '\t', ':']));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {threads} threads, {}", instructions())
}

/// The widest vector instructions there are, of those that we have code for.
fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let wide = is_x86_feature_detected!("avx512f");
        match (wide && is_x86_feature_detected!("avx512vnni"), wide, is_x86_feature_detected!("avx2")) {
            (true, ..) => "AVX-512 with VNNI",
            (_, true, _) => "AVX-512",
            (.., true) => "AVX2",
            _ => "neither AVX-512 nor AVX2",
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

/// Which clock a measurement uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Time on the wall: for several threads.
    Wall,
    /// Time that this thread ran: for one thread, on a machine that does other things too. The wall's where there is no such clock.
    Thread,
}

impl Clock {
    /// Seconds on this clock that so many runs take.
    pub fn time(self, times: u32, run: &mut dyn FnMut()) -> f64 {
        let start = self.now();
        (0..times).for_each(|_| run());
        self.now() - start
    }

    fn now(self) -> f64 {
        #[cfg(target_os = "linux")]
        if self == Self::Thread {
            let ran = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            return ran.tv_sec as f64 + ran.tv_nsec as f64 * 1e-9;
        }
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_secs_f64()
    }
}

/// Seconds of one run of each contender, round by round.
#[derive(Clone, Debug)]
pub struct Samples {
    /// By contender, then by round.
    seconds: Vec<Vec<f64>>,
}

impl Samples {
    /// The shortest time of a contender: what it can do when nothing disturbs it.
    #[must_use]
    pub fn best(&self, contender: usize) -> f64 {
        self.seconds[contender].iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median time of a contender.
    #[must_use]
    pub fn median(&self, contender: usize) -> f64 {
        median(self.seconds[contender].clone())
    }

    /// How many times faster `ours` is than `peer`: the median over the rounds, in each of which both ran one after the other.
    #[must_use]
    pub fn ratio(&self, ours: usize, peer: usize) -> f64 {
        median(self.seconds[peer].iter().zip(&self.seconds[ours]).map(|(peer, ours)| peer / ours).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// Shortest time that is measured; a contender that is faster runs several times.
const SHORTEST_S: f64 = 2e-3;
/// Rounds at least, however long they take.
const MIN_ROUNDS: usize = 5;

/// Runs the contenders in turns until `budget` is spent, each round beginning with another one.
pub fn interleaved(clock: Clock, contenders: &mut [&mut dyn FnMut()], budget: Duration) -> Samples {
    let mut timed: Vec<Timed<'_>> = Vec::new();
    for run in contenders {
        timed.push(Box::new(move |times| clock.time(times, *run)));
    }
    self_timed(&mut timed, budget)
}

/// Runs as many times as it is told and says how many seconds that took.
pub type Timed<'a> = Box<dyn FnMut(u32) -> f64 + 'a>;

/// As [`interleaved`], of contenders that time themselves: one may be another process.
pub fn self_timed(contenders: &mut [Timed<'_>], budget: Duration) -> Samples {
    let repeats: Vec<u32> = contenders
        .iter_mut()
        .map(|run| {
            run(1);
            (SHORTEST_S / run(1).max(1e-9)).ceil().clamp(1.0, 1e6) as u32
        })
        .collect();
    let mut seconds = vec![Vec::new(); contenders.len()];
    let start = Instant::now();
    let mut round = 0;
    while round < MIN_ROUNDS || start.elapsed() < budget {
        for turn in 0..contenders.len() {
            let i = (turn + round) % contenders.len();
            seconds[i].push(contenders[i](repeats[i]) / f64::from(repeats[i]));
        }
        round += 1;
    }
    Samples { seconds }
}

/// Seconds that each contender takes for all of so many pieces of its work, every piece at its best. Contenders take turns at every
/// piece. Work of a second is hardly ever undisturbed as a whole on a machine that others use; its pieces are, now and then.
pub fn in_pieces(clock: Clock, pieces: usize, contenders: &mut [&mut dyn FnMut(usize)], budget: Duration) -> Vec<f64> {
    let mut best = vec![vec![f64::INFINITY; pieces]; contenders.len()];
    let start = Instant::now();
    let mut round = 0;
    while round < MIN_ROUNDS || start.elapsed() < budget {
        for piece in 0..pieces {
            for (run, best) in contenders.iter_mut().zip(&mut best) {
                best[piece] = best[piece].min(clock.time(1, &mut || run(piece)));
            }
        }
        round += 1;
    }
    best.into_iter().map(|pieces| pieces.into_iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_counts_once_at_its_best() {
        let mut order = Vec::new();
        let seconds = in_pieces(Clock::Wall, 3, &mut [&mut |piece| order.push(piece), &mut |_| ()], Duration::ZERO);
        assert_eq!(order, [0, 1, 2].repeat(MIN_ROUNDS));
        assert!(seconds.len() == 2 && seconds.iter().all(|s| (0.0..1.0).contains(s)), "{seconds:?}");
    }

    #[test]
    fn medians_and_paired_ratios() {
        let samples = Samples { seconds: vec![vec![1.0, 2.0, 4.0], vec![2.0, 3.0, 12.0]] };
        assert_eq!((samples.best(0), samples.median(0), samples.best(1)), (1.0, 2.0, 2.0));
        assert_eq!(samples.ratio(0, 1), 2.0);
        assert_eq!(median(vec![1.0, 3.0]), 2.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn contenders_run_equally_often_and_take_time() {
        let spin = |n: u64| {
            move || {
                std::hint::black_box((0..n).fold(1u64, |a, x| std::hint::black_box(a ^ x)));
            }
        };
        let (mut short, mut long) = (spin(100_000), spin(1_000_000));
        for clock in [Clock::Wall, Clock::Thread] {
            let samples = interleaved(clock, &mut [&mut short, &mut long], Duration::from_millis(10));
            assert_eq!(samples.seconds[0].len(), samples.seconds[1].len());
            assert!(samples.best(0) > 0.0 && samples.ratio(0, 1) > 2.0, "{samples:?}");
        }
    }
}
