//! `eth_estimateGas`: the least gas limit with which a transaction succeeds.

use op_revm::OpTransaction;
use revm::{context::TxEnv, context::result::ExecutionResult};

use super::{
    call::{self, CallError, Outcome},
    env::{BlockRules, Working},
};

/// The search ends when the answer is known to one part in this many.
const PRECISION: u64 = 1000;

/// Finds the least gas limit, up to the message's own, with which it succeeds.
///
/// The answer has been run with and succeeded; less by more than a thousandth has been run with and failed. A message
/// that fails with all its gas reports its revert data.
pub(crate) fn gas(
    rules: &BlockRules,
    state: &mut Working<'_>,
    message: OpTransaction<TxEnv>,
) -> Result<u64, CallError> {
    let allowance = message.base.gas_limit;
    let mut attempt = |gas: u64| -> Result<Option<Outcome>, CallError> {
        let mut message = message.clone();
        message.base.gas_limit = gas;
        match call::run(rules, state, message) {
            Ok(outcome) => Ok(Some(outcome)),
            Err(CallError::Invalid(why)) if why.starts_with("intrinsic gas too low") => Ok(None),
            Err(error) => Err(error),
        }
    };
    let first = match attempt(allowance)? {
        None => return Err(CallError::Allowance(allowance)),
        Some(ExecutionResult::Halt { reason, .. }) if call::halt(&reason) == "out of gas" => {
            return Err(CallError::Allowance(allowance));
        }
        Some(outcome) if !outcome.is_success() => {
            return Err(call::output(outcome).err().unwrap_or(CallError::Allowance(allowance)));
        }
        Some(outcome) => outcome,
    };
    let mut succeeds = |gas: u64| Ok::<_, CallError>(attempt(gas)?.is_some_and(|outcome| outcome.is_success()));

    // Refunds come after the fact, so at least what was spent before them is needed; mostly that is also enough.
    let spent = first.gas().total_gas_spent();
    if succeeds(spent)? {
        return Ok(spent);
    }
    // Calls keep back a 64th of the gas, and some code checks for more than it uses: search above.
    let (mut low, mut high) = (spent, allowance);
    let guess = spent.saturating_add(2300).saturating_mul(64) / 63;
    if guess < high {
        if succeeds(guess)? {
            high = guess;
        } else {
            low = guess;
        }
    }
    while high - low > 1 + high / PRECISION {
        // Far from the bound the answer is nearer to the low end than to the middle.
        let middle = (low + (high - low) / 2).min(low.saturating_mul(2));
        if succeeds(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}
