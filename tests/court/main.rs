//! The game on the real contracts.
