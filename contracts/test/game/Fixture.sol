// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {DevToken} from "../../src/DevToken.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Docket} from "../../src/Docket.sol";
import {Deliveries} from "../../src/Deliveries.sol";
import {JobMarket} from "../../src/JobMarket.sol";
import {VerifierDraw} from "../../src/VerifierDraw.sol";
import {Parameters} from "../../src/Parameters.sol";
import {Stakes} from "../../src/Stakes.sol";
import {Neighbours} from "../../src/market/Jobs.sol";
import {ParameterBounds} from "../../src/game/ParameterBounds.sol";
import {Dispute, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {EntryStatus, Opening} from "../../src/interfaces/IDocket.sol";
import {Claim, Job, JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Values} from "../../src/interfaces/IParameters.sol";
import {Account} from "../../src/interfaces/IStakes.sol";
import {Test} from "../Test.sol";
import {L1Double} from "./L1Double.sol";
import {RefereeDouble} from "./RefereeDouble.sol";
import {Trees} from "./Trees.sol";

/// Creates the contracts as a deployer does: each knows the others' addresses before they exist.
contract Deployer {
    Stakes public immutable stakes;
    JobMarket public immutable market;
    Docket public immutable docket;
    Disputes public immutable disputes;
    VerifierDraw public immutable draw;
    Deliveries public immutable deliveries;

    constructor(address token, address parameters, address l1, address treasury) {
        address[4] memory modules = [_created(2), _created(3), _created(5), _created(6)];
        stakes = new Stakes(token, parameters, modules);
        market = new JobMarket(
            Neighbours({
                stakes: address(stakes),
                parameters: parameters,
                docket: modules[1],
                draw: modules[2],
                deliveries: modules[3],
                treasury: treasury
            })
        );
        docket = new Docket(address(stakes), address(market), _created(4), parameters, treasury);
        disputes = new Disputes(address(docket));
        draw = new VerifierDraw(address(stakes), address(market), parameters, l1, treasury);
        deliveries = new Deliveries(address(stakes), address(market));
        require(address(deliveries) == _created(6), "precomputed address");
    }

    function _created(uint8 nonce) private view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), nonce)))));
    }
}

