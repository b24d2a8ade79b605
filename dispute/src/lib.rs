//! The dispute game as a pure state machine, with the strategies of both sides.
