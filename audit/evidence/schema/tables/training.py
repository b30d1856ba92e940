"""Tables of training runs, attacks and organisms."""

from __future__ import annotations

from audit.evidence.schema.tables.table import BOOL, FLOAT, INT, TEXT, Column, Table

TRAIN_STEPS = Table(
    "train_steps",
    "optimiser step x reward channel",
    (
        Column("step", INT, "optimiser step, from 0"),
        Column(
            "channel",
            TEXT,
            "reward channel; 'total' is what the advantage saw. In an attack: the attack arm's at its first "
            "seed; totals of the others are called 'ARM, seed N'",
        ),
        Column("reward", FLOAT, "mean reward over the step's rollouts"),
        Column("reward_std", FLOAT, "mean within-group standard deviation of the reward"),
        Column("dead_groups", FLOAT, "share of sampled groups in which every rollout got the same reward"),
        Column(
            "exact_kl",
            FLOAT,
            "KL(reference || policy) on reference text, exact over the vocabulary; null: not measured",
            nullable=True,
        ),
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
        Column(
            "dose", INT, "optimiser steps of the attack (negative: of realignment after the largest dose)"
        ),
        Column("arm", TEXT, "attack, correct label, random flip, supervised, ...; 'ARM, METHOD' for others"),
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
        Column("role", TEXT, "fit: thresholds were fitted on it; test: it gives the record"),
        Column("expected", TEXT, "verdict that its construction proves"),
        Column("verdict", TEXT, "verdict that the audit gave"),
        Column("detail", TEXT, "localised, distributed, unmasked, taught or unclear", nullable=True),
        Column("confidence", FLOAT, "stated confidence", nullable=True),
        Column("valid", BOOL, "whether it does what its construction says; else it counts nowhere"),
        Column("recall", FLOAT, "share of the planted units in the reported set", nullable=True),
        Column("precision", FLOAT, "share of the reported set that was planted", nullable=True),
        Column("recovered", FLOAT, "R of the reported set, put back, on held-out entities", nullable=True),
        Column("random", FLOAT, "largest R of random sets matched with it", nullable=True),
        Column("seconds_made", FLOAT, "wall-clock time of making it and its base"),
        Column("seconds_audited", FLOAT, "wall-clock time of its audit"),
    ),
)
