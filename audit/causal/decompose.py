"""Direct logit attribution of every head and neuron, read through TransformerLens's bridge.

A unit's direct effect is its write at the last position of the prompt along r, the direction in the residual
stream that the final norm (its scale frozen) and the unembedding turn into showing minus not showing (Elhage
et al. 2021, "A Mathematical Framework for Transformer Circuits"). Only suites whose continuations are single
tokens have such a direction.
"""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audit.causal.objective import Objective
from audit.causal.unit_writes import Writes
from audit.causal.units import Layout
from audit.pair.quiet import quiet
from audit.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def why_not(objective: Objective) -> str | None:
    """Why a suite has no direct logit attribution; None if it has."""
    if any(len(ids) > 1 for request in objective.requests for ids in request.continuations):
        return "continuations of several tokens"
    if not all(request.prompt for request in objective.requests):
        return "items without a prompt"
    return None


@torch.no_grad()
def direct_effects(
    model: PreTrainedModel, objective: Objective, batch_size: int, progress: Advance = lambda done: None
) -> Writes:
    """What each head and neuron of a model adds directly to b, nats.

    Args:
        model: either model of a pair; it is left as it is.
        objective: single-token continuations only, see `why_not`.
        batch_size: sequences per forward pass.
        progress: called with the number of items done.
    """
    plain = plain_copy(model)
    weights = _weights(plain)  # read before the bridge puts its own modules around them
    bridge = bridged(plain)
    found = Writes({}, {})
    for rows in objective.batches(batch_size):
        sequences = objective.sequences(rows)
        ids, last = _padded([row.ids for row in sequences], plain.device)
        logits, cache = bridge.run_with_cache(ids, names_filter=_wanted)
        places = torch.arange(len(rows), device=ids.device), last
        order = [rows[row.targets[0][0]] for row in sequences]
        u_BD = _readout(objective, order, logits[places].float(), weights.unembedding_VD)
        r_BD = _through(bridge.ln_final, u_BD, cache["ln_final.hook_scale"][places].float())
        share_B = objective.weights_N[order].to(r_BD)
        for number, block in enumerate(weights.layout.blocks):
            run = _Run(bridge.blocks[number], cache, f"blocks.{number}", places)
            if block.attention_out:
                z_BHW = cache[f"{run.name}.attn.hook_z"][places].float()
                read = (run.before("ln1_post", r_BD) @ weights.out_DI[block.attention_out]).view_as(z_BHW)
                _add(found.heads, block.attention_out, share_B @ (z_BHW * read).sum(-1))
            if block.mlp_out:
                a_BN = cache[f"{run.name}.mlp.hook_post"][places].float()
                read = run.before("ln2_post", r_BD) @ weights.out_DI[block.mlp_out]
                _add(found.neurons, block.mlp_out, share_B @ (a_BN * read))
        progress(len(rows))
    return found


def plain_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The model as other modules around the same weights, with its adapter, if one is on, merged into copies.

    What a library does to the modules of the copy, the model does not notice.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    plain: Any = copy.deepcopy(model, shared)
    for name, module in list(plain.named_modules()):
        if hasattr(module, "base_layer"):
            parent, _, short = name.rpartition(".")
            setattr(plain.get_submodule(parent), short, _merged(module))
    found: PreTrainedModel = plain
    return found


