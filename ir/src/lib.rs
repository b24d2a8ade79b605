//! What a job is: programs of scalar code, their encoding, validator and reference evaluator.
