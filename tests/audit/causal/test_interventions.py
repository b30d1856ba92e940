"""Every intervention against plain algebra on tiny models, and what they leave behind: nothing."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from audit.causal.interventions import Intervention, Latents, Steering, intervened
from audit.causal.units import Layout, Slice, Unit, parameter
from audit.pair.quiet import quiet
from sae.hooks import capture, edited

ARCHITECTURES = ["llama", "qwen3", "gemma3", "gpt2", "gpt_neox"]
IDS = torch.tensor([[5, 9, 30, 4, 77, 12], [8, 3, 100, 41, 6, 2]])


class PlainDeltas:
    """Changes of every parameter that differs, read from two plain models."""

    def __init__(self, base: Any, tuned: Any) -> None:
        left = dict(base.named_parameters())
        pairs = ((name, left[name].detach(), p.detach()) for name, p in tuned.named_parameters())
        self.tensors = {n: t.float() - b.float() for n, b, t in pairs if not torch.equal(b, t)}

    @property
    def names(self) -> list[str]:
        return list(self.tensors)

    def of(self, name: str) -> Tensor | None:
        return self.tensors.get(name)

    def slice(self, part: Slice) -> Tensor:
        return part.of(self.tensors[part.parameter])

    def component(self, module: str, index: int) -> Tensor:
        u, s, v = torch.linalg.svd(self.tensors[f"{module}.weight"], full_matrices=False)
        return s[index] * torch.outer(u[:, index], v[index])


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    from transformers import AutoModelForCausalLM

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.eval().requires_grad_(False)


def moved(base: Any, seed: int = 1, size: float = 0.05) -> Any:
    """A copy whose every weight moved a little."""
    tuned, generator = copy.deepcopy(base), torch.Generator().manual_seed(seed)
    for tensor in tuned.parameters():
        noise = torch.randn(tensor.shape, generator=generator) * size
        tensor.data += noise.to(tensor.dtype)
    return tuned


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = model(input_ids=IDS, use_cache=False).logits
    return out.clone()


def state(model: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def unchanged(model: Any, before: dict[str, Tensor]) -> bool:
    after = model.state_dict()
    hooks = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    return not hooks and all(torch.equal(before[name], after[name]) for name in before)


@pytest.fixture(params=ARCHITECTURES)
def base(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Any:
    return load(tiny_model(request.param))


@pytest.fixture
def llama(tiny_model: Callable[..., Path]) -> Any:
    return load(tiny_model("llama"))


def units_of(layout: Layout) -> list[Unit]:
    return [layout.units("neuron")[-2], layout.units("neuron")[3], layout.units("head")[5]]


def test_ablating_units_equals_zeroing_what_they_write_with(base: Any) -> None:
    layout = Layout(base)
    units, before, plain = units_of(layout), state(base), logits(base)
    with intervened(base, layout, [Intervention("ablate", 1.0, tuple(units))]):
        ablated = logits(base)
    assert unchanged(base, before)
    for unit in units:
        part = layout.write(unit)
        part.of(parameter(base, part.parameter).data).zero_()
    torch.testing.assert_close(ablated, logits(base), atol=1e-5, rtol=0)
    assert (ablated - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("action", "dose", "factor"), [("ablate", 0.25, 0.75), ("rescale", 3.0, 3.0), ("negate", 0.5, -0.5)]
)
def test_scaling_an_activation_equals_scaling_its_write(
    base: Any, action: Any, dose: float, factor: float
) -> None:
    layout = Layout(base)
    units = units_of(layout)
    with intervened(base, layout, [Intervention(action, dose, tuple(units))]):
        scaled = logits(base)
    for unit in units:
        part = layout.write(unit)
        part.of(parameter(base, part.parameter).data).mul_(factor)
    torch.testing.assert_close(scaled, logits(base), atol=1e-5, rtol=0)


def test_ablating_to_a_mean_writes_the_mean(llama: Any) -> None:
    layout = Layout(llama)
    head, neuron = layout.units("head")[1], layout.units("neuron")[7]
    means = {head: torch.randn(8), neuron: torch.tensor([2.5])}
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs: seen.update({name: inputs[0]})

    with ExitStack() as stack:
        stack.enter_context(
            intervened(llama, layout, [Intervention("ablate", 1.0, (head, neuron), means=means)])
        )
        for unit in (head, neuron):  # hooks that come later see what the earlier ones left
            handle = llama.get_submodule(unit.module).register_forward_pre_hook(keep(unit.module))
            stack.callback(handle.remove)
        logits(llama)
    torch.testing.assert_close(seen[head.module][0, 3, 8:16], means[head])
    assert (seen[neuron.module][..., 7] == 2.5).all()


def test_reverting_everything_gives_the_base(base: Any) -> None:
    tuned = moved(base)
    layout, before = Layout(tuned), state(tuned)
    everything = Intervention("revert", 1.0, (Unit("module", "", 0),))
    assert (logits(tuned) - logits(base)).abs().max() > 1e-2
    with intervened(tuned, layout, [everything], PlainDeltas(base, tuned)):
        torch.testing.assert_close(logits(tuned), logits(base), atol=1e-5, rtol=0)
    assert unchanged(tuned, before)


def test_reverting_in_half_precision_gives_the_base_bit_for_bit(tiny_model: Callable[..., Path]) -> None:
    base = load(tiny_model("llama"), torch.bfloat16)
    tuned = moved(base)
    before, everything = state(tuned), Intervention("revert", 1.0, (Unit("module", "", 0),))
    with intervened(tuned, Layout(tuned), [everything], PlainDeltas(base, tuned)):
        assert torch.equal(logits(tuned), logits(base))
    assert unchanged(tuned, before)


@pytest.mark.parametrize("write_only", [False, True])
def test_reverting_units_moves_their_slices_and_no_others(base: Any, write_only: bool) -> None:
    tuned = moved(base)
    layout, units, deltas = Layout(tuned), units_of(Layout(tuned)), PlainDeltas(base, tuned)
    by_hand = copy.deepcopy(tuned)
    for unit in units:
        for part in [layout.write(unit)] if write_only else layout.slices(unit):
            part.of(parameter(by_hand, part.parameter).data).sub_(0.5 * deltas.slice(part))
    with intervened(
        tuned, layout, [Intervention("revert", 0.5, tuple(units), write_only=write_only)], deltas
    ):
        torch.testing.assert_close(logits(tuned), logits(by_hand), atol=1e-5, rtol=0)


def test_reverting_a_row_leaves_the_input_embedding_alone(base: Any) -> None:
    tuned = moved(base)
    layout, deltas = Layout(tuned), PlainDeltas(base, tuned)
    rows, before = [Unit("row", layout.unembedding, i) for i in (5, 40)], state(tuned)
    plain = logits(tuned)
    with intervened(tuned, layout, [Intervention("revert", 1.0, tuple(rows))], deltas):
        found = logits(tuned)
        embedded = tuned.get_input_embeddings().weight
        # Token 5 is among the inputs: had its embedding moved, every logit after it would have, too.
        assert torch.equal(embedded, before[next(n for n, t in before.items() if t.shape == embedded.shape)])
    others = [i for i in range(plain.shape[-1]) if i not in (5, 40)]
    assert torch.equal(found[..., others], plain[..., others])
    with torch.no_grad():
        hidden = tuned.base_model(input_ids=IDS, use_cache=False).last_hidden_state
        expected = hidden @ base.get_output_embeddings().weight[[5, 40]].T
    torch.testing.assert_close(found[..., [5, 40]], expected, atol=1e-5, rtol=0)
    assert unchanged(tuned, before)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_all_components_of_a_module_are_its_change(
    architecture: str, tiny_model: Callable[..., Path]
) -> None:
    base = load(tiny_model(architecture))
    tuned = moved(base)
    layout, deltas = Layout(tuned), PlainDeltas(base, tuned)
    module = layout.blocks[1].mlp_out
    assert module is not None
    rank = min(tuned.get_submodule(module).weight.shape)
    parts = tuple(Unit("component", module, k) for k in range(rank))
    with intervened(tuned, layout, [Intervention("revert", 1.0, parts)], deltas):
        by_parts = logits(tuned)
    deltas.tensors.pop(f"{module}.bias", None)  # a module's revert takes its bias back, too
    with intervened(tuned, layout, [Intervention("revert", 1.0, (Unit("module", module, 0),))], deltas):
        torch.testing.assert_close(logits(tuned), by_parts, atol=1e-5, rtol=0)


def test_what_lies_inside_a_reverted_module_is_reverted_once(llama: Any) -> None:
    tuned = moved(llama)
    layout, deltas = Layout(tuned), PlainDeltas(llama, tuned)
    inside = (layout.units("neuron")[0], Unit("module", "model.layers.0.mlp.down_proj", 0))
    whole = Unit("module", "model.layers.0", 0)
    with intervened(tuned, layout, [Intervention("revert", 1.0, (whole,))], deltas):
        once = logits(tuned)
    with intervened(tuned, layout, [Intervention("revert", 1.0, (*inside, whole))], deltas):
        assert torch.equal(logits(tuned), once)


def test_weights_come_back_after_an_exception_and_when_nested(base: Any) -> None:
    tuned = moved(base)
    layout, deltas, before = Layout(tuned), PlainDeltas(base, tuned), state(tuned)
    revert = Intervention("revert", 0.3, tuple(units_of(layout)))
    rows = Intervention("revert", 0.3, (Unit("row", layout.unembedding, 7),))
    ablate = Intervention("ablate", 1.0, tuple(units_of(layout)))
    everything = Intervention("revert", 1.0, (Unit("module", "", 0),))

    def interrupted() -> None:
        with (
            intervened(tuned, layout, [revert, ablate, rows], deltas),
            intervened(tuned, layout, [revert, everything], deltas),
        ):
            logits(tuned)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert unchanged(tuned, before)


def test_a_unit_that_is_not_there_leaves_nothing_behind(llama: Any) -> None:
    layout, before = Layout(llama), state(llama)
    missing = Unit("neuron", "model.layers.0.mlp.down_proj", 48)
    with (
        pytest.raises(ValueError, match="outside its module"),
        intervened(
            llama,
            layout,
            [Intervention("ablate", 1.0, tuple(units_of(layout))), Intervention("ablate", 1.0, (missing,))],
        ),
    ):
        pass
    assert unchanged(llama, before)


def test_steering_adds_the_direction_at_every_position(base: Any) -> None:
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    with edited(base, 0, lambda h: h + 2 * direction):
        expected = logits(base)
    with intervened(base, Layout(base), [Intervention("steer", 2.0, steering=Steering(0, direction))]):
        torch.testing.assert_close(logits(base), expected, atol=1e-6, rtol=0)


def test_amplifying_enlarges_what_differs_from_the_centre(llama: Any) -> None:
    generator, mask = torch.Generator().manual_seed(0), torch.ones_like(IDS)
    direction, centre = torch.randn(2, 32, generator=generator)
    h = capture(llama, [0], IDS, mask)[0]
    what = Intervention("amplify", 1.5, steering=Steering(0, direction, centre))
    with intervened(llama, Layout(llama), [what]):
        after = capture(llama, [0], IDS, mask)[0]
    unit = direction / direction.norm()
    along = (h - centre) @ unit
    expected = 1.5 * along.clamp(-direction.norm(), direction.norm())
    torch.testing.assert_close((after - h) @ unit, expected, atol=1e-4, rtol=0)
    assert (along.abs() > direction.norm()).any() or (along != 0).all()
    torch.testing.assert_close(after - h, expected[..., None] * unit, atol=1e-4, rtol=0)


def test_a_control_scales_each_unit_by_its_own_strength(base: Any) -> None:
    layout, by_hand = Layout(base), copy.deepcopy(base)
    units, strengths = units_of(layout), (0.5, 3.0, 1.0)
    for unit, strength in zip(units, strengths, strict=True):
        part = layout.write(unit)
        part.of(parameter(by_hand, part.parameter).data).mul_(1 - strength * 1.5)
    what = Intervention("negate", 0.5, tuple(units), strengths=strengths)
    with intervened(base, layout, [what]):
        torch.testing.assert_close(logits(base), logits(by_hand), atol=1e-5, rtol=0)


class TwoLatents:
    """A dictionary with a known code: f_j = relu of one coordinate of each side (or of their difference)."""

    def __init__(self, *, joint: bool) -> None:
        self.joint = joint
        self.decoder_FMD = torch.randn(2, 2, 32, generator=torch.Generator().manual_seed(3))
        self.bias_MD = torch.zeros(2, 32)

    def encode(self, x_NMD: Tensor) -> Tensor:
        read = (x_NMD[:, 1:] - x_NMD[:, :1]).expand(-1, 2, -1) if self.joint else x_NMD
        return read[..., :2].relu()

    def decode(self, codes_NMF: Tensor) -> Tensor:
        return torch.einsum("nmf,fmd->nmd", codes_NMF, self.decoder_FMD)


def test_latents_are_taken_out_with_the_models_own_code(llama: Any) -> None:
    dictionary = TwoLatents(joint=False)
    mask = torch.ones_like(IDS)
    h = capture(llama, [0], IDS, mask)[0]
    what = Intervention("latents", 0.5, latents=Latents(dictionary, 0, (1,)))
    with intervened(llama, Layout(llama), [what]):
        after = capture(llama, [0], IDS, mask)[0]  # capture's own hook comes later and sees the change
    expected = h - 0.5 * h[..., 1:2].relu() * dictionary.decoder_FMD[1, 1]
    torch.testing.assert_close(after, expected)
    assert not what.reads_base


def test_latents_leave_outliers_alone_and_take_strengths(llama: Any) -> None:
    dictionary, mask = TwoLatents(joint=False), torch.ones_like(IDS)
    h = capture(llama, [0], IDS, mask)[0]
    bound = float(h.norm(dim=-1).median())
    latents = Latents(dictionary, 0, (0, 1), bound=bound, strengths=(0.0, 3.0))
    with intervened(llama, Layout(llama), [Intervention("latents", 0.5, latents=latents)]):
        after = capture(llama, [0], IDS, mask)[0]
    inside = h.norm(dim=-1, keepdim=True) <= bound
    assert inside.any()
    assert not inside.all()
    write = 1.5 * h[..., 1:2].relu() * dictionary.decoder_FMD[1, 1]
    torch.testing.assert_close(after, torch.where(inside, h - write, h))
    with pytest.raises(ValueError, match="one strength each"):
        Latents(dictionary, 0, (0, 1), strengths=(1.0,))


def test_a_code_of_both_models_says_that_it_reads_the_base(llama: Any) -> None:
    dictionary, mask = TwoLatents(joint=True), torch.ones_like(IDS)
    h, other = capture(llama, [0], IDS, mask)[0], torch.randn(2, 6, 32)
    what = Intervention("latents", 1.0, latents=Latents(dictionary, 0, (0,), base=lambda h: other))
    with intervened(llama, Layout(llama), [what]):
        after = capture(llama, [0], IDS, mask)[0]
    code = (h - other)[..., :1].relu()
    torch.testing.assert_close(after, h - code * dictionary.decoder_FMD[0, 1])
    assert what.reads_base


def test_only_unembedding_rows_come_back_without_importing_the_base(llama: Any) -> None:
    layout = Layout(llama)
    row, neuron = Unit("row", layout.unembedding, 3), layout.units("neuron")[0]
    assert not Intervention("revert", 1.0, (row,)).imports_base
    assert Intervention("revert", 1.0, (row, neuron)).imports_base
    assert not Intervention("ablate", 1.0, (neuron,)).imports_base


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n, r: Intervention("ablate", 1.0), "at least one unit"),
        (lambda n, r: Intervention("negate", 1.0, (r,)), "can only be reverted"),
        (lambda n, r: Intervention("ablate", 1.0, (n, n)), "twice"),
        (lambda n, r: Intervention("steer", 1.0, (n,)), "not on units"),
        (lambda n, r: Intervention("steer", 1.0), "needs `steering`"),
        (lambda n, r: Intervention("amplify", 1.0, steering=Steering(0, torch.ones(32))), "centre"),
        (lambda n, r: Intervention("latents", 1.0), "needs `latents`"),
        (lambda n, r: Intervention("revert", 1.0, (n,), strengths=(1.0,)), "for activations only"),
        (lambda n, r: Intervention("revert", 1.0, (n, Unit("component", n.module, 0))), "overlap"),
    ],
)
def test_interventions_that_make_no_sense_are_refused(make: Any, message: str, llama: Any) -> None:
    layout = Layout(llama)
    with pytest.raises(ValueError, match=message):
        make(layout.units("neuron")[0], Unit("row", layout.unembedding, 0))


def test_a_revert_needs_the_weight_changes(llama: Any) -> None:
    layout = Layout(llama)
    what = Intervention("revert", 1.0, tuple(units_of(layout)))
    with pytest.raises(ValueError, match="needs the weight changes"), intervened(llama, layout, [what]):
        pass


def adapted(
    tiny_model: Callable[..., Path],
    tiny_adapter: Callable[..., Path],
    dtype: torch.dtype,
    *,
    architecture: str = "llama",
    targets: tuple[str, ...] = ("q_proj", "o_proj", "down_proj", "gate_proj"),
) -> tuple[Any, Any, PlainDeltas]:
    """Base, the same base with an adapter inside, and the adapter's effective changes."""
    from peft import PeftModel

    folder = tiny_model(architecture)
    base = load(folder, dtype)
    adapter = tiny_adapter(folder, targets=targets)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft still reads a name that transformers renamed
        exact = PeftModel.from_pretrained(load(folder), adapter).merge_and_unload()
        wrapped = PeftModel.from_pretrained(load(folder, dtype), adapter, autocast_adapter_dtype=False)
    return base, wrapped.get_base_model().eval().requires_grad_(False), PlainDeltas(load(folder), exact)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-5), (torch.bfloat16, 0.2)])
