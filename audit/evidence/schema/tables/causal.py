"""Tables of units, grafts and interventions."""

from __future__ import annotations

from audit.evidence.schema.tables.table import BOOL, FLOAT, INT, TEXT, Column, Table

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
        Column("intervention", TEXT, "ablate, negate, rescale, gate, revert, amplify, steer or latents"),
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

RELEARNING = Table(
    "relearning",
    "behaviour x arm x steps",
    (
        Column("behaviour", TEXT, "suite that was taught and scored"),
        Column("template", TEXT, "plain, chat, chat-base or chat-tuned: how the prompts were rendered"),
        Column("model", TEXT, "base or tuned: the one that lacks the behaviour, and was trained"),
        Column("arm", TEXT, "behaviour; or control: classes that the model never had"),
        Column("number", INT, "0, and 1 and up for the controls"),
        Column("steps", INT, "optimiser steps so far"),
        Column("items", INT, "items that were trained on"),
        Column(
            "recovered",
            FLOAT,
            "share of the gap that is closed on held-out entities; null: the training broke the model",
            nullable=True,
        ),
        Column("low", FLOAT, "lower end of its 95 % interval over entities; null: unbounded", nullable=True),
        Column("high", FLOAT, "upper end", nullable=True),
        Column("recovered_fit", FLOAT, "the same share on the entities that were trained on", nullable=True),
    ),
)
