"""gradproof store: put files into the content store, take them out, keep them, serve them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.present import emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.storage.cid import Cid
    from protocol.storage.node import NodeProcess
    from protocol.storage.survey import Collected, Holding, Usage

app = typer.Typer(
    help="Files by their content: add, get, keep, serve.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="CID", help="Name of the content.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="Files; folders are not stored.")],
    json: Json = False,
) -> None:
    """Store and pin files; print the CID of each."""
    from coordinator.local_store import open_local_store
    from protocol.runtime.start import start_process

    settings = start_process()
    for path in files:
        _check_readable(path)
    rows = []
    with open_local_store(settings) as store, _bars() as follow:
        for path in files:
            with _file_errors(path, "cannot be read"):
                began = time.monotonic()
                cid = store.publish(path, progress=follow(path.name))
                size = path.stat().st_size
            rows.append({"cid": str(cid), "file": str(path), **_pace(size, began)})
    emit({"added": rows}, as_json=json)


@app.command()
def get(
    name: Name,
    out: Annotated[Path, typer.Argument(help="Where to write the file.")],
    limit: Annotated[
        int | None,
        typer.Option(help="Refuse more bytes than this; default: what the disk has free.", min=0),
    ] = None,
    json: Json = False,
) -> None:
    """Fetch a file, every block of it verified; an interrupted one goes on where it was."""
    import shutil

    from coordinator.local_store import open_local_store
    from protocol.runtime.start import start_process
    from protocol.storage.cid import Cid
    from protocol.storage.counters import Counters

    cid = Cid.parse(name)
    settings = start_process()
    counters = Counters()
    with _file_errors(out, "cannot be written"):
        _refuse_other_content(out, cid)
        out.parent.mkdir(parents=True, exist_ok=True)
        most = shutil.disk_usage(out.parent).free if limit is None else limit
    with open_local_store(settings, counters, reads_only=True) as store, _bars() as follow:
        began = time.monotonic()
        with _file_errors(out, "cannot be written"):
            store.fetch(cid, out, most, progress=follow(out.name))
    totals = counters.totals()
    emit(
        {
            "cid": str(cid),
            "file": str(out),
            **_pace(out.stat().st_size, began),
            "fetched bytes": totals["fetched_bytes"],
            "resumed bytes": totals["resumed_bytes"],
        },
        as_json=json,
    )


@app.command()
def stat(
    name: Annotated[
        str | None, typer.Argument(metavar="CID", help="Without one: daemons and cache.")
    ] = None,
    json: Json = False,
) -> None:
    """Where a file is, and whether it is pinned; exit code 1 where no source has it."""
    from coordinator.local_store import open_local_store
    from protocol.runtime.start import start_process
    from protocol.storage.cache import Cache
    from protocol.storage.cid import Cid

    cid = None if name is None else Cid.parse(name)
    settings = start_process()
    with open_local_store(settings, reads_only=True) as store:
        if cid is None:
            cache = Cache(settings.cache_path, settings.cache_bytes).usage()
            fields: dict[str, Any] = {
                "daemons": [_row(usage) for usage in store.describe()],
                "cache": str(settings.cache_path),
                "cache files": cache.files,
                "cache bytes": cache.size,
                "cache limit": cache.most,
            }
            emit(fields, as_json=json)
            return
        found = store.find(cid)
    sizes = [holding.size for holding in found if holding.size is not None]
    rows = [_row(holding) for holding in found]
    emit({"cid": str(cid), "bytes": max(sizes, default=None), "sources": rows}, as_json=json)
    raise typer.Exit(0 if sizes else 1)


@app.command()
def pin(
    name: Name,
    expires_in: Annotated[
        int | None,
        typer.Option(help="Seconds; only the embedded node knows an end, others keep.", min=1),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Unpin instead.")] = False,
    json: Json = False,
) -> None:
    """Keep a file from being collected as garbage."""
    from coordinator.local_store import CannotDo, open_local_store
    from protocol.role.pins import holders
    from protocol.runtime.start import start_process
    from protocol.storage.cid import Cid

    cid = Cid.parse(name)
    settings = start_process()
    if remove and (jobs := holders(settings.home, cid)):
        raise CannotDo(
            f"{cid} belongs to job {jobs[0]}",
            why="A job's data and states stay until it is forgotten.",
            fix=f"Run `gradproof job forget {jobs[0]}`.",
        )
    with open_local_store(settings) as store:
        if remove:
            store.unpin(cid)
        else:
            store.pin(cid, expires_in=expires_in)
    emit({"unpinned" if remove else "pinned": str(cid)}, as_json=json)


@app.command()
def gc(json: Json = False) -> None:
    """Remove what nobody pins from the daemons, and what is spoilt or left over from the cache."""
    from coordinator.local_store import open_local_store
    from protocol.runtime.start import start_process
    from protocol.storage.cache import Cache

    settings = start_process()
    with open_local_store(settings) as store:
        collected = [_row(collected) for collected in store.collect()]
    cleaned = Cache(settings.cache_path, settings.cache_bytes).clean()
    emit({"daemons": collected, "cache files removed": cleaned}, as_json=json)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port of the RPC, on loopback; 0: a free one.")] = 0,
    gateway_host: Annotated[
        str, typer.Option(help="Address that peers fetch from; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    gateway_port: Annotated[int, typer.Option(help="Port of the gateway; 0: a free one.")] = 0,
    quota: Annotated[int | None, typer.Option(help="Bytes to keep; default 64 GiB.")] = None,
    json: Json = False,
) -> None:
    """Run the embedded node over this home's store until stopped; its commands then use it."""
    from coordinator.local_store import serve as serve_home
    from protocol.runtime.start import start_process

    home = start_process().home

    def ready(node: "NodeProcess") -> None:
        fields = {"store": str(home / "store"), "RPC": node.api_url, "gateway": node.gateway_url}
        emit(fields, as_json=json)

    serve_home(
        home,
        ready,
        port=port,
        gateway_host=gateway_host,
        gateway_port=gateway_port,
        quota=quota,
    )


