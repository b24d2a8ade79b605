//! Act 1 with a process for everybody.

use crate::world::{ARBITER, PRICE_WEI, REQUESTER, SOLVER, TERMS, VERIFIER, World, assert_done};

#[test]
fn an_honest_job_is_trained_verified_paid_and_downloaded() {
    let world = World::start();
    let mut solver = world.daemon("solver", SOLVER, &[]);
    let mut verifier = world.daemon("verifier", VERIFIER, &[]);
    let arbiter = world.daemon("arbiter", ARBITER, &[]);
    let before_wei = [REQUESTER, SOLVER].map(|who| world.balance_wei(who));

    let done = assert_done(&world.submit(&TERMS).finish());

    solver.event(1, "over");
    verifier.event(1, "verified");
    assert_eq!(world.balance_wei(REQUESTER) - before_wei[0], -2 * PRICE_WEI);
    assert_eq!(world.balance_wei(SOLVER) - before_wei[1], 2 * PRICE_WEI / 100 * 99);
    assert!(arbiter.events().iter().all(|e| e["what"] == "ready"), "nobody disputed: {:?}", arbiter.events());

    let status = world.run(&["job", "status", "1"]).event("job");
    assert_eq!((&status["status"], &status["final_milestones"]), (&"done".into(), &2.into()));
    assert_eq!(status["state_root"], done["state_root"]);
    assert_eq!(world.run(&["job", "list"]).event("job"), status);

    // The requester is gone, and its server with it: the solver serves program, data and states on.
    let downloaded = world.run(&["job", "download", "1", "--out", "model"]).event("downloaded");
    assert_eq!(
        downloaded["state_root"], done["state_root"],
        "the downloaded model has the root that the chain paid for"
    );
    let bytes = |path: &serde_json::Value| std::fs::read(world.dir().join(path.as_str().unwrap())).unwrap();
    assert_eq!(bytes(&downloaded["path"]), bytes(&done["path"]));

    world.run(&["job", "cancel", "1", "--dev-account", "1"]).refuses(&["job 1 is done", "only an open job"]);
}

#[test]
fn an_open_job_is_cancelled_and_refunded() {
    let world = World::start();
    let before_wei = world.balance_wei(REQUESTER);
    let mut submit = world.submit(&TERMS);
    submit.event(1, "posted");
    assert_eq!(world.balance_wei(REQUESTER) - before_wei, -2 * PRICE_WEI, "the price is in escrow");
    world.run(&["job", "cancel", "1", "--dev-account", "5"]).refuses(&["JobMarket refused `withdraw`", "NotRequester"]);
    world.run(&["job", "cancel", "1", "--dev-account", "1"]).event("cancelled");
    assert_eq!(world.balance_wei(REQUESTER), before_wei);
    submit.finish().refuses(&["job 1 is withdrawn"]);
    world.run(&["job", "cancel", "1", "--dev-account", "1"]).refuses(&["job 1 is withdrawn", "only an open job"]);
}
