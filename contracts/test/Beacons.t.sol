// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BlockHashBeacon} from "../src/beacons/BlockHashBeacon.sol";
import {Headers} from "../src/beacons/Headers.sol";
import {PrevrandaoBeacon} from "../src/beacons/PrevrandaoBeacon.sol";
import {IBeacon} from "../src/interfaces/IBeacon.sol";
import {Assertions} from "./support/Assertions.sol";
import {HeaderBytes} from "./support/HeaderBytes.sol";
import {History} from "./support/History.sol";
import {vm} from "./support/Vm.sol";

/// @notice The two beacons by themselves: what they read, when, and what they refuse to believe.
contract BeaconsTest is Assertions {
    uint64 private constant TARGET = 20_000;
    bytes32 private constant RANDAO = keccak256("prevrandao");

    BlockHashBeacon private hashes;
    PrevrandaoBeacon private randao;

    function setUp() public {
        hashes = new BlockHashBeacon();
        randao = new PrevrandaoBeacon();
        History.remove();
        vm.roll(TARGET + 1);
    }

    // --- what a beacon says, and when ---

    function test_nobody_readsAheadOfTheBlock() public {
        _prove(HeaderBytes.make(TARGET, RANDAO));
        for (uint64 now_ = TARGET - 1; now_ <= TARGET; ++now_) {
            vm.roll(now_);
            _assertRead(hashes, false, 0);
            _assertRead(randao, false, 0);
        }
        vm.roll(TARGET + 1);
        _assertRead(hashes, true, blockhash(TARGET));
        _assertRead(randao, true, RANDAO);
    }

    function test_prevrandao_waitsForItsProof() public {
        _assertRead(randao, false, 0);
        _prove(HeaderBytes.make(TARGET, RANDAO));
        _assertRead(randao, true, RANDAO);
    }

    function test_prevrandao_onceProvenStaysReadable() public {
        _prove(HeaderBytes.make(TARGET, RANDAO));
        vm.roll(TARGET + 1_000_000);
        _assertRead(randao, true, RANDAO);
    }

    function test_prevrandao_isProvenByAnybody_againAndAgain() public {
        bytes memory header = HeaderBytes.make(TARGET, RANDAO);
        _prove(header);
        vm.prank(address(0xBAD));
        randao.prove(TARGET, header);
        _assertRead(randao, true, RANDAO);
    }

    function test_leastDelays() public view {
        assertEq(hashes.leastDelay(), 1, "the hash is unknown until its block is built");
        assertEq(randao.leastDelay(), 2, "prevrandao is known to whoever builds the block before");
    }

    // --- when a block is lost ---

    function test_withoutHistory_blocksAreLostAfter256() public {
        vm.roll(TARGET + 256);
        _assertRead(hashes, true, blockhash(TARGET));
        _assertRead(randao, false, 0);
        vm.roll(TARGET + 257);
        _assertRead(hashes, true, 0);
        _assertRead(randao, true, 0);
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.NoBlockHash.selector, TARGET));
        randao.prove(TARGET, HeaderBytes.make(TARGET, RANDAO));
    }

    function test_withHistory_blocksAreLostAfter8191() public {
        bytes memory header = HeaderBytes.make(TARGET, RANDAO);
        History.install();
        History.remember(TARGET, keccak256(header));
        vm.roll(TARGET + 8_191);
        _assertRead(hashes, true, keccak256(header));
        _assertRead(randao, false, 0);
        uint256 within = vm.snapshotState();
        vm.roll(TARGET + 8_192);
        _assertRead(hashes, true, 0);
        _assertRead(randao, true, 0);
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.NoBlockHash.selector, TARGET));
        randao.prove(TARGET, header);
        vm.revertToState(within);
        randao.prove(TARGET, header);
        _assertRead(randao, true, RANDAO);
    }

    // --- what is not believed ---

    function test_headerAheadOfTheBlock_isRefused() public {
        bytes memory header = HeaderBytes.make(TARGET + 1, RANDAO);
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.NoBlockHash.selector, TARGET + 1));
        randao.prove(TARGET + 1, header);
    }

    function test_headerOfAnotherBlock_isRefused() public {
        bytes memory header = HeaderBytes.make(TARGET - 1, RANDAO);
        vm.setBlockhash(TARGET - 1, keccak256(header));
        randao.prove(TARGET - 1, header);
        _assertRefused(header);
    }

    /// @notice One bit anywhere, one byte less or more: another hash.
    function testFuzz_changedHeader_isRefused(uint256 place, uint8 bit) public {
        bytes memory header = HeaderBytes.make(TARGET, RANDAO);
        vm.setBlockhash(TARGET, keccak256(header));
        _assertRefused(bytes.concat(header, hex"00"));
        _assertRefused("");
        place = clamp(place, 0, header.length - 1);
        bytes1 good = header[place];
        header[place] = good ^ bytes1(uint8(1) << (bit % 8));
        _assertRefused(header);
        header[place] = good;
        assembly {
            mstore(header, place)
        }
        _assertRefused(header);
    }

    // --- headers that hash right but are not Ethereum's: another chain's format ---

    /// @notice Cut anywhere before its prevrandao ends, a list says so, whatever its own length claims.
    function testFuzz_truncatedHeader_isNoHeader(uint256 cut) public {
        bytes memory header = HeaderBytes.make(TARGET, RANDAO);
        cut = clamp(cut, 3, _endOfPrevrandao(header) - 1);
        assembly {
            mstore(header, cut)
        }
        (header[1], header[2]) = (bytes1(uint8((cut - 3) >> 8)), bytes1(uint8(cut - 3)));
        _assertUnreadable(header, Headers.NotAHeader.selector);
    }

    function test_lengthOfTheList_mustBeTheHeaders() public {
        bytes memory header = HeaderBytes.make(TARGET, RANDAO);
        _assertUnreadable(bytes.concat(header, hex"00"), Headers.NotAHeader.selector);
        header[2] = bytes1(uint8(header[2]) + 1);
        _assertUnreadable(header, Headers.NotAHeader.selector);
    }

    function test_noList_isNoHeader() public {
        _assertUnreadable("", Headers.NotAHeader.selector);
        _assertUnreadable(hex"f900", Headers.NotAHeader.selector);
        _assertUnreadable(abi.encodePacked(hex"b90100", new bytes(256)), Headers.NotAHeader.selector);
    }

    function test_listInAList_isNoHeader() public {
        bytes memory header = HeaderBytes.make(TARGET, RANDAO);
        header[3] = 0xc0;
        _assertUnreadable(header, Headers.NotAHeader.selector);
        header[3] = 0xbf; // a length of eight bytes
        _assertUnreadable(header, Headers.NotAHeader.selector);
    }

    function test_otherFields_areRefused() public {
        bytes memory randaoBytes = abi.encode(RANDAO);
        _assertUnreadable(HeaderBytes.make(TARGET, 131_072, randaoBytes, ""), Headers.WrongField.selector);
        _assertUnreadable(HeaderBytes.make(TARGET + 1, RANDAO), Headers.WrongField.selector);
        _assertUnreadable(
            HeaderBytes.make(TARGET, 0, bytes.concat(randaoBytes, hex"01"), ""), Headers.WrongField.selector
        );
        _assertUnreadable(HeaderBytes.make(TARGET, 0, bytes.concat(bytes31(RANDAO)), ""), Headers.WrongField.selector);
        _assertUnreadable(HeaderBytes.make(TARGET, 0, "", ""), Headers.WrongField.selector);
    }

    function test_zeroPrevrandao_isNone() public {
        bytes memory header = HeaderBytes.make(TARGET, 0);
        vm.setBlockhash(TARGET, keccak256(header));
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.NoRandomness.selector, TARGET));
        randao.prove(TARGET, header);
    }

    /// @notice Fields before it of every length that RLP writes differently.
    function testFuzz_prevrandao_isFoundBehindAnyExtraData(bytes32 value, uint16 length) public {
        bytes memory extra = new bytes(clamp(length, 0, 300));
        bytes memory header = HeaderBytes.make(TARGET, 0, abi.encode(value), extra);
        if (value == 0) value = bytes32(uint256(1));
        _prove(HeaderBytes.make(TARGET, 0, abi.encode(value), extra));
        _assertRead(randao, true, value);
        assertTrue(header.length > 500, "a header");
    }

    // --- inside ---

    function _prove(bytes memory header) private {
        vm.setBlockhash(TARGET, keccak256(header));
        randao.prove(TARGET, header);
    }

    function _assertRead(IBeacon beacon, bool ready, bytes32 source) private view {
        (bool isReady, bytes32 found) = beacon.read(TARGET);
        assertEq(isReady ? 1 : 0, ready ? 1 : 0, "ready");
        assertEq(found, source, "source");
    }

    function _assertRefused(bytes memory header) private {
        bytes32 expected = blockhash(TARGET);
        vm.expectRevert(
            abi.encodeWithSelector(PrevrandaoBeacon.WrongHeader.selector, TARGET, expected, keccak256(header))
        );
        randao.prove(TARGET, header);
    }

    function _assertUnreadable(bytes memory header, bytes4 why) private {
        vm.setBlockhash(TARGET, keccak256(header));
        try randao.prove(TARGET, header) {
            revert Fails("believed");
        } catch (bytes memory reason) {
            assertEq(bytes32(bytes4(reason)), bytes32(why), "why");
        }
    }

    /// @dev The prevrandao's bytes are there once.
    function _endOfPrevrandao(bytes memory header) private pure returns (uint256) {
        for (uint256 i = 32; i <= header.length; ++i) {
            bytes32 word;
            assembly {
                word := mload(add(header, i))
            }
            if (word == RANDAO) return i;
        }
        revert Fails("no prevrandao");
    }
}
