"""A model reference turned into verified files: nothing of a checkpoint is used before this has read it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from audit.errors import CheckpointError, ModelReferenceError
from audit.pair.files import VOCABULARIES, find_weights, hash_files, relevant_files
from audit.pair.reference import EMBEDDED_ADAPTER, Reference, parse_reference
from audit.progress import Progress, Silent

if TYPE_CHECKING:
    from audit.evidence.schema.documents import ModelRecord
    from audit.pair.adapter import AdapterFiles
    from audit.pair.architecture import Built

GGUF_SOURCE = "model.gguf"
"""Key of `Checkpoint.hashes` under which the GGUF file stands that the other files were converted from."""
ADAPTER_PREFIX = "adapter/"


@dataclass(frozen=True)
class LoadOptions:
    """What a checkpoint may do that safe ones need not."""

    allow_pickle: bool = False
    """Accept weights in PyTorch's pickle format (read with weights_only=True)."""
    trust_remote_code: bool = False
    """Run Python files that come with a model. They can do anything that you can do."""


@dataclass(frozen=True)
class Checkpoint:
    """One model on this disk, every file of it read and found whole."""

    reference: Reference
    """What the user named."""
    folder: Path
    """Folder of the weights (for GGUF, of the converted ones)."""
    revision: str | None
    """Commit that the hub resolved the reference to."""
    adapter: AdapterFiles | None
    """Adapter on top of the weights."""
    hashes: dict[str, str]
    """File name -> SHA-256 of every weight, tokenizer, config, template and adapter file."""
    config: dict[str, Any]
    """Content of config.json."""
    stored_dtype: str
    """Dtype of most of the stored entries: float32, bfloat16, ..."""
    quantisation: str | None
    """Kind of the GGUF file that the weights came from (Q4_1, ...)."""
    pickled: bool
    """The weights are in PyTorch's pickle format."""
    remote_code: bool
    """Loading runs Python files that came with the model; the user allowed it."""
    attention: str
    """Attention implementation that transformers chooses for it (sdpa, eager)."""
    warnings: tuple[str, ...] = field(default=())
    """What is odd about it, though not wrong."""

    @property
    def identity(self) -> str:
        """SHA-256 over name and hash of every file that makes this model this model; never over its path.

        Of a GGUF model the original counts, not the conversion, which later versions may write differently.
        """
        adapter = {name: value for name, value in self.hashes.items() if name.startswith(ADAPTER_PREFIX)}
        return _digest(self._base_hashes | adapter)

    @property
    def base_identity(self) -> str:
        """The identity of the weights below the adapter: what an adapter's unmask.json binds to."""
        return _digest(self._base_hashes)

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer lies: with the adapter, if it brings one, else with the weights."""
        brings = self.adapter is not None and any(
            (self.adapter.folder / name).is_file() for name in VOCABULARIES
        )
        return self.adapter.folder if self.adapter is not None and brings else self.folder

    @property
    def _base_hashes(self) -> dict[str, str]:
        if GGUF_SOURCE in self.hashes:
            return {GGUF_SOURCE: self.hashes[GGUF_SOURCE]}
        return {name: value for name, value in self.hashes.items() if not name.startswith(ADAPTER_PREFIX)}


class Located(NamedTuple):
    """Where the files of a reference lie."""

    folder: Path
    revision: str | None = None
    quantisation: str | None = None
    source_hashes: dict[str, str] = {}  # noqa: RUF012  (a NamedTuple default, never changed)


def resolve(text: str, options: LoadOptions, progress: Progress | None = None) -> Checkpoint:
    """Finds, fetches or converts the model that `text` names and verifies every file of it.

    Holds one tensor at a time. Only hub ids use the network, and embedded:base the first time.

    Raises:
        ModelReferenceError: the reference is malformed, names nothing, or the hub does not give it.
        CheckpointError: a file is missing, broken or unsafe; it and the tensor or field are named.
        PairMismatchError: the adapter belongs to another base.
        OutputError: the cache cannot be written.
    """
    progress = progress or Silent()
    reference = _made(parse_reference(text), progress)
    located = _locate(reference, options, progress)
    base = _verify(reference, located, options, progress)
    return base if reference.adapter is None else _with_adapter(base, reference.adapter, progress)


def reopen(record: ModelRecord) -> Checkpoint:
    """The model that a manifest names, if it is still on this disk and every file of it is what it was.

    Nothing is fetched or converted, and pickles or code of the model are refused: a manifest may come from
    anybody.

    Raises:
        CheckpointError: it is not there, was changed, or is unsafe.
    """
    fix = "ask on the machine that made the run, or run the audit again with the models that are here"
    folders = [record.path] + ([record.adapter.reference] if record.adapter else [])
    for folder in folders:
        if not _is_folder(folder):
            raise CheckpointError("the model of this run is not on this machine", where=folder, fix=fix)
    sources = {GGUF_SOURCE: record.files[GGUF_SOURCE]} if GGUF_SOURCE in record.files else {}
    at = Located(Path(folders[0]), record.revision, record.quantisation, sources)
    found = _verify(Reference(folders[0], "folder", folders[0]), at, LoadOptions(), Silent())
    if record.adapter is not None:
        found = _with_adapter(found, Reference(folders[1], "folder", folders[1]), Silent())
    if found.identity != record.identity or found.hashes != record.files:
        problem = "the model here is not the one of this run: its files have other SHA-256 hashes"
        raise CheckpointError(problem, where=folders[0], fix=fix)
    return found


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # names that no file system takes
        return False


def _made(reference: Reference, progress: Progress) -> Reference:
    """An organism's reference as that to its files, which are made where they are missing."""
    if reference.kind != "organism":
        return reference
    from audit.organisms.named import organism_files

    files = organism_files(reference.location, progress)
    where: dict[str, Any] = {"kind": "embedded", "location": "base"}
    if files.folder is not None:
        where = {"kind": "folder", "location": str(files.folder)}
    if files.adapter is None:
        return replace(reference, **where)
    if reference.adapter is not None:
        fix = "name an organism that is no adapter itself"
        raise ModelReferenceError("only one adapter can stand on a model", where=reference.text, fix=fix)
    return replace(reference, **where, adapter=Reference(str(files.adapter), "folder", str(files.adapter)))


