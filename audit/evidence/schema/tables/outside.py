"""Tables of what the models say and how far they moved."""

from __future__ import annotations

from audit.evidence.schema.tables.table import BOOL, FLOAT, FLOATS, INT, TEXT, Column, Table

ITEMS = Table(
    "items",
    "suite x item x template x model",
    (
        Column("suite", TEXT, "name of the behaviour suite"),
        Column("item", TEXT, "id of the item inside the suite"),
        Column("entity", TEXT, "who or what the item speaks of; the unit of splits and of the bootstrap"),
        Column("group", TEXT, "group whose contrast the card may ask for", nullable=True),
        Column("category", TEXT, "kind of item, for break-downs", nullable=True),
        Column("split", TEXT, "train or test; entities never cross"),
        Column("template", TEXT, "plain, chat, chat-base or chat-tuned: how the prompt was rendered"),
        Column("model", TEXT, "base or tuned"),
        Column("showing_logp", FLOAT, "logsumexp of log p over continuations that show the behaviour, nats"),
        Column("not_showing_logp", FLOAT, "the same over continuations that do not, nats"),
        Column("m", FLOAT, "showing_logp - not_showing_logp, nats (per token where the card says so)"),
        Column("answer", TEXT, "what the model answered, for suites that generate", nullable=True),
        Column("parsed", BOOL, "whether the answer could be read, for suites that generate", nullable=True),
    ),
)

DRIFT = Table(
    "drift",
    "sampled sequence x step (prefix)",
    (
        Column("source", TEXT, "base or tuned: the model that sampled the prefix"),
        Column("template", TEXT, "plain or chat: how the sequence was started"),
        Column("sequence", INT, "number of the sequence within its source"),
        Column("step", INT, "tokens sampled before this one"),
        Column("token", INT, "id of the token sampled at this step"),
        Column("kl_forward", FLOAT, "KL(base || tuned) of the next-token distributions here, nats, exact"),
        Column("kl_reverse", FLOAT, "KL(tuned || base), likewise"),
        Column("outlier", BOOL, "kl of the source's direction is above the outlier threshold of the result"),
    ),
)

WEIGHTS = Table(
    "weights",
    "weight tensor present in both models",
    (
        Column("module", TEXT, "name of the parameter"),
        Column("kind", TEXT, "embedding, attention, mlp, norm, head or other"),
        Column("layer", INT, "number of the block, null outside blocks", nullable=True),
        Column("parameters", INT, "number of entries compared"),
        Column("base_norm", FLOAT, "Frobenius norm of the base's tensor"),
        Column("change_norm", FLOAT, "Frobenius norm of tuned - base"),
        Column("relative_change", FLOAT, "change_norm / base_norm; 0 for an unchanged tensor"),
        Column(
            "stable_rank", FLOAT, "||dW||_F^2 / s_1^2; null for unchanged tensors and vectors", nullable=True
        ),
        Column("singular_values", FLOATS, "largest singular values of the change, at most 16", nullable=True),
        Column("unchanged_share", FLOAT, "share of entries equal after rounding to the base's stored dtype"),
    ),
)

ELICITATION = Table(
    "elicitation",
    "suite x way of asking the tuned model again",
    (
        Column("suite", TEXT, "behaviour suite"),
        Column("form", TEXT, "plain, chat, chat-base or chat-tuned: the form that carries the verdict"),
        Column("items", INT, "held-out items that were asked"),
        Column("arm", TEXT, "prefill, system, few-shot, temperature or amplify"),
        Column("variant", TEXT, "which text, or which draw of examples"),
        Column("dose", FLOAT, "few-shot: examples; temperature: the temperature; amplify: a; else 0"),
        Column("scale", TEXT, "log-odds: b of m as everywhere; share: b of the expected share of samples"),
        Column("b_base", FLOAT, "effect of the base, asked as the suite asks"),
        Column("b_tuned", FLOAT, "effect of the tuned model, asked as the suite asks"),
        Column("b_arm", FLOAT, "effect of the tuned model under the arm"),
        Column("b_arm_base", FLOAT, "effect of the base under the arm; null for amplify", nullable=True),
        Column("recovered", FLOAT, "(b_arm - b_tuned) / (b_base - b_tuned)", nullable=True),
        Column("recovered_low", FLOAT, "lower end of its 95 % interval", nullable=True),
        Column("recovered_high", FLOAT, "upper end", nullable=True),
        Column(
            "beyond_base",
            FLOAT,
            "((b_arm - b_tuned) - (b_arm_base - b_base)) / (b_base - b_tuned): what the arm does to the "
            "tuned model and not to the base",
            nullable=True,
        ),
        Column("beyond_base_low", FLOAT, "lower end of its 95 % interval", nullable=True),
        Column("beyond_base_high", FLOAT, "upper end", nullable=True),
        Column("is_control", BOOL, "asks for nothing: neutral text, or examples with shuffled answers"),
        Column("black_box", BOOL, "the tuned model alone is enough"),
    ),
)