def bridged(plain: PreTrainedModel) -> Any:
    """TransformerLens's bridge around a model, whose modules it changes: give it a `plain_copy`."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    # The bridge asks for a tokenizer, and with the model's own it may go to the hub; it is never used here.
    words = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))  # noqa: S106  (no password)
    fast: Any = PreTrainedTokenizerFast
    model: Any = plain
    model.config = copy.deepcopy(model.config)
    model.config.architectures = [type(plain).__name__]
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its notes to programmers
        from transformer_lens.model_bridge import TransformerBridge

        return TransformerBridge.boot_transformers(
            "local",
            hf_model=plain,
            tokenizer=fast(tokenizer_object=words),
            device=str(plain.device),
            dtype=plain.dtype,
        )


class _Weights(NamedTuple):
    layout: Layout
    out_DI: dict[str, Float[Tensor, "D I"]]
    """Of each output projection, by name."""
    unembedding_VD: Float[Tensor, "V D"]


def _weights(model: PreTrainedModel) -> _Weights:
    layout = Layout(model)
    names = [name for block in layout.blocks for name in (block.attention_out, block.mlp_out) if name]
    kept = {name: layout.linear(name).weight.float() for name in names}
    out = {name: weight.T if layout.transposed(name) else weight for name, weight in kept.items()}
    return _Weights(layout, out, layout.linear(layout.unembedding).weight)


class _Run(NamedTuple):
    """One block in one forward pass of the bridge."""

    parts: Any
    cache: Any
    name: str
    places: Any

    def before(self, norm: str, r_BD: Tensor) -> Tensor:
        """The direction before a norm that some architectures put behind a module (Gemma), else as it is."""
        name = f"{self.name}.{norm}.hook_scale"
        if name not in self.cache:
            return r_BD
        return _through(getattr(self.parts, norm), r_BD, self.cache[name][self.places].float())


def _add(into: dict[str, Tensor], name: str, values: Tensor) -> None:
    into[name] = into.get(name, torch.zeros(len(values), dtype=torch.float64)) + values.double().cpu()


def _wanted(name: str) -> bool:
    ends = ("attn.hook_z", "mlp.hook_post", "ln1_post.hook_scale", "ln2_post.hook_scale")
    return name.endswith(ends) or name == "ln_final.hook_scale"


def _through(norm: Any, u_BD: Float[Tensor, "B D"], scale_B1: Float[Tensor, "B 1"]) -> Float[Tensor, "B D"]:
    """The direction before a norm of frozen scale whose output is read along u.

    What the norm multiplies each entry with is read from the norm itself, at an input of mean 0 and norm
    sqrt(D); one that takes the mean out gives the same for any two constant inputs.
    """
    width = u_BD.shape[1]
    signs = 1.0 - 2.0 * (torch.arange(width, device=u_BD.device) % 2)
    probe = torch.stack([signs, -signs, torch.full_like(signs, 2.0), torch.full_like(signs, -2.0)])
    out = norm(probe[None].to(next(norm.parameters()).dtype))[0].float()
    r_BD: Tensor = u_BD * (out[0] - out[1]) / (2 * signs) / scale_B1
    centres = torch.allclose(out[2], out[3], atol=1e-4)
    return r_BD - r_BD.mean(1, keepdim=True) if centres else r_BD


def _readout(
    objective: Objective,
    order: list[int],
    logits_BV: Float[Tensor, "B V"],
    unembedding_VD: Float[Tensor, "V D"],
) -> Float[Tensor, "B D"]:
    """D m / d (output of the final norm): rows of the unembedding, weighted as logsumexp weights them."""
    rows = []
    for logits, number in zip(logits_BV, order, strict=True):
        tokens = torch.tensor([ids[0] for ids in objective.requests[number].continuations])
        shows = objective.showing[number]
        sides = [tokens[:shows].to(logits.device), tokens[shows:].to(logits.device)]
        shown, other = (logits[side].softmax(0) @ unembedding_VD[side].float() for side in sides)
        rows.append(shown - other)
    return torch.stack(rows)


class _Padded(NamedTuple):
    ids: Tensor
    last: Tensor


def _padded(sequences: list[tuple[int, ...]], device: torch.device) -> _Padded:
    """Sequences padded on the right, which no earlier position can see, and the place of each one's end."""
    width = max(len(ids) for ids in sequences)
    rows = [[*ids, *[0] * (width - len(ids))] for ids in sequences]
    ends = [len(ids) - 1 for ids in sequences]
    return _Padded(torch.tensor(rows, device=device), torch.tensor(ends, device=device))


def _merged(layer: Any) -> Any:
    if layer.disable_adapters:
        return layer.get_base_layer()
    alone = copy.deepcopy(layer)
    alone.merge()
    return alone.get_base_layer()
