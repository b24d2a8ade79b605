//! docs/rollup.md as a newcomer would follow it: the rollup with its L1 in one process, killed, restarted, followed from L1 alone.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use alloy::{
    primitives::B256,
    providers::{Provider, RootProvider},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::process::{PATIENCE, Process, lockstep};

/// Names the directory of cast, as npm installs it.
const TOOLS: &str = "LOCKSTEP_FOUNDRY_BIN";

/// The page.
const PAGE: &str = include_str!("../../docs/rollup.md");

/// The blocks of shell commands under a heading of the page.
fn blocks(heading: &str) -> Vec<&'static str> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("the page has no section `{heading}`"));
    section.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

/// The flags of the one `lockstep node` command in a block.
fn flags(block: &str) -> Vec<String> {
    let words: Vec<String> = block.split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[..2], ["lockstep", "node"], "{block}");
    words[1..].to_vec()
}

/// The network of the page. Fields drop in this order: the process before its folder.
struct Network {
    process: Option<Process>,
    /// Where it listens: L2, L1, L1's blobs.
    urls: [String; 3],
    runtime: Runtime,
    dir: TempDir,
}

impl Network {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (process, urls) = network(dir.path(), &["0", "0", "0"].map(str::to_owned));
        Self { process: Some(process), urls, runtime: Runtime::new().unwrap(), dir }
    }

    /// Kills it as `kill -9` does and starts it again where it was.
    fn kill_and_restart(&mut self) {
        self.process.take().unwrap().kill();
        let ports = self.urls.clone().map(|url| url.rsplit_once(':').unwrap().1.to_owned());
        let (process, urls) = network(self.dir.path(), &ports);
        assert_eq!(urls, self.urls);
        self.process = Some(process);
    }

    /// The page's text with this network's addresses in it.
    fn here(&self, text: &str) -> String {
        let [l2, l1, beacon] = &self.urls;
        let there = ["http://127.0.0.1:8545", "http://127.0.0.1:8544", "http://127.0.0.1:8543"];
        text.replace(there[0], l2).replace(there[1], l1).replace(there[2], beacon)
    }

    /// The second node of the page.
    fn follower(&self) -> (Process, String) {
        let block = self.here(blocks("A second node from L1 alone")[0]).replace("$L1", &self.urls[1]);
        let mut args = flags(&block);
        let port = args.iter().position(|word| word == "--port").unwrap() + 1;
        args[port] = "0".into();
        args.push("--json".into());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut process = Process::start(lockstep(self.dir.path(), &args));
        let ready = process.wait_for("ready", |e| e["what"] == "ready");
        (process, ready["rpc"].as_str().unwrap().to_owned())
    }

    /// Number and hash of a block, by tag or number.
    fn block(&self, url: &str, which: &str) -> (u64, B256) {
        let provider = RootProvider::<alloy::network::Ethereum>::new_http(url.parse().unwrap());
        let ask = provider.raw_request::<_, Value>("eth_getBlockByNumber".into(), (which.to_owned(), false));
        let block = self.runtime.block_on(ask).unwrap();
        let field = |name: &str| block[name].as_str().unwrap_or_else(|| panic!("{url}, block {which}: {block}"));
        (u64::from_str_radix(&field("number")[2..], 16).unwrap(), field("hash").parse().unwrap())
    }

    fn until(&self, what: &str, url: &str, tag: &str, number: u64) {
        let started = Instant::now();
        while self.block(url, tag).0 < number {
            assert!(started.elapsed() < PATIENCE, "{what}: the {tag} block of {url} does not reach {number}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn same(&self, url: &str, number: u64) {
        let which = format!("{number:#x}");
        assert_eq!(self.block(&self.urls[0], &which), self.block(url, &which));
    }

    /// Kills it in the middle of everything: nothing that was announced is lost, and the follower goes on with the rest.
    fn survives(&mut self, follower: &str) {
        let l2 = self.urls[0].clone();
        let (number, hash) = self.block(&l2, "latest");
        self.kill_and_restart();
        assert_eq!(self.block(&l2, &format!("{number:#x}")).1, hash);
        let more = number + 3;
        self.until("the killed one goes on", &l2, "latest", more);
        self.until("the follower goes on", follower, "safe", more);
        self.same(follower, more);
    }

    fn terminate(mut self) {
        let finished = self.process.take().unwrap().terminate();
        assert!(finished.ok, "{}\n{}", finished.out, finished.err);
    }
}

/// The first command of the page, on some ports.
fn network(dir: &Path, ports: &[String; 3]) -> (Process, [String; 3]) {
    let mut args = flags(blocks("Start it")[0]);
    for (flag, port) in ["--port", "--l1-port", "--beacon-port"].iter().zip(ports) {
        args.extend([(*flag).to_owned(), port.clone()]);
    }
    args.push("--json".into());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut process = Process::start(lockstep(dir, &args));
    let ready = process.wait_for("ready", |e| e["what"] == "ready");
    let urls = ["rpc", "l1", "beacon"].map(|name| ready[name].as_str().unwrap().to_owned());
    (process, urls)
}

#[test]
fn a_network_is_killed_restarted_and_followed_from_l1_alone() {
    let mut network = Network::start();
    let (follower, url) = network.follower();
    let (number, _) = network.block(&network.urls[0], "latest");
    network.until("the follower catches up", &url, "safe", number);
    network.same(&url, number);
    network.survives(&url);
    let stopped = follower.terminate();
    assert!(stopped.ok, "{}\n{}", stopped.out, stopped.err);
    network.terminate();
}

#[test]
fn a_node_that_is_asked_to_end_ends_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let args = ["node", "--json", "--port", "0", "--block-time-ms", "200", "--data-dir", "chain"];
        let mut node = Process::start(lockstep(dir.path(), &args));
        let ready = node.wait_for("ready", |e| e["what"] == "ready");
        (node, ready["deployment"].clone())
    };
    let (node, deployment) = start();
    let stopped = node.terminate();
    assert!(stopped.ok, "{}\n{}", stopped.out, stopped.err);
    let (node, again) = start();
    assert_eq!(again, deployment, "nothing is lost");
    assert!(node.terminate().ok);
}

#[test]
#[ignore = "needs cast: set LOCKSTEP_FOUNDRY_BIN, as `cargo xtask test` does"]
fn the_rollup_page_works_with_cast() {
    let tools = std::env::var(TOOLS).unwrap();
    let mut network = Network::start();
    // Everything that a newcomer types into the second shell, as one script that stops at the first failure.
    let blocks = [&blocks("Start it")[1..], &blocks("In"), &blocks("Out")].concat();
    let script = format!("set -euxo pipefail\n{}", network.here(&blocks.concat()));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(network.dir.path()).stdin(Stdio::null());
    shell.env("PATH", format!("{tools}:{}", std::env::var("PATH").unwrap()));
    let shell = Process::start(shell);
    let (follower, url) = network.follower();
    let done = shell.finish_within(2 * PATIENCE);
    assert!(done.ok, "{}\n{}", done.out, done.err);
    assert_eq!(done.out.lines().last(), Some("true"), "the withdrawal is finalised");
    let (number, _) = network.block(&network.urls[0], "latest");
    network.until("the follower catches up", &url, "safe", number);
    network.same(&url, number);
    network.survives(&url);
    assert!(follower.terminate().ok);
    network.terminate();
}
