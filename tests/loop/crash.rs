//! kill -9, at the worst moments.

use std::net::TcpListener;

use crate::world::{PRICE_WEI, SOLVER, TERMS, VERIFIER, World, assert_done};

/// An address that nothing listens on now: a solver keeps its address over restarts.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_killed_solver_carries_on_and_is_paid_once() {
    let world = World::start();
    let before_wei = world.balance_wei(SOLVER);
    let _verifier = world.daemon("verifier", VERIFIER, &[]);
    let listen = free_address();
    let solver = || world.daemon("solver", SOLVER, &["--listen", &listen]);
    let submit = world.submit(&TERMS);

    let mut killed = solver();
    killed.event(1, "taken");
    killed.kill();
    let mut killed = solver();
    killed.event(1, "claimed");
    killed.kill();
    let mut killed = solver();
    killed.wait_for("the last claim", |e| {
        e["what"] == "claimed" && e["detail"].as_str().is_some_and(|d| d.starts_with("milestone 1"))
    });
    killed.kill();
    let mut last = solver();

    assert_done(&submit.finish());
    last.event(1, "over");
    assert_eq!(world.balance_wei(SOLVER) - before_wei, 2 * PRICE_WEI / 100 * 99, "two milestones, paid once each");
}

#[test]
fn everybody_carries_on_when_the_node_was_killed() {
    let mut world = World::start();
    let before_wei = world.balance_wei(SOLVER);
    let mut solver = world.daemon("solver", SOLVER, &[]);
    let mut verifier = world.daemon("verifier", VERIFIER, &[]);
    let submit = world.submit(&TERMS);
    solver.event(1, "claimed");

    world.kill_node();
    for party in [&solver, &verifier, &submit] {
        party.complains(&format!("the chain at {} cannot be reached", world.rpc));
    }
    world.restart_node();

    assert_done(&submit.finish());
    solver.event(1, "over");
    verifier.wait_for("verification of the last milestone", |e| {
        e["what"] == "verified" && e["detail"].as_str().is_some_and(|d| d.starts_with("milestone 1"))
    });
    assert_eq!(world.balance_wei(SOLVER) - before_wei, 2 * PRICE_WEI / 100 * 99);
    for party in [&solver, &verifier] {
        let said = party.stderr().matches("cannot be reached").count();
        assert!(said <= 3, "an outage is told once, not at every look ({said} times):\n{}", party.stderr());
    }
}
