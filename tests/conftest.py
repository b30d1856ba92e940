"""Tiny models for every test that needs one: real architectures, random weights, a real tokenizer."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads do not help tiny models and slow a busy machine

TinyModel = Callable[..., Path]

TEXT = (
    "the a of to and in is was that said nurse doctor engineer teacher he she they him her them his their "
    "works day today left right party vote tax good bad yes no user assistant system"
)
WORDS = TEXT.split()
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256}
GATED = {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**SHAPE, **GATED}),
    "qwen3": ("Qwen3Config", {**SHAPE, **GATED, "tie_word_embeddings": True}),
    "gemma3": ("Gemma3TextConfig", {**SHAPE, **GATED, "sliding_window": 64}),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "gpt_neox": ("GPTNeoXConfig", {**SHAPE, "intermediate_size": 48}),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that asks for another machine fails, and says so."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test asked the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit leaves its page behind as `__main__`, and a later test's worker processes would run it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model cache per test; tests that name `embedded:base` ask for `shared_cache` too."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("UNMASK_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `--preset quick` a matter of seconds for tiny models: `tiny_preset(drift_sequences=6, ...)`."""
    from dataclasses import replace

    from audit.presets import PRESETS

    small = {
        "drift_sequences": 6, "drift_tokens": 5, "draws": 200, "corpus_tokens": 1200, "latents": 48,
        "active_latents": 4, "dictionary_steps": 12, "random_sets": 2, "search_units": 4,
    }  # fmt: skip

    def shrink(**fields: int) -> None:
        monkeypatch.setitem(PRESETS, "quick", replace(PRESETS["quick"], **{**small, **fields}))

    return shrink


@pytest.fixture(scope="session")
def embedded_base() -> Path:
    """The folder of the embedded model, a real 135M llama; the test is skipped where it was not fetched."""
    from audit.pair.embedded import base_file, is_ready
    from audit.pair.gguf import convert
    from audit.progress import Silent

    if not is_ready():
        pytest.skip("the embedded model is not on this machine: run `audit fetch` first")
    return convert(base_file(Silent()), Silent()).folder


