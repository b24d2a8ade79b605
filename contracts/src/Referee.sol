// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Op} from "@ir/Op.sol";
import {Node, Operand} from "@ir/Program.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {DotProduct} from "./DotProduct.sol";
import {Float32} from "./Float32.sol";
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
    uint256 private constant LANES = 16;
    uint256 private constant MAX_OPERANDS = 16;

    /// A unit being judged, in memory.
    struct Work {
        uint256 kind;
        /// Length of the fold; 0 for a map.
        uint256 length;
        uint256 init;
        bool lanes;
        /// Handlers of scalar instructions.
        uint256 table;
        OperandReader.Place place;
        ScalarVm.Program body;
        ScalarVm.Program combine;
        ScalarVm.Program finish;
        /// What the body reads: operands that can leave out a `k`, tested before anything else is read; those that every
        /// application reads anew; those that the first one reads for all.
        OperandReader.Reader[] gates;
        OperandReader.Reader[] moving;
        OperandReader.Reader[] fixed_;
        OperandReader.Reader[] finishing;
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
            if (work.length != 0) acc = work.lanes ? foldLanes(work) : foldChain(work, readers);
        }
        if (work.kind == LEAF || work.kind == COMBINE) return uint32(acc);
        return uint32(store(n.dtype, finishElement(work, acc)));
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
        uint256 elements = OperandReader.product(n.shape);
        if (OperandReader.product(n.domain) != elements) {
            revert NotJudgeable("the domain has as many elements as the shape");
        }
        if (unit.element >= elements) revert NotJudgeable("the element is not in the tensor");
        if (n.operands.length > MAX_OPERANDS) revert NotJudgeable("at most 16 operands");
        if (n.order > 1) revert NotJudgeable("unknown order");
        work.kind = unit.kind;
        work.length = n.fold.length == 0 ? 0 : OperandReader.product(n.fold);
        work.init = n.init;
        work.lanes = n.order == 1;
        OperandReader.Place memory place = work.place;
        place.frame = ScalarVm.newFrame();
        place.coords = n.domain.length;
        place.factors = n.fold.length;
        place.fold = n.fold;
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
        uint256 table = ScalarVm.handlers();
        work.table = table;
        uint256 frame = work.place.frame;
        ScalarVm.Inputs memory may;
        bool runsBody = work.length != 0 && (work.kind == ELEMENT || work.kind == LEAF);
        if (runsBody) {
            may.acc = true;
            may.fold = true;
            may.operands = n.operands.length;
            may.coords = n.domain.length;
            may.factors = n.fold.length;
            work.body = ScalarVm.compile(n.body, frame, table, may);
        }
        if (work.kind == COMBINE || work.kind == TOP || (runsBody && work.lanes)) {
            ScalarVm.Inputs memory two;
            two.acc = true;
            two.rhs = true;
            work.combine = ScalarVm.compile(n.combine, frame, table, two);
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
        uint256 count = n.operands.length;
        if (witness.length != count) revert NotJudgeable("one witness per operand");
        uint256 loads = work.body.loads | work.finish.loads;
        uint256 all = loads;
        for (uint256 i = 0; i < count; ++i) {
            if ((loads >> i) & 1 == 0) continue;
            Operand calldata operand = n.operands[i];
            for (uint256 g = 0; g < operand.gathers.length; ++g) {
                uint256 through = operand.gathers[g].operand;
                if (through >= count || n.operands[through].gathers.length != 0) {
                    revert NotJudgeable("a gather goes through an operand without gathers");
                }
                all |= 1 << through;
            }
        }
        readers = new OperandReader.Reader[](count);
        for (uint256 i = 0; i < count; ++i) {
            if ((all >> i) & 1 == 1 && n.operands[i].gathers.length == 0) {
                readers[i] = openReader(n, i, work.place, readers, inputs, witness[i]);
            }
        }
        for (uint256 i = 0; i < count; ++i) {
            if ((loads >> i) & 1 == 1 && n.operands[i].gathers.length != 0) {
                readers[i] = openReader(n, i, work.place, readers, inputs, witness[i]);
            }
        }
        sort(work, readers);
    }

    function openReader(
        Node calldata n,
        uint256 i,
        OperandReader.Place memory place,
        OperandReader.Reader[] memory readers,
        Inputs calldata inputs,
        OperandWitness calldata witness
    ) private pure returns (OperandReader.Reader memory) {
        // an operand that only reads out of bounds needs no proof: any read in bounds misses its chunk
        if (witness.chunks.length != 0) proveRoot(n.operands[i], i, inputs, witness);
        return OperandReader.open(n.operands[i], i, place, readers, witness);
    }

    /// Splits the readers by when they are needed.
    function sort(Work memory work, OperandReader.Reader[] memory readers) private pure {
        uint256 count = readers.length;
        work.gates = new OperandReader.Reader[](count);
        work.moving = new OperandReader.Reader[](count);
        work.fixed_ = new OperandReader.Reader[](count);
        work.finishing = new OperandReader.Reader[](count);
        uint256 gates = 0;
        uint256 moving = 0;
        uint256 fixed_ = 0;
        uint256 finishing = 0;
        for (uint256 i = 0; i < count; ++i) {
            OperandReader.Reader memory reader = readers[i];
            if ((work.finish.loads >> i) & 1 == 1) work.finishing[finishing++] = reader;
            if ((work.body.loads >> i) & 1 == 0) continue;
            // a linear reader is always inside
            if (reader.skip && !reader.linear) work.gates[gates++] = reader;
            else if (reader.fixed_) work.fixed_[fixed_++] = reader;
            else work.moving[moving++] = reader;
        }
        shorten(work.gates, gates);
        shorten(work.moving, moving);
        shorten(work.fixed_, fixed_);
        shorten(work.finishing, finishing);
    }

    function shorten(OperandReader.Reader[] memory list, uint256 count) private pure {
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }

    /// The operand's tensor stands where its source says.
    function proveRoot(Operand calldata operand, uint256 i, Inputs calldata inputs, OperandWitness calldata witness)
        private
        pure
    {
        (bytes32 root, uint256 count) = (inputs.stateRoot, inputs.stateCount);
        if (operand.source == 1) (root, count) = (inputs.dataRoot, inputs.dataCount);
        else if (operand.source == 2) (root, count) = (inputs.traceRoot, inputs.nodeCount);
        else if (operand.source != 0) revert NotJudgeable("unknown source of an operand");
        if (operand.index >= count) revert WrongOperandRoot(i);
        uint256 depth = ChunkTree.depth(count);
        if (witness.rootProof.length != depth) revert WrongOperandRoot(i);
        bytes32 leaf = keccak256(abi.encode(operand.dtype, operand.shape, witness.merkleRoot));
        if (!ChunkTree.verify(root, depth, operand.index, leaf, witness.rootProof)) revert WrongOperandRoot(i);
    }

    // ------------------------------------------------------------------------------------------------------ folding

    /// The block with one accumulator.
    function foldChain(Work memory work, OperandReader.Reader[] memory readers) private pure returns (uint256 acc) {
        OperandReader.Place memory place = work.place;
        (bool dot, uint256 a, uint256 b) = asDot(work, readers);
        if (dot) return DotProduct.fold(work.init, readers[a], readers[b], place.firstK, place.endK);
        ScalarVm.Program memory body = work.body;
        uint256 frame = place.frame; // and the accumulator's address
        beginFold(place);
        acc = work.init;
        unchecked {
            for (uint256 k = place.endK - place.firstK; k > 0; --k) {
                if (load(work)) {
                    put(frame, acc);
                    acc = ScalarVm.run(body);
                }
                advance(place);
            }
        }
    }

    /// Whether the body is `fma(operand a, operand b, acc)` and both can be read in the short way.
    function asDot(Work memory work, OperandReader.Reader[] memory readers)
        private
        pure
        returns (bool dot, uint256 a, uint256 b)
    {
        uint256 frame = work.place.frame;
        uint256 c;
        (dot, a, b, c) = ScalarVm.only(work.body, work.table, Op.FMA);
        if (!dot || c != frame + ScalarVm.ACC) return (false, 0, 0);
        unchecked {
            // from addresses to numbers; any other input or constant gives a large one
            a = (a - frame - ScalarVm.OPERANDS) >> 5;
            b = (b - frame - ScalarVm.OPERANDS) >> 5;
        }
        dot = a < readers.length && b < readers.length && DotProduct.fits(readers[a]) && DotProduct.fits(readers[b]);
    }

    /// The block with 16 accumulators, then their halving.
    function foldLanes(Work memory work) private pure returns (uint256) {
        uint256 frame = work.place.frame;
        beginFold(work.place);
        uint256[16] memory lanes;
        unchecked {
            for (uint256 i = 0; i < LANES; ++i) {
                lanes[i] = work.init;
            }
            for (uint256 k = work.place.firstK; k < work.place.endK; ++k) {
                if (load(work)) {
                    put(frame + ScalarVm.ACC, lanes[k % LANES]);
                    lanes[k % LANES] = ScalarVm.run(work.body);
                }
                advance(work.place);
            }
            for (uint256 half = LANES / 2; half != 0; half /= 2) {
                for (uint256 i = 0; i < half; ++i) {
                    put(frame + ScalarVm.ACC, lanes[i]);
                    put(frame + ScalarVm.RHS, lanes[i + half]);
                    lanes[i] = ScalarVm.run(work.combine);
                }
            }
        }
        return lanes[0];
    }

    /// Puts the fold's counters at the unit's first `k`.
    function beginFold(OperandReader.Place memory place) private pure {
        put(place.frame + ScalarVm.K, place.firstK);
        uint256 rest = place.firstK;
        for (uint256 f = place.factors; f > 0; --f) {
            put(place.frame + ScalarVm.FACTORS + (f - 1) * 32, rest % place.fold[f - 1]);
            rest /= place.fold[f - 1];
        }
    }

    /// The next `k`: row-major, the last factor fastest.
    function advance(OperandReader.Place memory place) private pure {
        uint256 frame = place.frame;
        uint32[] memory fold = place.fold;
        uint256 last = place.factors;
        assembly ("memory-safe") {
            mstore(add(frame, 0x40), add(mload(add(frame, 0x40)), 1))
            frame := add(frame, 0x60)
            for {} last {} {
                let value := add(mload(add(frame, shl(5, sub(last, 1)))), 1)
                if lt(value, mload(add(fold, shl(5, last)))) {
                    mstore(add(frame, shl(5, sub(last, 1))), value)
                    break
                }
                last := sub(last, 1)
                mstore(add(frame, shl(5, last)), 0)
            }
        }
    }

    /// Reads what the body loads into the frame; false if this `k` is left out.
    function load(Work memory work) private pure returns (bool) {
        OperandReader.Reader[] memory readers = work.gates;
        if (readers.length != 0) {
            for (uint256 i = 0; i < readers.length; ++i) {
                uint256 index = OperandReader.locate(readers[i]);
                if (index == OperandReader.NOT_FOUND) return false;
                readers[i].index = index;
            }
            for (uint256 i = 0; i < readers.length; ++i) {
                put(readers[i].slot, OperandReader.fetch(readers[i], readers[i].index));
            }
        }
        readAll(work.moving);
        readers = work.fixed_;
        if (readers.length != 0) {
            readAll(readers);
            shorten(readers, 0);
        }
        return true;
    }

    function readAll(OperandReader.Reader[] memory readers) private pure {
        if (readers.length == 0) return;
        uint256 next;
        uint256 end;
        // set at once: declaring it alone would allocate one
        OperandReader.Reader memory reader = readers[0];
        assembly ("memory-safe") {
            next := add(readers, 0x20)
            end := add(next, shl(5, mload(readers)))
        }
        while (next < end) {
            assembly ("memory-safe") {
                reader := mload(next)
                next := add(next, 0x20)
            }
            uint256 value = OperandReader.read(reader);
            assembly ("memory-safe") {
                mstore(mload(reader), value)
            }
        }
    }

    /// `combine` over packed little-endian values, ascending, from the first.
    function combineAll(Work memory work, bytes calldata values) private pure returns (uint256 acc) {
        uint256 count = values.length / 4;
        if (values.length % 4 != 0 || count == 0 || count > BLOCK) revert NotJudgeable("1 to 256 values of 4 bytes");
        uint256 frame = work.place.frame;
        acc = valueAt(values, 0);
        for (uint256 i = 1; i < count; ++i) {
            put(frame + ScalarVm.ACC, acc);
            put(frame + ScalarVm.RHS, valueAt(values, i));
            acc = ScalarVm.run(work.combine);
        }
    }

    function finishElement(Work memory work, uint256 acc) private pure returns (uint256) {
        uint256 frame = work.place.frame;
        put(frame + ScalarVm.ACC, acc);
        // operands of `finish` are read where all factors are 0
        for (uint256 f = 0; f < work.place.factors; ++f) {
            put(frame + ScalarVm.FACTORS + f * 32, 0);
        }
        readAll(work.finishing);
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

    function valueAt(bytes calldata values, uint256 i) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(values.offset, shl(2, i)))
            value := or(
                or(byte(0, value), shl(8, byte(1, value))),
                or(shl(16, byte(2, value)), shl(24, byte(3, value)))
            )
        }
    }

    function put(uint256 address_, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(address_, value)
        }
    }
}
