// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Stakes} from "../../src/Stakes.sol";
import {JobSpec} from "../../src/interfaces/IJobMarket.sol";
import {JobBounds} from "../../src/game/JobBounds.sol";
import {Deployer, Fixture} from "./Fixture.sol";
import {RefereeOfVersion2} from "./RefereeDouble.sol";

/// Keeps a part of every transfer, as some tokens do.
contract GreedyToken is ERC20("Greedy", "GRD") {
    bool public greedy;

    constructor() {
        _mint(msg.sender, 1e30);
    }

    function becomeGreedy() external {
        greedy = true;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (greedy && from != address(0) && to != address(0) && value != 0) super._update(to, address(0), 1);
    }
}

/// Every limit on what a requester may ask for, one value inside and one outside.
contract BoundsTest is Fixture {
    function outside(string memory field, uint256 value, uint256 min, uint256 max, JobSpec memory spec) private {
        refused(abi.encodeWithSelector(JobBounds.OutOfBounds.selector, field, value, min, max));
        post(spec);
    }

    function test_roots() public {
        JobSpec memory spec = defaultSpec();
        spec.programRoot = 0;
        outside("programRoot", 0, 1, type(uint256).max, spec);
        spec = defaultSpec();
        spec.initialStateRoot = 0;
        outside("initialStateRoot", 0, 1, type(uint256).max, spec);
        spec = defaultSpec();
        spec.dataRoot = 0; // a program without data
        post(spec);
    }

    function test_steps() public {
        JobSpec memory spec = defaultSpec();
        spec.steps = 0;
        outside("steps", 0, 1, 1 << 40, spec);
        spec.steps = (1 << 40) + 1;
        outside("steps", spec.steps, 1, 1 << 40, spec);
        spec = defaultSpec();
        spec.steps = 10;
        spec.stepsPerCheckpoint = 0;
        outside("stepsPerCheckpoint", 0, 1, 10, spec);
        spec.stepsPerCheckpoint = 11;
        outside("stepsPerCheckpoint", 11, 1, 10, spec);
        spec.stepsPerCheckpoint = 10;
        spec.checkpointsPerMilestone = 0;
        outside("checkpointsPerMilestone", 0, 1, 256, spec);
        spec.checkpointsPerMilestone = 257;
        outside("checkpointsPerMilestone", 257, 1, 256, spec);
        spec.checkpointsPerMilestone = 256;
        spec.steps = 1 << 40;
        spec.stepsPerCheckpoint = 1 << 40;
        post(spec);
    }

    function test_milestones() public {
        JobSpec memory spec = defaultSpec();
        spec.steps = 65_536 * 3 + 1;
        spec.stepsPerCheckpoint = 3;
        outside("milestones", 65_537, 1, 65_536, spec);
        spec.steps = 65_536 * 3;
        (spec.startPriceWei, spec.endPriceWei) = (5, 7);
        post(spec);
        assertEq(stakes.heldWei(address(market)), 7 * 65_536, "escrow");
    }

    function test_money() public {
        uint256 most = type(uint96).max;
        JobSpec memory spec = defaultSpec();
        spec.endPriceWei = 0;
        outside("endPriceWei", 0, 1, most, spec);
        spec = defaultSpec();
        spec.startPriceWei = 334;
        outside("startPriceWei", 334, 1, 333, spec);
        spec.startPriceWei = 0;
        outside("startPriceWei", 0, 1, 333, spec);
        spec = defaultSpec();
        spec.stakeWei = 667; // the half that is not the winner's must be more than 333
        outside("stakeWei", 667, 668, most, spec);
        spec = defaultSpec();
        spec.bondWei = 9;
        outside("bondWei", 9, 10, 501, spec);
        spec.bondWei = 502;
        outside("bondWei", 502, 10, 501, spec);
        spec.bondWei = 501;
        spec.tipWei = 251;
        outside("tipWei", 251, 0, 250, spec);
        spec.tipWei = 250;
        post(spec);
    }

    function test_claimsAndVerifiers() public {
        JobSpec memory spec = defaultSpec();
        spec.standingClaims = 0;
        outside("standingClaims", 0, 1, 4, spec);
        spec.standingClaims = 5;
        outside("standingClaims", 5, 1, 4, spec);
        spec = defaultSpec();
        spec.verifiers = JobBounds.MAX_VERIFIERS + 1;
        outside("verifiers", spec.verifiers, 0, JobBounds.MAX_VERIFIERS, spec);
        spec = defaultSpec();
        spec.verifierFeeWei = 1;
        outside("verifierFeeWei", 1, 0, 0, spec);
        spec = defaultSpec();
        spec.holdbackBps = JobBounds.MAX_HOLDBACK_BPS + 1;
        outside("holdbackBps", spec.holdbackBps, 0, JobBounds.MAX_HOLDBACK_BPS, spec);
    }

    /// The largest price times the most milestones does not overflow; it only needs a purse.
    function test_theHighestPrice() public {
        JobSpec memory spec = defaultSpec();
        (spec.startPriceWei, spec.endPriceWei, spec.stakeWei) = (1, 1 << 94, type(uint96).max);
        spec.steps = 65_536;
        refused(
            abi.encodeWithSignature(
                "ERC20InsufficientBalance(address,uint256,uint256)", requester, PURSE, uint256(1 << 94) * 65_536
            )
        );
        post(spec);
    }

    function test_times() public {
        JobSpec memory spec = defaultSpec();
        spec.takeTimeoutS = 0;
        outside("takeTimeoutS", 0, 1, 365 days, spec);
        spec.takeTimeoutS = 365 days + 1;
        outside("takeTimeoutS", 365 days + 1, 1, 365 days, spec);
        spec = defaultSpec();
        spec.claimTimeoutS = 0;
        outside("claimTimeoutS", 0, 1, 365 days, spec);
        spec.claimTimeoutS = 365 days + 1;
        outside("claimTimeoutS", 365 days + 1, 1, 365 days, spec);
        spec = defaultSpec();
        spec.windowS = 0;
        outside("windowS", 0, 1, 30 days, spec);
        spec.windowS = 30 days + 1;
        outside("windowS", 30 days + 1, 1, 30 days, spec);
        spec = defaultSpec();
        spec.clockS = 0;
        outside("clockS", 0, 1, 30 days, spec);
        spec.clockS = 30 days + 1;
        outside("clockS", 30 days + 1, 1, 30 days, spec);
        spec = defaultSpec();
        spec.graceS = 0;
        outside("graceS", 0, 1, 400, spec);
        spec.graceS = 401;
        outside("graceS", 401, 1, 400, spec);
        spec.graceS = 400;
        post(spec);
    }

    function test_uri() public {
        JobSpec memory spec = defaultSpec();
        spec.uri = string(new bytes(1025));
        outside("uri", 1025, 0, 1024, spec);
        spec.uri = string(new bytes(1024));
        post(spec);
    }

    function test_referee() public {
        JobSpec memory spec = defaultSpec();
        address[4] memory wrong = [address(0), stranger, address(token), address(new RefereeOfVersion2())];
        for (uint256 i = 0; i < 4; ++i) {
            spec.referee = wrong[i];
            refused(abi.encodeWithSelector(JobBounds.NotAReferee.selector, wrong[i]));
            post(spec);
        }
    }

    // ---- tokens that take a fee --------------------------------------------------------------------------------

    function test_aTokenThatTakesAFeeIsRefused() public {
        GreedyToken greedy = new GreedyToken();
        Deployer deployer = new Deployer(address(greedy), address(parameters), address(l1), treasury);
        (stakes, market, docket) = (deployer.stakes(), deployer.market(), deployer.docket());
        address[3] memory all = [requester, solver, challenger];
        for (uint256 i = 0; i < 3; ++i) {
            greedy.transfer(all[i], 1e20);
            vm.prank(all[i]);
            greedy.approve(address(stakes), type(uint256).max);
        }
        uint256 honest = vm.snapshotState();
        greedy.becomeGreedy();
        refused(abi.encodeWithSelector(Stakes.WrongTransfer.selector, 333, 332));
        post(defaultSpec());
        refused(abi.encodeWithSelector(Stakes.WrongTransfer.selector, 1003, 1002));
        as_(solver);
        stakes.deposit(1003);
        vm.revertToState(honest);
        as_(solver);
        stakes.deposit(1003);
        as_(solver);
        stakes.registerSolver(HARDWARE, true);
        post(defaultSpec());
        take();
        claim(hashes("a", 1));
        greedy.becomeGreedy();
        refused(abi.encodeWithSelector(Stakes.WrongTransfer.selector, 501, 500));
        announce(challenger, opening(nth("a", 0)));
    }
}
