//! `lockstep demo`, as visitors run it.

use crate::process::{Process, lockstep};

fn demo(seed: &str) {
    let dir = tempfile::tempdir().unwrap();
    let demo = Process::start(lockstep(dir.path(), &["demo", "--seed", seed, "--json"])).finish();
    let summary = demo.event("summary");
    let seconds = summary["seconds"].as_f64().unwrap();
    assert!(seconds < 60.0, "seed {seed} took {seconds} s");
    let acts: Vec<_> = summary["acts"].as_array().unwrap().iter().map(|a| a["act"].as_str().unwrap()).collect();
    assert_eq!(acts, ["honest job", "convicted cheat", "false challenge"]);
    let promises = summary["promises"].as_array().unwrap();
    assert!(promises.len() >= 17, "{promises:?}");
    assert!(promises.iter().all(|p| p["kept"] == true), "{promises:?}");
    for act in &summary["acts"].as_array().unwrap()[1..] {
        assert!(act["dispute_moves"].as_u64().unwrap() > 5 && act["judge_gas"].as_u64().unwrap() > 21_000, "{act}");
    }
}

#[test]
fn the_demo_keeps_its_promises() {
    demo("1");
}

#[test]
fn the_demo_keeps_its_promises_with_another_lie() {
    demo("20261121");
}
