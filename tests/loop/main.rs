//! The whole loop across processes.
