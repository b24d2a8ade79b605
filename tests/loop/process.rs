//! Processes of the `lockstep` binary: started, read along, killed.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long one command may take. Generous: tests share two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(20);

/// A command line of `lockstep`, not started yet. No setting of whoever runs the tests reaches it.
pub(crate) fn lockstep(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    for name in ["LOCKSTEP_RPC", "LOCKSTEP_DEPLOYMENT", "LOCKSTEP_KEYSTORE", "LOCKSTEP_PASSWORD", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// What a process wrote, while it runs and after.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Text {
    fn follow(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let text = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                writeln!(text.0.lock().unwrap(), "{line}").unwrap();
            }
        })
    }

    fn get(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// A running process, killed when dropped. It must never panic.
pub(crate) struct Process {
    name: String,
    child: Child,
    out: Text,
    err: Text,
    readers: Vec<JoinHandle<()>>,
}

/// A process that ended by itself.
pub(crate) struct Finished {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let name = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Text::default(), Text::default());
        let readers = vec![out.follow(child.stdout.take().unwrap()), err.follow(child.stderr.take().unwrap())];
        Self { name, child, out, err, readers }
    }

    /// The JSON objects it has printed so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        json_lines(&self.out.get())
    }

    pub(crate) fn stderr(&self) -> String {
        self.err.get()
    }

    /// Waits for an event that `is` the right one; `what` says which, for the message if it does not come.
    pub(crate) fn wait_for(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            if let Some(event) = self.events().into_iter().find(|e| is(e)) {
                return event;
            }
            assert!(ended.is_none(), "`{}` ended ({ended:?}) before {what}:\n{}", self.name, self.said());
            assert!(started.elapsed() < PATIENCE, "`{}`: no {what} in {PATIENCE:?}:\n{}", self.name, self.said());
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for an event about job `job_id` with these words in `what`.
    pub(crate) fn event(&mut self, job_id: u64, what: &str) -> Value {
        self.wait_for(&format!("`{what}` of job {job_id}"), |e| e["job_id"] == job_id && e["what"] == what)
    }

    /// Waits until these words are on standard error.
    pub(crate) fn complains(&self, words: &str) {
        let started = Instant::now();
        while !self.stderr().contains(words) {
            assert!(started.elapsed() < PATIENCE, "`{}` does not say `{words}`:\n{}", self.name, self.said());
            std::thread::sleep(LOOK);
        }
    }

    /// Kills it as `kill -9` does: it gets no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub(crate) fn terminate(self) -> Finished {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success(), "`{}` cannot be asked to end", self.name);
        self.finish()
    }

    /// Waits until it ends by itself.
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    /// The same for what takes longer than a command.
    pub(crate) fn finish_within(mut self, patience: Duration) -> Finished {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < patience, "`{}` does not end in {patience:?}:\n{}", self.name, self.said());
            std::thread::sleep(LOOK);
        };
        self.end();
        Finished { ok: status.success(), out: self.out.get(), err: self.err.get() }
    }

    fn said(&self) -> String {
        format!("{}\n{}", self.out.get(), self.err.get())
    }

    fn end(&mut self) {
        // Both fail only where the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if !std::thread::panicking() {
            assert!(!self.err.get().contains("panicked"), "`{}` panicked:\n{}", self.name, self.said());
        }
    }
}

impl Finished {
    /// The JSON objects it printed.
    pub(crate) fn events(&self) -> Vec<Value> {
        json_lines(&self.out)
    }

    /// The one object with these words in `what`.
    pub(crate) fn event(&self, what: &str) -> Value {
        assert!(self.ok, "it failed:\n{}\n{}", self.out, self.err);
        let found: Vec<_> = self.events().into_iter().filter(|e| e["what"] == what).collect();
        assert_eq!(found.len(), 1, "`{what}` once in:\n{}\n{}", self.out, self.err);
        found[0].clone()
    }

    /// That it failed, and its message has all of these words: what, where, what to do.
    pub(crate) fn refuses(&self, words: &[&str]) {
        assert!(!self.ok, "it should fail, but said:\n{}", self.out);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in:\n{}", self.err);
        }
        assert_eq!(self.err.lines().count(), 1, "one line, no backtrace:\n{}", self.err);
    }
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
