//! PyTorch as a peer, where it is installed: a process of its own that times itself when told to.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/kernels/pytorch.py");

/// A Python with PyTorch that waits for its next task.
pub(crate) struct Torch {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
    pub(crate) version: String,
}

impl Torch {
    /// `$LOCKSTEP_PYTHON`, or `python3`, with PyTorch on so many threads; otherwise why there is none.
    pub(crate) fn start(threads: usize) -> Result<Self, String> {
        let python = env::var("LOCKSTEP_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut child = Command::new(&python)
            .args([SCRIPT, &threads.to_string()])
            // Its threads would go on spinning on the cores that the next contender runs on.
            .envs([("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("PyTorch ({python}: {e})"))?;
        let (tell, hear) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut torch = Self { child, tell, hear, version: String::new() };
        torch.version = torch.answer();
        if torch.version.is_empty() { Err(format!("PyTorch ({python}: {})", torch.last_words())) } else { Ok(torch) }
    }

    /// The last line that it complained with before it ended.
    fn last_words(&mut self) -> String {
        let mut all = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut all).unwrap();
        all.lines().last().unwrap_or("it ended without a word").to_owned()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.tell, "{question}").unwrap();
        self.answer()
    }

    /// Makes the factors of a product.
    pub(crate) fn shape(&mut self, layout: &str, (m, n, k): (u32, u32, u32)) {
        assert_eq!(self.ask(&format!("shape {layout} {m} {n} {k}")), "ready");
    }

    /// Seconds of so many products.
    pub(crate) fn run(&mut self, times: u32) -> f64 {
        self.ask(&times.to_string()).parse().unwrap()
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
