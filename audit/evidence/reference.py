"""`python -m audit.evidence.reference FILE`: the run folder's format as a page, printed from the schema."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType

from audit.evidence.files import write_text
from audit.evidence.schema import TABLES, Table, documents, results

HEAD = f"""# The run folder, format {documents.FORMAT}

Printed from `audit/evidence/schema/` by `make docs`; edit there. Everything that an audit learned is in one
folder, written stage by stage. Dashboards, reports and the gate read only it.

```
runs/<name>/
  manifest.json     what was run, on which models (SHA-256 of every file), with which versions; stage states
  config.toml       the resolved settings
  stages/<stage>/   result.json, tables as Parquet, DONE (written last: without it the stage did not happen)
  claims.json       every sentence that a report may print, with its number and where the evidence stands
  findings.jsonl    what reviewers found and signed, where they wrote something: a chained log that only grows
```

Stages of `audit compare`: preflight, weights, behaviour, drift, elicit, directions, features, switches,
bypass, relearn, verdict; of `audit train`: train; of `audit attack`: attack. Tables that no stage of this
version writes are defined for the stages to come.

# Tables
"""


MAIN: tuple[type[documents.Document], ...] = (
    documents.Manifest,
    documents.ModelRecord,
    documents.StageState,
    documents.Done,
    documents.Claim,
    documents.Evidence,
    documents.Estimate,
)
"""Documents besides the stages' results."""


def page() -> str:
    """The whole page."""
    tables = "\n".join(_table(table) for table in TABLES.values())
    models = "\n".join(_document(model) for model in (*MAIN, *_of_stages()))
    return f"{HEAD}\n{tables}\n# Documents\n\n{models}"


def _of_stages() -> list[type[documents.Document]]:
    """Every result, after the parts that it is made of, stage by stage."""
    modules = dict.fromkeys(result.__module__ for result in results.RESULTS.values())
    return [kind for module in modules for kind in _models(sys.modules[module])]


def _models(module: ModuleType) -> list[type[documents.Document]]:
    """The models of one file, in its order."""
    own = [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and issubclass(kind, documents.Document)
        and kind.__module__ == module.__name__
    ]
    return sorted(own, key=lambda kind: inspect.getsourcelines(kind)[1])


def _table(table: Table) -> str:
    rows = [
        f"| `{c.name}` | {c.type}{', may be null' if c.nullable else ''} | {c.doc.replace('|', '&#124;')} |"
        for c in table.columns
    ]
    head = f"## {table.name}\n\nOne row: {table.row}.\n\n| column | type | meaning |\n|---|---|---|"
    return "\n".join([head, *rows]) + "\n"


def _document(model: type[documents.Document]) -> str:
    docs = _field_docs(model)
    lines = [
        f"- `{name}`: {_type(model, name)}" + (f". {docs[name]}" if name in docs else "")
        for name in model.model_fields
    ]
    return "\n".join([f"## {model.__name__}", "", inspect.getdoc(model) or "", "", *lines]) + "\n"


def _type(model: type[documents.Document], name: str) -> str:
    return str(model.__annotations__[name]).replace("documents.", "")


def _field_docs(model: type[documents.Document]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(model)).body[0]
    docs: dict[str, str] = {}
    name = ""
    for node in body.body if isinstance(body, ast.ClassDef) else []:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            docs[name] = " ".join(str(node.value.value).split())
    return docs


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), page())
