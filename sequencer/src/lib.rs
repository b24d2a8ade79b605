//! The rollup node: execution on a persistent store, blocks, JSON-RPC.
