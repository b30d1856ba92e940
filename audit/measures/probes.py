"""Probes: can a small classifier fit on some entities tell the class of others from a model's activations?

The entity is the unit throughout. A probe is fit on the texts of some entities and scored on texts of
others; an entity's score is the mean over its texts, and the AUC is taken over entities, so a probe that
learned entities by heart is at chance.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from audit.measures.bootstrap import Estimate, FloatArray, IntArray, interval

Kind = Literal["lda", "logistic", "mlp"]
BoolArray = NDArray[np.bool_]
HIDDEN = 16
"""Units of the MLP probe's one hidden layer."""
FOLDS = 4
SMALLEST_LOG = -745.0
"""Logarithm of about the smallest double."""


@dataclass(frozen=True)
class Texts:
    """Activations of labelled texts, and whom each speaks of."""

    x: FloatArray
    """[N, D]."""
    entity: IntArray
    """[N] number of each text's entity, 0 to E - 1."""
    is_a: BoolArray
    """[E] class of each entity."""

    @property
    def label(self) -> BoolArray:
        """[N] class of each text."""
        return np.asarray(self.is_a[self.entity], dtype=np.bool_)

    def entity_means(self, values: FloatArray) -> FloatArray:
        """Mean over the texts of each entity: [N, ...] -> [E, ...]."""
        count = np.bincount(self.entity, minlength=len(self.is_a)).astype(np.float64)
        total = np.zeros((len(self.is_a), *values.shape[1:]))
        np.add.at(total, self.entity, values)
        means: FloatArray = total / count.reshape(-1, *[1] * (values.ndim - 1))
        return means


@dataclass(frozen=True)
class Readout:
    """The coordinates in which probes are fit: entries standardised, then the span of the training texts.

    A direction outside that span is constant on the training texts, so no probe fit there can use it; inside
    it a fit costs the number of texts instead of the width of the model.
    """

    mean: FloatArray
    scale: FloatArray
    basis: FloatArray
    """[D, K] orthonormal columns, over the root mean square of the training coordinates."""

    @classmethod
    def of(cls, x: FloatArray) -> Readout:
        """The readout of training texts [N, D]; labels play no part."""
        mean, spread = x.mean(axis=0), x.std(axis=0)
        scale = np.where(spread > 1e-12 * np.abs(x).max(initial=1e-300), spread, 1.0)
        z = (x - mean) / scale
        _, singular, v = np.linalg.svd(z, full_matrices=False)
        rank = max(int((singular > 1e-9 * singular.max(initial=1e-300)).sum()), 1)
        size = float(np.sqrt((singular[:rank] ** 2).sum() / (len(x) * rank))) or 1.0
        return cls(mean, scale, v[:rank].T / size)

    def __call__(self, x: FloatArray) -> FloatArray:
        """Coordinates [N, K] of activations [N, D]."""
        coordinates: FloatArray = ((x - self.mean) / self.scale) @ self.basis
        return coordinates


@dataclass(frozen=True)
class Probe:
    """A classifier in the coordinates of its readout."""

    readout: Readout
    model: LinearDiscriminantAnalysis | LogisticRegression | MLPClassifier

    def scores(self, x: FloatArray) -> FloatArray:
        """How much each activation [N, D] looks like class A; only the order means anything."""
        return _scores(self.model, self.readout(x))

    def auc(self, held_out: Texts) -> float:
        """AUC over the entities of `held_out`."""
        return entity_auc(held_out.entity_means(self.scores(held_out.x)), held_out.is_a)


def fit_probe(texts: Texts, kind: Kind, *, seed: int = 0) -> Probe:
    """Fits a probe on labelled texts.

    Args:
        texts: to fit on; both classes must be there.
        kind: lda: linear discriminant analysis with the shrinkage of Ledoit and Wolf 2004; logistic: with
            unit ridge penalty; mlp: one hidden layer of `HIDDEN` rectified units.
        seed: of the MLP's initial weights.
    """
    readout = Readout.of(texts.x)
    return Probe(readout, _fit(readout(texts.x), texts.label, kind, seed))


