//! What people get wrong: every error says what, where and what to do.

use crate::{
    process::{Process, lockstep},
    world::World,
};

#[test]
fn commands_refuse_bad_input_in_words() {
    let world = World::start();
    world.run(&["job", "status", "7"]).refuses(&["there is no job 7", "the market at 0x", "has 0"]);
    world.run(&["job", "download", "7", "--out", "model"]).refuses(&["there is no job 7"]);
    world.run(&["job", "cancel", "7", "--dev-account", "1"]).refuses(&["there is no job 7"]);

    let gone = "http://127.0.0.1:1";
    let unreachable =
        ["the chain at http://127.0.0.1:1 cannot be reached", "refused", "lockstep node", "check the address"];
    world.run(&["job", "status", "1", "--rpc", gone]).refuses(&unreachable);
    for role in ["solver", "verifier", "arbiter"] {
        world.run(&[role, "--dev-account", "2", "--store", "store", "--rpc", gone]).refuses(&unreachable);
    }
    world
        .run(&["job", "status", "1", "--rpc", "nonsense"])
        .refuses(&["`nonsense` is not a URL", "http://127.0.0.1:8545"]);

    let missing = world.run(&["job", "status", "1", "--deployment", "none.json"]);
    missing.refuses(&["none.json", "No such file", "lockstep node", "--deployment"]);
    std::fs::write(world.path("empty.json"), "{}").unwrap();
    world.run(&["job", "status", "1", "--deployment", "empty.json"]).refuses(&["empty.json", "not a deployment file"]);
    let other = |key: &str, value: serde_json::Value| {
        let mut deployment = world.deployment.clone();
        deployment[key] = value;
        std::fs::write(world.path("other.json"), deployment.to_string()).unwrap();
        world.run(&["job", "status", "1", "--deployment", "other.json"])
    };
    other("chain_id", 5.into()).refuses(&["the node at http", "chain 901", "the deployment file is for chain 5"]);
    let nowhere = "0x00000000000000000000000000000000000000aa";
    other("market", nowhere.into()).refuses(&["JobMarket at 0x", "is the deployment file of this chain"]);

    world.run(&["solver", "--store", "store"]).refuses(&["no key", "--keystore", "--dev-account"]);
    world.run(&["solver", "--dev-account", "99", "--store", "store"]).refuses(&["no development account 99", "0 to 9"]);
    let busy = world.rpc.trim_start_matches("http://");
    let listening = world.run(&["solver", "--dev-account", "2", "--store", "store", "--listen", busy]);
    listening.refuses(&["cannot listen on", busy, "choose another"]);
}

#[test]
fn bad_job_files_are_refused_before_anything_is_paid() {
    let world = World::start();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../train/examples/mlp-digits.toml");
    let good = std::fs::read_to_string(example).unwrap();
    let before_wei = world.balance_wei(1);
    let submit = |text: &str, more: &[&str]| {
        std::fs::write(world.path("job.toml"), text).unwrap();
        world.run(&[&["job", "submit", "job.toml", "--dev-account", "1"], more].concat())
    };
    let multi_line = |said: crate::process::Finished, words: &[&str]| {
        assert!(!said.ok, "{}", said.out);
        for word in words {
            assert!(said.err.contains(word), "`{word}` is not in:\n{}", said.err);
        }
    };
    multi_line(submit("steps = ", &[]), &["job.toml", "line 1"]);
    multi_line(submit(&format!("{good}\ncolour = 1\n"), &[]), &["job.toml", "unknown field `colour`"]);
    multi_line(submit(&good.replace("steps = 600", "steps = 0"), &[]), &["job.toml", "steps"]);
    world.run(&["job", "submit", "none.toml", "--dev-account", "1"]).refuses(&["none.toml", "No such file"]);

    submit(&good, &["--checkpoints-per-milestone", "0"]).refuses(&[
        "JobMarket refused `post`",
        "OutOfBounds { field: \"checkpointsPerMilestone\", value: 0, min: 1, max: 256 }",
    ]);
    let dear = format!("1{}", "0".repeat(30));
    submit(&good, &["--price-wei", &dear]).refuses(&["holds", "are needed for the job's escrow", "get more"]);
    assert_eq!(world.balance_wei(1), before_wei, "nothing was paid");
    assert_eq!(world.wait(world.client(1).job_count()).unwrap(), 0);
}

#[test]
fn a_node_refuses_what_it_cannot_have() {
    let world = World::start();
    let port = world.rpc.rsplit_once(':').unwrap().1;
    let taken = world.run(&["node", "--port", port, "--deployment", "second.json"]);
    taken.refuses(&[port, "in use"]);
    let locked = world.run(&["node", "--port", "0", "--data-dir", "chain", "--deployment", "second.json"]);
    locked.refuses(&["chain"]);
    assert!(!world.path("second.json").exists());

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("deployment.json"), "not json").unwrap();
    let broken = Process::start(lockstep(dir.path(), &["node", "--port", "0"])).finish();
    broken.refuses(&["deployment.json", "not a deployment file"]);
}
