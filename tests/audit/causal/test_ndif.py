"""Remote models: a stub of the transport runs what is sent, with none of this package at hand."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from audit.causal.interventions import Intervention, intervened
from audit.causal.ndif import check_remote, hub_tokenizer, there
from audit.causal.units import Unit
from audit.errors import AuditError, ModelReferenceError, UsageError
from audit.pair.reference import Reference, parse_reference

HUB = Reference("org/name", "hub", "org/name")
NEURON = Unit("neuron", "model.layers.1.mlp.down_proj", 5)
ROW = Unit("row", "lm_head", 7)


class Server:
    """NDIF's two doors, without a network between: a request comes in, bytes of torch's go out."""

    def __init__(self, folder: Path) -> None:
        from nnsight import TransformersModel

        self.model = TransformersModel(str(folder), task="text-generation", dispatch=True)
        self.needed: set[str] = set()
        """Packages that what was sent refers to."""
        self.answer: Any = None
        """What is sent instead of the result, if anything."""
        self.waiting: list[Any] = []

    def connect(self, url: str, **_: Any) -> Server:
        assert url == "wss://api.ndif.us/subscribe"
        self.waiting = [json.dumps({"session_id": "1"})]
        return self

    def recv(self) -> Any:
        return self.waiting.pop(0)

    def close(self) -> None:
        pass

    def post(self, backend: Any, request: Any, blob: bytes) -> Any:
        from nnsight.schema.response import ResponseModel, Status

        assert backend.api_key == "secret"
        found = self.run(blob) if self.answer is None else self.answer
        buffer = io.BytesIO()
        torch.save(found, buffer)
        import zstandard

        data = zstandard.ZstdCompressor().compress(buffer.getvalue())
        self.waiting += [
            ResponseModel(id="1", status=Status.RUNNING).model_dump_json(),
            ResponseModel(id="1", status=Status.COMPLETED, data=data).pickle(),
        ]
        return ResponseModel(id="1", status=Status.RECEIVED)

    def run(self, blob: bytes) -> dict[str, Any]:
        from nnsight.intervention.serialization import CustomCloudUnpickler
        from nnsight.schema.request import RequestModel

        needed = self.needed

        class Noting(CustomCloudUnpickler):  # type: ignore[misc]  # untyped
            def find_class(self, module: str, name: str) -> Any:
                needed.add(module.split(".")[0])
                return super().find_class(module, name)

        objects = self.model._remoteable_persistent_objects()
        restored = RequestModel.deserialize(blob, objects, compress=True, unpickler=Noting)
        frame = restored.info.frame
        restored.execute(restored.info.code)
        return {"found": frame.f_locals["found"]}


@pytest.fixture
def planted(plant: Callable[..., Any]) -> Any:
    return plant([NEURON], noise=0.05, entities=6)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnsight import CONFIG

    monkeypatch.setattr(CONFIG.API, "APIKEY", "secret")


@pytest.fixture
def server(planted: Any, key: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A stub that holds the tuned model, which the hub knows as org/name."""
    import nnsight
    import transformers
    import websocket
    from nnsight.intervention.backends.remote import RemoteBackend

    folder = tmp_path / "served"
    planted.pair.tuned.save_pretrained(folder)
    planted.pair.tokenizer_.save_pretrained(folder)
    server, real = Server(folder), nnsight.TransformersModel

    def tokenizer(location: str, *, revision: str | None) -> Any:
        assert (location, revision) == ("org/name", None)
        return planted.pair.tokenizer_

    def described(location: str, **settings: Any) -> Any:
        assert location == "org/name"
        return real(str(folder), **settings)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", tokenizer)
    monkeypatch.setattr(nnsight, "TransformersModel", described)
    monkeypatch.setattr(real, "_remoteable_model_key", lambda self: "org/name")
    monkeypatch.setattr(websocket, "create_connection", server.connect)
    monkeypatch.setattr(RemoteBackend, "_post", lambda self, request, blob: server.post(self, request, blob))
    return server


