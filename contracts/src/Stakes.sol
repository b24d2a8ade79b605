// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IParameters} from "./interfaces/IParameters.sol";
import {Account, IStakes} from "./interfaces/IStakes.sol";

/// Every token of the market, and who owns it.
///
///   wallet --deposit--> stake --unbond, wait--> balance --withdraw--> wallet
///   wallet --collect--> held (escrow, bonds) --credit--> balance
///                       stake --slash--> held
///
/// INVARIANT: token balance = sum of balances + sum of stakes + sum held.
/// INVARIANT: for every account, locked + unbonding <= stake.
contract Stakes is IStakes, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// Only the contracts of this deployment move what others own.
    error NotAModule(address caller);
    /// The account has less of this than asked for.
    error NotEnough(string what, uint256 haveWei, uint256 needWei);
    error NotYetUnbonded(uint64 unbondedAtS);
    /// The token moved another amount than it was asked to.
    error WrongTransfer(uint256 expected, uint256 received);
    error ZeroAmount();

    IERC20 public immutable token;
    IParameters public immutable parameters;
    address public immutable market;
    address public immutable docket;
    address public immutable draw;
    address public immutable deliveries;

    mapping(address who => Account) private _accounts;
    mapping(address who => mapping(uint32 hardwareClass => bool)) public override isSolver;
    mapping(address holder => uint256) public override heldWei;

    modifier onlyModule() {
        if (!_isModule(msg.sender)) revert NotAModule(msg.sender);
        _;
    }

    /// `modules`: market, docket, draw, deliveries.
    constructor(address token_, address parameters_, address[4] memory modules) {
        token = IERC20(token_);
        parameters = IParameters(parameters_);
        (market, docket, draw, deliveries) = (modules[0], modules[1], modules[2], modules[3]);
    }

    // ---- anyone ------------------------------------------------------------------------------------------------

    function deposit(uint128 amountWei) external nonReentrant {
        _deposit(amountWei);
    }

    function depositWithPermit(uint128 amountWei, uint256 deadlineS, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
    {
        // Somebody may have sent the permit already; then the allowance is there, and only that counts.
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amountWei, deadlineS, v, r, s) {} catch {}
        _deposit(amountWei);
    }

    function _deposit(uint128 amountWei) private {
        if (amountWei == 0) revert ZeroAmount();
        Account storage a = _accounts[msg.sender];
        a.stakeWei += amountWei;
        emit Deposited(msg.sender, amountWei, a.stakeWei);
        _pull(msg.sender, amountWei);
    }

    function registerSolver(uint32 hardwareClass, bool registered) external {
        isSolver[msg.sender][hardwareClass] = registered;
        emit SolverRegistered(msg.sender, hardwareClass, registered);
    }

    function unbond(uint128 amountWei) external {
        if (amountWei == 0) revert ZeroAmount();
        Account storage a = _accounts[msg.sender];
        uint256 freeWei = _freeWei(a);
        if (freeWei < amountWei) revert NotEnough("free stake", freeWei, amountWei);
        a.unbondingWei += amountWei;
        a.unbondedAtS = uint64(block.timestamp) + parameters.valuesOf(parameters.current()).unbondingS;
        emit Unbonding(msg.sender, amountWei, a.unbondedAtS);
    }

    function finishUnbonding() external {
        Account storage a = _accounts[msg.sender];
        uint128 amountWei = a.unbondingWei;
        if (amountWei == 0) revert ZeroAmount();
        if (block.timestamp < a.unbondedAtS) revert NotYetUnbonded(a.unbondedAtS);
        a.unbondingWei = 0;
        a.stakeWei -= amountWei;
        a.balanceWei += amountWei;
        emit Unbonded(msg.sender, amountWei);
    }

    function withdraw(address to, uint128 amountWei) external nonReentrant {
        Account storage a = _accounts[msg.sender];
        if (a.balanceWei < amountWei) revert NotEnough("balance", a.balanceWei, amountWei);
        a.balanceWei -= amountWei;
        emit Withdrawn(msg.sender, to, amountWei);
        token.safeTransfer(to, amountWei);
    }

    // ---- the other contracts -----------------------------------------------------------------------------------

    function collect(address payer, uint256 amountWei) external onlyModule nonReentrant {
        heldWei[msg.sender] += amountWei;
        emit Held(msg.sender, payer, amountWei);
        _pull(payer, amountWei);
    }

    function credit(address to, uint256 amountWei) external onlyModule {
        if (amountWei == 0) return;
        _release(amountWei);
        _accounts[to].balanceWei += uint128(amountWei);
        emit Credited(to, msg.sender, amountWei);
    }

    function hand(address holder, uint256 amountWei) external onlyModule {
        if (!_isModule(holder)) revert NotAModule(holder);
        _release(amountWei);
        heldWei[holder] += amountWei;
        emit Held(holder, msg.sender, amountWei);
    }

    function lock(address who, uint256 amountWei) external onlyModule {
        Account storage a = _accounts[who];
        uint256 freeWei = _freeWei(a);
        if (freeWei < amountWei) revert NotEnough("free stake", freeWei, amountWei);
        a.lockedWei += uint128(amountWei);
        emit Locked(who, msg.sender, amountWei);
    }

    function unlock(address who, uint256 amountWei) external onlyModule {
        _accounts[who].lockedWei -= uint128(amountWei);
        emit Unlocked(who, msg.sender, amountWei);
    }

    function slash(address who, uint256 amountWei) external onlyModule {
        Account storage a = _accounts[who];
        a.lockedWei -= uint128(amountWei);
        a.stakeWei -= uint128(amountWei);
        heldWei[msg.sender] += amountWei;
        emit Slashed(who, msg.sender, amountWei);
    }

    // ---- views -------------------------------------------------------------------------------------------------

    function account(address who) external view returns (Account memory) {
        return _accounts[who];
    }

    function freeStakeWei(address who) external view returns (uint256) {
        return _freeWei(_accounts[who]);
    }

    function _freeWei(Account storage a) private view returns (uint256) {
        return a.stakeWei - a.lockedWei - a.unbondingWei;
    }

    function _isModule(address who) private view returns (bool) {
        return who == market || who == docket || who == draw || who == deliveries;
    }

    // ---- tokens ------------------------------------------------------------------------------------------------

    /// No contract pays more than it holds, whatever its books say.
    function _release(uint256 amountWei) private {
        uint256 have = heldWei[msg.sender];
        if (have < amountWei) revert NotEnough("held", have, amountWei);
        heldWei[msg.sender] = have - amountWei;
    }

    function _pull(address payer, uint256 amountWei) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(payer, address(this), amountWei);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amountWei) revert WrongTransfer(amountWei, received);
    }
}
