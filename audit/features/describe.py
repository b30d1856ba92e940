"""Which latents are described, on which tokens they fire, and what they write to the logits."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from audit.features.frames import Judged, examples_frame, logits_rows
from audit.features.summary import JudgedHook, Work
from sae.features import SILENT, SWITCHED, collect_examples, switch_score
from sae.types import SIDES

STRONGEST, SAMPLED, MOST = 20, 20, 120
"""Latents that get examples and logits, besides the candidates: the highest scores, and a random sample; at
most so many in all."""


def chosen_latents(judged: Judged, live: Tensor, seed: int) -> Tensor:
    """Latents to describe: candidates by score, the strongest scores, and a sample of the live ones."""
    score = switch_score(judged.statistics, judged.scaling).masked_fill(~live, -1.0)
    ranked = score.argsort(descending=True, stable=True).tolist()
    alive = [latent for latent in ranked if live[latent]]
    picked = [latent for latent in alive if judged.kinds.candidate[latent] in (*SWITCHED, SILENT)]
    drawn = torch.randperm(len(alive), generator=torch.Generator().manual_seed(seed)).tolist()
    sample = [alive[i] for i in drawn[:SAMPLED]]
    wanted = [*sample, *picked, *alive[:STRONGEST]]
    return torch.tensor(sorted(dict.fromkeys(wanted[:MOST])), dtype=torch.long)


def examples_of(work: Work, hook: JudgedHook, chosen: Tensor) -> pd.DataFrame:
    """Rows of the table `examples` of one hook point."""
    dictionary, audit = hook.made[0].dictionary, work.audit
    tokens = sum(shard.tokens for shard in work.store.shards)
    with audit.progress.task(f"Collecting examples of {len(chosen)} latents", tokens) as advance:
        found = collect_examples(
            hook.stream,
            dictionary,
            chosen,
            joint=dictionary.joint,
            seed=audit.config.seed,
            progress=advance,
        )
    return examples_frame(hook.judged.hook, found, work.reading.documents, audit.pair.tokenizer("tuned"))


def logits_of(work: Work, hook: JudgedHook, chosen: Tensor) -> pd.DataFrame:
    """Rows of the table `logits` of one hook point, both models."""
    rows = []
    for side in SIDES:
        with work.audit.pair.model(side) as model:
            tokenizer = work.audit.pair.tokenizer(side)
            decoder = hook.judged.statistics.decoder_FMD
            rows += logits_rows(hook.judged.hook, side, model, chosen, decoder, tokenizer)
    return pd.DataFrame(rows, columns=["hook", "latent", "model", "sign", "rank", "token", "value"])
