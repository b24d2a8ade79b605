//! The Rust SDK: chain bindings, job client, artifact transfer, wallets.
