"""Tables of the latents of dictionaries."""

from __future__ import annotations

from audit.evidence.schema.tables.table import FLOAT, FLOATS, INT, TEXT, TEXTS, Column, Table

FEATURES = Table(
    "features",
    "hook x latent",
    (
        Column("hook", TEXT, "hook point of the dictionary"),
        Column("latent", INT, "index in the dictionary of the first seed"),
        Column("rate", FLOAT, "share of tokens on which it has a code, on either side"),
        Column(
            "rate_base",
            FLOAT,
            "share of tokens on which it is active in the base: own code above 0, or (joint codes) at least"
            " half of the code there, by latent scaling of the token",
        ),
        Column("rate_tuned", FLOAT, "the same, tuned"),
        Column("mean_base", FLOAT, "mean activation where it is active, base"),
        Column("mean_tuned", FLOAT, "the same, tuned"),
        Column("norm_base", FLOAT, "decoder norm, base"),
        Column("norm_tuned", FLOAT, "decoder norm, tuned"),
        Column(
            "delta_norm",
            FLOAT,
            "(1 + (norm_tuned - norm_base) / max) / 2: 0 base only, 1 tuned only, .5 equal",
            nullable=True,
        ),
        Column("decoder_cosine", FLOAT, "cosine of the two decoder rows", nullable=True),
        Column(
            "nu_error_tuned",
            FLOAT,
            "latent scaling beta_base / beta_tuned on the leave-one-out error, tuned row as probe: near 1 in"
            " both models, near 0 in the tuned one only",
            nullable=True,
        ),
        Column("nu_reconstruction_tuned", FLOAT, "the same on the reconstruction", nullable=True),
        Column("nu_activation_tuned", FLOAT, "the same on the activation about its mean", nullable=True),
        Column(
            "nu_error_base",
            FLOAT,
            "beta_tuned / beta_base on the leave-one-out error, base row as probe",
            nullable=True,
        ),
        Column("nu_reconstruction_base", FLOAT, "the same on the reconstruction", nullable=True),
        Column("nu_activation_base", FLOAT, "the same on the activation about its mean", nullable=True),
        Column(
            "score",
            FLOAT,
            "how switched it looks, 0 to 1: asymmetry of latent scaling, or rotation of its row",
        ),
        Column(
            "candidate", TEXT, "kind by the thresholds alone, before any null: what to test by intervention"
        ),
        Column(
            "kind",
            TEXT,
            "base only, tuned only, shared, rotated, silenced, dead or unsure; base only, tuned only and"
            " rotated need q_value <= .05; silenced: shared and as active as before, but its part in a"
            " changed behaviour is gone (see latent_effects: q <= .05, at most a quarter left, and at least"
            " 1 % of the change)",
        ),
        Column("seed_recurrence", FLOAT, "share of other seeds in which it reappears", nullable=True),
        Column(
            "write_attribution",
            FLOAT,
            "tuned minus base effect of its write (see latent_effects) on the changed behaviour where that is"
            " largest in size; 0: silent on the items; null: no behaviour changed",
            nullable=True,
        ),
        Column("p_benign", FLOAT, "rank of the score among latents of benign fine-tunes", nullable=True),
        Column("p_labels", FLOAT, "bound on the p-value under labels swapped by document", nullable=True),
        Column("q_value", FLOAT, "Benjamini-Hochberg on the larger of the two p", nullable=True),
        Column("label", TEXT, "what it seems to stand for, if somebody or something said", nullable=True),
    ),
)

EXAMPLES = Table(
    "examples",
    "hook x latent x stratum x rank",
    (
        Column("hook", TEXT, "hook point of the dictionary"),
        Column("latent", INT, "index in the dictionary"),
        Column("stratum", TEXT, "top (one per document), quantile or random, of the tokens where it fires"),
        Column("rank", INT, "place inside the stratum, from the strongest"),
        Column("tokens", TEXTS, "the tokens of the window, as text"),
        Column("position", INT, "index in the window of the token that was chosen"),
        Column("activation_base", FLOATS, "activation per token, base; 0 where silent or masked"),
        Column("activation_tuned", FLOATS, "activation per token, tuned, same tokens"),
        Column("role", TEXT, "system, user, assistant or template", nullable=True),
        Column("source", TEXT, "corpus and document"),
    ),
)

LOGITS = Table(
    "logits",
    "hook x latent x model x sign x rank",
    (
        Column("hook", TEXT, "hook point of the dictionary"),
        Column("latent", INT, "index in the dictionary"),
        Column("model", TEXT, "base or tuned: whose row, final norm and unembedding"),
        Column("sign", TEXT, "top: raised most; bottom: lowered most"),
        Column("rank", INT, "place, from the strongest"),
        Column("token", TEXT, "the token, as text"),
        Column(
            "value", FLOAT, "W_U (gain * decoder row): logits per unit of activation at a residual of rms 1"
        ),
    ),
)

LATENT_EFFECTS = Table(
    "latent_effects",
    "hook x latent x behaviour",
    (
        Column("hook", TEXT, "hook point of the dictionary"),
        Column("latent", INT, "index in the dictionary"),
        Column("behaviour", TEXT, "suite on which the effect was measured"),
        Column("effect_base", FLOAT, "what the latent's write adds to the behaviour's score in the base"),
        Column("effect_tuned", FLOAT, "the same in the tuned model"),
        Column("difference", FLOAT, "effect_tuned - effect_base"),
        Column("low", FLOAT, "lower end of the difference's 95 % interval"),
        Column("high", FLOAT, "upper end of it"),
        Column(
            "p_value",
            FLOAT,
            "of the difference, two-sided Welch test over entities; null: too few of them",
            nullable=True,
        ),
        Column(
            "q_value", FLOAT, "Benjamini-Hochberg over all latents, hook points and behaviours", nullable=True
        ),
    ),
)
