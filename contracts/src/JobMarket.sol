// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Delivery, DeliveryStatus} from "./interfaces/IDeliveries.sol";
import {Claim, IJobReceiver, Job, JobSpec, JobStatus} from "./interfaces/IJobMarket.sol";
import {Shares} from "./interfaces/IParameters.sol";
import {Claims} from "./market/Claims.sol";
import {Jobs, Neighbours} from "./market/Jobs.sol";

/// Escrow, claims, windows, payment and slashing; docs/protocol.md, section 4. The tokens are with `Stakes`.
///
///   post -> Open -> take -> Taken -> (claim -> window -> settle) per milestone -> Done
///            | ^              |  \-> late: back to Open
///            | \-- reopen -- Convicted
///            \-> withdraw (also from Convicted), expire
contract JobMarket is Claims {
    error NotRegistered(address solver, uint32 hardwareClass);
    /// Convicted or late in this job before.
    error Barred(uint256 jobId, address solver);
    /// The price has not reached what the solver believes.
    error PriceBelow(uint128 priceWei, uint128 minPriceWei);
    error WindowOpen(uint64 windowEndS);
    error WindowClosed(uint64 windowEndS);
    error DisputesStand(uint32 disputes);
    /// The claims that stand come first: settle them.
    error ClaimStands(uint32 milestone);
    /// The milestone in work is the last one anyway.
    error NothingToStop(uint32 milestones);
    /// The receiver's gas must be there, so that nobody makes it fail by sending less.
    error NotEnoughGas(uint256 have, uint256 need);

    /// The conviction is decided and not paid. Call `Docket.pay` first; anyone may.
    error NotYetSlashed(uint256 jobId, uint256 stakeWei);

    /// What the receiver of a result may use.
    uint256 public constant CALLBACK_GAS = 200_000;

    constructor(Neighbours memory n) Jobs(n) {}

    // ---- requester ---------------------------------------------------------------------------------------------

    function post(JobSpec calldata spec) external returns (uint256 jobId) {
        (uint32 version, uint32 milestones) = parameters.check(spec);
        jobId = ++jobCount;
        Job storage j = _jobs[jobId];
        j.status = JobStatus.Open;
        j.requester = msg.sender;
        j.milestones = milestones;
        j.specHash = keccak256(abi.encode(spec));
        j.deadlineS = _after(spec.takeTimeoutS);
        j.parametersVersion = version;
        emit JobPosted(jobId, msg.sender, j.specHash, version, spec);
        stakes.collect(msg.sender, _unpaidWei(j, spec));
    }

    /// Until somebody takes it, and after a conviction: everything unpaid back.
    function withdraw(uint256 jobId, JobSpec calldata spec) external {
        Job storage j = _jobs[jobId];
        if (j.status != JobStatus.Open && j.status != JobStatus.Convicted) revert WrongStatus(jobId, j.status);
        _checkSpec(j, spec);
        if (j.status == JobStatus.Convicted) _checkSlashed(jobId, j);
        _checkRequester(j);
        j.status = JobStatus.Withdrawn;
        uint256 refundWei = _unpaidWei(j, spec);
        emit JobWithdrawn(jobId, refundWei);
        _credit(msg.sender, refundWei);
    }

    function stop(uint256 jobId, JobSpec calldata spec) external {
        Job storage j = _in(jobId, spec, JobStatus.Taken);
        _checkRequester(j);
        uint32 last = j.finalMilestones + j.standingClaims + 1;
        if (last >= j.milestones) revert NothingToStop(j.milestones);
        uint256 refundWei = _milestoneEscrowWei(spec) * (j.milestones - last);
        j.milestones = last;
        emit JobStopped(jobId, last, refundWei);
        _credit(msg.sender, refundWei);
    }

    // ---- solver ------------------------------------------------------------------------------------------------

    function take(uint256 jobId, JobSpec calldata spec, uint128 minPriceWei) external {
        Job storage j = _in(jobId, spec, JobStatus.Open);
        _checkInTime(j.deadlineS);
        if (!stakes.isSolver(msg.sender, spec.hardwareClass)) revert NotRegistered(msg.sender, spec.hardwareClass);
        if (barred[jobId][msg.sender]) revert Barred(jobId, msg.sender);
        uint96 price = _priceWei(spec, j.deadlineS - spec.takeTimeoutS);
        if (price < minPriceWei) revert PriceBelow(price, minPriceWei);
        j.status = JobStatus.Taken;
        j.solver = msg.sender;
        j.priceWei = price;
        j.stakeWei = uint96(spec.stakeWei); // amounts of a job fit: `JobBounds`
        j.deadlineS = _after(spec.claimTimeoutS);
        ++j.attempt;
        emit JobTaken(jobId, msg.sender, j.attempt, price, j.deadlineS);
        stakes.lock(msg.sender, spec.stakeWei);
    }

    // ---- anyone ------------------------------------------------------------------------------------------------

    /// After the window with no dispute queued or played: makes the first standing claim final and pays it.
    function settle(uint256 jobId, JobSpec calldata spec, bytes32 claimRoot) external {
        Job storage j = _in(jobId, spec, JobStatus.Taken);
        uint32 milestone = j.finalMilestones;
        bytes32 key = _key(jobId, j.attempt, milestone);
        Claim storage c = _claims[key];
        if (claimRoot == 0 || j.standingClaims == 0 || c.claimRoot != claimRoot) revert WrongClaim(c.claimRoot, claimRoot);
        if (c.disputes != 0) revert DisputesStand(c.disputes);
        if (block.timestamp < c.windowEndS) revert WindowOpen(c.windowEndS);
        j.stateRoot = c.endRoot;
        j.finalMilestones = milestone + 1;
        --j.standingClaims;
        j.deadlineS = _after(spec.claimTimeoutS);
        delete _claims[key];
        _pay(jobId, j, spec, milestone, key);
        if (j.finalMilestones == j.milestones) _done(jobId, j, spec);
    }

    /// After the deadline of the current wait: a job that nobody took is refunded; one whose solver is late goes back to the
    /// market, with part of the solver's stake for the requester.
    function expire(uint256 jobId, JobSpec calldata spec) external {
        Job storage j = _jobs[jobId];
        if (j.status == JobStatus.Taken) {
            _checkSpec(j, spec);
            return _late(jobId, j, spec);
        }
        _in(jobId, spec, JobStatus.Open);
        _checkPast(j.deadlineS);
        j.status = JobStatus.Expired;
        uint256 refundWei = _unpaidWei(j, spec);
        emit JobExpired(jobId, refundWei);
        _credit(j.requester, refundWei);
    }

    function reopen(uint256 jobId, JobSpec calldata spec) external {
        Job storage j = _in(jobId, spec, JobStatus.Convicted);
        _checkSlashed(jobId, j);
        _reopen(jobId, j, spec);
    }

    // ---- the docket --------------------------------------------------------------------------------------------

    function _checkDocket() private view {
        if (msg.sender != docket) revert NotDocket(msg.sender, docket);
    }

    function disputeOpened(uint256 jobId, uint32 milestone, uint256 disputeId) external {
        _checkDocket();
        Claim storage c = _claims[_key(jobId, _jobs[jobId].attempt, milestone)];
        if (block.timestamp >= c.windowEndS) revert WindowClosed(c.windowEndS);
        ++c.disputes;
        emit DisputeOpened(jobId, milestone, disputeId);
    }

    function decided(uint256 jobId, uint32 attempt, uint32 milestone, uint256 disputeId, bool convicted)
        external
        returns (bool)
    {
        _checkDocket();
        if (!stands(jobId, attempt, milestone)) return false;
        Job storage j = _jobs[jobId];
        if (convicted) {
            j.status = JobStatus.Convicted;
            emit SolverConvicted(jobId, milestone, j.solver, disputeId);
        } else {
            --_claims[_key(jobId, attempt, milestone)].disputes;
            emit DisputeCleared(jobId, milestone, disputeId);
        }
        return true;
    }

    /// The claim was wrong: the stake is slashed once, and every claim of the job that is not final is void, because
    /// nothing stands behind it any more. `judge` is zero when a clock decided.
    function slash(uint256 jobId, uint32 milestone, address winner, address judge, uint256 tipWei) external {
        _checkDocket();
        Job storage j = _jobs[jobId];
        Shares memory v = _shares(j);
        bytes32 key = _key(jobId, j.attempt, milestone);
        (address solver, uint256 stakeWei) = (j.solver, j.stakeWei);
        j.stakeWei = 0;
        j.standingClaims = 0;
        barred[jobId][solver] = true;
        stakes.slash(solver, stakeWei);
        uint256 winnerWei = stakeWei * v.winnerBps / BPS;
        uint256 restWei = stakeWei - winnerWei;
        uint256 requesterWei = restWei * v.requesterBps / BPS;
        uint256 reservedWei = 0;
        if (_claims[key].commitment != 0) {
            reservedWei = winnerWei * v.reservedBps / BPS;
            winnerWei -= reservedWei;
        }
        if (judge != address(0)) winnerWei -= tipWei;
        emit StakeSlashed(jobId, milestone, solver, winner, stakeWei, winnerWei, reservedWei, requesterWei);
        _credit(treasury, restWei - requesterWei);
        if (reservedWei != 0 && !_rewardDissenters(key, reservedWei)) requesterWei += reservedWei;
        _credit(winner, winnerWei);
        if (judge != address(0)) _credit(judge, tipWei);
        _credit(j.requester, requesterWei);
    }

    // ---- inside ------------------------------------------------------------------------------------------------

    function _checkSlashed(uint256 jobId, Job storage j) private view {
        if (j.stakeWei != 0) revert NotYetSlashed(jobId, j.stakeWei);
    }

    function _rewardDissenters(bytes32 key, uint256 amountWei) private returns (bool) {
        if (draw.convicted(key) == 0) return false;
        stakes.hand(address(draw), amountWei);
        draw.reward(key, amountWei);
        return true;
    }

    function _pay(uint256 jobId, Job storage j, JobSpec calldata spec, uint32 milestone, bytes32 key) private {
        uint256 price = j.priceWei;
        uint256 feeWei = price * _shares(j).feeBps / BPS;
        uint256 heldWei = (price - feeWei) * spec.holdbackBps / BPS;
        uint256 paidWei = price - feeWei - heldWei;
        emit MilestoneSettled(jobId, milestone, paidWei, feeWei, heldWei, j.stateRoot);
        _credit(treasury, feeWei);
        _credit(j.solver, paidWei);
        // what the auction did not reach
        _credit(j.requester, spec.endPriceWei - price);
        if (heldWei != 0) {
            stakes.hand(address(deliveries), heldWei);
            deliveries.hold(jobId, milestone, _delivery(j, spec, uint128(heldWei)));
        }
        if (spec.verifiers != 0) {
            stakes.hand(address(draw), uint256(spec.verifierFeeWei) * spec.verifiers);
            draw.settled(key);
        }
    }

    function _delivery(Job storage j, JobSpec calldata spec, uint128 heldWei)
        private
        view
        returns (Delivery memory d)
    {
        d.status = DeliveryStatus.Held;
        (d.requester, d.solver) = (j.requester, j.solver);
        (d.heldWei, d.feeWei) = (heldWei, spec.tipWei);
        (d.releaseS, d.answerS) = (_after(spec.receiptS), spec.receiptS);
        (d.stateRoot, d.programRoot) = (j.stateRoot, spec.programRoot);
    }

    function _done(uint256 jobId, Job storage j, JobSpec calldata spec) private {
        j.status = JobStatus.Done;
        bytes32 stateRoot = j.stateRoot;
        emit JobDone(jobId, stateRoot);
        stakes.unlock(j.solver, j.stakeWei);
        if (spec.callback != address(0)) _tell(jobId, spec.callback, stateRoot);
    }

    /// Everything is paid by now; whatever the receiver does, the job is done. Its answer is not even copied.
    function _tell(uint256 jobId, address receiver, bytes32 stateRoot) private {
        bytes memory data = abi.encodeCall(IJobReceiver.jobDone, (jobId, stateRoot));
        uint256 need = CALLBACK_GAS * 64 / 63 + 10_000;
        if (gasleft() < need) revert NotEnoughGas(gasleft(), need);
        bool ok;
        uint256 gasForIt = CALLBACK_GAS;
        assembly ("memory-safe") {
            ok := call(gasForIt, receiver, 0, add(data, 0x20), mload(data), 0, 0)
        }
        if (!ok) emit CallbackFailed(jobId, receiver);
    }

    /// No claim stands and the deadline is over, or the only one that stands was not revealed in time.
    function _late(uint256 jobId, Job storage j, JobSpec calldata spec) private {
        uint32 milestone = j.finalMilestones;
        if (j.standingClaims == 0) {
            _checkPast(j.deadlineS);
        } else {
            Claim storage c = _claims[_key(jobId, j.attempt, milestone)];
            if (j.standingClaims > 1 || c.claimRoot != 0) revert ClaimStands(milestone);
            _checkPast(c.revealEndS);
        }
        address solver = j.solver;
        uint256 slashedWei = uint256(j.stakeWei) * _shares(j).lateBps / BPS;
        barred[jobId][solver] = true;
        emit SolverLate(jobId, solver, milestone, slashedWei);
        stakes.slash(solver, slashedWei);
        stakes.unlock(solver, j.stakeWei - slashedWei);
        _credit(j.requester, slashedWei);
        _reopen(jobId, j, spec);
    }

    function _reopen(uint256 jobId, Job storage j, JobSpec calldata spec) private {
        j.status = JobStatus.Open;
        j.standingClaims = 0;
        j.deadlineS = _after(spec.takeTimeoutS);
        emit JobReopened(jobId, j.attempt, j.deadlineS);
    }
}
