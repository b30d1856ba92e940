"""`audit intervene`: the interventions of a finished run once more, through nnsight.

A second implementation of what carries the verdict, and with `--remote` one on another machine, for a model
that this one cannot hold. Nothing of the run folder is changed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.config import CompareConfig, InterveneConfig
from audit.errors import RunFolderError, UsageError
from audit.evidence.run import RunFolder, open_run
from audit.evidence.schema.documents import ModelRecord
from audit.organisms.named import asked_suites
from audit.pair.reference import parse_reference
from audit.presets import PRESETS
from audit.progress import Progress
from audit.stages.behaviour import templates_of
from audit.terminal import printable

if TYPE_CHECKING:
    from audit.behaviours.suite import Suite
    from audit.causal.repeat import Bench, Repeat

SAME = "put the files of the run back, or run the audit again"


@dataclass(frozen=True)
class Repeated:
    """What `audit intervene` found."""

    run: str
    model: str
    remote: bool
    untouched: dict[str, float]
    """Per behaviour: largest difference of an item's score from the run's without an intervention, nats."""
    rows: tuple[Repeat, ...]

    def as_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def run_intervene(config: InterveneConfig, progress: Progress) -> Repeated:
    """Repeats the chosen interventions of every behaviour on its held-out items.

    Raises:
        AuditError: something is wrong that the user can mend.
    """
    run = open_run(Path(config.run))
    tuned, chosen = _tuned(run), _tried(run)
    suites = _suites(run)
    held = PRESETS[_settings(run)["preset"]].held_items
    untouched, rows = {}, []
    with _bench(config, run, tuned, progress) as bench:
        from audit.causal.repeat import Repeater

        for name, template in chosen.items():
            one = Repeater(run, suites[name], bench, template, config.batch_size, held)
            with progress.task(f"{suites[name].card.title}: interventions", one.work) as advance:
                found = one.repeats(advance)
            untouched[name] = found.untouched
            rows += found.rows
    return Repeated(config.run, tuned.reference, config.remote, untouched, tuple(rows))


def print_repeated(found: Repeated, console: Console) -> None:
    """The run's values beside the repeated ones, for people."""
    table = Table(box=None, pad_edge=False)
    for name in ("behaviour", "intervention", "set", "dose", "R in the run", "R through nnsight"):
        table.add_column(name, justify="right" if name.startswith(("dose", "R ")) else "left")
    for row in found.rows:
        cells = (row.behaviour, row.intervention, row.set, f"{row.dose:g}")
        table.add_row(*map(printable, cells), _share(row.recovered), _share(row.repeated))
    console.print(table)
    for row in found.rows:
        if row.why_not:
            console.print(Text(printable(f"{row.intervention} of {row.set}: {row.why_not}"), style="yellow"))
    where = "on another machine" if found.remote else "on this machine"
    most = max(found.untouched.values())
    text = f"{found.model} {where}; without an intervention every item's score is within {most:.2g} nats"
    console.print(Text(printable(f"{text} of the run's"), style="dim"))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _tuned(run: RunFolder) -> ModelRecord:
    manifest = run.manifest()
    if manifest.kind != "compare" or manifest.tuned is None:
        problem = f"A run of `audit {manifest.kind}` has no interventions to repeat."
        raise UsageError(problem, where=str(run.path), fix="name a run of `audit compare`")
    return manifest.tuned


def _tried(run: RunFolder) -> dict[str, str]:
    """Behaviours for which an intervention was chosen, and the form in which they were asked."""
    bypass = run.optional("bypass")
    behaviours = bypass.behaviours if bypass is not None else []
    found = {b.name: b.template for b in behaviours if b.chosen}
    if not found:
        fix = "repeat a run in which a behaviour was lost and ways back were tried (see `audit show RUN`)"
        raise UsageError("The run tried no intervention.", where=str(run.path), fix=fix)
    return found


def _settings(run: RunFolder) -> dict[str, Any]:
    values = tomllib.loads((run.path / "config.toml").read_text(encoding="utf-8"))
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _suites(run: RunFolder) -> dict[str, Suite]:
    settings, manifest = _settings(run), run.manifest()
    known = manifest.data
    models = [model.reference for model in (manifest.base, manifest.tuned) if model is not None]
    asked = asked_suites(settings["suite"], settings["behaviour"], *models)
    suites = {suite.card.name: suite for suite in asked}
    for name, suite in suites.items():
        if known.get(name) != suite.sha256:
            raise RunFolderError("The suite is not the one of this run.", where=name, fix=SAME)
    return suites


@contextmanager
def _bench(
    config: InterveneConfig, run: RunFolder, tuned: ModelRecord, progress: Progress
) -> Iterator[Bench]:
    if config.remote:
        yield _elsewhere(run, tuned)
        return
    from audit.causal.deltas import Deltas
    from audit.causal.repeat import Bench
    from audit.causal.traced import Traced
    from audit.pipeline import prepared

    manifest = run.manifest()
    changes = {"device": config.device, "dtype": manifest.dtype, "batch_size": config.batch_size}
    settings = CompareConfig(
        base=manifest.base.reference, tuned=tuned.reference, **(_settings(run) | changes)
    )
    with prepared(settings, progress) as audit:
        for record, checkpoint in ((manifest.base, audit.base), (tuned, audit.tuned)):
            if record.identity != checkpoint.identity:
                raise RunFolderError(
                    "The model is not the one of this run.", where=record.reference, fix=SAME
                )
        tokenizers = [audit.pair.tokenizer(side) for side in ("base", "tuned")]
        deltas = Deltas.read(audit.pair)
        with audit.pair.model("tuned") as model:
            traced = Traced.here(model, tokenizers[1])
            yield Bench(traced, deltas, tokenizers[1], templates_of(*map(_template, tokenizers)))


def _elsewhere(run: RunFolder, tuned: ModelRecord) -> Bench:
    """The tuned model where it is held; of both models no more than tokenizers come here."""
    from audit.causal.ndif import check_remote, hub_tokenizer, there
    from audit.causal.repeat import Bench

    reference, base = parse_reference(tuned.reference), parse_reference(run.manifest().base.reference)
    check_remote(reference)
    tokenizer = hub_tokenizer(reference)
    own = _template(tokenizer)
    before = own if run.result("preflight").same_template else _template(hub_tokenizer(base))
    return Bench(there(reference, tokenizer), None, tokenizer, templates_of(before, own))


def _template(tokenizer: Any) -> str | None:
    found = tokenizer.chat_template
    return found if isinstance(found, str) else None
