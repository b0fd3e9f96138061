"""What a sender's transactions have left: rows in its database, tokens on the chain."""

from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from protocol.chain.client import Chain
from protocol.database.tables import TransactionRow


def balance(chain: Chain, account: LocalAccount) -> int:
    """Tokens of an account, in units."""
    return int(chain.call(chain.token, "balanceOf", account.address))


def row(engine: Engine, key: str) -> TransactionRow:
    """The transaction of an idempotency key, which must be there."""
    with Session(engine) as session:
        return session.get_one(TransactionRow, key)
