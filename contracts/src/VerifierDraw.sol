// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {WeightTree} from "./draw/WeightTree.sol";
import {IJobMarket} from "./interfaces/IJobMarket.sol";
import {IParameters, Values} from "./interfaces/IParameters.sol";
import {Account, IStakes} from "./interfaces/IStakes.sol";
import {Draw, DrawRequest, IVerifierDraw, Outcome, Seat, SeatStatus} from "./interfaces/IVerifierDraw.sol";

/// The L1 block that the rollup derives from, as OP Stack chains show it at a fixed address.
interface IL1Block {
    function number() external view returns (uint64);
    function hash() external view returns (bytes32);
}

/// Assigned verifiers; docs/protocol.md, section 4.
///
///   solver commits --> L1 block --> draw --> commit --> solver reveals --> reveal --> final: fee
///                                     \-> decline (redrawn once)       \-> concede  convicted: slashed or rewarded
contract VerifierDraw is IVerifierDraw {
    using WeightTree for WeightTree.Tree;

    error NotMarket(address caller, address market);
    error NotVerifier(address caller, address verifier);
    error WrongSeat(bytes32 key, uint256 seat, SeatStatus current);
    error UnknownDraw(bytes32 key);
    error AlreadyDrawn(bytes32 key);
    /// The L1 block that draws is not there yet.
    error TooEarly(uint64 l1Block, uint64 wanted);
    error TooLate(uint64 deadlineS);
    /// Verifiers may still commit, and would see the roots.
    error StillCommitting(uint64 commitEndS);
    error NotYetRevealed(bytes32 key);
    error WrongReveal(bytes32 expected, bytes32 given);
    /// Only another root than the solver's can be conceded.
    error NothingToConcede(bytes32 root);
    /// The claim is not final, convicted or void yet.
    error StillPending(bytes32 key);
    error NoSlotLeft(uint32 hardwareClass);
    error TooLittleStake(uint256 haveWei, uint256 needWei);
    error NotEnlisted(address verifier, uint32 hardwareClass);

    bytes32 public constant UNAVAILABLE = keccak256("lockstep: unavailable");
    /// L1 blocks between the commitment and the one that draws: nobody knows its hash then.
    uint64 public constant LOOKAHEAD = 2;
    /// Draws for one seat before it stays empty.
    uint256 private constant TRIES = 16;
    uint256 private constant BPS = 10_000;

    IStakes public immutable stakes;
    IJobMarket public immutable market;
    IParameters public immutable parameters;
    IL1Block public immutable l1;
    address public immutable treasury;

    mapping(uint32 hardwareClass => WeightTree.Tree) private _weights;
    mapping(uint32 hardwareClass => address[]) private _verifiers;
    /// One more than the slot; zero for who never enlisted.
    mapping(uint32 hardwareClass => mapping(address => uint256)) private _slots;
    mapping(uint32 hardwareClass => mapping(address => bool)) public listed;
    mapping(bytes32 key => Draw) private _draws;
    mapping(bytes32 key => Seat[]) private _seats;

    constructor(address stakes_, address market_, address parameters_, address l1_, address treasury_) {
        stakes = IStakes(stakes_);
        market = IJobMarket(market_);
        parameters = IParameters(parameters_);
        l1 = IL1Block(l1_);
        treasury = treasury_;
    }

    // ---- the list ----------------------------------------------------------------------------------------------

    function enlist(uint32 hardwareClass, bool on) external {
        if (on) {
            uint256 needWei = parameters.valuesOf(parameters.current()).minVerifierStakeWei;
            uint256 haveWei = stakes.freeStakeWei(msg.sender);
            if (haveWei < needWei) revert TooLittleStake(haveWei, needWei);
            if (_slots[hardwareClass][msg.sender] == 0) {
                address[] storage all = _verifiers[hardwareClass];
                if (all.length == WeightTree.SLOTS) revert NoSlotLeft(hardwareClass);
                all.push(msg.sender);
                _slots[hardwareClass][msg.sender] = all.length;
            }
        }
        listed[hardwareClass][msg.sender] = on;
        sync(msg.sender, hardwareClass);
    }

    function sync(address verifier, uint32 hardwareClass) public {
        uint256 slot = _slots[hardwareClass][verifier];
        if (slot == 0) revert NotEnlisted(verifier, hardwareClass);
        Account memory a = stakes.account(verifier);
        uint256 weightWei = listed[hardwareClass][verifier] ? a.stakeWei - a.unbondingWei : 0;
        _weights[hardwareClass].set(slot - 1, uint208(weightWei));
        emit Enlisted(verifier, hardwareClass, slot - 1, weightWei);
    }

    // ---- the draw ----------------------------------------------------------------------------------------------

    function request(bytes32 key, DrawRequest calldata r) external {
        _checkMarket();
        Draw storage d = _draws[key];
        if (d.snapshotS != 0) {
            // committed, taken back and committed again: the same verifiers, with more time
            d.request.commitEndS = r.commitEndS;
        } else {
            d.request = r;
            // weights of this very second could still change after the commitment
            d.snapshotS = uint48(block.timestamp) - 1;
            d.declineEndS = uint64(block.timestamp) + (r.commitEndS - uint64(block.timestamp)) / 4;
            d.l1Block = l1.number() + LOOKAHEAD;
            d.lockWei = parameters.valuesOf(r.parametersVersion).minVerifierStakeWei;
        }
        emit Requested(key, r.jobId, r.milestone, d.l1Block, r.commitEndS);
    }

    function draw(bytes32 key) external {
        Draw storage d = _draws[key];
        if (d.snapshotS == 0) revert UnknownDraw(key);
        if (d.seed != 0) revert AlreadyDrawn(key);
        uint64 l1Block = l1.number();
        if (l1Block < d.l1Block) revert TooEarly(l1Block, d.l1Block);
        if (block.timestamp > d.request.commitEndS) revert TooLate(d.request.commitEndS);
        d.seed = keccak256(abi.encode(l1.hash(), key));
        emit Seeded(key, l1Block, d.seed);
        for (uint256 seat = 0; seat < d.request.count; ++seat) {
            _seats[key].push();
            _fill(key, d, seat, d.seed);
        }
    }

    function decline(bytes32 key, uint256 seat) external {
        Draw storage d = _draws[key];
        Seat storage s = _mine(key, seat, SeatStatus.Drawn);
        _checkInTime(d.declineEndS);
        emit Declined(key, seat, msg.sender);
        stakes.unlock(msg.sender, d.lockWei);
        bool again = !s.redrawn;
        (s.status, s.redrawn) = (SeatStatus.Empty, true);
        // who declined stays in the seat until somebody else has it, and so is not drawn again
        if (again) _fill(key, d, seat, keccak256(abi.encode(d.seed, "redraw")));
    }

    /// Draws by weight until somebody fits: not a party of the job, not seated already, with the stake to lock.
    function _fill(bytes32 key, Draw storage d, uint256 seat, bytes32 seed) private {
        uint32 class = d.request.hardwareClass;
        WeightTree.Tree storage tree = _weights[class];
        uint256 totalWei = tree.total(d.snapshotS);
        if (totalWei == 0) return;
        for (uint256 i = 0; i < TRIES; ++i) {
            uint256 point = uint256(keccak256(abi.encode(seed, seat, i))) % totalWei;
            address verifier = _verifiers[class][tree.find(d.snapshotS, point)];
            if (!_fits(key, d, verifier)) continue;
            Seat storage s = _seats[key][seat];
            (s.verifier, s.status) = (verifier, SeatStatus.Drawn);
            emit Drawn(key, seat, verifier, d.lockWei);
            stakes.lock(verifier, d.lockWei);
            return;
        }
    }

    function _fits(bytes32 key, Draw storage d, address verifier) private view returns (bool) {
        if (verifier == d.request.solver || verifier == d.request.requester) return false;
        Seat[] storage all = _seats[key];
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].verifier == verifier) return false;
        }
        return stakes.freeStakeWei(verifier) >= d.lockWei;
    }

    // ---- verifiers ---------------------------------------------------------------------------------------------

    function commit(bytes32 key, uint256 seat, bytes32 commitment) external {
        Draw storage d = _draws[key];
        Seat storage s = _mine(key, seat, SeatStatus.Drawn);
        if (d.claimRoot != 0) revert TooLate(uint64(block.timestamp));
        _checkInTime(d.request.commitEndS);
        (s.status, s.commitment) = (SeatStatus.Committed, commitment);
        emit Committed(key, seat, msg.sender, commitment);
    }

    function reveal(bytes32 key, uint256 seat, bytes32 root, bytes32 salt) external {
        Draw storage d = _draws[key];
        Seat storage s = _mine(key, seat, SeatStatus.Committed);
        if (d.claimRoot == 0) revert NotYetRevealed(key);
        _checkInTime(d.revealEndS);
        DrawRequest storage r = d.request;
        bytes32 given =
            keccak256(abi.encode(block.chainid, r.jobId, r.attempt, r.milestone, msg.sender, root, salt));
        if (given != s.commitment) revert WrongReveal(s.commitment, given);
        (s.status, s.root) = (SeatStatus.Revealed, root);
        if (root != d.claimRoot && root != UNAVAILABLE) ++d.dissenters;
        emit Revealed(key, seat, msg.sender, root, root == d.claimRoot);
    }

    function concede(bytes32 key, uint256 seat) external {
        Draw storage d = _draws[key];
        Seat storage s = _mine(key, seat, SeatStatus.Revealed);
        if (s.root == d.claimRoot || s.root == UNAVAILABLE) revert NothingToConcede(s.root);
        if (_isOver(d)) revert TooLate(uint64(block.timestamp));
        s.status = SeatStatus.Conceded;
        --d.dissenters;
        uint256 penaltyWei = uint256(d.lockWei) * _values(d).concedeBps / BPS;
        emit Conceded(key, seat, msg.sender, penaltyWei);
        _slash(msg.sender, penaltyWei);
        stakes.unlock(msg.sender, d.lockWei - penaltyWei);
    }

    // ---- the market --------------------------------------------------------------------------------------------

    function revealed(bytes32 key, bytes32 claimRoot, uint64 revealEndS) external {
        _checkMarket();
        Draw storage d = _draws[key];
        if (block.timestamp <= d.request.commitEndS && !_allCommitted(key, d)) {
            revert StillCommitting(d.request.commitEndS);
        }
        (d.claimRoot, d.revealEndS) = (claimRoot, revealEndS);
    }

    function settled(bytes32 key) external {
        _checkMarket();
        Draw storage d = _draws[key];
        d.outcome = Outcome.Final;
        uint256 empty = d.request.count;
        Seat[] storage all = _seats[key];
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].status != SeatStatus.Empty) --empty;
        }
        stakes.credit(d.request.requester, empty * d.request.feeWei);
    }

    function convicted(bytes32 key) external returns (uint256 dissenters) {
        _checkMarket();
        Draw storage d = _draws[key];
        d.outcome = Outcome.Convicted;
        // the reward is divided now: who had time left to reveal has none any more, and loses nothing by it
        if (block.timestamp <= d.revealEndS) d.revealEndS = 0;
        return d.dissenters;
    }

    function reward(bytes32 key, uint256 amountWei) external {
        _checkMarket();
        Draw storage d = _draws[key];
        uint256 dissenters = d.dissenters;
        d.rewardWei = uint128(amountWei / dissenters);
        stakes.credit(treasury, amountWei - d.rewardWei * dissenters);
    }

    // ---- the end -----------------------------------------------------------------------------------------------

    function collect(bytes32 key, uint256 seat) external {
        Draw storage d = _draws[key];
        if (!_isOver(d)) revert StillPending(key);
        Seat storage s = _seat(key, seat);
        SeatStatus status = s.status;
        if (status == SeatStatus.Empty || status == SeatStatus.Collected) revert WrongSeat(key, seat, status);
        (uint256 paidWei, uint256 slashedWei) = _due(d, s);
        s.status = SeatStatus.Collected;
        emit Collected(key, seat, s.verifier, paidWei, slashedWei);
        // a conceded seat's stake is free already
        if (status != SeatStatus.Conceded) {
            _slash(s.verifier, slashedWei);
            stakes.unlock(s.verifier, d.lockWei - slashedWei);
        }
        stakes.credit(s.verifier, paidWei);
        if (d.outcome == Outcome.Final) stakes.credit(d.request.requester, d.request.feeWei - paidWei);
    }

    /// What a seat is paid and loses. Agreeing with a final claim earns the fee, and with a convicted one costs the whole lock.
    function _due(Draw storage d, Seat storage s) private view returns (uint256 paidWei, uint256 slashedWei) {
        if (s.status == SeatStatus.Conceded) return (0, 0);
        if (s.status != SeatStatus.Revealed) {
            // a claim that became void may not have been revealed, and then neither could its verifiers
            bool couldReveal = d.claimRoot != 0 && d.outcome != Outcome.Pending && d.revealEndS != 0;
            return (0, couldReveal ? _idleWei(d) : 0);
        }
        if (s.root == UNAVAILABLE || d.outcome == Outcome.Pending) return (0, 0);
        bool agrees = s.root == d.claimRoot;
        if (d.outcome == Outcome.Final) return agrees ? (uint256(d.request.feeWei), uint256(0)) : (0, _idleWei(d));
        return agrees ? (uint256(0), uint256(d.lockWei)) : (uint256(d.rewardWei), uint256(0));
    }

    function _idleWei(Draw storage d) private view returns (uint256) {
        return uint256(d.lockWei) * _values(d).idleBps / BPS;
    }

    /// Final, convicted, or void because another claim of the job fell.
    function _isOver(Draw storage d) private view returns (bool) {
        if (d.snapshotS == 0) return false;
        DrawRequest storage r = d.request;
        return d.outcome != Outcome.Pending || !_mayStand(r);
    }

    /// A commitment that was taken back may be made again while the attempt lasts.
    function _mayStand(DrawRequest storage r) private view returns (bool) {
        return market.mayStand(r.jobId, r.attempt);
    }

    // ---- views and checks --------------------------------------------------------------------------------------

    function drawOf(bytes32 key) external view returns (Draw memory) {
        return _draws[key];
    }

    function seats(bytes32 key) external view returns (Seat[] memory) {
        return _seats[key];
    }

    function _allCommitted(bytes32 key, Draw storage d) private view returns (bool) {
        Seat[] storage all = _seats[key];
        if (all.length != d.request.count) return false;
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].status == SeatStatus.Drawn) return false;
        }
        return true;
    }

    function _values(Draw storage d) private view returns (Values memory) {
        return parameters.valuesOf(d.request.parametersVersion);
    }

    /// Penalties of verifiers go to the treasury: no requester earns by posting what cannot be verified.
    function _slash(address verifier, uint256 amountWei) private {
        if (amountWei == 0) return;
        stakes.slash(verifier, amountWei);
        stakes.credit(treasury, amountWei);
    }

    function _seat(bytes32 key, uint256 seat) private view returns (Seat storage) {
        if (seat >= _seats[key].length) revert WrongSeat(key, seat, SeatStatus.Empty);
        return _seats[key][seat];
    }

    function _mine(bytes32 key, uint256 seat, SeatStatus status) private view returns (Seat storage s) {
        s = _seat(key, seat);
        if (msg.sender != s.verifier) revert NotVerifier(msg.sender, s.verifier);
        if (s.status != status) revert WrongSeat(key, seat, s.status);
    }

    function _checkInTime(uint64 deadlineS) private view {
        if (block.timestamp > deadlineS) revert TooLate(deadlineS);
    }

    function _checkMarket() private view {
        if (msg.sender != address(market)) revert NotMarket(msg.sender, address(market));
    }
}
