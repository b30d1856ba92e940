"""Where one kind of latent ends and another begins, as `sae.features.kinds` has it; for the feature card."""

from __future__ import annotations

LEVEL = 0.05
"""Largest q-value of a finding."""
NU_ERROR, NU_RECONSTRUCTION, SHARED_NU = 0.2, 0.5, 0.5
"""One model only below both of the first two; shared between the last and its inverse."""
COSINE = 0.7
"""Rotated below; a run may have lowered it (`rotation_bar`)."""
DEAD_RATE = 1e-4
KEPT, GONE, MATERIAL = 0.8, 0.25, 0.01
"""Silenced: rate and mean kept within the first, effect down to the second, loss at least the third."""

MEANING = {
    "base only": "its direction is in the base alone",
    "tuned only": "its direction is in the tuned model alone",
    "shared": "both models have it, in the same direction",
    "rotated": "both models have it, in different directions",
    "silenced": "as active as before, but its part in a changed behaviour is gone",
    "dead": "it hardly ever fires",
    "unsure": "the numbers do not decide, or it does not stand out from the nulls",
}


def rules(rotation_bar: float = COSINE) -> dict[str, str]:
    """The bar beside each number that decides the kind, by column of the table `features`."""
    nu = f"below {NU_ERROR:g}: {{only}} only; shared: {SHARED_NU:g} to {1 / SHARED_NU:g}"
    return {
        "nu_error_tuned": nu.format(only="tuned"),
        "nu_error_base": nu.format(only="base"),
        "nu_reconstruction_tuned": f"tuned only: below {NU_RECONSTRUCTION:g}",
        "nu_reconstruction_base": f"base only: below {NU_RECONSTRUCTION:g}",
        "decoder_cosine": f"rotated: below {rotation_bar:g}",
        "rate": f"dead: below {DEAD_RATE:g}",
        "q_value": f"a finding: at most {LEVEL:g}",
        "delta_norm": "0 base only, 1 tuned only; never decides alone",
        "score": "ranked among latents of benign fine-tunes",
    }
