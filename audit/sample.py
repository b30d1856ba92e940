"""`audit sample`: a corpus that a model writes itself, with a record of how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from audit.config import SampleConfig
from audit.errors import AuditError, memory_errors
from audit.evidence.provenance import package_version
from audit.pair.checkpoint import Checkpoint, LoadOptions, resolve
from audit.progress import Progress
from sae.errors import SAEError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from audit.pair.load import Loaded
    from audit.sampling import Sampler

FORMAT = 1


class Sampled(NamedTuple):
    """A finished corpus."""

    path: Path
    texts: int
    tokens: int


def run_sample(config: SampleConfig, progress: Progress) -> Sampled:
    """Samples a corpus from a model, or goes on with the one that the same command left.

    Raises:
        AuditError: something is wrong that the user can mend.
    """
    from audit.sampling import sample_into

    config, checkpoint = _prepare(config, progress)
    path, meta = Path(config.out), _meta(config, checkpoint)
    source = _Source(config, checkpoint, progress)
    with sae_errors(), memory_errors(), progress.task("Sampling", config.tokens) as advance:
        count = sample_into(path, meta, source.sampler, source.model, config.tokens, advance)
    with path.open("rb") as stream:
        texts = sum(1 for _ in stream) - 1
    return Sampled(path, texts, count)


@contextmanager
def sae_errors() -> Iterator[None]:
    """Shows what is wrong with a corpus as the user's error."""
    try:
        yield
    except SAEError as error:
        raise AuditError(error.problem, where=error.where, fix=error.fix) from error


def _prepare(config: SampleConfig, progress: Progress) -> tuple[SampleConfig, Checkpoint]:
    from audit.pair.load import choose_device, choose_dtype, name_of

    options = LoadOptions(config.allow_pickle, config.trust_remote_code)
    checkpoint = resolve(config.model, options, progress)
    device = choose_device(config.device)
    dtype = name_of(choose_dtype(config.dtype, checkpoint.stored_dtype, device))
    return replace(config, device=str(device), dtype=dtype), checkpoint


def _meta(config: SampleConfig, checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": checkpoint.reference.text,
        "identity": checkpoint.identity,
        "version": package_version(),
        **config.resolved(),
    }


@dataclass
class _Source:
    """The model, loaded when it is first needed: a finished corpus loads nothing."""

    config: SampleConfig
    checkpoint: Checkpoint
    progress: Progress

    @cached_property
    def loaded(self) -> Loaded:
        from audit.pair.load import load_single

        config = self.config
        options = LoadOptions(config.allow_pickle, config.trust_remote_code)
        with self.progress.task("Loading the model"):
            return load_single(self.checkpoint, dtype=config.dtype, device=config.device, options=options)

    def sampler(self) -> Sampler:
        from audit.sampling import Sampler, end_ids, known_ids

        config, model, tokenizer = self.config, self.loaded.model, self.loaded.tokenizer
        rows: Any = model.get_input_embeddings()
        return Sampler(
            tokenizer=tokenizer,
            template=tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
            end_ids=tuple(sorted(end_ids(model, tokenizer))),
            vocabulary=min(rows.weight.shape[0], known_ids(tokenizer)),
            form=config.form,
            new_tokens=config.new_tokens,
            batch_size=config.batch_size,
            seed=config.seed,
        )

    def model(self) -> AbstractContextManager[PreTrainedModel]:
        return nullcontext(self.loaded.model)