def test_an_adapters_change_is_taken_back_below_it(
    dtype: torch.dtype, off: float, tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]
) -> None:
    base, tuned, deltas = adapted(tiny_model, tiny_adapter, dtype)
    before, everything = state(tuned), Intervention("revert", 1.0, (Unit("module", "", 0),))
    assert (logits(tuned) - logits(base)).abs().max() > 5 * off
    with intervened(tuned, Layout(tuned), [everything], deltas):
        torch.testing.assert_close(logits(tuned), logits(base), atol=off, rtol=0)
    assert unchanged(tuned, before)


def test_units_below_an_adapter_are_reverted_and_ablated(
    tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]
) -> None:
    base, tuned, deltas = adapted(tiny_model, tiny_adapter, torch.float32)
    layout = Layout(tuned)
    units = tuple(units_of(layout))
    merged = copy.deepcopy(base)
    for name in deltas.names:
        parameter(merged, name).data += deltas.tensors[name]
    for action in ("revert", "ablate"):
        what = Intervention(action, 1.0, units)  # type: ignore[arg-type]  # both are actions
        with (
            intervened(tuned, layout, [what], deltas),
            intervened(merged, Layout(merged), [what], deltas),
        ):
            torch.testing.assert_close(logits(tuned), logits(merged), atol=1e-5, rtol=0)


def test_an_adapter_around_one_use_of_a_tied_weight_sets_it_apart(
    tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]
) -> None:
    folder = tiny_model("llama", name="tied", tie_word_embeddings=True)
    base, tuned = load(folder), load(folder)
    layout = Layout(tuned)
    deltas = PlainDeltas(base, tuned)
    deltas.tensors["lm_head.weight"] = torch.randn(base.lm_head.weight.shape) * 0.1

    class Head(torch.nn.Module):  # what peft leaves around a tied unembedding
        def __init__(self, base_layer: Any) -> None:
            super().__init__()
            self.base_layer = base_layer

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.base_layer(x) + x @ deltas.tensors["lm_head.weight"].T
            return out

    tuned.lm_head = Head(tuned.lm_head)
    assert (logits(tuned) - logits(base)).abs().max() > 0.1
    with intervened(tuned, layout, [Intervention("revert", 1.0, (Unit("module", "", 0),))], deltas):
        torch.testing.assert_close(logits(tuned), logits(base), atol=1e-5, rtol=0)
