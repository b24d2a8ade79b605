// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IJobMarket, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {IStakes} from "../../src/interfaces/IStakes.sol";
import {Deployer, Fixture} from "./Fixture.sol";

/// A token that calls somebody in the middle of a transfer, as ERC-777 tokens can be made to.
contract HookedToken is ERC20("Hooked", "HKD") {
    address private _target;
    bytes private _call;
    bool public called;

    constructor() {
        _mint(msg.sender, 1e30);
    }

    function arm(address target, bytes calldata call) external {
        (_target, _call, called) = (target, call, false);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_target == address(0)) return;
        address target = _target;
        _target = address(0);
        (bool ok, bytes memory answer) = target.call(_call);
        called = true;
        if (ok) return;
        assembly ("memory-safe") {
            revert(add(answer, 0x20), mload(answer))
        }
    }
}

/// Tokens move in one contract only, and that is guarded; whatever else is called in between finds finished books.
contract ReentranceTest is Fixture {
    HookedToken private hooked;

    function setUp() public override {
        super.setUp();
        hooked = new HookedToken();
        Deployer deployer = new Deployer(address(hooked), address(parameters), address(l1), treasury);
        (stakes, market, docket) = (deployer.stakes(), deployer.market(), deployer.docket());
        disputes = deployer.disputes();
        address[4] memory all = [requester, solver, challenger, stranger];
        for (uint256 i = 0; i < 4; ++i) {
            hooked.transfer(all[i], 10_000);
            vm.prank(all[i]);
            hooked.approve(address(stakes), type(uint256).max);
        }
        as_(solver);
        stakes.deposit(2_000);
        as_(solver);
        stakes.registerSolver(HARDWARE, true);
    }

    function test_theVaultIsNotEnteredTwice() public {
        bytes memory twice = abi.encodeWithSignature("ReentrancyGuardReentrantCall()");
        hooked.arm(address(stakes), abi.encodeCall(IStakes.withdraw, (stranger, 0)));
        refused(twice);
        as_(stranger);
        stakes.deposit(5);
        hooked.arm(address(stakes), abi.encodeCall(IStakes.deposit, (5)));
        refused(twice);
        as_(stranger);
        stakes.deposit(5);
        hooked.arm(address(0), ""); // what was refused left it armed
        post(defaultSpec());
        take();
        claim(hashes("a", 1));
        passWindow();
        settle();
        hooked.arm(address(stakes), abi.encodeCall(IStakes.withdraw, (stranger, 0)));
        refused(twice);
        as_(solver);
        stakes.withdraw(solver, 325);
        hooked.arm(address(0), "");
        as_(solver);
        stakes.withdraw(solver, 325);
    }

    /// While a challenger's bond is on its way, the claim that it is about becomes final: the bond is only announced, and the
    /// books are right.
    function test_settlingInTheMiddleOfAnAnnouncement() public {
        post(defaultSpec());
        take();
        claim(hashes("a", 1));
        passWindow();
        JobSpec memory spec = specs[jobId];
        hooked.arm(address(market), abi.encodeCall(IJobMarket.settle, (jobId, spec, claimRoot())));
        announce(challenger, opening(nth("a", 0)));
        assertTrue(hooked.called());
        assertStatus(JobStatus.Done);
        assertEq(stakes.heldWei(address(docket)), 501);
        assertEq(hooked.balanceOf(address(stakes)), 2_000 + 333 + 501);
    }

    /// While the escrow is on its way, the job is taken: by then it is posted.
    function test_takingInTheMiddleOfPosting() public {
        JobSpec memory spec = defaultSpec();
        hooked.transfer(address(hooked), 2_000);
        vm.startPrank(address(hooked));
        hooked.approve(address(stakes), 2_000);
        stakes.deposit(2_000);
        stakes.registerSolver(HARDWARE, true);
        vm.stopPrank();
        hooked.arm(address(market), abi.encodeCall(IJobMarket.take, (1, spec, 0)));
        post(spec);
        assertStatus(JobStatus.Taken);
        assertEq(market.job(1).solver, address(hooked));
        assertEq(stakes.heldWei(address(market)), 333);
        assertEq(hooked.balanceOf(address(stakes)), 4_000 + 333);
    }
}
