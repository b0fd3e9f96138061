"""Gas of a round that real roles play: processes of their own, on a real chain and a real store.

The smallest model, so that computing is quick; what is sent is what any job of this shape sends.
Openings and seals that travel together show as `x4`. Takes some minutes.

    python benchmarks/gas_roles.py [--tasks 64] [--checks 7] [--workers 2] [--slots 8]
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from web3.types import RPCEndpoint

from coordinator import devnet as network
from coordinator.cast import Stage, make_actor, put_up_bonds
from coordinator.faucet import fund
from coordinator.job_file import JobFile, WindowsSection, units
from coordinator.post import post_job
from protocol.chain.client import Chain
from protocol.chain.indexer import Indexer
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.role.connection import open_chain
from protocol.role.pins import open_pins
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending, JobId, Phase
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store
from tests.support.gas_snapshot import table
from tests.support.played_gas import gas_of_round
from tests.support.small_jobs import TEXTS, TRAINING

GATHERERS = PANEL = 3
WINDOW = 600
"""Blocks of every window: roles that share a few cores must not miss one."""
CHEAP = Decimal("0.01")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("tasks", 64), ("checks", 7), ("workers", 2), ("slots", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gradproof-gas-")))
        net = network.start(root / "devnet", block_time=1.0)
        stack.callback(network.stop, root / "devnet")
        stage = Stage(root, net)
        stack.callback(stage.stop)
        settings = Settings(
            home=root / "requester",
            rpc_url=net.rpc_url,
            ipfs_api=net.ipfs_api,
            deployment=Path(net.deployment),
        )
        chain = open_chain(settings)
        job = post(chain, settings, root, stage, args)
        past = watch(chain, job, stage)
        for round_ in past.rounds:
            print(table(round_.number, args.tasks, gas_of_round(chain, job, round_)))


def post(
    chain: Chain, settings: Settings, root: Path, stage: Stage, args: argparse.Namespace
) -> JobId:
    """Bonds for everybody, a job of one round, and all roles started."""
    seats = args.checks + GATHERERS + PANEL
    verifiers = [make_actor(root, f"verifier-{i}") for i in (1, 2)]
    workers = [make_actor(root, f"worker-{i}") for i in range(1, args.workers + 1)]
    coordinator, requester = make_actor(root, "coordinator"), make_actor(root, "requester")
    put_up_bonds(chain, root, [coordinator, *verifiers, *workers])
    for actor in verifiers:
        stage.start(actor, "verifier", "run", "--slots", str(-(-seats // 2)))
    fund(chain, root, [(requester.address, units(Decimal(100)))])
    windows = dict.fromkeys(WindowsSection.model_fields, WINDOW)
    job_file = JobFile.model_validate(
        {
            "data": TEXTS,
            "training": {**TRAINING, "rounds": 1, "tasks": args.tasks},
            "market": {
                "coordinator": coordinator.operator.address,
                "checks": args.checks,
                "min_workers": args.workers * args.slots,
                "min_verifiers": seats,
                "reward": CHEAP,
                "fee": CHEAP,
                "update_fee": CHEAP,
                "windows": windows,
            },
        }
    )
    sender = TxSender(chain, requester.owner, open_database(settings.home / "chain.sqlite"))
    with open_store(settings.apis) as store:
        job = post_job(
            chain, sender, store, job_file, lambda _what, _done, _total: None, open_pins(settings)
        )
    for actor in workers:
        stage.start(actor, "worker", "run", "--slots", str(args.slots))
    stage.start(coordinator, "coordinator", "run")
    return job


def watch(chain: Chain, job: JobId, stage: Stage) -> JobHistory:
    """Wait for the end of the job, through windows that never close early."""
    indexer = Indexer(chain, open_database(None))
    shown = None
    while True:
        stage.check()
        past = indexer.sync().jobs[job]
        if past.ending != Ending.NONE:
            return past
        round_ = past.open_round
        if round_ is not None:
            if round_.phase != shown:
                shown = round_.phase
                print(f"{time.strftime('%H:%M:%S')} {shown.name}", file=sys.stderr, flush=True)
            gathered = round_.phase == Phase.GATHER and len(round_.gathered) == GATHERERS
            left = round_.deadline - chain.head() - 1
            if (gathered or round_.phase == Phase.UPDATE_CHALLENGE) and left > 0:
                chain.web3.provider.make_request(RPCEndpoint("anvil_mine"), [hex(left)])
        time.sleep(0.2)


if __name__ == "__main__":
    main()
