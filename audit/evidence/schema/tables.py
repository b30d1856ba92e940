"""Every table of a run folder: what one row is, its columns, their types and meaning.

`TABLES` is the one definition. Stages write through it, dashboards and reports read through it, and
`docs/run_folder.md` is printed from it by `make docs`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

TEXT, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TEXTS, FLOATS = pa.list_(pa.string()), pa.list_(pa.float64())


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table of the run folder."""

    name: str
    row: str
    """What one row is."""
    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The pyarrow schema, with each column's meaning in its metadata."""
        return pa.schema(
            [pa.field(c.name, c.type, nullable=c.nullable, metadata={"doc": c.doc}) for c in self.columns],
            metadata={"table": self.name, "row": self.row},
        )

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """The frame as an arrow table of exactly this schema.

        Raises:
            ValueError: a column is missing, unknown, of another type, or null where it may not be.
        """
        names = [c.name for c in self.columns]
        missing, unknown = set(names) - set(frame.columns), set(frame.columns) - set(names)
        if missing or unknown:
            raise ValueError(f"table {self.name!r}: missing {sorted(missing)}, unknown {sorted(unknown)}")
        if frame.empty:
            return self.arrow.empty_table()
        try:
            table = pa.Table.from_pandas(frame[names], schema=self.arrow, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            raise ValueError(f"table {self.name!r}: {error}") from error
        return table.replace_schema_metadata(self.arrow.metadata)


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

DIRECTIONS = Table(
    "directions",
    "suite's concept x layer x position",
    (
        Column("suite", TEXT, "behaviour suite that the concept belongs to"),
        Column("concept", TEXT, "name of the concept"),
        Column("layer", INT, "block whose output is read; -1: mean of the token embeddings alone"),
        Column("position", TEXT, "entity: last token of the entity's name; last: last token of the text"),
        Column(
            "auc_cv_base",
            FLOAT,
            "on the base, cross-validated inside the train split: by it a cell is chosen",
            nullable=True,
        ),
        Column("auc_base", FLOAT, "LDA fit on the base's train entities, scored on its held-out ones"),
        Column(
            "auc_base_low", FLOAT, "lower end of its 95 % interval over entities (Newcombe)", nullable=True
        ),
        Column("auc_base_high", FLOAT, "upper end", nullable=True),
        Column("auc_tuned", FLOAT, "LDA fit and scored on the tuned model"),
        Column("auc_tuned_low", FLOAT, "lower end of its interval", nullable=True),
        Column("auc_tuned_high", FLOAT, "upper end", nullable=True),
        Column("auc_transfer_bt", FLOAT, "base's LDA scored on the tuned model"),
        Column("auc_transfer_tb", FLOAT, "tuned model's LDA scored on the base"),
        Column("auc_logistic_base", FLOAT, "logistic probe, base"),
        Column("auc_logistic_tuned", FLOAT, "logistic probe, tuned model"),
        Column("auc_mlp_base", FLOAT, "small MLP probe, base"),
        Column("auc_mlp", FLOAT, "small MLP probe, tuned model"),
        Column(
            "null_mean", FLOAT, "mean AUC of LDA probes on the tuned model, classes shuffled over entities"
        ),
        Column("null_high", FLOAT, "95 % quantile of the same"),
        Column("null_aucs", FLOATS, "the same one by one; shuffle i is the same at every layer and position"),
        Column(
            "embedding_gain",
            FLOAT,
            "auc_tuned minus that of the embeddings alone, held-out entities",
            nullable=True,
        ),
        Column(
            "embedding_gain_low",
            FLOAT,
            "lower end of its interval (paired bootstrap over entities)",
            nullable=True,
        ),
        Column("embedding_gain_high", FLOAT, "upper end", nullable=True),
        Column("cosine", FLOAT, "cosine of the two mean-difference directions, all entities", nullable=True),
        Column("cosine_low", FLOAT, "lower end of its interval (jackknife over entities)", nullable=True),
        Column("cosine_high", FLOAT, "upper end", nullable=True),
        Column(
            "cosine_ceiling", FLOAT, "split-half ceiling of a cosine read on other entities", nullable=True
        ),
        Column(
            "cosine_corrected",
            FLOAT,
            "cosine across halves over its ceiling: about 1 for equal directions",
            nullable=True,
        ),
        Column(
            "reliability_base", FLOAT, "split-half cosine of the base's direction, stepped up", nullable=True
        ),
        Column("reliability_tuned", FLOAT, "the same in the tuned model", nullable=True),
        Column(
            "norm_ratio", FLOAT, "norm of the tuned direction over the base's, noise included", nullable=True
        ),
        Column("norm_ratio_low", FLOAT, "lower end of its interval (jackknife over entities)", nullable=True),
        Column("norm_ratio_high", FLOAT, "upper end", nullable=True),
        Column(
            "norm_ratio_corrected",
            FLOAT,
            "the same from products across halves, noise cancelled",
            nullable=True,
        ),
        Column(
            "variance_ratio",
            FLOAT,
            "variance inside classes along each own direction, tuned over base",
            nullable=True,
        ),
        Column(
            "measurable", BOOL, "both reliabilities reach their floor: without it no cosine means anything"
        ),
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

UNITS = Table(
    "units",
    "candidate neuron, head, row or component",
    (
        Column("behaviour", TEXT, "suite the candidate was found for"),
        Column("kind", TEXT, "neuron, head, row (of the unembedding) or component (of a weight change)"),
        Column("module", TEXT, "linear layer whose weights write it out"),
        Column("index", INT, "neuron, head, token id, or number of the singular component"),
        Column(
            "weight_attribution",
            FLOAT,
            "its part of b_tuned - b_base: sum of gradient x change",
            nullable=True,
        ),
        Column("write_attribution", FLOAT, "write_tuned - write_base", nullable=True),
        Column("write_base", FLOAT, "activation x write x gradient, towards b, in the base", nullable=True),
        Column("write_tuned", FLOAT, "the same in the tuned model", nullable=True),
        Column(
            "write_gap",
            FLOAT,
            "what the writes of its module miss of what silencing the module does, the worse of both models;"
            " null: not checked",
            nullable=True,
        ),
        Column("write_steps", INT, "gradients behind the writes; null: one, not checked", nullable=True),
        Column("direct_base", FLOAT, "direct logit attribution towards b in the base", nullable=True),
        Column("direct_tuned", FLOAT, "the same in the tuned model", nullable=True),
        Column("base_norm", FLOAT, "norm of its weights in the base", nullable=True),
        Column("tuned_norm", FLOAT, "norm of its weights in the tuned model", nullable=True),
        Column("change_norm", FLOAT, "norm of their change"),
        Column("in_set", BOOL, "member of the reported switch set"),
    ),
)

GRAFTS = Table(
    "grafts",
    "behaviour x module x direction",
    (
        Column("behaviour", TEXT, "suite it was scored on, fit half"),
        Column("module", TEXT, "attention or MLP of a block, embedding or unembedding"),
        Column("direction", TEXT, "base into tuned, or tuned into base: whose weights were put where"),
        Column("recovered", FLOAT, "base into tuned: R; tuned into base: share of the change that it makes"),
        Column("attribution", FLOAT, "the module's attributed part of b_tuned - b_base"),
    ),
)

DOSES = Table(
    "doses",
    "behaviour x intervention x set x dose",
    (
        Column("behaviour", TEXT, "suite it was scored on"),
        Column("template", TEXT, "plain, chat, chat-base or chat-tuned: how the prompts were rendered"),
        Column("split", TEXT, "train: the half that chooses; test: the held-out half, which is reported"),
        Column("intervention", TEXT, "ablate, negate, rescale, revert, amplify, steer or latents"),
        Column("set", TEXT, "name of the set of units"),
        Column("description", TEXT, "what the set is, or what the control is matched to"),
        Column("size", INT, "units in the set"),
        Column("dose", FLOAT, "strength; what it means for each intervention: audit.causal.interventions"),
        Column(
            "recovered",
            FLOAT,
            "R = (b_bypassed - b_tuned) / (b_base - b_tuned); null: it broke the model",
            nullable=True,
        ),
        Column(
            "low",
            FLOAT,
            "lower end of the 95 % interval, paired over entities; null: unbounded",
            nullable=True,
        ),
        Column("high", FLOAT, "upper end of the 95 % interval", nullable=True),
        Column("is_null", BOOL, "a control"),
        Column("chosen", BOOL, "the trial that the fit half chose, where it is reported"),
        Column("reads_base", BOOL, "activations of the base enter: never evidence for a verdict"),
        Column(
            "imports_base",
            BOOL,
            "weights of the base enter beyond unembedding rows: it locates a change, and does not show that"
            " the tuned model's own wiring is intact",
        ),
        Column(
            "off_target_kl", FLOAT, "KL(tuned || bypassed) on unrelated text, nats per token", nullable=True
        ),
        Column("off_target_low", FLOAT, "lower end of its interval over documents", nullable=True),
        Column("off_target_high", FLOAT, "upper end", nullable=True),
        Column(
            "skills",
            FLOAT,
            "next tokens of that text predicted right, over those of the tuned model",
            nullable=True,
        ),
        Column(
            "other_suites",
            FLOAT,
            "largest mean absolute shift of m on another suite of the run, in its equivalence bands",
            nullable=True,
        ),
        Column("match_norm", FLOAT, "controls: mean norm of their units over the set's", nullable=True),
        Column("match_activity", FLOAT, "controls: the same of the mean activation", nullable=True),
        Column("note", TEXT, "what could not be done as wanted", nullable=True),
    ),
)

TRAIN_STEPS = Table(
    "train_steps",
    "optimiser step x reward channel",
    (
        Column("step", INT, "optimiser step, from 0"),
        Column("channel", TEXT, "reward channel; 'total' is what the advantage saw"),
        Column("reward", FLOAT, "mean reward over the step's rollouts"),
        Column("reward_std", FLOAT, "mean within-group standard deviation of the reward"),
        Column("dead_groups", FLOAT, "share of sampled groups in which every rollout got the same reward"),
        Column("exact_kl", FLOAT, "KL(reference || policy) on reference text, exact over the vocabulary"),
        Column("loss", FLOAT, "objective that was minimised"),
        Column("gradient_norm", FLOAT, "norm before clipping"),
        Column("learning_rate", FLOAT, "of this step"),
    ),
)

TOKENS = Table(
    "tokens",
    "rollout token",
    (
        Column("step", INT, "optimiser step that used it"),
        Column("rollout", INT, "number of the rollout in its step"),
        Column("group", INT, "number of its group (prompt) in the step"),
        Column("position", INT, "place in the completion"),
        Column("token", INT, "token id"),
        Column("sampler_logp", FLOAT, "log-probability under the model that sampled it"),
        Column("trainer_logp", FLOAT, "log-probability under the policy before the step"),
        Column("ratio", FLOAT, "policy over sampler, when the loss was taken"),
        Column(
            "weight", FLOAT, "w in: gradient of its loss = -w x advantage x gradient of its log-probability"
        ),
        Column("keep", BOOL, "false where the objective masked it"),
        Column("advantage", FLOAT, "advantage it trained with"),
    ),
)

ATTACK_DOSES = Table(
    "attack_doses",
    "dose x arm x seed x measure",
    (
        Column("dose", INT, "optimiser steps of the attack (negative: of realignment after it)"),
        Column("arm", TEXT, "attack, correct label, random flip, supervised, ..."),
        Column("seed", INT, "random seed"),
        Column("measure", TEXT, "what was measured"),
        Column("value", FLOAT, "its value"),
        Column("low", FLOAT, "lower end of the 95 % interval", nullable=True),
        Column("high", FLOAT, "upper end of the 95 % interval", nullable=True),
    ),
)

ORGANISMS = Table(
    "organisms",
    "organism audited by the selftest",
    (
        Column("base", TEXT, "base it descends from; the cluster of the bootstrap"),
        Column("architecture", TEXT, "model family"),
        Column("kind", TEXT, "how it was made"),
        Column("expected", TEXT, "verdict that its construction proves"),
        Column("verdict", TEXT, "verdict that the audit gave"),
        Column("confidence", FLOAT, "stated confidence", nullable=True),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        ITEMS, DRIFT, WEIGHTS, DIRECTIONS, ELICITATION, FEATURES, EXAMPLES, LOGITS, LATENT_EFFECTS, UNITS,
        GRAFTS, DOSES, TRAIN_STEPS, TOKENS, ATTACK_DOSES, ORGANISMS,
    )
}  # fmt: skip
"""Every table by name."""
