//! The game on the real contracts, in an EVM in memory: whole disputes over the training program and its data.
//! Every move also goes through the model of the rules (`State::apply`), and both must agree, field by field.
//!
//! `COURT_SEED` sets the seed of what is random (default 1), `COURT_GAMES` how many random games are played.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped must fail it")]

mod accuser;
mod assigned;
mod blocks;
mod chain;
mod game;
mod gas;
mod gpt;
#[path = "../../contracts/benches/gas/gpt2.rs"]
#[allow(dead_code, reason = "the table of units has its name in it")]
mod gpt2;
mod hostile;
mod market;
mod nodes;
mod random;
mod rules;
#[path = "../../contracts/benches/gas/sparse.rs"]
mod sparse;
mod states;
#[path = "../../contracts/benches/gas/step.rs"]
mod step;
mod work;
