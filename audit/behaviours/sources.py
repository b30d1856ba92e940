"""Where published benchmarks are read from: local files, folders of them, or a data set of the hub."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from audit.behaviours.files import json_line, text_lines
from audit.errors import SuiteError

Format = Literal["jsonl", "csv"]


@dataclass(frozen=True)
class Address:
    """What follows the name of a loader, such as `bbq:`."""

    place: str
    """Path of a file or folder, or id of a data set on the hub."""
    revision: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class Record:
    """One row of a benchmark as it was published."""

    where: str
    """Named by errors."""
    fields: dict[str, Any]
    origin: str = ""
    """Name of the file without its ending, or of the hub's configuration."""


def parse_address(text: str) -> Address:
    """Takes `PLACE[@revision][#category]` apart; a path that exists as it stands is not taken apart.

    Raises:
        SuiteError: there is no place, or an empty revision or category.
    """
    if text.strip() and Path(text).exists():
        return Address(text)
    rest, hash_mark, category = text.partition("#")
    if rest.strip() and Path(rest).exists():
        place, at, revision = rest, "", ""
    else:
        place, at, revision = rest.partition("@")
    if not place.strip() or (hash_mark and not category) or (at and not revision):
        fix = "write PATH_OR_HUB_ID[@revision][#category]"
        raise SuiteError("The address of the benchmark is incomplete.", where=repr(text), fix=fix)
    return Address(place, revision or None, category or None)


def read_records(address: Address, form: Format) -> list[Record]:
    """The rows of a benchmark, in the order in which they are stored.

    Raises:
        SuiteError: nothing is there, it cannot be read, or it is empty.
    """
    path = Path(address.place)
    if not path.exists():
        if _looks_local(address.place):
            fix = "correct the path, or give the id of a data set on the hub, such as org/name"
            raise SuiteError("There is no such file or folder.", where=address.place, fix=fix)
        return _from_hub(address)
    files = sorted(path.glob(f"*.{form}")) if path.is_dir() else [path]
    if not files:
        fix = "give the folder that holds the published files, or one of the files"
        raise SuiteError(f"The folder holds no .{form} file.", where=str(path), fix=fix)
    read = _json_records if form == "jsonl" else _csv_records
    return [record for file in files for record in read(file)]


def _looks_local(place: str) -> bool:
    """Whether a place that does not exist must be a mistyped path: then no network is asked for it."""
    return place.startswith((".", "/", "~")) or place.endswith((".jsonl", ".csv")) or place.count("/") != 1


def _json_records(path: Path) -> Iterator[Record]:
    for number, text in text_lines(path):
        where = f"{path}:{number}"
        fields = json_line(text, where)
        if not isinstance(fields, dict):
            fix = "give the benchmark's own file, with one JSON object a line"
            raise SuiteError("The line is no JSON object.", where=where, fix=fix)
        yield Record(where, fields, path.stem)


def _csv_records(path: Path) -> Iterator[Record]:
    text = "\n".join(line for _, line in text_lines(path))
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), 1):
        where = f"{path}, row {number}"
        if None in row or None in row.values():
            fix = "quote fields that hold commas, as the published file does"
            raise SuiteError("The row has more or fewer fields than the header.", where=where, fix=fix)
        yield Record(where, dict(row), path.stem)


def _from_hub(address: Address) -> list[Record]:
    import datasets
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its HTTP library

    where = address.place if address.revision is None else f"{address.place}@{address.revision}"
    try:
        names = datasets.get_dataset_config_names(address.place, revision=address.revision)
        chosen = [name for name in names if name == address.category] or names
        parts = {
            name: datasets.load_dataset(address.place, name, revision=address.revision) for name in chosen
        }
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        fix = (
            "check the id, the revision and the network; a data set that needs a script can be tried as "
            "ID@refs/convert/parquet, or downloaded and given as a path"
        )
        problem = f"The data set cannot be loaded: {_first_line(error)}"
        raise SuiteError(problem, where=where, fix=fix) from error
    return [
        Record(f"{where}, {name}, {split}, row {i}", fields, name)
        for name, splits in parts.items()
        for split, rows in splits.items()
        for i, fields in enumerate(_decoded(rows), 1)
    ]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _decoded(rows: Any) -> Iterator[dict[str, Any]]:
    """Rows with the names of their classes instead of the numbers that the hub stores."""
    decoders = {name: f.int2str for name, f in rows.features.items() if hasattr(f, "int2str")}
    for row in rows:
        yield {k: decoders[k](v) if k in decoders and v is not None else v for k, v in row.items()}
