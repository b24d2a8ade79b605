// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {DevToken} from "../../src/DevToken.sol";
import {Disputes} from "../../src/Disputes.sol";
import {JobMarket} from "../../src/JobMarket.sol";
import {Dispute, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {Job, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Test} from "../Test.sol";
import {RefereeDouble} from "./RefereeDouble.sol";
import {Trees} from "./Trees.sol";

/// Creates market and disputes as a deployer does: each knows the other's address before it exists.
contract Deployer {
    JobMarket public immutable market;
    Disputes public immutable disputes;

    constructor(address token, address treasury, uint16 feeBps) {
        market = new JobMarket(token, _created(2), treasury, feeBps);
        disputes = new Disputes(address(market), token);
        require(address(disputes) == _created(2), "precomputed address");
    }

    function _created(uint8 nonce) private view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), nonce)))));
    }
}

/// A market with one requester, solver and challenger, and short ways to make a job and open a dispute.
abstract contract Fixture is Test {
    uint256 internal constant PURSE = 1e30;
    uint16 internal constant FEE_BPS = 250;

    DevToken internal token;
    JobMarket internal market;
    Disputes internal disputes;
    RefereeDouble internal referee;

    address internal requester = makeAddr("requester");
    address internal solver = makeAddr("solver");
    address internal challenger = makeAddr("challenger");
    address internal judge = makeAddr("judge");
    address internal stranger = makeAddr("stranger");
    address internal treasury = makeAddr("treasury");

    uint256 internal jobId;
    uint256 internal id;
    bytes internal refusal;

    function setUp() public virtual {
        vm.warp(1_000_000);
        token = new DevToken(4 * PURSE);
        referee = new RefereeDouble();
        Deployer deployer = new Deployer(address(token), treasury, FEE_BPS);
        market = deployer.market();
        disputes = deployer.disputes();
        fund(requester);
        fund(solver);
        fund(challenger);
        fund(stranger);
    }

    function fund(address who) internal {
        token.transfer(who, PURSE);
        vm.startPrank(who);
        token.approve(address(market), type(uint256).max);
        token.approve(address(disputes), type(uint256).max);
        vm.stopPrank();
    }

    /// Amounts are odd, so that every rounding shows.
    function defaultSpec() internal view returns (JobSpec memory) {
        return JobSpec({
            programRoot: keccak256("program"),
            initialStateRoot: keccak256("initial state"),
            dataRoot: keccak256("data"),
            referee: address(referee),
            steps: 1,
            stepsPerCheckpoint: 1,
            checkpointsPerMilestone: 1,
            milestonePriceWei: 333,
            stakeWei: 1003,
            bondWei: 501,
            tipWei: 101,
            takeTimeoutS: 100,
            claimTimeoutS: 200,
            windowS: 300,
            clockS: 400,
            graceS: 50,
            uri: "file:///job"
        });
    }

    // ---- a step of the story -----------------------------------------------------------------------------------

    /// The next call must revert with exactly this.
    function refused(bytes memory expected) internal {
        refusal = expected;
    }

    /// The next call comes from `who`, and reverts if `refused` said so.
    function as_(address who) internal {
        if (refusal.length != 0) {
            bytes memory expected = refusal;
            delete refusal;
            vm.expectRevert(expected);
        }
        vm.prank(who);
    }

    function post(JobSpec memory spec) internal {
        as_(requester);
        jobId = market.post(spec);
    }

    function take() internal {
        bytes32 specHash = market.job(jobId).specHash;
        as_(solver);
        market.take(jobId, specHash);
    }

    function claim(bytes32[] memory roots) internal {
        Job memory job = market.job(jobId);
        as_(solver);
        market.claim(jobId, job.specHash, job.finalMilestones, roots, "file:///claim");
    }

    function settle() internal {
        bytes32 claimRoot = market.job(jobId).claimRoot;
        as_(stranger);
        market.settle(jobId, claimRoot);
    }

    function expire() internal {
        as_(stranger);
        market.expire(jobId);
    }

    function passWindow() internal {
        vm.warp(market.job(jobId).windowEndS);
    }

    /// A job taken and claimed with one root for its only checkpoint, and a dispute over it.
    function openSimple(JobSpec memory spec, bytes32 claimed) internal {
        post(spec);
        take();
        claim(list(claimed));
        openFirst(claimed);
    }

    /// A dispute over the only checkpoint of the job's first milestone.
    function openFirst(bytes32 claimed) internal {
        bytes32[] memory none = new bytes32[](0);
        bytes32 before = market.job(jobId).stateRoot;
        as_(challenger);
        id = disputes.open(jobId, claimed, 0, before, none, claimed, none);
    }

    function timeout() internal {
        bytes32 p = position();
        as_(stranger);
        disputes.timeout(id, p);
    }

    // ---- reading -----------------------------------------------------------------------------------------------

    function position() internal view returns (bytes32) {
        return disputes.dispute(id).position;
    }

    function status() internal view returns (JobStatus) {
        return market.job(jobId).status;
    }

    function assertStands(Phase phase, Side turn) internal view {
        Dispute memory d = disputes.dispute(id);
        assertEq(uint256(d.phase), uint256(phase), "phase");
        assertEq(uint256(d.turn), uint256(turn), "turn");
    }

    function assertPhase(Phase phase) internal view {
        assertEq(uint256(disputes.dispute(id).phase), uint256(phase), "phase");
    }

    function assertStatus(JobStatus expected) internal view {
        assertEq(uint256(status()), uint256(expected), "status");
    }

    /// `who` gained `wonWei` and lost `lostWei` since it was funded.
    function assertPurse(address who, uint256 wonWei, uint256 lostWei) internal view {
        assertEq(token.balanceOf(who), PURSE + wonWei - lostWei, "purse");
    }

    /// Nothing is left in, or missing from, the two contracts.
    function assertSettledToTheWei() internal view {
        assertEq(token.balanceOf(address(market)), 0, "market");
        assertEq(token.balanceOf(address(disputes)), 0, "disputes");
        uint256 sum = token.balanceOf(requester) + token.balanceOf(solver) + token.balanceOf(challenger)
            + token.balanceOf(stranger) + token.balanceOf(judge) + token.balanceOf(treasury);
        assertEq(sum, 4 * PURSE, "sum of balances");
    }

    function list(bytes32 a) internal pure returns (bytes32[] memory one) {
        one = new bytes32[](1);
        one[0] = a;
    }

    function hashes(string memory what, uint256 count) internal pure returns (bytes32[] memory all) {
        all = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            all[i] = nth(what, i);
        }
    }

    function nth(string memory what, uint256 i) internal pure returns (bytes32) {
        return Trees.pair(keccak256(bytes(what)), bytes32(i));
    }
}
