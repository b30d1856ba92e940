"""The dashboard on a run as large as they get: time of pages and selections, memory of its process.

`python benchmarks/dashboard.py [FOLDER]`. Server times are those of the functions a page is made of and of
whole pages in Streamlit's headless runner; with Chromium, times in the browser are measured too. The floor is
what one pass over the same rows costs with DuckDB. On a busy machine read the CPU seconds: the others wait.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from big_run import HOOK, write_big_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LIMITS = {
    "first page, cold process": 3.0,
    "map page, cold process": 3.0,
    "box of 5,000 latents to table": 1.0,
    "peak memory, MB": 700.0,
}
"""What the project promises: seconds, and MB."""
START = """
from pathlib import Path
from dashboards.launch import serve
serve([Path({run!r})], port={port}, headless=True)
"""
COLD = """
import json, os, sys, time
start, cpu = time.perf_counter(), time.process_time()
os.environ["UNMASK_DASHBOARD_RUNS"] = json.dumps([sys.argv[1]])
os.environ["UNMASK_DASHBOARD_LANDING"] = sys.argv[2]
from streamlit.testing.v1 import AppTest
from dashboards.launch import SCRIPT
test = AppTest.from_file(SCRIPT, default_timeout=60).run()
done, worked = time.perf_counter(), time.process_time()
test.run()
assert not test.exception, test.exception
import psutil
again, rss = time.perf_counter() - done, psutil.Process().memory_info().rss / 2**20
print(json.dumps([done - start, worked - cpu, again, rss]))
"""


def main() -> None:
    """Measures and prints one line per number."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else write_big_run(Path(scratch) / "big")
        found = {**pages(folder), **functions(folder), **served(folder)}
    for name, value in found.items():
        limit = LIMITS.get(name)
        said = "" if limit is None else f"   (limit {limit:g}: {'met' if value < limit else 'MISSED'})"
        print(f"{name:44s} {value:9.3f}{said}")


def pages(folder: Path) -> dict[str, float]:
    """Cold and warm time of whole pages, each in a process of its own."""
    found: dict[str, float] = {}
    for page, name in (("overview", "first page"), ("diff_map", "map page"), ("feature", "card")):
        cold, cpu, warm, rss = _cold(folder, page)
        found |= {f"{name}, cold process": cold, f"{name}, cold process, CPU seconds": cpu}
        found |= {f"{name}, again": warm, f"{name}, memory MB": rss}
    return found


def _cold(folder: Path, page: str) -> list[float]:
    command = [sys.executable, "-c", COLD, str(folder), page]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    times: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return times


def functions(folder: Path) -> dict[str, float]:
    """The steps of the map page, beside their floor."""
    from dashboards import latents
    from dashboards.charts.latents import map_figure
    from dashboards.store import open_store
    from dashboards.widgets import screen

    store = open_store(folder)
    x, y, chosen = latents.AXES["rate base"], latents.AXES["rate tuned"], latents.Chosen(HOOK)
    points = latents.points(store, chosen, x, y)
    inside = points["latent"].head(5000).tolist()
    figure = map_figure(points, x, y)
    return {
        "open the run": _best(lambda: open_store(folder).close()),
        f"points of {len(points):,} latents": _best(lambda: latents.points(store, chosen, x, y)),
        "floor: the same columns, one scan": _best(
            lambda: store.query("SELECT latent, rate_base, rate_tuned, kind FROM features")
        ),
        "figure": _best(lambda: map_figure(points, x, y)),
        "figure to JSON": _best(figure.to_json),
        "JSON, MB": len(figure.to_json()) / 1e6,
        "box of 5,000 latents to table": _best(lambda: screen(latents.rows(store, HOOK, inside))),
        "floor: whole rows, one scan": _best(lambda: store.query("SELECT * FROM features")),
        "texts of one latent of 2,000,000": _best(
            lambda: latents.of_latent(store, "examples", HOOK, 33_333, "stratum, rank")
        ),
        "floor: the latent column, one scan": _best(
            lambda: store.query("SELECT count(*) FROM examples WHERE latent = 33333")
        ),
    }


def _best(call: Callable[[], Any], times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def served(folder: Path) -> dict[str, float]:
    """Start of the server, and with Chromium the reader's times; memory of the server all along."""
    with _server(folder) as (process, address, started):
        found = {"server answers after": started}
        if CHROMIUM is not None:
            found |= _in_browser(address)
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        found["memory at the end, MB"] = memory
        found["peak memory, MB"] = _peak(process.pid) or memory
    return found


def _peak(pid: int) -> float | None:
    """Largest resident size so far, in MB, where the system tells."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    from urllib.request import urlopen

    from dashboards.launch import LOCAL, free_port

    port = free_port(LOCAL, 8701)
    start = time.perf_counter()
    command = [sys.executable, "-c", START.format(run=str(folder), port=port)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    address = f"http://{LOCAL}:{port}"
    try:
        while True:
            try:
                urlopen(address, timeout=5).read()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - start > 60:
                    raise
                time.sleep(0.05)
        yield process, address, time.perf_counter() - start
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def _in_browser(address: str) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1400, "height": 1300})
        found = {"browser: overview drawn": _until(page, f"{address}/overview", "Claims")}
        found["browser: map drawn"] = _until(page, f"{address}/diff_map", "strongest of")
        found["browser: box to table"] = _box(page)
        found["browser: card drawn"] = _until(page, f"{address}/feature?latent=33333", "Identity")
        browser.close()
    return found


def _until(page: Any, address: str, heading: str) -> float:
    start = time.perf_counter()
    page.goto(address)
    page.locator("h3", has_text=heading).first.wait_for(timeout=60_000)
    return time.perf_counter() - start


def _box(page: Any) -> float:
    """From letting go of the mouse until the table's heading says what is in the box."""
    plot = page.locator(".nsewdrag").first
    plot.wait_for(timeout=120_000)
    page.wait_for_timeout(3000)
    frame = plot.bounding_box()
    left, top, width, height = (frame[key] for key in ("x", "y", "width", "height"))
    page.mouse.move(left + 0.45 * width, top + 0.35 * height)
    page.mouse.down()
    page.mouse.move(left + 0.60 * width, top + 0.55 * height, steps=5)
    start = time.perf_counter()
    page.mouse.up()
    page.locator("h3", has_text="in the box").first.wait_for(timeout=60_000)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
