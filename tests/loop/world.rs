//! A chain in a process of its own, and what every test does with it.

use std::path::{Path, PathBuf};

use lockstep_sdk::{client::Client, deploy::Deployment, wallet::Wallet};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::process::{Finished, Process, lockstep};

/// Development accounts, as the demo uses them.
pub(crate) const REQUESTER: u32 = 1;
pub(crate) const SOLVER: u32 = 2;
pub(crate) const VERIFIER: u32 = 4;
pub(crate) const ARBITER: u32 = 6;

/// Terms with short times: two milestones, of which each can be challenged for three seconds.
pub(crate) const TERMS: [&str; 2] = ["--window-s", "3"];
/// What a milestone pays by default.
pub(crate) const PRICE_WEI: i128 = 10_000_000_000_000_000_000;

/// A node with its folder. Fields drop in this order: the node before its folder.
pub(crate) struct World {
    node: Option<Process>,
    runtime: Runtime,
    pub(crate) rpc: String,
    pub(crate) deployment: Value,
    dir: TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (node, ready) = node(dir.path(), "0");
        let runtime = Runtime::new().unwrap();
        let rpc = ready["rpc"].as_str().unwrap().to_owned();
        Self { node: Some(node), runtime, rpc, deployment: ready["deployment"].clone(), dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Kills the node as `kill -9` does.
    pub(crate) fn kill_node(&mut self) {
        self.node.take().unwrap().kill();
    }

    /// Starts it again on the same port and data.
    pub(crate) fn restart_node(&mut self) {
        let port = self.rpc.rsplit_once(':').unwrap().1.to_owned();
        let (node, ready) = node(self.dir.path(), &port);
        assert_eq!(ready["deployment"], self.deployment, "a restarted node knows its contracts");
        self.node = Some(node);
    }

    /// A command of somebody on this chain.
    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        let mut command = lockstep(self.dir(), args);
        command.arg("--json").env("LOCKSTEP_RPC", &self.rpc).env("LOCKSTEP_DEPLOYMENT", self.path("deployment.json"));
        Process::start(command)
    }

    /// The same, until it ends.
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        self.spawn(args).finish()
    }

    /// A daemon with a development account and a store named after both; it is ready when this returns.
    pub(crate) fn daemon(&self, role: &str, account: u32, more: &[&str]) -> Process {
        let (account, store) = (account.to_string(), format!("store-{role}-{account}"));
        let common = [role, "--dev-account", &account, "--store", &store, "--poll-ms", "100"];
        let mut daemon = self.spawn(&[&common, more].concat());
        daemon.wait_for("ready", |e| e["what"] == "ready");
        daemon
    }

    /// The digits job, posted and watched by its requester.
    pub(crate) fn submit(&self, more: &[&str]) -> Process {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../train/examples/mlp-digits.toml");
        let requester = REQUESTER.to_string();
        let common = ["job", "submit", file, "--dev-account", &requester, "--store", "requester", "--poll-ms", "100"];
        self.spawn(&[&common, more].concat())
    }

    /// The same chain through the SDK.
    pub(crate) fn client(&self, account: u32) -> Client {
        let deployment = Deployment::read(&self.path("deployment.json")).unwrap();
        let wallet = Wallet::dev(account).unwrap();
        self.wait(Client::connect(&self.rpc, deployment, Some(wallet))).unwrap()
    }

    /// What a development account holds of the payment token.
    pub(crate) fn balance_wei(&self, account: u32) -> i128 {
        let address = Wallet::dev(account).unwrap().address();
        self.wait(self.client(account).wealth_wei(address)).unwrap() as i128
    }

    pub(crate) fn wait<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

/// A node in `dir` with its ready line.
fn node(dir: &Path, port: &str) -> (Process, Value) {
    let args = ["node", "--json", "--port", port, "--block-time-ms", "200", "--data-dir", "chain"];
    let mut node = Process::start(lockstep(dir, &args));
    let ready = node.wait_for("ready", |e| e["what"] == "ready");
    (node, ready)
}

/// That a submitted job ended well: done, accurate, its model on the disk.
pub(crate) fn assert_done(finished: &Finished) -> Value {
    let done = finished.event("done");
    let (correct, total) = (done["correct"].as_f64().unwrap(), done["total"].as_f64().unwrap());
    assert!(correct >= 0.93 * total, "the model should reach 93 %: {done}");
    assert!(done["path"].as_str().unwrap().contains("state"), "{done}");
    done
}
