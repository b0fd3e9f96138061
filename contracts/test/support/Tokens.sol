// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @notice No permits, and the decimals of many stable coins.
contract PlainToken is ERC20("plain", "PLAIN") {
    uint8 private immutable DECIMALS;

    constructor(uint8 decimals_) {
        DECIMALS = decimals_;
        _mint(msg.sender, 1e30);
    }

    function decimals() public view override returns (uint8) {
        return DECIMALS;
    }
}

/// @notice Knows permits, and six decimals.
contract SixToken is ERC20, ERC20Permit {
    constructor() ERC20("six", "SIX") ERC20Permit("six") {
        _mint(msg.sender, 1e30);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}

/// @notice Takes one in a hundred of every transfer, from what arrives or from the sender on top.
contract FeeToken is ERC20("fee", "FEE") {
    enum Fee {
        None,
        FromReceiver,
        FromSender
    }

    Fee public fee;

    constructor(Fee fee_) {
        _mint(msg.sender, 1e24);
        fee = fee_;
    }

    function setFee(Fee fee_) external {
        fee = fee_;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || fee == Fee.None) return super._update(from, to, value);
        super._update(from, address(0xFEE), value / 100);
        super._update(from, to, fee == Fee.FromReceiver ? value - value / 100 : value);
    }
}

/// @notice Returns nothing where the standard wants a bool, and wants an allowance set to zero before another one (USDT).
contract NoReturnToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address account => mapping(address spender => uint256)) public allowance;
    uint8 public constant decimals = 6;

    constructor() {
        balanceOf[msg.sender] = 1e24;
    }

    function approve(address spender, uint256 amount) external {
        require(amount == 0 || allowance[msg.sender][spender] == 0, "set to zero first");
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Says false instead of reverting, and moves nothing, while it is `dry`.
contract FalseToken is ERC20("false", "FALSE") {
    bool public dry;

    constructor() {
        _mint(msg.sender, 1e24);
    }

    function setDry(bool dry_) external {
        dry = dry_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return !dry && super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return !dry && super.transferFrom(from, to, amount);
    }
}

/// @notice Refuses whatever touches a listed account.
contract BlockingToken is ERC20("blocking", "BLOCK") {
    error Blocked(address account);

    mapping(address account => bool) public blocked;

    constructor() {
        _mint(msg.sender, 1e24);
    }

    function setBlocked(address account, bool blocked_) external {
        blocked[account] = blocked_;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (blocked[from]) revert Blocked(from);
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, value);
    }
}

/// @notice Lets every balance shrink.
contract ShrinkingToken is ERC20("shrinking", "SHRINK") {
    uint256 public percent = 100;

    constructor() {
        _mint(msg.sender, 1e24);
    }

    function shrinkTo(uint256 percent_) external {
        percent = percent_;
    }

    function balanceOf(address account) public view override returns (uint256) {
        return super.balanceOf(account) * percent / 100;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, from == address(0) ? value : value * 100 / percent);
    }
}

/// @notice Its permits answer everything with success and do nothing, as a fallback does.
contract PhantomToken is ERC20("phantom", "PHANTOM") {
    constructor() {
        _mint(msg.sender, 1e24);
    }

    fallback() external {}
}

interface ITokenHolder {
    function tokensMove() external;
}

/// @notice Calls whoever it moves from, before, and to, afterwards, as ERC-777 does.
contract HookToken is ERC20, ERC20Permit {
    constructor() ERC20("hook", "HOOK") ERC20Permit("hook") {
        _mint(msg.sender, 1e24);
    }

    function _update(address from, address to, uint256 value) internal override {
        _tell(from);
        super._update(from, to, value);
        _tell(to);
    }

    function _tell(address holder) private {
        if (holder.code.length == 0) return;
        try ITokenHolder(holder).tokensMove() {} catch {}
    }
}
