"""Tables of the concepts' directions."""

from __future__ import annotations

from audit.evidence.schema.tables.table import BOOL, FLOAT, FLOATS, INT, TEXT, Column, Table

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
            "null_other_aucs",
            FLOATS,
            "the larger AUC of logistic and MLP probes under the first of these shuffles",
        ),
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
