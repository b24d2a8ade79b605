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
mod market;
mod nodes;
mod random;
mod rules;
mod states;
mod work;