/// A market with one requester, solver and challenger, and short ways to make a job and open a dispute.
abstract contract Fixture is Test {
    uint256 internal constant PURSE = 1e30;
    uint16 internal constant FEE_BPS = 250;
    uint32 internal constant HARDWARE = 7;
    bytes32 internal constant SALT = keccak256("salt");

    DevToken internal token;
    Parameters internal parameters;
    Stakes internal stakes;
    JobMarket internal market;
    Docket internal docket;
    Disputes internal disputes;
    VerifierDraw internal draw;
    Deliveries internal deliveries;
    RefereeDouble internal referee;
    L1Double internal l1;

    address internal requester = makeAddr("requester");
    address internal solver = makeAddr("solver");
    address internal challenger = makeAddr("challenger");
    address internal judge = makeAddr("judge");
    address internal stranger = makeAddr("stranger");
    address internal treasury = makeAddr("treasury");

    uint256 internal jobId;
    uint256 internal id;
    bytes internal refusal;
    /// Verdicts are left unpaid.
    bool internal paysLater;
    mapping(uint256 jobId => JobSpec) internal specs;

    function setUp() public virtual {
        vm.warp(1_000_000);
        token = new DevToken(5 * PURSE);
        referee = new RefereeDouble();
        parameters = new Parameters(address(this), defaultValues());
        l1 = new L1Double();
        Deployer deployer = new Deployer(address(token), address(parameters), address(l1), treasury);
        stakes = deployer.stakes();
        market = deployer.market();
        docket = deployer.docket();
        disputes = deployer.disputes();
        draw = deployer.draw();
        deliveries = deployer.deliveries();
        fund(requester);
        fund(solver);
        fund(challenger);
        fund(stranger);
        becomeSolver(solver);
    }

    function fund(address who) internal {
        token.transfer(who, PURSE);
        vm.prank(who);
        token.approve(address(stakes), type(uint256).max);
    }

    function becomeSolver(address who) internal {
        vm.startPrank(who);
        stakes.deposit(uint128(PURSE / 2));
        stakes.registerSolver(HARDWARE, true);
        vm.stopPrank();
    }

    function defaultValues() internal pure returns (Values memory v) {
        v.feeBps = FEE_BPS;
        (v.winnerBps, v.reservedBps, v.requesterBps, v.defenderBps) = (5_000, 5_000, 8_000, 7_500);
        (v.lateBps, v.retractBps, v.unrevealedBps, v.idleBps, v.concedeBps) = (5_000, 1_000, 1_000, 1_000, 500);
        (v.maxStandingClaims, v.minWindowS, v.minClockS) = (4, 1, 1);
        (v.challengeRevealS, v.unbondingS) = (60, ParameterBounds.MIN_UNBONDING_S);
        (v.minSolverStakeWei, v.minVerifierStakeWei, v.minBondWei) = (100, 1_000, 10);
    }

    /// Amounts are odd, so that every rounding shows.
    function defaultSpec() internal view returns (JobSpec memory spec) {
        spec.programRoot = keccak256("program");
        spec.initialStateRoot = keccak256("initial state");
        spec.dataRoot = keccak256("data");
        spec.referee = address(referee);
        (spec.steps, spec.stepsPerCheckpoint, spec.checkpointsPerMilestone) = (1, 1, 1);
        (spec.startPriceWei, spec.endPriceWei) = (333, 333);
        (spec.stakeWei, spec.bondWei, spec.tipWei) = (1003, 501, 101);
        spec.hardwareClass = HARDWARE;
        spec.standingClaims = 1;
        (spec.takeTimeoutS, spec.claimTimeoutS, spec.windowS) = (100, 200, 300);
        (spec.clockS, spec.graceS) = (400, 50);
        spec.uri = "file:///job";
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
        bool refusing = refusal.length != 0;
        as_(requester);
        uint256 posted = market.post(spec);
        if (!refusing) {
            jobId = posted;
            specs[posted] = spec;
        }
    }

    function take() internal {
        takeAs(solver);
    }

    function takeAs(address who) internal {
        JobSpec memory spec = specs[jobId];
        as_(who);
        market.take(jobId, spec, 0);
    }

    /// The next milestone.
    function claim(bytes32[] memory roots) internal {
        Job memory job = market.job(jobId);
        JobSpec memory spec = specs[jobId];
        as_(solver);
        market.claim(jobId, spec, job.finalMilestones + job.standingClaims, roots, "file:///claim");
    }

    function settle() internal {
        bytes32 root = claimRoot();
        JobSpec memory spec = specs[jobId];
        as_(stranger);
        market.settle(jobId, spec, root);
    }

    function expire() internal {
        JobSpec memory spec = specs[jobId];
        as_(stranger);
        market.expire(jobId, spec);
    }

    function withdrawJob() internal {
        JobSpec memory spec = specs[jobId];
        as_(requester);
        market.withdraw(jobId, spec);
    }

    function reopen() internal {
        JobSpec memory spec = specs[jobId];
        as_(stranger);
        market.reopen(jobId, spec);
    }

    function passWindow() internal {
        vm.warp(standingClaim().windowEndS);
    }

    /// A job taken and claimed with one root for its only checkpoint, and a dispute over it.
    function openSimple(JobSpec memory spec, bytes32 claimed) internal {
        post(spec);
        take();
        claim(list(claimed));
        openFirst(claimed);
    }

    /// A dispute over the only checkpoint of the first milestone that is not final.
    function openFirst(bytes32 claimed) internal {
        openAs(challenger, opening(claimed));
    }

    function opening(bytes32 claimed) internal view returns (Opening memory o) {
        Job memory job = market.job(jobId);
        (o.attempt, o.milestone, o.claimRoot, o.salt) = (job.attempt, job.finalMilestones, claimed, SALT);
        o.beforeRoot = job.stateRoot == 0 ? specs[jobId].initialStateRoot : job.stateRoot;
        o.afterRoot = claimed;
    }

    /// Over checkpoint `i` of a claim of several, on the first milestone that is not final.
    function openingAt(bytes32[] memory roots, uint32 i) internal view returns (Opening memory o) {
        o = opening(Trees.root(roots));
        o.checkpoint = i;
        o.afterRoot = roots[i];
        o.afterProof = Trees.leafProof(roots, i);
        if (i == 0) return o;
        o.beforeRoot = roots[i - 1];
        o.beforeProof = Trees.leafProof(roots, i - 1);
    }

    function commitmentOf(address who, Opening memory o) internal view returns (bytes32) {
        return keccak256(abi.encode(who, jobId, o.attempt, o.milestone, o.checkpoint, o.claimRoot, o.salt));
    }

    function announce(address who, Opening memory o) internal returns (uint256) {
        JobSpec memory spec = specs[jobId];
        bytes32 commitment = commitmentOf(who, o);
        as_(who);
        return docket.announce(jobId, spec, commitment);
    }

    /// Announces and names; a refusal is of the naming.
    function openAs(address who, Opening memory o) internal {
        bytes memory expected = refusal;
        delete refusal;
        uint256 announced = announce(who, o);
        vm.warp(block.timestamp + 1);
        refusal = expected;
        nameAs(who, announced, o);
        if (expected.length == 0) id = announced;
    }

    function nameAs(address who, uint256 announced, Opening memory o) internal {
        JobSpec memory spec = specs[jobId];
        as_(who);
        docket.open(announced, spec, o);
    }

    function timeout() internal {
        bytes32 p = position();
        bool refusing = refusal.length != 0;
        as_(stranger);
        disputes.timeout(id, p);
        if (!refusing) payAtOnce();
    }

    /// What a verdict decided is paid by whoever comes next; most tests want to see what is paid.
    function payAtOnce() internal {
        EntryStatus decided = docket.entry(id).status;
        if (!paysLater && (decided == EntryStatus.Won || decided == EntryStatus.Lost)) pay();
    }

    function pay() internal {
        as_(stranger);
        docket.pay(id);
    }

    // ---- reading -----------------------------------------------------------------------------------------------

    function position() internal view returns (bytes32) {
        return disputes.dispute(id).position;
    }

    /// The first claim that is not final.
    function standingClaim() internal view returns (Claim memory) {
        return market.claimOf(jobId, market.job(jobId).finalMilestones);
    }

    function claimRoot() internal view returns (bytes32) {
        return standingClaim().claimRoot;
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

    /// What `who` can have back by itself: wallet, balance and stake that nothing holds.
    function purse(address who) internal view returns (uint256) {
        Account memory a = stakes.account(who);
        return token.balanceOf(who) + a.balanceWei + a.stakeWei - a.lockedWei;
    }

    /// `who` gained `wonWei` and lost `lostWei` since it was funded.
    function assertPurse(address who, uint256 wonWei, uint256 lostWei) internal view {
        assertEq(purse(who), PURSE + wonWei - lostWei, "purse");
    }

    /// What nobody was funded with: the treasury, the judge.
    function assertEarned(address who, uint256 wonWei) internal view {
        assertEq(purse(who), wonWei, "earned");
    }

    /// Nothing is held for anybody, and nothing is missing.
    function assertSettledToTheWei() internal view {
        assertEq(stakes.heldWei(address(market)), 0, "market");
        assertEq(stakes.heldWei(address(docket)), 0, "docket");
        assertEq(stakes.heldWei(address(draw)), 0, "draw");
        assertEq(stakes.heldWei(address(deliveries)), 0, "deliveries");
        assertEq(everything(), 4 * PURSE, "sum of purses");
        assertSolvent();
    }

    function everything() internal view returns (uint256) {
        return purse(requester) + purse(solver) + purse(challenger) + purse(stranger) + purse(judge) + purse(treasury);
    }

    /// INVARIANT: the tokens are what accounts and holders have on the books.
    function assertSolvent() internal view {
        address[6] memory all = [requester, solver, challenger, stranger, judge, treasury];
        uint256 sum = stakes.heldWei(address(market)) + stakes.heldWei(address(docket))
            + stakes.heldWei(address(draw)) + stakes.heldWei(address(deliveries));
        for (uint256 i = 0; i < 6; ++i) {
            Account memory a = stakes.account(all[i]);
            assertLe(a.lockedWei + a.unbondingWei, a.stakeWei, "locked and unbonding are part of the stake");
            sum += uint256(a.balanceWei) + a.stakeWei;
        }
        assertEq(token.balanceOf(address(stakes)), sum, "solvent");
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