def test_scores_from_elsewhere_equal_those_from_here(planted: Any, server: Server) -> None:
    model, objective = planted.pair.tuned, planted.held
    remote = there(HUB, hub_tokenizer(HUB))
    assert next(remote.nnsight._module.parameters()).is_meta
    what = [Intervention("negate", 1.0, (NEURON,)), Intervention("revert", 1.0, (NEURON, ROW))]
    with intervened(model, planted.layout, what, planted.deltas):
        scores = objective.scores(model, 8)
    with remote.under(what, planted.deltas):
        torch.testing.assert_close(objective.scores(remote, 8), scores, rtol=0, atol=1e-5)
    plain = objective.scores(model, 8)
    torch.testing.assert_close(objective.scores(remote, 8), plain, rtol=0, atol=1e-5)
    assert (scores - plain).abs().max() > 1e-3
    assert server.needed


def test_what_is_sent_needs_nothing_of_this_package(planted: Any, server: Server) -> None:
    remote = there(HUB, hub_tokenizer(HUB))
    with remote.under([Intervention("revert", 1.0, (NEURON,))], planted.deltas):
        planted.held.scores(remote, 8)
    assert "torch" in server.needed
    assert server.needed <= {"torch", "nnsight", "transformers", "cloudpickle", *sys.stdlib_module_names}


def test_without_a_key_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnsight import CONFIG

    monkeypatch.setattr(CONFIG.API, "APIKEY", None)
    with pytest.raises(UsageError, match="no API key") as caught:
        there(HUB, None)  # type: ignore[arg-type]  # not reached
    assert caught.value.where == "NDIF_API_KEY"


@pytest.mark.parametrize("text", ["embedded:base", "org/name+org/adapter"])
def test_only_a_hub_model_by_itself_runs_elsewhere(text: str, key: None) -> None:
    with pytest.raises(UsageError, match="without an adapter"):
        check_remote(parse_reference(text))


def test_a_hub_out_of_reach_is_said(key: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nmore lines")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", offline)
    with pytest.raises(ModelReferenceError, match="couldn't connect to") as caught:
        there(HUB, hub_tokenizer(HUB))
    assert caught.value.where == "org/name"
    assert "more lines" not in caught.value.problem


def test_a_server_out_of_reach_is_said(planted: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import websocket

    def refused(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError("nobody listens")

    monkeypatch.setattr(websocket, "create_connection", refused)
    with pytest.raises(AuditError, match="nobody listens") as caught:
        planted.held.scores(there(HUB, hub_tokenizer(HUB)), 8)
    assert caught.value.where == "https://api.ndif.us"


def test_what_the_server_says_of_a_failed_job_is_shown(
    planted: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnsight.schema.response import ResponseModel, Status

    failed = ResponseModel(id="1", status=Status.ERROR, description="out of memory")
    replies = [json.dumps({"session_id": "1"}), failed.model_dump_json()]
    monkeypatch.setattr(server, "recv", lambda: replies.pop(0))
    with pytest.raises(AuditError, match="out of memory"):
        planted.held.scores(there(HUB, hub_tokenizer(HUB)), 8)


class Dangerous:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_an_answer_that_would_run_code_is_refused(
    planted: Any, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = {"found": Dangerous()}
    with pytest.raises(AuditError, match="could not be run elsewhere"):
        planted.held.scores(there(HUB, hub_tokenizer(HUB)), 8)
    assert "run\n" not in capsys.readouterr().out


@pytest.mark.parametrize("answer", [b"no archive of torch's", "<html>", b""])
def test_an_answer_that_is_no_answer_is_refused(
    planted: Any, server: Server, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    replies = [json.dumps({"session_id": "1"}), answer]
    monkeypatch.setattr(server, "recv", lambda: replies.pop(0))
    with pytest.raises(AuditError, match="could not be run elsewhere"):
        planted.held.scores(there(HUB, hub_tokenizer(HUB)), 8)
