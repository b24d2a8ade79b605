// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Header, StateDecl} from "@ir/Program.sol";
import {ChunkTree} from "../../src/ChunkTree.sol";
import {Deliveries} from "../../src/Deliveries.sol";
import {Delivery, DeliveryStatus, IDeliveries, Possession} from "../../src/interfaces/IDeliveries.sol";
import {JobSpec, JobStatus} from "../../src/interfaces/IJobMarket.sol";
import {Fixture} from "./Fixture.sol";
import {Trees} from "./Trees.sol";

/// Holdbacks, receipts and possession. Price 333, fee 8, a fifth of the rest (65) held back for 1000 s; an answer costs 101.
contract DeliveriesTest is Fixture {
    uint32 private constant TENSORS = 3;
    uint32 private constant ELEMENTS = 750; // 3000 bytes, three chunks

    function decl(uint32 i) private pure returns (StateDecl memory d) {
        d.dtype = 0;
        d.shape = new uint32[](1);
        d.shape[0] = ELEMENTS;
        (d.source, d.index) = (2, i);
    }

    function content(uint32 i) private pure returns (bytes memory data) {
        data = new bytes(4 * ELEMENTS);
        for (uint256 b = 0; b < data.length; b += 100) {
            data[b] = bytes1(uint8(b / 100 + 50 * i + 1));
        }
    }

    function merkleRoot(uint32 i) private pure returns (bytes32) {
        return Trees.root(Trees.chunkLeaves(content(i)));
    }

    function declLeaves() private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](TENSORS);
        for (uint32 i = 0; i < TENSORS; ++i) {
            leaves[i] = keccak256(abi.encode(decl(i)));
        }
    }

    function stateLeaves() private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](TENSORS);
        for (uint32 i = 0; i < TENSORS; ++i) {
            leaves[i] = keccak256(abi.encode(uint8(0), decl(i).shape, merkleRoot(i)));
        }
    }

    function header() private pure returns (Header memory h) {
        (h.version, h.nodeCount, h.stateCount) = (1, 1, TENSORS);
        h.stateDeclsRoot = Trees.root(declLeaves());
    }

    function settled() private {
        JobSpec memory spec = defaultSpec();
        spec.programRoot = keccak256(abi.encode(header()));
        (spec.holdbackBps, spec.receiptS) = (2_000, 1_000);
        post(spec);
        take();
        claim(list(Trees.root(stateLeaves())));
        passWindow();
        settle();
    }

    function delivery() private view returns (Delivery memory) {
        return deliveries.delivery(jobId, 0);
    }

    function assertDelivery(DeliveryStatus expected) private view {
        assertEq(uint256(delivery().status), uint256(expected), "delivery");
    }

    function challengeIt() private {
        as_(requester);
        deliveries.challenge(jobId, 0);
    }

    /// The chunk that the seed names, with proofs; `wrong` alters a byte.
    function answer(bool wrong) private {
        Delivery memory d = delivery();
        uint32 tensor = uint32(uint256(d.seed) % TENSORS);
        uint256 chunk = uint256(keccak256(abi.encode(d.seed))) % 3;
        Possession memory p;
        p.decl = decl(tensor);
        p.declProof = Trees.leafProof(declLeaves(), tensor);
        p.merkleRoot = merkleRoot(tensor);
        p.tensorProof = Trees.leafProof(stateLeaves(), tensor);
        p.chunk = Trees.slice(content(tensor), 1024 * chunk, chunk == 2 ? 952 : 1024);
        p.chunkProof = Trees.leafProof(Trees.chunkLeaves(content(tensor)), chunk);
        if (wrong) {
            p.chunk[0] ^= 0x01;
            vm.expectPartialRevert(Deliveries.WrongHash.selector);
        }
        as_(solver);
        deliveries.answer(jobId, 0, header(), p);
    }

    function test_theReceiptReleases() public {
        settled();
        assertStatus(JobStatus.Done);
        assertPurse(solver, 260, 0);
        assertEq(stakes.heldWei(address(deliveries)), 65);
        refused(abi.encodeWithSelector(Deliveries.NotRequester.selector, solver, requester));
        as_(solver);
        deliveries.receipt(jobId, 0);
        as_(requester);
        deliveries.receipt(jobId, 0);
        assertPurse(solver, 325, 0);
        assertSettledToTheWei();
        refused(abi.encodeWithSelector(Deliveries.WrongStatus.selector, jobId, 0, DeliveryStatus.Released));
        as_(requester);
        deliveries.receipt(jobId, 0);
    }

    function test_timeReleases() public {
        settled();
        uint64 end = delivery().releaseS;
        vm.warp(end);
        vm.expectRevert(abi.encodeWithSelector(Deliveries.TooEarly.selector, end));
        deliveries.release(jobId, 0);
        vm.warp(end + 1);
        refused(abi.encodeWithSelector(Deliveries.TooLate.selector, end));
        challengeIt();
        deliveries.release(jobId, 0);
        assertPurse(solver, 325, 0);
        assertSettledToTheWei();
    }

    function test_possessionIsShown() public {
        settled();
        challengeIt();
        assertDelivery(DeliveryStatus.Challenged);
        refused(abi.encodeWithSelector(Deliveries.WrongStatus.selector, jobId, 0, DeliveryStatus.Challenged));
        challengeIt();
        answer(true);
        answer(false);
        assertDelivery(DeliveryStatus.Held);
        assertPurse(solver, 260 + 101, 0); // the requester pays for the answer
        assertPurse(requester, 0, 333 + 101);
        for (uint256 i = 1; i < 3; ++i) {
            vm.roll(block.number + 1);
            challengeIt();
            answer(false);
        }
        refused(abi.encodeWithSelector(Deliveries.TooManyChallenges.selector, 3));
        challengeIt();
        vm.warp(delivery().releaseS + 1);
        deliveries.release(jobId, 0);
        assertSettledToTheWei();
    }

    function test_whoCannotShowItLosesTheHoldback() public {
        settled();
        challengeIt();
        uint64 end = delivery().answerEndS;
        vm.expectRevert(abi.encodeWithSelector(Deliveries.TooEarly.selector, end));
        deliveries.fail(jobId, 0);
        vm.expectRevert(abi.encodeWithSelector(Deliveries.WrongStatus.selector, jobId, 0, DeliveryStatus.Challenged));
        deliveries.release(jobId, 0);
        vm.warp(end + 1);
        vm.expectEmit();
        emit IDeliveries.DeliveryFailed(jobId, 0, solver, 65);
        deliveries.fail(jobId, 0);
        assertPurse(solver, 260, 0);
        assertPurse(requester, 0, 333 - 65); // and the answer was not paid
        assertSettledToTheWei();
        refused(abi.encodeWithSelector(Deliveries.WrongStatus.selector, jobId, 0, DeliveryStatus.Failed));
        as_(requester);
        deliveries.receipt(jobId, 0);
    }

    function test_anotherProgramsHeaderIsRefused() public {
        settled();
        challengeIt();
        Header memory h = header();
        h.stateCount = 1;
        Possession memory p;
        vm.expectPartialRevert(Deliveries.WrongHash.selector);
        deliveries.answer(jobId, 0, h, p);
    }

    function test_onlyTheMarketHolds() public {
        Delivery memory d;
        refused(abi.encodeWithSelector(Deliveries.NotMarket.selector, stranger, address(market)));
        as_(stranger);
        deliveries.hold(1, 0, d);
    }
}
