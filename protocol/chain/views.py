"""Decoding the market's view structs."""

from collections.abc import Mapping
from typing import Any

from protocol.chain.client import Chain
from protocol.rules.records import Address, Ending, JobId, JobView, Phase, RoundView


def where_it_stands(chain: Chain, job: JobId) -> tuple[JobView, RoundView]:
    """Job and round as the next transaction would find them: `standing`, evaluated and not sent."""
    raw_job, raw_round = chain.call(chain.market, "standing", job, block="pending")
    return job_view(raw_job), round_view(raw_round)


def stored(chain: Chain, job: JobId) -> tuple[JobView, RoundView]:
    """Job and round as the contract has them in storage."""
    return (
        job_view(chain.call(chain.market, "jobOf", job)),
        round_view(chain.call(chain.market, "roundOf", job)),
    )


def job_view(raw: Mapping[str, Any] | tuple[Any, ...]) -> JobView:
    """JobView from the decoded struct, fields in the order of Types.sol."""
    v = list(raw.values()) if isinstance(raw, Mapping) else list(raw)
    return JobView(
        requester=Address(v[0]),
        coordinator_provider=Address(v[1]),
        round=v[2],
        updates=v[3],
        failed_rounds=v[4],
        stopped=v[5],
        ending=Ending(v[6]),
        state_root=bytes(v[7]),
        state_cid=bytes(v[8]),
        worker_slots=v[9],
    )


def round_view(raw: Mapping[str, Any] | tuple[Any, ...]) -> RoundView:
    """RoundView from the decoded struct, fields in the order of Types.sol."""
    v = list(raw.values()) if isinstance(raw, Mapping) else list(raw)
    return RoundView(
        number=v[0],
        phase=Phase(v[1]),
        opened_at=v[2],
        deadline=v[3],
        beacon_block=v[4],
        epoch=v[5],
        workers=v[6],
        verifiers=v[7],
        seed=bytes(v[8]),
        draw=bytes(v[9]),
        redraw=bytes(v[10]),
        panel_draw=bytes(v[11]),
        update_draw=bytes(v[12]),
        update_panel_draw=bytes(v[13]),
        claimed=v[14],
        sealed_tasks=v[15],
        drawn=v[16],
        answered=v[17],
        opened_tasks=v[18],
        opened_checks=v[19],
        disputed=v[20],
        challenged=v[21],
        included=v[22],
        gathered=v[23],
        update_answered=v[24],
        update_opened=v[25],
        proposed=v[26],
        proposer=v[27],
        proposal_opened=v[28],
        update_disputed=v[29],
        update_challenged=v[30],
        is_void=v[31],
    )
