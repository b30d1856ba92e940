"""Models that run on somebody else's machine: NDIF, or a server of one's own that speaks its protocol.

Nothing here is reached without the user's `--remote`. What leaves this machine are token ids, the tensors of
the interventions, and the source of `audit.causal.arithmetic` with the path of its file; what comes back are
logits, read as tensors and nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from audit.causal.traced import SHIPPED, Traced
from audit.errors import AuditError, ModelReferenceError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from audit.pair.reference import Reference

KEY = "NDIF_API_KEY"
HOST = "NDIF_HOST"
KNOWN = (
    ("torch._utils", "_rebuild_tensor_v2"),
    ("collections", "OrderedDict"),
    ("nnsight.schema.response", "Status"),
)
"""What an answer may be made of, besides torch's storages."""


def there(reference: Reference, tokenizer: PreTrainedTokenizerBase) -> Traced:
    """A hub model that runs elsewhere; of it only the config is fetched to this machine.

    Raises:
        UsageError: there is no API key, or the reference is not a model of the hub by itself.
        ModelReferenceError: the hub does not give its config.
    """
    check_remote(reference)
    import nnsight

    nnsight.register(SHIPPED)
    with _hub_errors(reference):
        model = nnsight.TransformersModel(
            reference.location, revision=reference.revision, task="text-generation", tokenizer=tokenizer
        )
    return Traced(model, partial(_backend, model))


def hub_tokenizer(reference: Reference) -> PreTrainedTokenizerBase:
    """The tokenizer of a hub model, and nothing else of it.

    Raises:
        UsageError: the reference is not a model of the hub.
        ModelReferenceError: the hub does not give it.
    """
    if reference.kind != "hub":
        fix = "leave --remote out"
        raise UsageError("The tokenizer is not on the hub.", where=reference.text, fix=fix)
    from transformers import AutoTokenizer

    with _hub_errors(reference):
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            reference.location, revision=reference.revision
        )
    return found


@contextmanager
def _hub_errors(reference: Reference) -> Iterator[None]:
    import httpx

    try:
        yield
    except (OSError, ValueError, httpx.HTTPError) as error:
        problem = f"the hub does not give {reference.location}: {_first_line(error)}"
        fix = "check the name and the connection to the hub"
        raise ModelReferenceError(problem, where=reference.text, fix=fix) from error


def check_remote(reference: Reference) -> None:
    """Refuses at once what cannot run elsewhere; nothing is sent and nothing fetched.

    Raises:
        UsageError: there is no API key, or the reference is not a model of the hub by itself.
    """
    from nnsight import CONFIG

    if reference.kind != "hub" or reference.adapter is not None:
        problem = "Only a model of the hub without an adapter can run on another machine."
        fix = "publish the (merged) model on the hub and name it there, or leave --remote out"
        raise UsageError(problem, where=reference.text, fix=fix)
    if not CONFIG.API.APIKEY:
        fix = f"get a key from ndif.us and set {KEY} (and {HOST} for another server), or leave --remote out"
        raise UsageError("There is no API key for running a model elsewhere.", where=KEY, fix=fix)


def _backend(model: Any) -> Any:
    from nnsight.intervention.backends.remote import RemoteBackend

    with remote_errors():
        backend = RemoteBackend(model.to_model_key(), env=model._remoteable_get_env())
    backend.display.enabled = False
    plain: Any = backend
    plain.parse, plain.finalize = _parsed, partial(_tensors, backend.compress)
    plain.request = partial(_guarded, backend.request)
    return backend


def _guarded(request: Any, *arguments: Any) -> Any:
    with remote_errors():
        return request(*arguments)


@contextmanager
def remote_errors() -> Iterator[None]:
    """Says what went wrong with the other machine or on the way to it."""
    import httpx
    import websocket
    from nnsight import CONFIG
    from nnsight.intervention.backends.remote import RemoteError

    on_the_way = (httpx.HTTPError, websocket.WebSocketException, OSError)
    failures = (RemoteError, *on_the_way, pickle.UnpicklingError, ValueError)
    try:
        yield
    except failures as error:
        problem = f"The model could not be run elsewhere: {_first_line(error)}"
        fix = f"check the connection, {KEY}, and at the server's status page whether it holds the model"
        raise AuditError(problem, where=CONFIG.API.HOST, fix=fix) from error


def _parsed(message: str | bytes) -> Any:
    """One message of a server, which may be bytes of torch's with the answer inside."""
    from nnsight.schema.response import ResponseModel

    if isinstance(message, str):
        return ResponseModel.model_validate_json(message)
    return ResponseModel(**_loaded(message))


def _tensors(compressed: bool, content: bytes) -> Any:
    """A server's answer, read without running anything that it may contain."""
    import zstandard

    return _loaded(zstandard.ZstdDecompressor().decompress(content) if compressed else content)


class _Tensors(pickle.Unpickler):
    """Knows tensors and the envelope that they come in; torch's own reader of this sort lacks protocol 4."""

    def find_class(self, module: str, name: str) -> Any:
        """A class of the few that are needed.

        Raises:
            pickle.UnpicklingError: it is another one.
        """
        storage = module in ("torch", "torch.storage") and name.endswith("Storage")
        if storage or (module, name) in KNOWN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"the answer holds a {module}.{name} where tensors were asked for")


def _loaded(content: bytes) -> Any:
    import io
    from types import SimpleNamespace

    import torch

    def load(file: Any, **settings: Any) -> Any:
        return _Tensors(file, **settings).load()

    reader: Any = SimpleNamespace(Unpickler=_Tensors, load=load, __name__=__name__)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", pickle_module=reader, weights_only=False)
    except (RuntimeError, EOFError, ValueError) as error:
        raise pickle.UnpicklingError(f"the answer cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
