"""Side effects and traits of units on neutral text, against plain forward passes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from audit.causal.interventions import Intervention, intervened
from audit.causal.off_target import off_target
from audit.causal.traits import activity_of, rows_of, traits_of, unit_at
from audit.causal.units import Layout, Unit, parameter
from audit.pair.quiet import quiet

DOCUMENTS = [(5, 9, 30, 4, 77, 12), (8, 3, 100), (44, 45, 46, 47), (7, 7), (91, 2, 60, 61, 62), (3,)]
SEEN = [document for document in DOCUMENTS if len(document) > 1]


@pytest.fixture(params=["llama", "gpt2", "gpt_neox"])
def model(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Any:
    with quiet():
        return AutoModelForCausalLM.from_pretrained(tiny_model(request.param)).eval().requires_grad_(False)


def log_p(model: Any, document: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([document])).logits[0]
    return logits.double().log_softmax(-1)


def test_kl_and_skills_equal_plain_forward_passes(model: Any) -> None:
    layout = Layout(model)
    what = Intervention("ablate", 1.0, tuple(layout.units("neuron")[::3]))
    enter = partial(intervened, model, layout, [what])
    nothing, found = off_target(model, DOCUMENTS, [nullcontext, enter], batch_size=2)
    kl = right = kept = 0.0
    for document in SEEN:
        p, targets = log_p(model, document)[:-1], torch.tensor(document[1:])
        with enter():
            q = log_p(model, document)[:-1]
        kl += float((p.exp() * (p - q)).sum())
        right += int((p.argmax(-1) == targets).sum())
        kept += int((q.argmax(-1) == targets).sum())
    tokens = sum(len(document) - 1 for document in SEEN)
    assert found.tokens == tokens
    assert found.kl is not None
    assert found.kl.value == pytest.approx(kl / tokens, rel=1e-4)
    assert found.kl.low < found.kl.value < found.kl.high
    assert found.kl.n == len(SEEN)
    assert found.skills == (pytest.approx(kept / right) if right else None)
    assert nothing.kl is not None
    assert (nothing.kl.value, nothing.kl.low, nothing.kl.high) == (0, 0, 0)
    assert nothing.skills in (1.0, None)


def test_batches_do_not_change_the_result(model: Any) -> None:
    layout = Layout(model)
    enter = partial(intervened, model, layout, [Intervention("negate", 1.0, tuple(layout.units("head")))])
    one, all_ = (off_target(model, DOCUMENTS, [enter], batch_size=size)[0] for size in (1, 8))
    assert one.kl is not None
    assert all_.kl is not None
    assert one.kl.value == pytest.approx(all_.kl.value, rel=1e-4)


def test_a_model_that_breaks_is_outside_every_budget(model: Any) -> None:
    @contextmanager
    def broken() -> Any:
        with intervened(
            model, Layout(model), [Intervention("rescale", float("nan"), (layout.units("head")[0],))]
        ):
            yield

    layout = Layout(model)
    found = off_target(model, DOCUMENTS, [broken], batch_size=4)[0]
    assert found.kl is None
    assert not found.inside


def test_no_text_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="no text"):
        off_target(model, [(3,)], [nullcontext], batch_size=1)


def test_activity_is_the_mean_size_and_the_rate_of_what_a_unit_writes_with(model: Any) -> None:
    layout = Layout(model)
    module = layout.blocks[1].mlp_out
    assert module is not None
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(module).register_forward_pre_hook(lambda m, i: seen.append(i[0][0].abs()))
    probabilities = torch.cat([log_p(model, document).exp() for document in DOCUMENTS])
    handle.remove()
    found = activity_of(model, layout, DOCUMENTS, batch_size=3, rows=True)
    size = torch.cat(seen)
    torch.testing.assert_close(found[module].mean, size.mean(0), atol=1e-5, rtol=1e-4)
    fires = size > size.mean(1, keepdim=True)
    torch.testing.assert_close(found[module].rate, fires.float().mean(0), atol=0.05, rtol=0)
    rows = found[layout.unembedding]
    torch.testing.assert_close(rows.mean, probabilities.mean(0).float(), atol=1e-6, rtol=1e-4)
    likely = (probabilities > 1 / probabilities.shape[1]).float()
    torch.testing.assert_close(rows.rate, likely.mean(0), atol=0.05, rtol=0)
    assert layout.unembedding not in activity_of(model, layout, DOCUMENTS, batch_size=3)


def test_traits_have_the_norm_of_each_units_write_or_change(model: Any) -> None:
    layout = Layout(model)
    activity = activity_of(model, layout, DOCUMENTS, batch_size=3)

    class Some:
        names = tuple(layout.write(layout.units(kind)[0]).parameter for kind in ("neuron", "head"))

        def of(self, name: str) -> torch.Tensor | None:
            return 2 * parameter(model, name).detach() if name in self.names else None

        def component(self, module: str, index: int) -> torch.Tensor:
            raise NotImplementedError

    written = traits_of(model, layout, ["neuron", "head", "row"], activity)
    changed = traits_of(model, layout, ["neuron", "head", "row"], activity, Some())
    for unit in (layout.units("neuron")[5], layout.units("head")[3], layout.units("row")[9]):
        row = rows_of(written, [unit])[0]
        assert unit_at(written, row) == unit
        part = layout.write(unit)
        norm = float(part.of(parameter(model, part.parameter)).norm())
        assert written["norm"][row] == pytest.approx(norm, rel=1e-5)
        in_changed = unit.module in (layout.blocks[0].mlp_out, layout.blocks[0].attention_out)
        assert changed["norm"][row] == pytest.approx(2 * norm if in_changed else 0.0, rel=1e-5)
    head = layout.units("head")[3]
    width = layout.head_width(head.module)
    expected = activity[head.module].mean[3 * width : 4 * width].mean()
    assert written["activity"][rows_of(written, [head])[0]] == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(KeyError):
        rows_of(written, [Unit("neuron", "elsewhere", 0)])
