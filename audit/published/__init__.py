"""Claims of published work, tested on a run: what was said, the criterion, what this run measured."""

from audit.published.ledger import PublishedClaim, print_claims
from audit.published.neutral_mask import neutral_mask

__all__ = ["PublishedClaim", "neutral_mask", "print_claims"]