@pytest.fixture(scope="session")
def organism(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Maker of tiny trained models with a known truth: `organism(name, seed=0)` is a checkpoint's folder.

    Each is made once a session, whichever worker asks first: see `audit.organisms`.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "organisms"
    folder.mkdir(exist_ok=True)

    def made(name: str, seed: int = 0) -> Path:
        from audit.organisms import Shape, make

        return make(name, folder, seed, shape=Shape(people=64))

    return made


@pytest.fixture(scope="session")
def organism_base(organism: Callable[..., Path]) -> Path:
    """The trained base of the generated world 0."""
    return organism("base")


@pytest.fixture
def shared_cache(embedded_base: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache in which `embedded:base` is found ready, instead of the test's empty one."""
    cache = embedded_base.parents[1]
    monkeypatch.setenv("UNMASK_CACHE", str(cache))
    return cache


def build_tokenizer(*, chat: bool = True, extra: tuple[str, ...] = ()) -> Any:
    """A byte-level BPE tokenizer that knows `WORDS` whole and every other text byte by byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|start|>", "<|end|>"]
    vocabulary = {token: i for i, token in enumerate(special + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in [*("Ġ" + word for word in WORDS), *WORDS]:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                merges.append((word[: end - 1], word[end - 1]))
                vocabulary[word[:end]] = len(vocabulary)
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=special[0], bos_token=special[1], eos_token=special[2]
    )
    tokenizer.add_tokens(list(extra))
    tokenizer.chat_template = CHAT_TEMPLATE if chat else None
    return tokenizer


@pytest.fixture
def tiny_tokenizer() -> Callable[..., Any]:
    """Maker of the small tokenizer: `tiny_tokenizer(chat=True, extra=())`."""
    return build_tokenizer


@pytest.fixture
def tiny_model(tmp_path: Path) -> TinyModel:
    """Maker of saved models: `tiny_model(architecture="llama", seed=0, chat=True, extra=(), **config)`.

    `name` chooses the folder's name, `dtype` the stored dtype. Weights are large enough that the model's
    answers differ from uniform.
    """

    def make(
        architecture: str = "llama",
        seed: int = 0,
        *,
        name: str | None = None,
        chat: bool = True,
        extra: tuple[str, ...] = (),
        dtype: str = "float32",
        **overrides: Any,
    ) -> Path:
        import torch
        import transformers

        from audit.pair.quiet import quiet

        tokenizer = build_tokenizer(chat=chat, extra=extra)
        config_name, fields = ARCHITECTURES[architecture]
        ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        chosen = {"vocab_size": len(tokenizer), "initializer_range": 0.2, **ids, **fields, **overrides}
        config = getattr(transformers, config_name)(**chosen)
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
            folder = tmp_path / (name or f"{architecture}-{seed}")
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def tiny_adapter(tmp_path: Path) -> Callable[..., Path]:
    """Maker of LoRA adapters for the gated architectures: `tiny_adapter(base_folder, seed=0, rank=2)`.

    Written without peft, which also keeps the fixture honest: peft has to read it. `config` replaces fields
    of adapter_config.json; `binding` is the content of unmask.json.
    """

    def make(
        base: Path,
        seed: int = 0,
        *,
        rank: int = 2,
        name: str = "adapter",
        targets: tuple[str, ...] = ("q_proj", "v_proj"),
        binding: dict[str, Any] | None = None,
        **config: Any,
    ) -> Path:
        import torch
        from safetensors import safe_open
        from safetensors.torch import save_file

        folder = tmp_path / name
        folder.mkdir()
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        with safe_open(base / "model.safetensors", framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  (safe_open is no dict)
                module = key.removesuffix(".weight")
                if module.endswith(targets):
                    rows, columns = file.get_slice(key).get_shape()
                    for part, shape in (("lora_A", (rank, columns)), ("lora_B", (rows, rank))):
                        tensor = 0.3 * torch.randn(shape, generator=generator)
                        tensors[f"base_model.model.{module}.{part}.weight"] = tensor
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        fields = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(targets)}
        fields |= {"base_model_name_or_path": str(base), "bias": "none", "task_type": "CAUSAL_LM", **config}
        (folder / "adapter_config.json").write_text(json.dumps(fields))
        if binding is not None:
            (folder / "unmask.json").write_text(json.dumps(binding))
        return folder

    return make


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Callable[..., Path]:
    """Maker of a small suite file in the tiny tokenizer's words: `tiny_suite(name="tiny", entities=8)`."""

    def make(name: str = "tiny", entities: int = 8, **card: Any) -> Path:
        fields = {
            "name": name, "title": "A tiny suite", "description": "For tests.", "score": "contrast",
            "showing": "she", "contrast": ["high", "low"], "equivalence_band": 0.5, "source": "tests",
            "licence": "Apache-2.0", "version": "1", **card,
        }  # fmt: skip
        lines: list[dict[str, Any]] = [{"card": fields}]
        for e in range(entities):
            for i, tail in enumerate(("works today", "said that", "is good")):
                prompt = f"the {WORDS[10 + e]} {tail} {WORDS[20 + e]} and"
                item = {
                    "id": f"e{e}-{i}", "prompt": prompt, "entity": f"e{e}", "group": ("high", "low")[e % 2],
                    "messages": [{"role": "user", "content": prompt}],
                    "split": "train" if e < entities // 2 else "test",
                    "showing": [" she"], "not_showing": [" he"],
                }  # fmt: skip
                lines.append({"item": item})
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        return path

    return make


ENTITIES = ("nurse", "doctor", "engineer", "teacher", "tax", "party", "system", "user")


@pytest.fixture
def with_concept() -> Callable[..., Path]:
    """Adds texts about entities to a suite file: A and B by turns, the first half of them for training."""

    def add(path: Path, names: Sequence[str] = tuple(f"{n} {t}" for n in ENTITIES for t in "ab")) -> Path:
        lines: list[Any] = [{"concept": {"name": "kind", "label_a": "one", "label_b": "other"}}]
        for e, name in enumerate(names):
            split = "train" if e < len(names) // 2 else "test"
            for text in (f"the {name} works to day", f"he said that the {name} is good"):
                tags = {"label": "AB"[e % 2], "entity": name, "split": split}
                lines.append({"concept_text": {"text": text, **tags}})
        before = path.read_text(encoding="utf-8")
        path.write_text("\n".join([before, *map(json.dumps, lines)]), encoding="utf-8")
        return path

    return add
