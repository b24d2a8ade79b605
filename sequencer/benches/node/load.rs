//! Transfers sent as raw transactions over HTTP, to our node and to anvil, from the same bodies with the same client.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lockstep_sequencer::{Node, NodeConfig, PoolLimits};
use serde_json::{Value, json};

use crate::world::{CHAIN, World};

/// Transactions in one HTTP request, a JSON-RPC batch.
const BATCH: usize = 50;
/// Requests under way at a time.
const CONNECTIONS: usize = 8;
/// Gas limit of a block: blocks must not be what limits the rate.
const GAS_LIMIT: u64 = 1_000_000_000;
/// How long a node may take in all.
const PATIENCE: Duration = Duration::from_secs(120);

/// The requests that send so many transfers.
pub(crate) fn bodies(world: &World, transfers: u32) -> Vec<String> {
    let raws = world.transfers(transfers);
    let call = |raw| json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw] });
    raws.chunks(BATCH).map(|raws| Value::Array(raws.iter().map(call).collect()).to_string()).collect()
}

/// Transfers a second that our node confirms, each block durable before it is announced.
pub(crate) async fn ours(world: &World, bodies: &[String], transfers: u32) -> f64 {
    let node = Node::start(NodeConfig {
        chain_id: CHAIN,
        genesis: world.genesis(),
        gas_limit: GAS_LIMIT,
        pool: PoolLimits { per_sender: 100_000, total: 1_000_000, ..PoolLimits::default() },
        ..NodeConfig::default()
    });
    let node = node.await.unwrap();
    let rate = drive(&node.http_url(), world, bodies, transfers).await;
    node.shutdown().await.unwrap();
    rate
}

/// Ends the process with the benchmark.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Transfers a second that anvil confirms with the same block time, gas limit and genesis.
pub(crate) async fn anvil(program: &str, world: &World, bodies: &[String], transfers: u32) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let genesis = dir.path().join("genesis.json");
    std::fs::write(&genesis, anvil_genesis(world).to_string()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.args(["--silent", "--block-time", "1", "--accounts", "1", "--port", &port.to_string()]);
    command.args(["--chain-id", &CHAIN.to_string(), "--gas-limit", &GAS_LIMIT.to_string()]);
    command.arg("--init").arg(&genesis).stdout(Stdio::null());
    let _running = Running(command.spawn().unwrap());
    let url = format!("http://127.0.0.1:{port}");
    let client = reqwest::Client::new();
    let start = Instant::now();
    while client.post(&url).body("[]").send().await.is_err() {
        assert!(start.elapsed() < PATIENCE, "anvil does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drive(&url, world, bodies, transfers).await
}

fn anvil_genesis(world: &World) -> Value {
    let accounts = world.genesis().into_iter().map(|account| {
        let storage: serde_json::Map<String, Value> =
            account.storage.iter().map(|(slot, value)| (format!("{slot:#066x}"), json!(value))).collect();
        let state = json!({ "balance": account.balance_wei, "nonce": "0x1", "code": account.code, "storage": storage });
        let bare = json!({ "balance": account.balance_wei });
        (account.address.to_string(), if account.code.is_empty() { bare } else { state })
    });
    let alloc: serde_json::Map<String, Value> = accounts.collect();
    json!({ "config": { "chainId": CHAIN }, "alloc": alloc, "difficulty": "0x0", "gasLimit": format!("{GAS_LIMIT:#x}") })
}

/// Sends everything and waits until all of it is in blocks; transfers a second from the first request to the last receipt.
async fn drive(url: &str, world: &World, bodies: &[String], transfers: u32) -> f64 {
    let client = reqwest::Client::new();
    let start = Instant::now();
    let lanes = (0..CONNECTIONS).map(|lane| {
        let (client, url) = (client.clone(), url.to_owned());
        let mine: Vec<String> = bodies.iter().skip(lane).step_by(CONNECTIONS).cloned().collect();
        tokio::spawn(async move {
            for body in mine {
                let answer = post(&client, &url, body).await;
                assert!(!answer.contains("\"error\""), "{}", &answer[..answer.len().min(500)]);
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.unwrap();
    }
    let sent = start.elapsed();
    let senders = world.keys.len() as u32;
    let nonces: Vec<u32> = (0..senders).map(|i| transfers / senders + u32::from(i < transfers % senders)).collect();
    while !all_used(&client, url, world, &nonces).await {
        assert!(start.elapsed() < PATIENCE, "not everything was confirmed in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = start.elapsed();
    eprintln!("{url}: sent in {:.2} s, confirmed in {:.2} s", sent.as_secs_f64(), all.as_secs_f64());
    f64::from(transfers) / all.as_secs_f64()
}

/// Whether every sender has the nonce it will have in the end. Senders are asked in turn, so that this costs little before the end.
async fn all_used(client: &reqwest::Client, url: &str, world: &World, nonces: &[u32]) -> bool {
    for (keys, nonces) in world.keys.chunks(BATCH).zip(nonces.chunks(BATCH)).rev() {
        let call = |key: &alloy::signers::local::PrivateKeySigner| json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionCount", "params": [key.address(), "latest"] });
        let answer = post(client, url, Value::Array(keys.iter().map(call).collect()).to_string()).await;
        let answer: Vec<Value> = serde_json::from_str(&answer).unwrap();
        let used = |(answer, nonce): (&Value, &u32)| answer["result"] == json!(format!("{nonce:#x}"));
        if !answer.iter().zip(nonces).all(used) {
            return false;
        }
    }
    true
}

async fn post(client: &reqwest::Client, url: &str, body: String) -> String {
    let request = client.post(url).header("content-type", "application/json").body(body);
    request.send().await.unwrap().text().await.unwrap()
}
