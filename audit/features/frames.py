"""The tables of the stage: what was computed, as frames of the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sae.features import (
    Example,
    Kinds,
    LatentStatistics,
    QValues,
    Scaling,
    decoder_cosine,
    delta_norm,
    promoted,
    switch_score,
)
from sae.types import ROLES, SIDES, Document

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Judged:
    """Everything that is known of the latents of one hook point."""

    hook: str
    statistics: LatentStatistics
    scaling: Scaling
    kinds: Kinds
    q_values: QValues
    recurrence: Tensor | None
    write_attribution_F: Tensor
    """Largest change of effect, see `audit.features.effects.largest_change`."""


def features_frame(judged: Judged) -> pd.DataFrame:
    """Rows of the table `features`; what is not defined is null."""
    s, scaling = judged.statistics, judged.scaling
    count = len(s.fires_F)
    columns: dict[str, Any] = {"hook": judged.hook, "latent": np.arange(count), "rate": _numbers(s.rate_F)}
    for m, side in enumerate(SIDES):
        columns |= {
            f"rate_{side}": _numbers(s.rate_FM[:, m]),
            f"mean_{side}": _numbers(s.mean_FM[:, m]),
            f"norm_{side}": _numbers(s.norm_FM[:, m]),
            f"nu_error_{side}": _numbers(scaling.nu_error_FP[:, m]),
            f"nu_reconstruction_{side}": _numbers(scaling.nu_reconstruction_FP[:, m]),
            f"nu_activation_{side}": _numbers(scaling.nu_activation_FP[:, m]),
        }
    unknown = torch.full((count,), torch.nan)
    columns |= {
        "delta_norm": _numbers(delta_norm(s)),
        "decoder_cosine": _numbers(decoder_cosine(s)),
        "score": _numbers(switch_score(s, scaling)),
        "candidate": list(judged.kinds.candidate),
        "kind": list(judged.kinds.kind),
        "seed_recurrence": _numbers(unknown if judged.recurrence is None else judged.recurrence),
        "write_attribution": _numbers(judged.write_attribution_F),
        "p_benign": _numbers(judged.q_values.benign_p_F),
        "p_labels": _numbers(judged.q_values.label_p_F),
        "q_value": _numbers(judged.q_values.q_F),
        "label": None,
    }
    return pd.DataFrame(columns)


def examples_frame(
    hook: str,
    found: Sequence[Example],
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerBase,
) -> pd.DataFrame:
    """Rows of the table `examples`; windows end with their document."""
    rows = []
    for example in found:
        document = documents[example.document]
        stop = min(len(document.tokens), example.start + len(example.activation_WM))
        shown = example.activation_WM[: stop - example.start].double()
        role = ROLES[example.role]
        rows.append(
            {
                "hook": hook,
                "latent": example.latent,
                "stratum": example.stratum,
                "rank": example.rank,
                "tokens": [token_text(tokenizer, t) for t in document.tokens[example.start : stop]],
                "position": example.position,
                "activation_base": shown[:, 0].tolist(),
                "activation_tuned": shown[:, 1].tolist(),
                "role": None if role == "none" else role,
                "source": document.source,
            }
        )
    names = ("hook", "latent", "stratum", "rank", "tokens", "position", "activation_base")
    return pd.DataFrame(rows, columns=[*names, "activation_tuned", "role", "source"])


def logits_rows(
    hook: str,
    side: str,
    model: PreTrainedModel,
    latents: Tensor,
    decoder_FMD: Tensor,
    tokenizer: PreTrainedTokenizerBase,
) -> list[dict[str, Any]]:
    """Rows of the table `logits` of one model, for chosen latents."""
    rows = decoder_FMD[latents, SIDES.index("tuned" if side == "tuned" else "base")]
    return [
        {
            "hook": hook,
            "latent": int(latents[entry.row]),
            "model": side,
            "sign": entry.sign,
            "rank": rank,
            "token": token_text(tokenizer, token),
            "value": value,
        }
        for entry in promoted(model, rows)
        for rank, (token, value) in enumerate(
            zip(entry.token_K.tolist(), entry.value_K.tolist(), strict=True)
        )
    ]


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """One token as text; an id that the tokenizer has no text for is shown as its number."""
    text = tokenizer.decode([token])
    return text if isinstance(text, str) and text else f"<{token}>"


def _numbers(values: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """As float64 with NaN, which is written as null, where a number is not finite."""
    numbers: np.ndarray[Any, np.dtype[np.float64]] = values.double().numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)
