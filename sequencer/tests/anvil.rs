//! The rollup on anvil as L1, driven by cast: tools that others wrote.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy::{
    primitives::Address,
    providers::{Provider, ProviderBuilder, RootProvider},
};
use lockstep_sequencer::{
    BatcherConfig, BlobSource, DeployConfig, DevnetRecord, Fork, NodeConfig, Role, RollupConfig, RollupNode,
    SequencerConfig, deploy, dev_accounts,
};
use tokio::time::{Instant, sleep};

/// Names the directory of anvil and cast, as npm installs them.
const TOOLS: &str = "LOCKSTEP_FOUNDRY_BIN";

struct Anvil(Child, String);

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn anvil(tools: &str) -> Anvil {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(format!("{tools}/anvil"))
        .args(["--port", &port.to_string(), "--block-time", "1", "--hardfork", "cancun", "--slots-in-an-epoch", "1"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Anvil(child, format!("http://127.0.0.1:{port}"))
}

fn cast(tools: &str, args: &[&str]) -> String {
    let output = Command::new(format!("{tools}/cast")).args(args).output().unwrap();
    assert!(output.status.success(), "cast {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !holds().await {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs anvil and cast: set LOCKSTEP_FOUNDRY_BIN"]
async fn anvil_is_an_l1_and_cast_a_client() {
    let tools = std::env::var(TOOLS).unwrap();
    let l1 = anvil(&tools);
    let provider = RootProvider::new_http(l1.1.parse().unwrap());
    until("anvil answers", async || provider.get_chain_id().await.is_ok()).await;
    let keys = dev_accounts().unwrap();
    let config = DeployConfig {
        l2_chain_id: 901,
        l2_block_time_s: 1,
        l2_gas_limit: 30_000_000,
        batcher: keys[8].address(),
        proposer: keys[7].address(),
        guardian: keys[9].address(),
        base_fee_scalar: 1368,
        blob_base_fee_scalar: 810_949,
        submission_interval: 5,
        finalization_s: 2,
        sequencing_window: 3600,
        fork: Fork::Granite,
        operator_fee_scalar: 0,
        operator_fee_constant_wei: 0,
    };
    let deployment = deploy(&provider, &keys[9], &config).await.unwrap();
    let dev = NodeConfig::dev().unwrap();
    let record = DevnetRecord::new(config, deployment, &dev).unwrap();
    let follower = || record.follower(&dev, &l1.1, BlobSource::Anvil, None).unwrap();
    for blobs in [false, true] {
        let batcher = BatcherConfig { blobs, max_age_s: 2, ..BatcherConfig::default() };
        let role = Role::Sequencer(Box::new(SequencerConfig {
            confirmations: 0,
            batcher: Some((keys[8].clone(), batcher)),
            proposer: Some((keys[7].clone(), record.l1.output_oracle)),
            resend_after_s: 20,
        }));
        let dir = tempfile::tempdir().unwrap();
        let mut sequencer = RollupConfig { role, ..follower() };
        sequencer.node.data_dir = Some(dir.path().into());
        let node = RollupNode::start(sequencer).await.unwrap();
        let url = node.node.http_url();
        let key = format!("{}", keys[0].to_bytes());
        let to = if blobs { Address::repeat_byte(0x52) } else { Address::repeat_byte(0x51) }.to_string();
        let send = |url: &str, to: &str, value: &str| {
            cast(&tools, &["send", "--rpc-url", url, "--private-key", &key, to, "--value", value, "--json"])
        };
        // A deposit through the portal's receive function, a transfer, a contract with a log.
        let me = keys[0].address().to_string();
        let balance = || cast(&tools, &["balance", "--rpc-url", &url, &me]).parse::<u128>().unwrap();
        let before = balance();
        send(&l1.1, &record.l1.portal.to_string(), "3ether");
        until("the deposit arrives", async || balance() > before + 2 * 10u128.pow(18)).await;
        send(&url, &to, "1ether");
        assert_eq!(cast(&tools, &["balance", "--rpc-url", &url, &to]), "1000000000000000000");
        // PUSH1 0 PUSH1 0 LOG0, and nothing as code.
        let create = cast(
            &tools,
            &["send", "--rpc-url", &url, "--private-key", &key, "--json", "--create", "0x60006000a060006000f3"],
        );
        let receipt: serde_json::Value = serde_json::from_str(&create).unwrap();
        assert_eq!((receipt["status"].as_str(), receipt["logs"].as_array().map(Vec::len)), (Some("0x1"), Some(1)));
        // All of it can be derived from anvil alone.
        let number = node.node.head().number;
        until("L1 has it", async || node.status().safe.number >= number).await;
        let second = RollupNode::start(follower()).await.unwrap();
        until("the follower has it", async || second.status().safe.number >= number).await;
        let provider = ProviderBuilder::new().connect_http(second.node.http_url().parse().unwrap());
        let hash = async |url: &str| {
            let provider = ProviderBuilder::new().connect_http(url.parse().unwrap());
            let block: serde_json::Value =
                provider.raw_request("eth_getBlockByNumber".into(), (format!("{number:#x}"), false)).await.unwrap();
            block["hash"].clone()
        };
        assert_eq!(hash(&url).await, hash(&second.node.http_url()).await);
        assert_eq!(provider.get_balance(to.parse().unwrap()).await.unwrap().to_string(), "1000000000000000000");
        second.shutdown().await.unwrap();
        node.shutdown().await.unwrap();
    }
}
