// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What one party has here, in the payment token's smallest unit.
struct Account {
    /// Free to withdraw: what was earned or refunded.
    uint128 balanceWei;
    /// At stake, all of it: free, locked and unbonding.
    uint128 stakeWei;
    /// Part of the stake that jobs and assigned checks hold.
    uint128 lockedWei;
    /// Part of the stake on its way out, free to leave at `unbondedAtS`.
    uint128 unbondingWei;
    uint64 unbondedAtS;
}

/// Every token of the market, and who owns it. Escrow, bonds and fees are held for the contract that took them; everything
/// paid out is a balance that its owner withdraws, so nobody's payment can stop another's.
interface IStakes {
    event Deposited(address indexed account, uint256 amountWei, uint256 stakeWei);
    event SolverRegistered(address indexed account, uint32 indexed hardwareClass, bool registered);
    event Unbonding(address indexed account, uint256 amountWei, uint64 unbondedAtS);
    event Unbonded(address indexed account, uint256 amountWei);
    event Withdrawn(address indexed account, address indexed to, uint256 amountWei);
    event Credited(address indexed account, address indexed from, uint256 amountWei);
    event Held(address indexed holder, address indexed payer, uint256 amountWei);
    event Locked(address indexed account, address indexed by, uint256 amountWei);
    event Unlocked(address indexed account, address indexed by, uint256 amountWei);
    event Slashed(address indexed account, address indexed by, uint256 amountWei);

    function account(address who) external view returns (Account memory);
    /// Stake that nothing holds and that is not on its way out.
    function freeStakeWei(address who) external view returns (uint256);
    function isSolver(address who, uint32 hardwareClass) external view returns (bool);
    /// What `holder` keeps for others: escrow, bonds, fees.
    function heldWei(address holder) external view returns (uint256);

    function deposit(uint128 amountWei) external;
    /// The same with a signed allowance, in one transaction.
    function depositWithPermit(uint128 amountWei, uint256 deadlineS, uint8 v, bytes32 r, bytes32 s) external;
    function registerSolver(uint32 hardwareClass, bool registered) external;
    /// Starts the way out for more of the free stake; the wait begins anew for all of it.
    function unbond(uint128 amountWei) external;
    /// After the wait: what was unbonding becomes a balance.
    function finishUnbonding() external;
    function withdraw(address to, uint128 amountWei) external;

    // for the market, docket, draw and deliveries only
    /// Takes tokens from `payer`, who allowed it, and holds them for the caller.
    function collect(address payer, uint256 amountWei) external;
    /// Pays out of what the caller holds.
    function credit(address to, uint256 amountWei) external;
    /// Hands some of what the caller holds to another of these contracts.
    function hand(address holder, uint256 amountWei) external;
    function lock(address who, uint256 amountWei) external;
    function unlock(address who, uint256 amountWei) external;
    /// Takes from what was locked; the caller holds it then.
    function slash(address who, uint256 amountWei) external;
}
