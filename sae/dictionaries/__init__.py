"""Dictionaries of a pair of models: train, measure, save, load.

Main path: `train_dictionary` (train.py) -> `Coder` (coder.py) under an objective (objective.py) -> folded
into a `Crosscoder` or `DifferenceSAE` (paired.py) or a `SharedSAE` (shared.py) -> `save`, `load`
(storage.py). What other libraries stored is read by readers/.
"""

from sae.dictionaries.config import DictionaryConfig
from sae.dictionaries.health import AnyDictionary, Health, TrainedDictionary, health_of
from sae.dictionaries.paired import Crosscoder, DifferenceSAE, PairedCoder
from sae.dictionaries.shared import SharedSAE
from sae.dictionaries.splice import PairLoss, SpliceLoss, spliced_loss
from sae.dictionaries.storage import architecture_of, load, save
from sae.dictionaries.train import train_dictionary
from sae.dictionaries.weights import SparseCodes, Weights

__all__ = [
    "AnyDictionary",
    "Crosscoder",
    "DictionaryConfig",
    "DifferenceSAE",
    "Health",
    "PairLoss",
    "PairedCoder",
    "SharedSAE",
    "SparseCodes",
    "SpliceLoss",
    "TrainedDictionary",
    "Weights",
    "architecture_of",
    "health_of",
    "load",
    "save",
    "spliced_loss",
    "train_dictionary",
]
