// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChunkTree} from "../../src/ChunkTree.sol";
import {Dispute, Phase, Side} from "../../src/interfaces/IDisputes.sol";
import {ElementMoves} from "../../src/game/ElementMoves.sol";
import {Game} from "../../src/game/Game.sol";
import {UnitKind} from "../../src/game/UnitKind.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// Phases Chunk and Blocks.
contract ElementsTest is World {
    uint32 private constant TOP = type(uint32).max;

    // ---- the chunk ---------------------------------------------------------------------------------------------

    function test_elementsAreReadLittleEndian() public {
        uint8[3] memory types = [0, 3, 4];
        uint8[3] memory sizes = [4, 1, 2];
        for (uint256 t = 0; t < 3; ++t) {
            uint256 fork = vm.snapshotState();
            setTensor(types[t], 1500, 0);
            uint256 chunk = 1499 * uint256(sizes[t]) / 1024;
            reachElement(1499);
            bytes memory all = tensor();
            uint32 expected = 0;
            for (uint256 i = 0; i < sizes[t]; ++i) {
                expected += uint32(uint8(all[1499 * sizes[t] + i])) * uint32(256 ** i);
            }
            Dispute memory d = disputes.dispute(id);
            assertEq(d.value, expected, "value");
            assertEq(d.element, 1499, "element");
            assertEq(d.index, chunk, "chunk");
            assertEq(d.unitKind, UnitKind.ELEMENT, "unit");
            assertStands(Phase.Judge, Side.Challenger);
            vm.revertToState(fork);
        }
    }

    function test_postChunkOnlyRealBytes() public {
        setTensor(0, 700, 0);
        reachTensor();
        postTensor();
        walkTo(Trees.chunkLeaves(tensor()), 2);
        bytes memory chunk = chunkAt(2);
        assertEq(chunk.length, 2800 - 2048, "short");
        refused(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 1024, 752));
        postChunk(bytes.concat(chunk, new bytes(1024 - 752)));
        refused(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 751, 752));
        postChunk(Trees.slice(chunk, 0, 751));
        refused(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 0, 752));
        postChunk("");
        bytes memory other = Trees.slice(chunk, 0, 752);
        other[0] = ~other[0];
        bytes32 given = keccak256(bytes.concat(other, new bytes(1024 - 752)));
        refused(abi.encodeWithSelector(Game.WrongHash.selector, Trees.chunkLeaves(tensor())[2], given));
        postChunk(other);
        postChunk(chunk);
        assertStands(Phase.Chunk, Side.Challenger);
    }

    function test_pointElementRefusesAnotherChunkOrPlace() public {
        setTensor(0, 700, 0);
        reachChunk(1);
        bytes memory chunk = chunkAt(1);
        refused(abi.encodeWithSelector(ElementMoves.NotInChunk.selector, 1, 255));
        pointElement(255, chunk);
        refused(abi.encodeWithSelector(ElementMoves.NotInChunk.selector, 1, 512));
        pointElement(512, chunk);
        bytes32 given = keccak256(chunkAt(0));
        refused(abi.encodeWithSelector(Game.WrongHash.selector, Trees.chunkLeaves(tensor())[1], given));
        pointElement(256, chunkAt(0));
        refused(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 1023, 1024));
        pointElement(256, Trees.slice(chunk, 0, 1023));
        pointElement(511, chunk);
    }

    function test_pointerPastTheEndOfTheElements() public {
        setTensor(0, 700, 0);
        reachChunk(2);
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 700, 700));
        pointElement(700, chunkAt(2));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 700, type(uint64).max));
        pointElement(type(uint64).max, chunkAt(2));
        pointElement(699, chunkAt(2));
    }

    // ---- blocks ------------------------------------------------------------------------------------------------

    function reachBlocks(uint32 foldLength) private {
        setTensor(0, 2, foldLength);
        reachElement(1);
    }

    function values(uint256 entries) private pure returns (bytes memory packed) {
        for (uint256 i = 0; i < entries; ++i) {
            packed = bytes.concat(packed, bytes4(uint32(0x01020300 + i % 256)));
        }
    }

    function valueAt(uint256 i) private pure returns (uint32) {
        return uint32((i % 256) << 24 | 0x030201);
    }

    function assertUnit(uint8 kind, uint64 blockIndex, uint32 value) private view {
        assertStands(Phase.Judge, Side.Challenger);
        Dispute memory d = disputes.dispute(id);
        assertEq(d.unitKind, kind, "unit");
        assertEq(d.blockIndex, blockIndex, "block");
        assertEq(d.value, value, "value");
        assertEq(d.element, 1, "element");
    }

    function assertBlock(uint8 level, uint64 index) private view {
        assertStands(Phase.Blocks, Side.Defender);
        Dispute memory d = disputes.dispute(id);
        assertEq(d.blockLevel, level, "level");
        assertEq(d.blockIndex, index, "index");
    }

    function test_foldOf256HasNoBlocks() public {
        reachBlocks(256);
        assertUnit(UnitKind.ELEMENT, 0, claimed());
    }

    function test_foldOf257() public {
        reachBlocks(257);
        assertBlock(0, 0);
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 8, 4));
        postBlocks(values(1));
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 8, 9));
        postBlocks(bytes.concat(values(2), hex"00"));
        uint32 element = claimed();
        postBlocks(values(2));
        uint256 fork = vm.snapshotState();
        pointBlock(1, values(2));
        assertUnit(UnitKind.LEAF, 1, valueAt(1));
        vm.revertToState(fork);
        pointBlock(TOP, values(2));
        assertUnit(UnitKind.TOP, 0, element);
    }

    function test_foldOf65536IsOneList() public {
        reachBlocks(65_536);
        uint32 element = claimed();
        postBlocks(values(256));
        uint256 fork = vm.snapshotState();
        pointBlock(255, values(256));
        assertUnit(UnitKind.LEAF, 255, valueAt(255));
        vm.revertToState(fork);
        pointBlock(TOP, values(256));
        assertUnit(UnitKind.TOP, 0, element);
    }

    function test_foldOf65537HasTwoLevels() public {
        reachBlocks(65_537);
        postBlocks(values(2));
        uint256 fork = vm.snapshotState();
        // the second block of level 2 is made of one leaf block, whose value passed unchanged
        pointBlock(1, values(2));
        assertUnit(UnitKind.LEAF, 256, valueAt(1));
        vm.revertToState(fork);
        pointBlock(0, values(2));
        assertBlock(2, 0);
        refused(abi.encodeWithSelector(Game.WrongCount.selector, 1024, 1028));
        postBlocks(values(257));
        postBlocks(values(256));
        fork = vm.snapshotState();
        pointBlock(TOP, values(256));
        assertUnit(UnitKind.COMBINE, 0, valueAt(0));
        vm.revertToState(fork);
        pointBlock(255, values(256));
        assertUnit(UnitKind.LEAF, 255, valueAt(255));
    }

    function test_foldOf65793HasAShortLastBlock() public {
        reachBlocks(65_536 + 257); // 258 leaf blocks
        postBlocks(values(2));
        pointBlock(1, values(2));
        assertBlock(2, 1);
        postBlocks(values(2));
        uint256 fork = vm.snapshotState();
        pointBlock(TOP, values(2));
        assertUnit(UnitKind.COMBINE, 1, valueAt(1));
        vm.revertToState(fork);
        pointBlock(1, values(2));
        assertUnit(UnitKind.LEAF, 257, valueAt(1));
    }

    function test_foldOf16777217PassesTwoLevelsOfOneChild() public {
        reachBlocks(16_777_217); // 65,537 leaf blocks, 257 of level 2, 2 of level 3
        postBlocks(values(2));
        uint256 fork = vm.snapshotState();
        pointBlock(1, values(2));
        assertUnit(UnitKind.LEAF, 65_536, valueAt(1));
        vm.revertToState(fork);
        pointBlock(0, values(2));
        assertBlock(3, 0);
        postBlocks(values(256));
        pointBlock(200, values(256));
        assertBlock(2, 200);
        postBlocks(values(256));
        pointBlock(7, values(256));
        assertUnit(UnitKind.LEAF, 51_207, valueAt(7));
    }

    function test_theLongestFold() public {
        reachBlocks(type(uint32).max);
        postBlocks(values(256));
        pointBlock(255, values(256));
        assertBlock(3, 255);
        postBlocks(values(256));
        pointBlock(255, values(256));
        assertBlock(2, 65_535);
        postBlocks(values(256));
        pointBlock(255, values(256));
        assertUnit(UnitKind.LEAF, 16_777_215, valueAt(255));
    }

    function test_pointBlockRefusesOtherValues() public {
        reachBlocks(513);
        postBlocks(values(3));
        bytes memory other = values(4);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, keccak256(values(3)), keccak256(other)));
        pointBlock(1, other);
        refused(abi.encodeWithSelector(Game.WrongHash.selector, keccak256(values(3)), keccak256(other)));
        pointBlock(TOP, other);
    }

    function test_pointerPastTheEndOfTheBlocks() public {
        reachBlocks(513);
        postBlocks(values(3));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, 3));
        pointBlock(3, values(3));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 3, TOP - 1));
        pointBlock(TOP - 1, values(3));
    }

    function test_pointerPastTheEndOfTheShortBlock() public {
        reachBlocks(65_536 + 257);
        postBlocks(values(2));
        pointBlock(1, values(2));
        postBlocks(values(2));
        refused(abi.encodeWithSelector(Game.PastTheEnd.selector, 2, 2));
        pointBlock(2, values(2));
    }
}
