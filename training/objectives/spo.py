"""SPO's quadratic penalty on the ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.config import GRPOConfig
from training.divergence import believed, in_range, per_token, ratio_of, share
from training.registry import objective
from training.types import LossTerms, MethodCard, Rollout, Scores


@objective
@dataclass(frozen=True)
class SPO:
    """-r A + |A| (r - 1)^2 / (2 e): the clip made smooth; its weight is r (1 - sign(A) (r - 1) / e).

    Xie et al., arXiv 2401.16025, in the form that DRPO's authors compare with. The weight grows without bound
    as the behaviour probability goes to zero.
    """

    card: ClassVar[MethodCard] = MethodCard(
        name="spo",
        title="Simple policy optimisation",
        arxiv="2401.16025",
        sources=("SPO, arXiv 2401.16025", "as the baseline of DRPO, arXiv 2606.09821"),
        formula="-r A + |A| (r - 1)^2 / (2 e)",
        inert_when="one update per batch of rollouts: every ratio is 1 and the penalty's gradient is zero",
        claim_paper="bounds the ratio where PPO's clip only stops pushing it",
        clashes="single-stream policy optimisation (arXiv 2509.13232) is another SPO",
        aggregation="token_mean",
        believes="|r - 1| / 2",
    )
    clip: float = 0.2
    """Distance of the ratio from 1 at which the gradient turns."""

    def __call__(self, new: Scores, rollout: Rollout, advantage: Tensor, config: GRPOConfig) -> LossTerms:
        """The loss terms, with the share of tokens pushed back; shapes as in `LossTerms`."""
        ratio, advantage = ratio_of(new.logp, rollout.sampler_logp), per_token(advantage)
        loss = -ratio * advantage + advantage.abs() * (ratio - 1) ** 2 / (2 * self.clip)
        pull = (1 - advantage.sign() * (ratio - 1) / self.clip).detach()
        keep = rollout.mask & in_range(new.logp, rollout.sampler_logp)
        diagnostics = {
            "reversed": share(pull < 0, rollout.mask),
            "believed": believed((ratio - 1).abs() / 2, rollout.mask),
        }
        return LossTerms(loss * rollout.mask, (ratio.detach() * pull) * keep, keep, diagnostics)
