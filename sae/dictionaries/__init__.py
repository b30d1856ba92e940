"""Dictionaries of a pair of models: train, measure, save, load.

Main path: `train_dictionary` (train.py) -> `Coder` (coder.py) under an objective (objective.py) -> folded
into a `Crosscoder` or `DifferenceSAE` (paired.py) -> `save`, `load` (storage.py).
"""

from sae.dictionaries.config import DictionaryConfig
from sae.dictionaries.health import Health, health_of
from sae.dictionaries.paired import Crosscoder, DifferenceSAE, PairedCoder, Weights
from sae.dictionaries.storage import load, save
from sae.dictionaries.train import TrainedDictionary, train_dictionary

__all__ = [
    "Crosscoder",
    "DictionaryConfig",
    "DifferenceSAE",
    "Health",
    "PairedCoder",
    "TrainedDictionary",
    "Weights",
    "health_of",
    "load",
    "save",
    "train_dictionary",
]