def _locate(reference: Reference, options: LoadOptions, progress: Progress) -> Located:
    if reference.kind == "hub":
        from audit.pair import hub

        snapshot = hub.download(reference.location, reference.revision, options, progress)
        return Located(snapshot.folder, snapshot.commit)
    if reference.kind == "folder":
        return Located(Path(reference.location))
    from audit.pair import embedded, gguf

    embedded_file = reference.kind == "embedded"
    path = embedded.base_file(progress) if embedded_file else Path(reference.location)
    converted = gguf.convert(path, progress)
    return Located(converted.folder, None, converted.quantisation, {GGUF_SOURCE: converted.sha256})


def _verify(reference: Reference, at: Located, options: LoadOptions, progress: Progress) -> Checkpoint:
    from audit.pair.architecture import needs_code, read_config, skeleton
    from audit.pair.tokens import read_tokenizer
    from audit.pair.weights import check_weights

    weights = find_weights(at.folder)
    config = read_config(at.folder, allow_code=options.trust_remote_code)
    code = needs_code(at.folder, config)
    dtype = check_weights(at.folder, weights, allow_pickle=options.allow_pickle, progress=progress)
    built = skeleton(at.folder, pickled=weights.pickled, allow_code=code)
    tokenizer = read_tokenizer(at.folder, allow_code=code)
    names = [*weights.names, *([weights.index_file] if weights.index_file else [])]
    hashes = hash_files(relevant_files(at.folder, names, code=code), progress)
    if at.source_hashes:
        from audit.pair.gguf import check_conversion

        check_conversion(at.folder, hashes)
    warnings = _oddities(at.folder, built, max(tokenizer.get_vocab().values()))
    return Checkpoint(
        reference=replace(reference, adapter=None),
        folder=at.folder,
        revision=at.revision,
        adapter=None,
        hashes=hashes | at.source_hashes,
        config=config,
        stored_dtype=dtype,
        quantisation=at.quantisation,
        pickled=weights.pickled,
        remote_code=code,
        attention=str(built.model.config._attn_implementation),
        warnings=warnings,
    )


def _with_adapter(base: Checkpoint, wanted: Reference, progress: Progress) -> Checkpoint:
    from audit.pair import hub
    from audit.pair.adapter import check_binding, check_fit, read_adapter
    from audit.pair.architecture import skeleton
    from audit.pair.tokens import has_tokenizer, read_tokenizer

    if wanted.kind == "hub":
        snapshot = hub.download_adapter(wanted.location, wanted.revision, progress)
        adapter = read_adapter(snapshot.folder, snapshot.commit)
    else:
        _check_shipped(Path(wanted.location))
        adapter = read_adapter(Path(wanted.location))
    warnings = check_binding(adapter, base, base.reference)
    built = skeleton(base.folder, pickled=base.pickled, allow_code=base.remote_code)
    if has_tokenizer(adapter.folder):
        tokenizer = read_tokenizer(adapter.folder, allow_code=False)
        warnings += _homeless_tokens(adapter.folder, built, max(tokenizer.get_vocab().values()))
    warnings += check_fit(adapter, built.model)
    hashes = {ADAPTER_PREFIX + name: value for name, value in hash_files(adapter.files).items()}
    return replace(
        base,
        reference=replace(base.reference, adapter=wanted),
        adapter=adapter,
        hashes=base.hashes | hashes,
        warnings=(*base.warnings, *warnings),
    )


def _oddities(folder: Path, built: Built, last_token: int) -> tuple[str, ...]:
    found, unused = _homeless_tokens(folder, built, last_token), built.unused
    if unused:
        found.append(f"{folder.name}: {len(unused)} tensors of the files are not used, such as {unused[0]}")
    return tuple(found)


def _homeless_tokens(folder: Path, built: Built, last_token: int) -> list[str]:
    model: Any = built.model
    rows = int(model.get_input_embeddings().weight.shape[0])
    if last_token < rows:
        return []
    return [f"{folder.name}: the tokenizer has token {last_token}, the embedding only {rows} rows"]


def _digest(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


def _check_shipped(folder: Path) -> None:
    if folder == EMBEDDED_ADAPTER and not folder.is_dir():
        fix = "install a release that ships it, or make your own with `audit train grpo`"
        raise CheckpointError("the adapter of embedded:tuned is not installed", where=str(folder), fix=fix)
