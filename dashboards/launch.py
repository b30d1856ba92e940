"""Starts the dashboard: `serve` until Ctrl-C, or `export` as files that need no server."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from audit.errors import UsageError
from dashboards.runs import RUNS_VARIABLE, runs_in

SCRIPT = Path(__file__).resolve().parent / "script" / "unmask.py"
LOCAL = "127.0.0.1"
PORT = 8501
TRIED = 20
"""Ports after the usual one that are tried before any free one is taken."""


def serve(
    runs: Sequence[Path],
    *,
    address: str = LOCAL,
    port: int | None = None,
    headless: bool = False,
    announce: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves the dashboard of these runs until Ctrl-C.

    Args:
        runs: run folders, or folders that hold some.
        address: to listen on; anything but this machine's own lets others in, without a password.
        port: to listen on; a free one without, the usual one if it is free.
        headless: do not open a browser.
        announce: is told the address, once it is known.

    Raises:
        UsageError: a folder holds no run, or the port is taken.
    """
    paths = runs_in(runs)
    chosen = free_port(address, PORT) if port is None else _checked(address, port)
    os.environ[RUNS_VARIABLE] = json.dumps([str(path) for path in paths])
    # Streamlit reads settings below the working directory, which may be an untrusted run folder.
    os.chdir(SCRIPT.parent)
    from streamlit.web import bootstrap

    settings = options(address, chosen, headless=headless)
    bootstrap.load_config_options(settings)
    announce(url(address, chosen))
    bootstrap.run(str(SCRIPT), False, [], settings)


def export(runs: Sequence[Path], folder: Path) -> Path:
    """Writes the pages that need no server as files that open without one; returns the folder.

    Args:
        runs: run folders, or folders that hold some.
        folder: where to write; missing, empty, or an older bundle, which is replaced.

    Raises:
        UsageError: a folder holds no run.
        OutputError: the folder holds something else, or cannot be written.
    """
    from dashboards.export.bundle import write_bundle

    return write_bundle(runs_in(runs), folder)


def options(address: str, port: int, *, headless: bool) -> dict[str, object]:
    """Streamlit's options: local, silent, no telemetry, nothing watched, nothing uploaded."""
    from dashboards.theme import STREAMLIT

    hosts = [] if address in ("0.0.0.0", "::") else [address, "localhost"]  # noqa: S104  (told apart, not used)
    return {
        "server.address": address,
        "server.port": port,
        "server.headless": headless,
        "server.allowedHosts": hosts,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.showEmailPrompt": False,
        "server.maxUploadSize": 1,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": address,
        "browser.serverPort": port,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "logger.hideWelcomeMessage": True,
        "logger.level": "warning",
        "runner.magicEnabled": False,
        **STREAMLIT,
    }


def url(address: str, port: int) -> str:
    """Where to point the browser."""
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(address, address)  # noqa: S104  (shown, not used)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def free_port(address: str, usual: int) -> int:
    """The usual port, one of the next, or any other that is free."""
    candidates = (*range(usual, usual + TRIED), 0)
    return next(found for port in candidates if (found := _bound(address, port)) is not None)


def _checked(address: str, port: int) -> int:
    found = _bound(address, port)
    if found is None:
        raise UsageError(
            "Something else listens on this port.",
            where=f"{address}:{port}",
            fix="name another --port, or leave it out for a free one",
        )
    return found


def _bound(address: str, port: int) -> int | None:
    """The port if it can be listened on (0: any that can), else None."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            return int(listener.getsockname()[1])
    except (OSError, UnicodeError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return None
        raise UsageError(
            f"This address and port cannot be listened on: {getattr(error, 'strerror', None) or error}.",
            where=f"{address}:{port}",
            fix="name an address of this machine, such as 127.0.0.1, and a port from 1024 to 65535",
        ) from error
