// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Op} from "@ir/Op.sol";
import {Gather, Node, Operand} from "@ir/Program.sol";
import {ChunkTree} from "../src/ChunkTree.sol";
import {Referee} from "../src/Referee.sol";
import {ScalarVm} from "../src/ScalarVm.sol";
import {ChunkWitness, IReferee, Inputs, OperandWitness, Unit} from "../src/interfaces/IReferee.sol";
import {Test} from "./Test.sol";

/// Named units and refusals. That every kind of node agrees with the reference evaluator is shown in tests/referee.rs.
contract RefereeTest is Test {
    Referee private referee = new Referee();

    /// Values of the two state tensors: `x` of 12 numbers (u32 or any 4-byte type) and `y` of 300.
    uint32[] private x;
    uint32[] private y;

    function setUp() public {
        for (uint32 i = 0; i < 12; ++i) {
            x.push(10 + i);
        }
        for (uint32 i = 0; i < 300; ++i) {
            y.push(1000 + i);
        }
    }

    // ---------------------------------------------------------------------------------------------------- building

    function word(uint8 op, uint16 a, uint16 b, uint16 c) private pure returns (bytes memory) {
        return abi.encodePacked(op, uint8(0), a, b, c);
    }

    function shapeOf(uint256 a) private pure returns (uint32[] memory shape) {
        shape = new uint32[](1);
        shape[0] = uint32(a);
    }

    function shapeOf(uint256 a, uint256 b) private pure returns (uint32[] memory shape) {
        shape = new uint32[](2);
        shape[0] = uint32(a);
        shape[1] = uint32(b);
    }

    function row(int64 offset, int64 o, int64 k) private pure returns (int64[] memory access) {
        access = new int64[](3);
        (access[0], access[1], access[2]) = (offset, o, k);
    }

    function littleEndian(uint32[] memory values) private pure returns (bytes memory bytes_) {
        bytes_ = new bytes(values.length * 4);
        for (uint256 i = 0; i < values.length; ++i) {
            for (uint256 j = 0; j < 4; ++j) {
                bytes_[4 * i + j] = bytes1(uint8(values[i] >> (8 * j)));
            }
        }
    }

    /// One operand over one of the two tensors, seen as a list.
    function operand(uint256 tensor, int64[] memory access) private view returns (Operand memory op) {
        op.index = uint32(tensor);
        op.dtype = 2;
        op.shape = shapeOf(tensor == 0 ? x.length : y.length);
        op.viewShape = op.shape;
        op.access = access;
    }

    /// `Σ x[k + o] * y[k]` for k < length, as u32; 3 elements.
    function dot(uint256 length) private view returns (Node memory n) {
        n.dtype = 2;
        n.shape = shapeOf(3);
        n.domain = n.shape;
        n.fold = shapeOf(length);
        n.accType = 2;
        n.operands = new Operand[](2);
        n.operands[0] = operand(0, row(0, 1, 1));
        n.operands[1] = operand(1, row(0, 0, 1));
        n.body = bytes.concat(
            word(Op.ACC, 0, 0, 0),
            word(Op.LOAD, 0, 0, 0),
            word(Op.LOAD, 1, 0, 0),
            word(Op.MUL, 1, 2, 0),
            word(Op.ADD, 0, 3, 0)
        );
        n.finish = word(Op.ACC, 0, 0, 0);
        n.combine = bytes.concat(word(Op.ACC, 0, 0, 0), word(Op.RHS, 0, 0, 0), word(Op.ADD, 0, 1, 0));
    }

    /// `y` as `shape`, in two chunks.
    function chunkOf(uint256 tensor, uint256 index) private view returns (bytes memory data) {
        bytes memory all = littleEndian(tensor == 0 ? x : y);
        uint256 start = index * 1024;
        uint256 length = all.length - start < 1024 ? all.length - start : 1024;
        data = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            data[i] = all[start + i];
        }
    }

    function leafOf(bytes memory data) private pure returns (bytes32) {
        return keccak256(bytes.concat(data, new bytes(1024 - data.length)));
    }

    function merkleRoot(uint256 tensor) private view returns (bytes32) {
        if (tensor == 0) return leafOf(chunkOf(0, 0));
        return ChunkTree.pair(leafOf(chunkOf(1, 0)), leafOf(chunkOf(1, 1)));
    }

    function tensorRoot(uint256 tensor) private view returns (bytes32) {
        return ChunkTree.tensorRoot(2, shapeOf(tensor == 0 ? x.length : y.length), merkleRoot(tensor));
    }

    /// Both tensors in the state.
    function inputs() private view returns (Inputs memory roots) {
        roots.stateRoot = ChunkTree.pair(tensorRoot(0), tensorRoot(1));
        roots.stateCount = 2;
    }

    /// All chunks of both tensors.
    function witness() private view returns (OperandWitness[] memory w) {
        w = new OperandWitness[](2);
        for (uint256 t = 0; t < 2; ++t) {
            w[t].merkleRoot = merkleRoot(t);
            w[t].rootProof = new bytes32[](1);
            w[t].rootProof[0] = tensorRoot(1 - t);
            uint256 chunks = t == 0 ? 1 : 2;
            w[t].chunks = new ChunkWitness[](chunks);
            for (uint256 c = 0; c < chunks; ++c) {
                w[t].chunks[c].index = uint64(c);
                w[t].chunks[c].data = chunkOf(t, c);
                w[t].chunks[c].proof = new bytes32[](chunks - 1);
                if (chunks == 2) w[t].chunks[c].proof[0] = leafOf(chunkOf(t, 1 - c));
            }
        }
    }

    function judge(Node memory n, uint8 kind, uint64 element, uint64 block_, bytes memory values)
        private
        view
        returns (uint32)
    {
        return referee.recompute(abi.encode(n), inputs(), Unit(kind, element, block_), values, witness());
    }

    // ------------------------------------------------------------------------------------------------------- units

    function test_element_of_a_short_fold() public view {
        uint32 expected = 0;
        for (uint32 k = 0; k < 10; ++k) {
            expected += (10 + k + 2) * (1000 + k);
        }
        assertEq(judge(dot(10), 0, 2, 0, ""), expected);
    }

    function test_out_of_bounds_reads_fill_or_skips() public view {
        // element 2 reads x[2..14], of which x[12] and x[13] do not exist
        Node memory n = dot(12);
        uint32 inside = 0;
        for (uint32 k = 0; k < 10; ++k) {
            inside += (10 + k + 2) * (1000 + k);
        }
        assertEq(judge(n, 0, 2, 0, ""), inside);
        n.operands[0].fill = 5;
        assertEq(judge(n, 0, 2, 0, ""), inside + 5 * 1010 + 5 * 1011);
        n.operands[0].skip = true;
        assertEq(judge(n, 0, 2, 0, ""), inside);
    }

    function test_negative_coordinates_are_out_of_bounds() public view {
        Node memory n = dot(4);
        n.operands[0].access = row(-2, 0, 1);
        n.operands[0].fill = 100;
        assertEq(judge(n, 0, 0, 0, ""), 100 * 1000 + 100 * 1001 + 10 * 1002 + 11 * 1003);
    }

    function test_leaf_blocks_of_a_long_fold() public view {
        Node memory n = dot(300);
        n.operands[0].access = row(3, 0, 0); // x[3] = 13, whatever k
        uint32 first = 0;
        uint32 second = 0;
        for (uint32 k = 0; k < 300; ++k) {
            k < 256 ? first += 13 * (1000 + k) : second += 13 * (1000 + k);
        }
        assertEq(judge(n, 1, 0, 0, ""), first);
        assertEq(judge(n, 1, 0, 1, ""), second);
        uint32[] memory blocks = new uint32[](2);
        (blocks[0], blocks[1]) = (first, second);
        assertEq(judge(n, 3, 0, 0, littleEndian(blocks)), first + second);
    }

    function test_every_block_starts_from_init() public view {
        Node memory n = dot(300);
        n.init = 7;
        n.body = bytes.concat(word(Op.ACC, 0, 0, 0), word(Op.LOAD, 1, 0, 0), word(Op.XOR, 0, 0, 0));
        assertEq(judge(n, 1, 0, 1, ""), 0); // acc xor acc
        n.body = word(Op.ACC, 0, 0, 0);
        assertEq(judge(n, 1, 0, 1, ""), 7);
    }

    function test_a_single_value_passes_combine_unchanged() public view {
        Node memory n = dot(300);
        uint32[] memory one = new uint32[](1);
        one[0] = 0xdeadbeef;
        assertEq(judge(n, 3, 0, 0, littleEndian(one)), 0xdeadbeef);
    }

    function test_lanes_of_one_element_combine_all_sixteen() public view {
        // init 1 in 16 lanes, one of them gets 1 + 1000; the sum has the 15 others
        Node memory n = dot(1);
        n.order = 1;
        n.init = 1;
        n.body = bytes.concat(word(Op.ACC, 0, 0, 0), word(Op.LOAD, 1, 0, 0), word(Op.ADD, 0, 1, 0));
        assertEq(judge(n, 0, 0, 0, ""), 1000 + 16);
    }

    function test_gather_goes_through_another_operand() public view {
        // out[o] = y[x[o] + 2]: x[1] = 11
        Node memory n = dot(1);
        n.fold = new uint32[](0);
        n.body = "";
        n.combine = "";
        n.operands[0].access = new int64[](2);
        n.operands[0].access[1] = 1;
        n.operands[1].access = new int64[](2);
        n.operands[1].access[0] = 2;
        n.operands[1].gathers = new Gather[](1);
        n.operands[1].gathers[0] = Gather(0, 0, 1);
        n.finish = word(Op.LOAD, 1, 0, 0);
        assertEq(judge(n, 0, 1, 0, ""), 1013);
        n.operands[1].gathers[0].stride = -1; // y[2 - 11]
        n.operands[1].fill = 42;
        assertEq(judge(n, 0, 1, 0, ""), 42);
    }

    function test_domain_and_view_are_other_factorings() public view {
        // shape [12] under domain [3,4]: out[i,j] = x seen as [4,3] at [j,i], a transposition
        Node memory n;
        n.dtype = 2;
        n.shape = shapeOf(12);
        n.domain = shapeOf(3, 4);
        n.operands = new Operand[](2);
        n.operands[0] = operand(0, new int64[](6));
        n.operands[0].viewShape = shapeOf(4, 3);
        n.operands[0].access[2] = 1; // dimension 0 is o1
        n.operands[0].access[4] = 1; // dimension 1 is o0
        n.operands[1] = operand(1, new int64[](3));
        n.finish = word(Op.LOAD, 0, 0, 0);
        // element 6 is o = [1,2], so x[2,1] of [4,3] = x[7]
        assertEq(judge(n, 0, 6, 0, ""), 17);
    }

    function test_stores_saturate_and_round() public view {
        Node memory n = dot(1);
        n.fold = new uint32[](0);
        n.body = "";
        n.combine = "";
        n.operands[0].access = new int64[](2);
        n.operands[1].access = new int64[](2);
        n.finish = abi.encodePacked(Op.CONST, uint8(1), uint16(0), int32(-129));
        n.dtype = 3;
        assertEq(judge(n, 0, 0, 0, ""), 0x80);
        n.finish = abi.encodePacked(Op.CONST, uint8(1), uint16(0), int32(128));
        assertEq(judge(n, 0, 0, 0, ""), 0x7f);
        n.finish = abi.encodePacked(Op.CONST, uint8(1), uint16(0), int32(-1));
        assertEq(judge(n, 0, 0, 0, ""), 0xff);
        n.dtype = 4;
        n.finish = abi.encodePacked(Op.CONST, uint8(0), uint16(0), uint32(0x3f818000));
        assertEq(judge(n, 0, 0, 0, ""), 0x3f82);
        n.dtype = 0;
        n.finish = abi.encodePacked(Op.CONST, uint8(0), uint16(0), uint32(0xffffffff));
        assertEq(judge(n, 0, 0, 0, ""), 0x7fc00000);
    }

    // --------------------------------------------------------------------------------------------------- refusals

    function refuse(Node memory n, Unit memory unit, bytes memory values, string memory rule) private {
        (bytes memory node, Inputs memory roots, OperandWitness[] memory w) = (abi.encode(n), inputs(), witness());
        vm.expectRevert(abi.encodeWithSelector(IReferee.NotJudgeable.selector, rule));
        referee.recompute(node, roots, unit, values, w);
    }

    function test_units_that_do_not_exist() public {
        refuse(dot(10), Unit(0, 3, 0), "", "the element is not in the tensor");
        refuse(dot(257), Unit(0, 0, 0), "", "an element of a longer fold is judged block by block");
        refuse(dot(256), Unit(1, 0, 0), "", "a fold of one block is judged as an element");
        refuse(dot(300), Unit(1, 0, 2), "", "the block is not in the fold");
        refuse(dot(300), Unit(2, 0, 0), "", "a fold of up to 65536 has no inner combine");
        refuse(dot(256), Unit(3, 0, 0), "", "a fold of one block has no top");
        refuse(dot(10), Unit(4, 0, 0), "", "unknown kind of unit");
        refuse(dot(10), Unit(0, 0, 0), hex"00000000", "this kind of unit takes no values");
        refuse(dot(300), Unit(3, 0, 0), "", "1 to 256 values of 4 bytes");
        refuse(dot(300), Unit(3, 0, 0), hex"0000000000", "1 to 256 values of 4 bytes");
        refuse(dot(300), Unit(3, 0, 0), new bytes(257 * 4), "1 to 256 values of 4 bytes");
    }

    function test_malformed_nodes() public {
        Node memory n = dot(10);
        n.domain = shapeOf(4);
        refuse(n, Unit(0, 0, 0), "", "the domain has as many elements as the shape");
        n = dot(10);
        n.operands[0].viewShape = shapeOf(11);
        refuse(n, Unit(0, 0, 0), "", "a view has as many elements as its tensor");
        n = dot(10);
        n.operands[0].access = new int64[](4);
        refuse(n, Unit(0, 0, 0), "", "access has one row per view dimension");
        n = dot(10);
        n.operands[0].source = 3;
        refuse(n, Unit(0, 0, 0), "", "unknown source of an operand");
        n = dot(10);
        n.order = 2;
        refuse(n, Unit(0, 0, 0), "", "unknown order");
        n = dot(10);
        n.dtype = 5;
        refuse(n, Unit(0, 0, 0), "", "unknown element type");
    }

    function test_programs_see_only_what_is_theirs() public {
        Node memory n = dot(300);
        n.combine = word(Op.LOAD, 0, 0, 0);
        (bytes memory node, Inputs memory roots, OperandWitness[] memory w) = (abi.encode(n), inputs(), witness());
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.ForbiddenInput.selector, 0, Op.LOAD, 0));
        referee.recompute(node, roots, Unit(3, 0, 0), new bytes(4), w);
        n = dot(10);
        n.finish = word(Op.K, 0, 0, 0);
        node = abi.encode(n);
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.ForbiddenInput.selector, 0, Op.K, 0));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
    }

    function test_unknown_instruction() public {
        Node memory n = dot(10);
        n.body = bytes.concat(n.body, word(0x1e, 0, 0, 0));
        (bytes memory node, Inputs memory roots, OperandWitness[] memory w) = (abi.encode(n), inputs(), witness());
        vm.expectRevert(abi.encodeWithSelector(ScalarVm.UnknownInstruction.selector, 5, 0x1e));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
    }

    function test_wrong_operand_root() public {
        (bytes memory node, Inputs memory roots, OperandWitness[] memory w) = (abi.encode(dot(10)), inputs(), witness());
        w[1].merkleRoot = keccak256("other");
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongOperandRoot.selector, 1));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
        w = witness();
        w[0].rootProof = new bytes32[](0);
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongOperandRoot.selector, 0));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
        roots.stateCount = 1; // operand 1 names tensor 1, which is not there
        w = witness();
        w[0].rootProof = new bytes32[](0);
        roots.stateRoot = tensorRoot(0);
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongOperandRoot.selector, 1));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
    }

    function test_wrong_chunk() public {
        (bytes memory node, Inputs memory roots, OperandWitness[] memory w) = (abi.encode(dot(10)), inputs(), witness());
        w[1].chunks[0].data[17] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongChunkProof.selector, 1, 0));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
        w = witness();
        w[1].chunks[1].index = 2;
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongChunkProof.selector, 1, 2));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
    }

    function test_padding_bytes_are_not_taken_from_the_witness() public {
        (bytes memory node, Inputs memory roots, OperandWitness[] memory w) = (abi.encode(dot(10)), inputs(), witness());
        w[0].chunks[0].data = bytes.concat(w[0].chunks[0].data, hex"00");
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongChunkLength.selector, 0, 0, 49, 48));
        referee.recompute(node, roots, Unit(0, 0, 0), "", w);
    }

    function test_missing_chunk() public {
        (bytes memory node, Inputs memory roots, OperandWitness[] memory w) =
            (abi.encode(dot(300)), inputs(), witness());
        w[1].chunks = new ChunkWitness[](1);
        w[1].chunks[0] = witness()[1].chunks[0];
        vm.expectRevert(abi.encodeWithSelector(IReferee.MissingChunk.selector, 1, 1));
        referee.recompute(node, roots, Unit(1, 0, 1), "", w);
    }

    function test_operands_not_read_need_no_witness() public view {
        Node memory n = dot(10);
        n.body = bytes.concat(word(Op.ACC, 0, 0, 0), word(Op.LOAD, 0, 0, 0), word(Op.ADD, 0, 1, 0));
        OperandWitness[] memory w = witness();
        delete w[1];
        assertEq(referee.recompute(abi.encode(n), inputs(), Unit(0, 0, 0), "", w), 145);
    }

    function test_one_witness_entry_per_operand() public {
        (bytes memory node, Inputs memory roots) = (abi.encode(dot(10)), inputs());
        vm.expectRevert(abi.encodeWithSelector(IReferee.NotJudgeable.selector, "one witness per operand"));
        referee.recompute(node, roots, Unit(0, 0, 0), "", new OperandWitness[](1));
    }

    function test_version_and_size() public view {
        assertEq(referee.version(), 1);
        assertTrue(address(referee).code.length <= 24576);
    }
}
