// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Parameters} from "../../src/Parameters.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Timelock} from "../../src/Timelock.sol";
import {JobBounds} from "../../src/game/JobBounds.sol";
import {ParameterBounds} from "../../src/game/ParameterBounds.sol";
import {Account, IStakes} from "../../src/interfaces/IStakes.sol";
import {Values} from "../../src/interfaces/IParameters.sol";
import {Deployer, Fixture} from "./Fixture.sol";

interface VmSign {
    function sign(uint256 privateKey, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 privateKey) external pure returns (address);
}

/// A token that returns nothing, as some do, and can refuse one receiver, as others can.
contract OddToken {
    mapping(address => uint256) public balanceOf;
    address public refusedTo;

    constructor() {
        balanceOf[msg.sender] = 1e30;
    }

    function refuse(address to) external {
        refusedTo = to;
    }

    function transfer(address to, uint256 value) external {
        require(to != refusedTo, "refused");
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
    }

    function transferFrom(address from, address to, uint256 value) external {
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}

/// Deposits, locks, the way out, and who may move what.
contract StakesTest is Fixture {
    uint32 private constant UNBONDING_S = ParameterBounds.MIN_UNBONDING_S;

    function test_depositAndTheWayOut() public {
        as_(stranger);
        vm.expectEmit();
        emit IStakes.Deposited(stranger, 900, 900);
        stakes.deposit(900);
        uint64 at = uint64(block.timestamp) + UNBONDING_S;
        as_(stranger);
        stakes.unbond(400);
        assertEq(stakes.freeStakeWei(stranger), 500);
        refused(abi.encodeWithSelector(Stakes.NotYetUnbonded.selector, at));
        as_(stranger);
        stakes.finishUnbonding();
        vm.warp(block.timestamp + 10);
        as_(stranger);
        stakes.unbond(100); // the wait begins anew
        vm.warp(at);
        refused(abi.encodeWithSelector(Stakes.NotYetUnbonded.selector, at + 10));
        as_(stranger);
        stakes.finishUnbonding();
        vm.warp(at + 10);
        as_(stranger);
        stakes.finishUnbonding();
        Account memory a = stakes.account(stranger);
        assertEq(a.stakeWei, 400);
        assertEq(a.balanceWei, 500);
        refused(abi.encodeWithSelector(Stakes.NotEnough.selector, "balance", 500, 501));
        as_(stranger);
        stakes.withdraw(judge, 501);
        as_(stranger);
        stakes.withdraw(judge, 500);
        assertEq(token.balanceOf(judge), 500);
        assertSolvent();
    }

    function test_lockedStakeStays() public {
        post(defaultSpec());
        take();
        uint256 free = stakes.freeStakeWei(solver);
        assertEq(free, PURSE / 2 - 1003);
        refused(abi.encodeWithSelector(Stakes.NotEnough.selector, "free stake", free, free + 1));
        as_(solver);
        stakes.unbond(uint128(free + 1));
        as_(solver);
        stakes.unbond(uint128(free));
        vm.warp(block.timestamp + UNBONDING_S);
        as_(solver);
        stakes.finishUnbonding();
        assertEq(stakes.account(solver).stakeWei, 1003, "what the job holds");
    }

    /// No window, with both clocks after it, is as long as the way out.
    function test_unbondingOutlastsEveryWindow() public pure {
        uint256 longest = uint256(JobBounds.MAX_WINDOW_S) + 2 * uint256(JobBounds.MAX_CLOCK_S);
        assertGe(ParameterBounds.MIN_UNBONDING_S, longest);
    }

    function test_nothingIsNothing() public {
        bytes memory zero = abi.encodeWithSelector(Stakes.ZeroAmount.selector);
        refused(zero);
        as_(stranger);
        stakes.deposit(0);
        refused(zero);
        as_(stranger);
        stakes.unbond(0);
        refused(zero);
        as_(stranger);
        stakes.finishUnbonding();
    }

    function test_depositWithPermit() public {
        VmSign keys = VmSign(address(vm));
        address owner = keys.addr(7);
        token.transfer(owner, 500);
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 message = keccak256(abi.encode(typeHash, owner, address(stakes), 500, 0, block.timestamp));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), message));
        (uint8 v, bytes32 r, bytes32 s) = keys.sign(7, digest);
        // somebody sends the permit first: it is as good
        token.permit(owner, address(stakes), 500, block.timestamp, v, r, s);
        as_(owner);
        stakes.depositWithPermit(500, block.timestamp, v, r, s);
        assertEq(stakes.account(owner).stakeWei, 500);
    }

    function test_onlyTheContractsOfTheDeployment() public {
        bytes memory reason = abi.encodeWithSelector(Stakes.NotAModule.selector, stranger);
        refused(reason);
        as_(stranger);
        stakes.collect(requester, 1);
        refused(reason);
        as_(stranger);
        stakes.credit(stranger, 1);
        refused(reason);
        as_(stranger);
        stakes.hand(address(market), 1);
        refused(reason);
        as_(stranger);
        stakes.lock(solver, 1);
        refused(reason);
        as_(stranger);
        stakes.unlock(solver, 1);
        refused(reason);
        as_(stranger);
        stakes.slash(solver, 1);
    }

    /// A mistake in one contract's books cannot reach what another holds, nor anybody's stake.
    function test_noContractPaysMoreThanItHolds() public {
        post(defaultSpec());
        refused(abi.encodeWithSelector(Stakes.NotEnough.selector, "held", 333, 334));
        as_(address(market));
        stakes.credit(stranger, 334);
        refused(abi.encodeWithSelector(Stakes.NotEnough.selector, "held", 0, 1));
        as_(address(docket));
        stakes.credit(stranger, 1);
        refused(abi.encodeWithSelector(Stakes.NotAModule.selector, stranger));
        as_(address(market));
        stakes.hand(stranger, 1);
        refused(abi.encodeWithSelector(Stakes.NotEnough.selector, "free stake", PURSE / 2, PURSE / 2 + 1));
        as_(address(market));
        stakes.lock(solver, PURSE / 2 + 1);
    }

    /// Tokens that return nothing work; a receiver that the token refuses stops nobody but itself.
    function test_aTokenThatRefusesAReceiverTrapsNobodyElse() public {
        OddToken odd = new OddToken();
        Deployer deployer = new Deployer(address(odd), address(parameters), address(l1), treasury);
        (stakes, market, docket, disputes) =
            (deployer.stakes(), deployer.market(), deployer.docket(), deployer.disputes());
        odd.transfer(requester, 1_000);
        odd.transfer(solver, 2_000);
        odd.refuse(solver);
        as_(solver);
        stakes.deposit(2_000);
        as_(solver);
        stakes.registerSolver(HARDWARE, true);
        post(defaultSpec());
        take();
        claim(hashes("a", 1));
        passWindow();
        settle(); // pays a balance, not a wallet
        assertEq(stakes.account(solver).balanceWei, 325);
        as_(solver);
        vm.expectRevert("refused");
        stakes.withdraw(solver, 325);
        as_(solver);
        stakes.withdraw(stranger, 325);
        assertEq(odd.balanceOf(stranger), 325);
    }

    // ---- parameters --------------------------------------------------------------------------------------------

    function test_onlyTheTimelockSetsParametersAndNotAtOnce() public {
        address[] memory proposers = new address[](1);
        proposers[0] = judge;
        Timelock timelock = new Timelock(2 days, proposers);
        Parameters owned = new Parameters(address(timelock), defaultValues());
        Values memory v = defaultValues();
        v.feeBps = 777;
        refused(abi.encodeWithSignature("OwnableUnauthorizedAccount(address)", judge));
        as_(judge);
        owned.set(v);
        refused(abi.encodeWithSignature("OwnableUnauthorizedAccount(address)", judge));
        as_(judge);
        owned.pause(true);
        bytes memory call = abi.encodeCall(Parameters.set, (v));
        as_(judge);
        timelock.schedule(address(owned), 0, call, 0, 0, 2 days);
        vm.expectRevert();
        timelock.execute(address(owned), 0, call, 0, 0);
        vm.warp(block.timestamp + 2 days);
        as_(judge);
        timelock.execute(address(owned), 0, call, 0, 0);
        assertEq(owned.current(), 2);
        assertEq(owned.valuesOf(2).feeBps, 777);
        assertEq(owned.valuesOf(1).feeBps, FEE_BPS, "the first version is what it was");
        vm.expectRevert(abi.encodeWithSelector(Parameters.UnknownVersion.selector, 3, 2));
        owned.valuesOf(3);
        vm.expectRevert(abi.encodeWithSelector(Parameters.UnknownVersion.selector, 0, 2));
        owned.valuesOf(0);
    }

    function outside(string memory field, uint256 value, uint256 min, uint256 max, Values memory v) private {
        vm.expectRevert(abi.encodeWithSelector(JobBounds.OutOfBounds.selector, field, value, min, max));
        parameters.set(v);
    }

    function test_noOwnerLeavesTheBounds() public {
        Values memory v = defaultValues();
        v.feeBps = 1_001;
        outside("feeBps", 1_001, 0, 1_000, v);
        v = defaultValues();
        v.winnerBps = 5_001; // or convicting oneself could pay
        outside("winnerBps", 5_001, 1_000, 5_000, v);
        v = defaultValues();
        v.requesterBps = 9_001;
        outside("requesterBps", 9_001, 0, 9_000, v);
        v = defaultValues();
        v.defenderBps = 9_001; // or losing to oneself could be free
        outside("defenderBps", 9_001, 2_500, 9_000, v);
        v = defaultValues();
        v.reservedBps = 5_001; // or the tip could not be paid
        outside("reservedBps", 5_001, 2_500, 5_000, v);
        v = defaultValues();
        v.unbondingS = UNBONDING_S - 1;
        outside("unbondingS", UNBONDING_S - 1, UNBONDING_S, 365 days, v);
        v = defaultValues();
        v.minBondWei = 9;
        outside("minBondWei", 9, 10, type(uint96).max, v);
        v = defaultValues();
        v.maxStandingClaims = 17;
        outside("maxStandingClaims", 17, 1, 16, v);
        v.maxStandingClaims = 16;
        parameters.set(v);
    }
}
