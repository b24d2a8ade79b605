//! The rollup driven by viem, with nothing but its own OP Stack actions.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use lockstep_sequencer::{Devnet, dev_accounts};

use crate::{common::probe_code, rollup::config};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and viem: `npm ci` in sequencer/tests/viem, as `cargo xtask test` does"]
async fn viem_deposits_deploys_and_withdraws() {
    let net = Devnet::start(config()).await.unwrap();
    let input = serde_json::json!({
        "l1Url": net.l1.node.http_url(),
        "l2Url": net.l2.node.http_url(),
        "l1Id": net.l1.node.chain_id(),
        "l2Id": net.l2.node.chain_id(),
        "key": dev_accounts().unwrap()[0].to_bytes(),
        "contracts": net.record.l1,
        "probe": probe_code(),
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/viem");
    let run = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("node");
        command
            .arg("bridge.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = run.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        words.split_whitespace().collect::<Vec<_>>(),
        ["deposited", "transferred", "deployed", "logged", "proven", "finalised"]
    );
    net.shutdown().await.unwrap();
}
