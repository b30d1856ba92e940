"""`audit probe RUN --text ...`: one text through a run's stored dictionary, both models.

`python -m audit.probe` does the same for the dashboard, which never imports torch: one JSON object of
settings on stdin, one JSON object on stdout. Models are opened only where the manifest says they lie, only if
every file still has its hash, and never with pickled weights or code of their own.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.config import LONGEST_PROBE, ProbeConfig
from audit.errors import AuditError, UsageError, memory_errors
from audit.evidence.run import open_run
from audit.evidence.schema.documents import Manifest, ModelRecord
from audit.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.console import Console

    from audit.features.probing import TextCodes
    from audit.features.stored import StoredDictionary
    from audit.pair.checkpoint import Checkpoint

ROOM_MB = 700
"""What Python, torch and one pass take besides the weights."""


@dataclass(frozen=True)
class ProbedLatent:
    """One latent on every token of the text."""

    latent: int
    base: list[float]
    """Activation per token in the base; 0 where it is silent."""
    tuned: list[float]


@dataclass(frozen=True)
class Probed:
    """What a probe found."""

    hook: str
    latents: int
    """Width of the dictionary."""
    joint: bool
    """Both models share one code; their activations are then that code's latent scaling, token by token."""
    tokens: list[str]
    left_out: int
    """Tokens at the start that audits leave out, since models park attention there: 0 for every latent."""
    found: list[ProbedLatent]
    base: str
    tuned: str

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def run_probe(config: ProbeConfig, progress: Progress | None = None) -> Probed:
    """Reads the text with both models and a dictionary of the run.

    Raises:
        AuditError: the run has no such dictionary, a model is gone, changed or unsafe, the text is too long,
            or memory is too short.
    """
    progress = progress or Silent()
    from audit.features.probing import chosen_latents
    from audit.features.stored import no_dictionary, stored_dictionary

    run = open_run(Path(config.run))
    stored = stored_dictionary(run, config.hook)
    manifest = run.manifest()
    if manifest.tuned is None:
        raise no_dictionary(run, "it has one model only")
    with progress.task("Checking the models"):
        base, tuned = _reopened(manifest.base), _reopened(manifest.tuned)
    check_memory([base, tuned], manifest.dtype, config.device)
    with memory_errors(), progress.task("Reading the text with both models"):
        codes = _codes(config, manifest, stored, base, tuned)
    chosen = chosen_latents(codes.activation_TFM, config.top, config.order, config.latent)
    values = codes.activation_TFM[:, chosen].double()
    return Probed(
        hook=stored.hook,
        latents=codes.activation_TFM.shape[1],
        joint=codes.joint,
        tokens=codes.tokens,
        left_out=codes.left_out,
        found=[
            ProbedLatent(latent, values[:, i, 0].tolist(), values[:, i, 1].tolist())
            for i, latent in enumerate(chosen)
        ],
        base=manifest.base.reference,
        tuned=manifest.tuned.reference,
    )


def check_memory(checkpoints: list[Checkpoint], dtype: str, device: str) -> None:
    """Refuses models that do not fit into this machine's free memory; on a GPU torch says so itself.

    Raises:
        AuditError: too little memory.
    """
    import psutil

    from audit.pair.load import DTYPES, choose_device

    if choose_device(device).type != "cpu":
        return
    wanted = DTYPES[dtype].itemsize if dtype in DTYPES else 4
    folders = {c.folder: c for c in checkpoints}
    needed = sum(_weight_bytes(f) * wanted / DTYPES[c.stored_dtype].itemsize for f, c in folders.items())
    needed_mb, free_mb = needed / 2**20 + ROOM_MB, psutil.virtual_memory().available / 2**20
    if needed_mb > free_mb:
        raise AuditError(
            f"Both models need about {needed_mb:,.0f} MB; {free_mb:,.0f} MB are free.",
            where="memory",
            fix="close other programs, or probe on a machine with more memory",
        )


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _reopened(record: ModelRecord) -> Checkpoint:
    from audit.pair.checkpoint import reopen

    return reopen(record)


def _codes(
    config: ProbeConfig, manifest: Manifest, stored: StoredDictionary, base: Checkpoint, tuned: Checkpoint
) -> TextCodes:
    from audit.features.probing import text_codes, text_document
    from audit.pair.architecture import load_config
    from audit.pair.load import open_pair
    from audit.sample import sae_errors
    from sae.dictionaries import load

    text = sys.stdin.read(LONGEST_PROBE + 1) if config.text == "-" else config.text
    room = getattr(
        load_config(base.folder, allow_code=False).get_text_config(), "max_position_embeddings", None
    )
    with sae_errors(), open_pair(base, tuned, dtype=manifest.dtype, device=config.device) as pair:
        tokenizer = pair.tokenizer("tuned")
        dictionary = load(stored.folder, str(pair.device))
        document = text_document(text, tokenizer, pair.shared_vocabulary, room or len(text) + 1)
        return text_codes(pair, document, dictionary, stored.layer, tokenizer)


def print_probed(found: Probed, console: Console) -> None:
    """A probe for people: each latent's strongest tokens in both models."""
    from rich.table import Table
    from rich.text import Text

    from audit.terminal import printable

    console.print(
        Text(printable(f"{found.hook} · {len(found.tokens)} tokens · {found.base} | {found.tuned}"))
    )
    table = Table(show_edge=False, pad_edge=False)
    for name in ("latent", "strongest at", "base", "tuned"):
        table.add_column(name, justify="right" if name != "strongest at" else "left")
    for one in found.found:
        peaks = [max(pair) for pair in zip(one.base, one.tuned, strict=True)]
        at = max(range(found.left_out, len(peaks)), key=lambda i: peaks[i], default=0)
        cells = (f"{one.base[at]:.3f}", f"{one.tuned[at]:.3f}")
        table.add_row(str(one.latent), Text(printable(repr(found.tokens[at]))), *cells)
    console.print(table)


def answer(request: Any) -> dict[str, Any]:
    """The answer to one request of the dashboard: `{"result": ...}` or `{"error": ...}`."""
    from sae.errors import SAEError

    try:
        return {"result": run_probe(_config(request)).as_json()}
    except (AuditError, SAEError) as error:
        return {"error": {"problem": error.problem, "where": error.where, "fix": error.fix}}


def _config(request: Any) -> ProbeConfig:
    if not isinstance(request, dict):
        raise UsageError("The request is no object.", where="stdin", fix="send one JSON object")
    given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in request.items()}
    try:
        return ProbeConfig(**given)
    except (TypeError, AttributeError) as error:
        problem = f"The request has other settings than a probe: {error}"
        raise UsageError(problem, where="stdin", fix="send the fields of ProbeConfig") from error


def main() -> None:
    """One request on stdin, one answer on stdout; what libraries print goes to stderr."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    with redirect_stdout(sys.stderr):
        found = answer(json.load(sys.stdin))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
