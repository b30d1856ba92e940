"""Sparse learned gates on a model's own neurons and heads: can its own wiring show the behaviour again?

a_i <- (1 + g_i) a_i, g learned on the fit half so that the tuned model's scores come near the base's, few g
away from 0, and unrelated text predicted as before. Sparsity and retention are essential: unrestricted gates
bring back what a model never learned. What gates find is a way around the switch, not its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audit.causal.objective import Objective
from audit.causal.units import Kind, Layout, Unit
from audit.evidence.files import read_json, write_json
from audit.measures.batches import forward, pad_left, shared_logits
from audit.measures.bootstrap import FloatArray
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LEAST = 0.1
"""Gates nearer to 0 are dropped."""


@dataclass(frozen=True)
class GateSettings:
    """How gates are learned."""

    steps: int
    rate: float = 0.1
    """Of Adam; with half of it, gates of a mask that is spread out stay at 0 within as many steps."""
    sparsity: float = 1e-4
    """Weight of sum |g|. With three to ten times as much, gates stay at 0 in some models by no merit of
    theirs, whether the behaviour is masked there or was never wired."""
    retention: float = 2.0
    """Weight of KL(tuned || gated), nats per token of unrelated text."""
    batch_size: int = 16
    """Sequences of items per step, and half as many texts."""
    seed: int = 0


class Gate(NamedTuple):
    """One unit and how much more of its activation is used."""

    unit: Unit
    value: float
    """0 leaves it alone, -1 silences it."""


def learned_gates(
    model: PreTrainedModel,
    layout: Layout,
    objective: Objective,
    m_base: FloatArray,
    documents: Sequence[Sequence[int]],
    settings: GateSettings,
    *,
    vocabulary: int | None = None,
    progress: Advance = lambda done: None,
) -> list[Gate]:
    """Gates that bring the scores of some items near the base's, the largest first.

    Loss per step: mean over a batch of items of huber((m - m_base) / s), s the mean |m_base - m_tuned|, plus
    `sparsity` x sum |g|, plus `retention` x KL per token on a batch of texts.

    Args:
        model: the tuned model; its weights stay as they are.
        layout: of this model.
        objective: the items that gates may be fitted to.
        m_base: the base's scores of them.
        documents: unrelated text, token ids.
        settings: steps and weights.
        vocabulary: token ids from here on are cut before the softmax.
        progress: called with the number of steps done.
    """
    target = torch.as_tensor(m_base, dtype=torch.float64)
    scale = float((target - objective.scores(model, settings.batch_size)).abs().mean())
    if not scale:
        return []
    gates = _fresh(layout, model.device)
    adam = torch.optim.Adam(gates.values(), lr=settings.rate)
    draw = torch.Generator().manual_seed(settings.seed)
    batches = _endless(list(objective.batches(settings.batch_size)), draw)
    texts = [list(document) for document in documents if len(document) > 1]
    with _frozen(model), torch.enable_grad():
        for _ in range(settings.steps):
            adam.zero_grad()
            rows = next(batches)
            with _gated(model, layout, gates):
                away = (objective.m(model, rows) - target[rows].to(model.device)) / scale
                loss = nn.functional.huber_loss(away, torch.zeros_like(away))
                loss = loss + settings.sparsity * sum(g.abs().sum() for g in gates.values())
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _retain(model, layout, gates, texts, settings, draw, vocabulary)
            adam.step()
            progress(1)
    return _kept(gates, layout)


def write_gates(gates: Sequence[Gate], path: Path) -> None:
    """Keeps gates as JSON: kind, module, index and value of each."""
    write_json(path, [[*vars(gate.unit).values(), gate.value] for gate in gates])


def read_gates(path: Path) -> list[Gate]:
    """What `write_gates` kept; none where there is no file."""
    rows = read_json(path) if path.is_file() else []
    return [Gate(Unit(kind, module, index), value) for kind, module, index, value in rows]


def _fresh(layout: Layout, device: torch.device) -> dict[str, Tensor]:
    """A gate of 0 for each neuron and head, by the module that writes it out."""
    neurons = [(block.mlp_out, block.neurons) for block in layout.blocks]
    heads = [(block.attention_out, block.heads) for block in layout.blocks]
    both = (*neurons, *heads)
    return {name: torch.zeros(count, device=device, requires_grad=True) for name, count in both if name}


@contextmanager
def _gated(model: PreTrainedModel, layout: Layout, gates: dict[str, Tensor]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, g in gates.items():
            handle = model.get_submodule(name).register_forward_pre_hook(_scaling(g))
            stack.callback(handle.remove)
        yield


def _scaling(g: Float[Tensor, " U"]) -> Callable[[nn.Module, Any], Any]:
    def hook(_module: nn.Module, inputs: Any) -> Any:
        x = inputs[0]
        factor = (1 + g).repeat_interleave(x.shape[-1] // len(g))
        return (x * factor.to(x.dtype), *inputs[1:])

    return hook


def _retain(
    model: PreTrainedModel,
    layout: Layout,
    gates: dict[str, Tensor],
    texts: Sequence[Sequence[int]],
    settings: GateSettings,
    draw: torch.Generator,
    vocabulary: int | None,
) -> None:
    """Adds the gradient of what the gates change on some of the texts."""
    if not texts:
        return
    chosen = torch.randperm(len(texts), generator=draw)[: max(1, settings.batch_size // 2)]
    block = pad_left([texts[i] for i in chosen.tolist()])
    counts = block.mask.to(model.device)

    def log_p() -> Tensor:
        logits = shared_logits(forward(model, block, keep=block.ids.shape[1]), vocabulary)
        return logits[counts].float().log_softmax(-1)

    with torch.no_grad():
        tuned = log_p()
    with _gated(model, layout, gates):
        kl = nn.functional.kl_div(log_p(), tuned, log_target=True, reduction="batchmean")
        (settings.retention * kl).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """No gradient is kept for any weight."""
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)


def _endless(batches: Sequence[list[int]], draw: torch.Generator) -> Iterator[list[int]]:
    while True:
        for place in torch.randperm(len(batches), generator=draw).tolist():
            yield batches[place]


def _kept(gates: dict[str, Tensor], layout: Layout) -> list[Gate]:
    heads = {block.attention_out for block in layout.blocks}
    found = []
    for module, g in gates.items():
        kind: Kind = "head" if module in heads else "neuron"
        values = g.detach().cpu()
        for index in (values.abs() >= LEAST).nonzero().flatten().tolist():
            found.append(Gate(Unit(kind, module, index), float(values[index])))
    return sorted(found, key=lambda gate: (-abs(gate.value), gate.unit))
