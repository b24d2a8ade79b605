//! What is hashed: chunk trees, tensor, state and trace roots, proofs.
