// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Gather, Node, Operand} from "@ir/Program.sol";
import {ChunkDecoder} from "./ChunkDecoder.sol";
import {Float32} from "./Float32.sol";
import {LeafFold} from "./LeafFold.sol";
import {OperandProof} from "./OperandProof.sol";
import {OperandReader} from "./OperandReader.sol";
import {ScalarVm} from "./ScalarVm.sol";
import {IReferee, Inputs, OperandWitness, Unit} from "./interfaces/IReferee.sol";

/// Recomputes one unit of one node, bit by bit as docs/protocol.md, section 2, defines it. Holds no state and no privileges.
///
///     node ─compile─► body, combine, finish ─┐
///     witness ─prove─► operand readers ──────┴─► leaf block ─► accumulator ─► combine ─► finish ─► stored element
contract Referee is IReferee {
    uint256 private constant ELEMENT = 0;
    uint256 private constant LEAF = 1;
    uint256 private constant COMBINE = 2;
    uint256 private constant TOP = 3;
    /// Children of every tree of values, and terms of a leaf block.
    uint256 private constant BLOCK = 256;
    uint256 private constant MAX_OPERANDS = 16;

    /// A unit being judged, in memory.
    struct Work {
        uint256 kind;
        /// Length of the fold; 0 for a map.
        uint256 length;
        LeafFold.Fold fold;
        ScalarVm.Program finish;
    }

    /// @inheritdoc IReferee
    function version() external pure returns (uint32) {
        return 1;
    }

    /// @inheritdoc IReferee
    function recompute(
        bytes calldata node,
        Inputs calldata inputs,
        Unit calldata unit,
        bytes calldata values,
        OperandWitness[] calldata witness
    ) external pure returns (uint32 bits) {
        Node calldata n = decode(node);
        Work memory work = plan(n, unit);
        compile(n, work);
        OperandReader.Reader[] memory readers = openReaders(n, work, inputs, witness);
        uint256 acc;
        if (work.kind == COMBINE || work.kind == TOP) {
            acc = combineAll(work, values);
        } else {
            if (values.length != 0) revert NotJudgeable("this kind of unit takes no values");
            if (work.length != 0) acc = LeafFold.leaf(work.fold, readers);
        }
        if (work.kind == LEAF || work.kind == COMBINE) return uint32(acc);
        return uint32(store(n.dtype, finishElement(work, readers, acc)));
    }

    // ----------------------------------------------------------------------------------------------------- planning

    /// The structure inside `abi.encode(Node)`. Offsets in it are checked where they are followed.
    function decode(bytes calldata node) private pure returns (Node calldata n) {
        if (node.length < 32 || uint256(bytes32(node[:32])) != 32) revert NotJudgeable("not an encoded node");
        assembly ("memory-safe") {
            n := add(node.offset, 32)
        }
    }

    /// Checks that the unit exists in the node, and places it: coordinates of the element, part of the fold.
    function plan(Node calldata n, Unit calldata unit) private pure returns (Work memory work) {
        uint256 elements = OperandProof.product(n.shape);
        if (OperandProof.product(n.domain) != elements) {
            revert NotJudgeable("the domain has as many elements as the shape");
        }
        if (unit.element >= elements) revert NotJudgeable("the element is not in the tensor");
        if (n.operands.length > MAX_OPERANDS) revert NotJudgeable("at most 16 operands");
        if (n.order > 1) revert NotJudgeable("unknown order");
        work.kind = unit.kind;
        work.length = n.fold.length == 0 ? 0 : OperandProof.product(n.fold);
        work.fold.init = n.init;
        work.fold.lanes = n.order == 1;
        OperandReader.Place memory place = work.fold.place;
        place.frame = ScalarVm.newFrame();
        place.coords = n.domain.length;
        place.fold = n.fold;
        for (uint256 f = 0; f < n.fold.length; ++f) {
            if (n.fold[f] != 1) place.inner = f;
        }
        place.endK = 1;
        if (work.kind == ELEMENT) {
            if (work.length > BLOCK) revert NotJudgeable("an element of a longer fold is judged block by block");
            if (work.length != 0) place.endK = work.length;
        } else if (work.kind == LEAF) {
            if (work.length <= BLOCK) revert NotJudgeable("a fold of one block is judged as an element");
            place.firstK = uint256(unit.blockIndex) * BLOCK;
            if (place.firstK >= work.length) revert NotJudgeable("the block is not in the fold");
            place.endK = place.firstK + BLOCK < work.length ? place.firstK + BLOCK : work.length;
        } else if (work.kind == COMBINE) {
            if (work.length <= BLOCK * BLOCK) revert NotJudgeable("a fold of up to 65536 has no inner combine");
        } else if (work.kind == TOP) {
            if (work.length <= BLOCK) revert NotJudgeable("a fold of one block has no top");
        } else {
            revert NotJudgeable("unknown kind of unit");
        }
        factorInto(place.frame + ScalarVm.COORDS, n.domain, unit.element);
    }

    /// Compiles the programs that the unit runs.
    function compile(Node calldata n, Work memory work) private pure {
        LeafFold.Fold memory fold = work.fold;
        uint256 table = ScalarVm.handlers();
        fold.table = table;
        uint256 frame = fold.place.frame;
        ScalarVm.Inputs memory may;
        bool runsBody = work.length != 0 && (work.kind == ELEMENT || work.kind == LEAF);
        if (runsBody) {
            may.acc = true;
            may.fold = true;
            may.operands = n.operands.length;
            may.coords = n.domain.length;
            may.factors = n.fold.length;
            fold.body = ScalarVm.compile(n.body, frame, table, may);
        }
        if (work.kind == COMBINE || work.kind == TOP || (runsBody && fold.lanes)) {
            ScalarVm.Inputs memory two;
            two.acc = true;
            two.rhs = true;
            fold.combine = ScalarVm.compile(n.combine, frame, table, two);
        }
        if (work.kind == ELEMENT || work.kind == TOP) {
            may.acc = work.length != 0;
            may.fold = false;
            may.factors = 0;
            may.operands = n.operands.length;
            may.coords = n.domain.length;
            work.finish = ScalarVm.compile(n.finish, frame, table, may);
        }
    }

    /// Opens the operands that the programs load, and those that these gather through.
    function openReaders(Node calldata n, Work memory work, Inputs calldata inputs, OperandWitness[] calldata witness)
        private
        pure
        returns (OperandReader.Reader[] memory readers)
    {
        Operand[] calldata operands = n.operands;
        uint256 count = operands.length;
        if (witness.length != count) revert NotJudgeable("one witness per operand");
        uint256 loads = work.fold.body.loads | work.finish.loads;
        uint256 through = 0;
        uint256 gathering = 0;
        for (uint256 i = 0; i < count; ++i) {
            Gather[] calldata gathers = operands[i].gathers;
            if (gathers.length == 0) continue;
            gathering |= 1 << i;
            if ((loads >> i) & 1 == 0) continue;
            for (uint256 g = 0; g < gathers.length; ++g) {
                through |= 1 << gathers[g].operand;
            }
        }
        // those that are gathered through come first, and none of them may gather itself
        if (through & gathering != 0 || (through | loads) >> count != 0) {
            revert NotJudgeable("a gather goes through an operand without gathers");
        }
        readers = new OperandReader.Reader[](count);
        for (uint256 i = 0; i < count; ++i) {
            if ((((through | loads) & ~gathering) >> i) & 1 == 1) {
                readers[i] = OperandProof.open(operands[i], i, work.fold.place, readers, inputs, witness[i]);
            }
        }
        for (uint256 i = 0; i < count; ++i) {
            if (((loads & gathering) >> i) & 1 == 1) {
                readers[i] = OperandProof.open(operands[i], i, work.fold.place, readers, inputs, witness[i]);
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------ running

    /// `combine` over packed little-endian values, ascending, from the first.
    function combineAll(Work memory work, bytes calldata values) private pure returns (uint256) {
        uint256 count = values.length / 4;
        if (values.length % 4 != 0 || count == 0 || count > BLOCK) revert NotJudgeable("1 to 256 values of 4 bytes");
        return LeafFold.values(work.fold, ChunkDecoder.packed(values), count);
    }

    function finishElement(Work memory work, OperandReader.Reader[] memory readers, uint256 acc)
        private
        pure
        returns (uint256)
    {
        OperandReader.Place memory place = work.fold.place;
        put(place.frame + ScalarVm.ACC, acc);
        // operands of `finish` are read where all factors are 0
        OperandReader.setFactors(place, 0);
        uint256 loads = work.finish.loads;
        uint256 slot = place.frame + ScalarVm.OPERANDS;
        for (uint256 i = 0; loads != 0; ++i) {
            if (loads & 1 == 1) {
                (uint256 value,) = OperandReader.one(readers[i], place);
                put(slot, value);
            }
            loads >>= 1;
            slot += 32;
        }
        return ScalarVm.run(work.finish);
    }

    /// The stored bits of a value, zero-extended.
    function store(uint256 dtype, uint256 value) private pure returns (uint256) {
        if (dtype == 0) return Float32.canonical(value);
        if (dtype < 3) return value;
        if (dtype == 4) return Float32.toBf16(value);
        if (dtype != 3) revert NotJudgeable("unknown element type");
        int256 wide;
        assembly ("memory-safe") {
            wide := signextend(3, value)
        }
        if (wide > 127) return 0x7f;
        return wide < -128 ? 0x80 : value & 0xff;
    }

    // ------------------------------------------------------------------------------------------------------ helpers

    /// Row-major factoring of a linear index, written as one word per factor.
    function factorInto(uint256 address_, uint32[] calldata factors, uint256 index) private pure {
        for (uint256 f = factors.length; f > 0; --f) {
            put(address_ + (f - 1) * 32, index % factors[f - 1]);
            index /= factors[f - 1];
        }
    }

    function put(uint256 address_, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(address_, value)
        }
    }
}
