//! Programs run fast, bit-equal to the reference evaluator.
