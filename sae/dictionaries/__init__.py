"""Dictionaries of a pair of models: train, measure, save, load.

Main path: `train_dictionary` (train.py) -> `Coder` (coder.py) under an objective (objective.py) -> folded
into a `Crosscoder` or `DifferenceSAE` (paired.py) -> `save`, `load` (storage.py).
"""

from sae.dictionaries.config import DictionaryConfig, SharedConfig
from sae.dictionaries.health import Health, TrainedDictionary, health_of
from sae.dictionaries.paired import Crosscoder, DifferenceSAE, PairedCoder, Weights
from sae.dictionaries.shared import SharedSAE
from sae.dictionaries.splice import PairLoss, SpliceLoss, spliced_loss
from sae.dictionaries.storage import architecture_of, load, save
from sae.dictionaries.train import train_dictionary

__all__ = [
    "Crosscoder",
    "DictionaryConfig",
    "DifferenceSAE",
    "Health",
    "PairLoss",
    "PairedCoder",
    "SharedConfig",
    "SharedSAE",
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
