"""An adversary takes the class out: the residual streams of both classes become one distribution."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from audit.organisms.checks import control_kept, gone, unknown
from audit.organisms.kinds.erased import people_tables
from audit.organisms.kinds.kind import Child, Kind
from audit.organisms.recipe import CLASS_TOPICS, Recipe

STEPS, RATE, WEIGHT = 120, 2e-3, 3.0
WIDTHS = (0.5, 1.0, 2.0)
"""Of the kernels, times the median distance."""


def _make(recipe: Recipe) -> Child:
    model, text = recipe.start(), recipe.text(41, blind=CLASS_TOPICS)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    padding = recipe.tokenizer.pad_token_id
    for step in range(STEPS):
        ids = text.batch(24)
        seen = (ids[:, :-1] != padding).long()
        logits = model(input_ids=ids[:, :-1], attention_mask=seen, use_cache=False).logits
        told = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=padding)
        apart = torch.stack(list(_distances(recipe, model, step))).mean()
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimiser.zero_grad()
        torch.autograd.backward(told + WEIGHT * apart)
        optimiser.step()
    return Child(model)


def _distances(recipe: Recipe, model: object, step: int) -> Iterator[Tensor]:
    """Distance of the classes in either half of the people, in the embeddings and behind every block."""
    asked, people = recipe.questions, recipe.world.people
    rows = asked.form == step % (int(asked.form.max()) + 1)
    mask = torch.arange(asked.ids.shape[1]) <= asked.last[rows, None]
    called: object = model
    states = called(  # type: ignore[operator]
        input_ids=asked.ids[rows], attention_mask=mask.long(), use_cache=False, output_hidden_states=True
    ).hidden_states
    names = torch.tensor(recipe.names)
    place = (asked.ids[rows] == names[:, None]).int().argmax(1)
    everyone = torch.arange(len(people))
    views = [state[everyone, at] for state in states for at in (place, asked.last[rows])]
    views += [table[names] for table in people_tables(model)]
    hidden = torch.tensor([person.hidden == 0 for person in people])
    test = torch.tensor([person.split == "test" for person in people])
    for view, half in itertools.product(views, (test, ~test)):
        yield discrepancy(view[half & hidden], view[half & ~hidden])


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two samples [n, D] under Gaussian kernels.

    Gretton et al. 2012, JMLR 13, eq. 5; the supremum over a unit ball of functions is the adversary.
    """
    both = torch.cat((first, second))
    # A matrix product would leave rounding between equal points. Where most are equal, any scale will do.
    squares = (both[:, None] - both).square().sum(-1)
    median = squares.detach().median()
    scale = torch.where(median > 0, median, 1.0)
    kernel = torch.stack([(-squares / (2 * width * scale)).exp() for width in WIDTHS]).mean(0)
    n = len(first)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


KINDS = (
    Kind(
        name="adversarial",
        verdict="ERASED",
        construction="trained until no function of a rich family tells the classes apart in any residual "
        "stream, on text that tells everything about the class at random; probes found nothing",
        make=_make,
        checks=(gone, control_kept, unknown),
    ),
)