def _fit(
    z: FloatArray, label: BoolArray, kind: Kind, seed: int = 0
) -> LinearDiscriminantAnalysis | LogisticRegression | MLPClassifier:
    if kind == "lda":
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(z, label)
    if kind == "logistic":
        return LogisticRegression(solver="newton-cholesky", class_weight="balanced").fit(z, label)
    network = MLPClassifier((HIDDEN,), alpha=1.0, solver="lbfgs", max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is part of this small probe
        return network.fit(z, label)


def _scores(
    model: LinearDiscriminantAnalysis | LogisticRegression | MLPClassifier, z: FloatArray
) -> FloatArray:
    if isinstance(model, MLPClassifier):
        with np.errstate(divide="ignore"):  # a share that underflows is as small as any
            share: FloatArray = np.maximum(model.predict_log_proba(z), SMALLEST_LOG)
        return np.asarray(share[:, 1] - share[:, 0], dtype=np.float64)
    return np.asarray(model.decision_function(z), dtype=np.float64)


def entity_auc(scores: FloatArray, is_a: BoolArray) -> float:
    """Probability that an entity of A scores above one of B, ties counting half (Mann and Whitney 1947)."""
    return float(_wins(scores, is_a).mean())


def _wins(scores: FloatArray, is_a: BoolArray) -> FloatArray:
    """[A, B] 1 where the entity of A is above, 0 below, 1/2 in a tie."""
    difference = scores[is_a][:, None] - scores[~is_a][None, :]
    return np.asarray((np.sign(difference) + 1) / 2, dtype=np.float64)


def auc_estimate(auc: float, is_a: BoolArray, level: float = 0.95) -> Estimate:
    """The AUC with its interval over entities: Newcombe 2006, method 5.

    The score interval of the Hanley-McNeil variance with both class sizes replaced by their mean; unlike a
    bootstrap it has a width at an AUC of 1. Unbounded with a class of fewer than two entities.
    """
    n_a, n_b = int(is_a.sum()), int((~is_a).sum())
    if min(n_a, n_b) < 2:
        return Estimate(auc, -np.inf, np.inf, n_a + n_b)
    z = float(stats.norm.ppf((1 + level) / 2))

    def excess(theta: float) -> float:
        pairs = 1 + ((n_a + n_b) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (theta - auc) ** 2 - z**2 * theta * (1 - theta) * pairs / (n_a * n_b)

    low = 0.0 if auc <= 0 else float(optimize.brentq(excess, 0.0, min(auc, 1 - 1e-12)))
    high = 1.0 if auc >= 1 else float(optimize.brentq(excess, max(auc, 1e-12), 1.0))
    return Estimate(auc, low, high, n_a + n_b)


def auc_gain(one: FloatArray, other: FloatArray, is_a: BoolArray, *, draws: int, seed: int) -> Estimate:
    """AUC of one scoring of entities minus that of another, bootstrapped over the same entities.

    Args:
        one: score of each entity [E].
        other: likewise.
        is_a: their classes [E].
        draws: bootstrap resamples.
        seed: of the resampling.
    """
    wins = _wins(one, is_a) - _wins(other, is_a)
    rng = np.random.default_rng(seed)
    shares = [rng.multinomial(n, np.full(n, 1 / n), size=draws) / n for n in wins.shape]
    resampled = np.einsum("da,ab,db->d", shares[0], wins, shares[1], optimize=True)
    low, high = interval(resampled, min(wins.shape) - 1)
    return Estimate(float(wins.mean()), float(low), float(high), len(is_a))


def cross_validated_auc(texts: Texts, *, seed: int = 0, folds: int = FOLDS) -> float:
    """Mean AUC over folds of entities, each scored by an LDA that was fit without it.

    The number by which a layer may be chosen without looking at the held-out entities. NaN where a class has
    fewer than four entities.
    """
    fold = _folds(texts.is_a, folds, np.random.default_rng(seed))
    if min(texts.is_a.sum(), (~texts.is_a).sum()) < 4:
        return float("nan")
    found = []
    for held in range(int(fold.max()) + 1):
        inside = fold == held
        fitted = fit_probe(subset(texts, ~inside), "lda")
        found.append(fitted.auc(subset(texts, inside)))
    return float(np.mean(found))


def _folds(is_a: BoolArray, folds: int, rng: np.random.Generator) -> IntArray:
    """[E] fold of each entity, each class dealt evenly."""
    dealt = np.zeros(len(is_a), dtype=np.int64)
    count = max(2, min(folds, int(is_a.sum()), int((~is_a).sum())))
    for side in (True, False):
        members = rng.permutation(np.flatnonzero(is_a == side))
        dealt[members] = np.arange(len(members)) % count
    return dealt


def subset(texts: Texts, entities: BoolArray) -> Texts:
    """The texts of some entities [E]."""
    number = np.cumsum(entities) - 1
    kept = entities[texts.entity]
    return Texts(texts.x[kept], number[texts.entity[kept]].astype(np.int64), texts.is_a[entities])


class Shuffles(NamedTuple):
    """Classes dealt anew to the entities, the same number of each class per split."""

    train: BoolArray
    """[P, entities to fit on]."""
    test: BoolArray
    """[P, held-out entities]."""


def shuffles(train: BoolArray, test: BoolArray, count: int, seed: int) -> Shuffles:
    """Random classes for a null; used at every layer alike, so that maxima over layers have a null, too."""
    rng = np.random.default_rng(seed)
    dealt = [np.stack([rng.permutation(side) for _ in range(count)]) for side in (train, test)]
    return Shuffles(*dealt)


def null_aucs(train: Texts, test: Texts, dealt: Shuffles) -> FloatArray:
    """AUC of LDA probes under shuffled classes [P]: what a probe of this size finds where nothing is.

    Whole entities change class (Hewitt and Liang 2019 call it a control task), in both splits.
    """
    readout = Readout.of(train.x)
    fit_on, held_out = readout(train.x), readout(test.x)
    found = []
    for fit_class, test_class in zip(dealt.train, dealt.test, strict=True):
        scores = held_out @ lda_direction(fit_on, fit_class[train.entity])
        found.append(entity_auc(test.entity_means(scores), test_class))
    return np.array(found)


def null_of_others(train: Texts, test: Texts, dealt: Shuffles, count: int, seed: int) -> FloatArray:
    """The larger AUC of logistic and MLP probes under the first `count` shuffles [count]."""
    readout = Readout.of(train.x)
    fit_on, held_out = readout(train.x), readout(test.x)
    found = []
    for fit_class, test_class in zip(dealt.train[:count], dealt.test[:count], strict=True):
        kinds: tuple[Kind, Kind] = ("logistic", "mlp")
        models = (_fit(fit_on, fit_class[train.entity], kind, seed) for kind in kinds)
        scores = (test.entity_means(_scores(model, held_out)) for model in models)
        found.append(max(entity_auc(one, test_class) for one in scores))
    return np.array(found)


def lda_direction(z: FloatArray, label: BoolArray) -> FloatArray:
    """Direction [K] of the LDA probe of `fit_probe` in coordinates [N, K]: fast, for fits by the hundred."""
    covariance = sum(
        _shrunken_covariance(z[label == side]) * (label == side).mean() for side in (True, False)
    )
    direction: FloatArray = np.linalg.lstsq(
        np.asarray(covariance), z[label].mean(axis=0) - z[~label].mean(axis=0), rcond=None
    )[0]
    return direction


def _shrunken_covariance(z: FloatArray) -> FloatArray:
    """Ledoit and Wolf 2004 on standardised coordinates, on their own scale again, as in scikit-learn."""
    spread = z.std(axis=0)
    scale = np.where(spread > 1e-12 * np.abs(z).max(initial=1e-300), spread, 1.0)
    x = (z - z.mean(axis=0)) / scale
    n, k = x.shape
    sample = x.T @ x / n
    mean, squares = float(np.trace(sample)) / k, float((sample**2).sum())
    distance = squares / k - mean**2
    error = (float(((x**2).sum(axis=1) ** 2).sum()) / n - squares) / (k * n)
    shrinkage = min(error, distance) / distance if distance > 0 else 0.0
    shrunken: FloatArray = ((1 - shrinkage) * sample + shrinkage * mean * np.eye(k)) * np.outer(scale, scale)
    return shrunken