@contextmanager
def _bars() -> "Iterator[Callable[[str], Callable[[int, int], None]]]":
    """Progress with bytes and rate on standard error; gives a follower for each file."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def follow(what: str) -> "Callable[[int, int], None]":
            bar = bars.add_task(what, total=None)

            def progress(done: int, size: int) -> None:
                bars.update(bar, completed=done, total=size)

            return progress

        yield follow


def _pace(size: int, began: float) -> dict[str, Any]:
    seconds = time.monotonic() - began
    return {"bytes": size, "seconds": round(seconds, 3), "MB/s": round(size / seconds / 1e6, 1)}


def _row(found: "Holding | Usage | Collected") -> dict[str, Any]:
    """A finding as a row: what is unknown or does not apply is left out."""
    from dataclasses import asdict

    names = {"size": "bytes", "most": "limit"}
    fields = asdict(found).items()
    return {names.get(name, name): value for name, value in fields if value not in (None, "")}


def _check_readable(path: Path) -> None:
    from coordinator.local_store import CannotDo

    if path.is_dir():
        raise CannotDo(
            f"{path} is a folder", why="Only files are stored.", fix="Name the files in it."
        )
    if not path.is_file():
        raise CannotDo(f"there is no file {path}", fix="Check the path.")


def _refuse_other_content(out: Path, cid: "Cid") -> None:
    from coordinator.local_store import CannotDo
    from protocol.storage.unixfs import cid_of_file

    if out.is_dir() or (out.exists() and cid_of_file(out) != cid):
        raise CannotDo(
            f"{out} exists and holds something else",
            why="A fetch never overwrites.",
            fix="Name a new file.",
        )


@contextmanager
def _file_errors(path: Path, what: str) -> Iterator[None]:
    from coordinator.local_store import CannotDo

    try:
        yield
    except OSError as error:
        raise CannotDo(
            f"{path} {what}", why=error.strerror or str(error), fix="Name another file."
        ) from None
