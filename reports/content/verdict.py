"""The first page: what was concluded, in one minute."""

from __future__ import annotations

from reports.content.attack import outcome_blocks
from reports.content.gate import Gate, gate_blocks
from reports.content.parts import absent, claims_table, columns, section, sentences, strong
from reports.ledger import Entry, Evidence
from reports.model import Block, Card, Line, Notice, Paragraph, Section, Span, Table, gap, gap_notice, line

RUNGS = {
    "asking differently returns it": "elicit/{}",
    "decodable in the tuned model": "directions/{}/decodable",
    "the change in the weights is": "switches/{}/shape",
    "recovered by a bypass inside": "bypass/{}/internal",
    "by learned gates": "bypass/{}/gates",
    "relearned in 10 steps": "relearn/{}/10",
}
"""Questions of the ladder, and the claim that answers each for a behaviour."""
QUESTIONS = {
    "compare": "Did training remove the behaviour, or only hide it?",
    "train": "What did this training run do?",
    "attack": "How much training does it take to break the guardrail?",
    "selftest": "How often is this tool right about models whose truth is known?",
}
MEANINGS = {
    "UNCHANGED": "The behaviour is what it was",
    "MASKED": "Gone from the output; knowledge and wiring are intact",
    "LATENT": "The knowledge is there, the wiring to the behaviour is not",
    "ERASED": "The knowledge is gone",
    "INDUCED": "The tuned model shows what the base did not",
    "INCONCLUSIVE": "The evidence disagrees, is missing or is too weak",
}


def verdict_section(evidence: Evidence, gate: Gate | None) -> Section:
    """The gate's result if a policy was given, then one card per behaviour, or the headline numbers."""
    blocks: list[Block] = [*banners(evidence), *gate_blocks(evidence, gate)]
    body = _cards(evidence) if evidence.manifest.kind == "compare" else _headline(evidence)
    title = "Verdict" if evidence.manifest.kind == "compare" else "Result"
    return section("verdict", title, QUESTIONS[evidence.manifest.kind], [*blocks, *body])


def banners(evidence: Evidence) -> list[Block]:
    """What must be known before any number is read."""
    found: list[Block] = []
    if evidence.manifest.miniature:
        found.append(Notice("invented", "MINIATURE: every number in this report is invented", (
            line("The run is a small example of the format. Nothing in it was measured on any model."),
        )))  # fmt: skip
    if problems := evidence.problems:
        title = "The run folder does not verify: the numbers concerned are withheld"
        first = [line(problem) for problem in problems[:3]]
        more = [line("All of them are in the section on limits and gaps.")] if len(problems) > 3 else []
        found.append(gap_notice(title, *first, *more))
    return found


def _cards(evidence: Evidence) -> list[Block]:
    entries = [e for e in evidence.of("verdict/") if e.claim.id != "verdict/calibration"]
    if not entries:
        return [absent(evidence, "verdict", "verdicts")]
    cards: list[Block] = [_card(evidence, entry) for entry in entries]
    names = [entry.claim.id.removeprefix("verdict/") for entry in entries]
    return [*cards, _glance(evidence, names), *_calibration(evidence)]


def _glance(evidence: Evidence, names: list[str]) -> Table:
    """The rungs of the evidence, one row per behaviour; what was not measured says so."""
    rows = tuple(
        (line(name), *(line(evidence.slot(at.format(name))) for at in RUNGS.values())) for name in names
    )
    head = columns(("behaviour", 1.2), *((question, 1.2) for question in RUNGS))
    return Table("Evidence at a glance", head, rows)


def _card(evidence: Evidence, entry: Entry) -> Block:
    name = entry.claim.id.removeprefix("verdict/")
    if not entry.holds:
        return gap_notice(f"{name}: verdict withheld", line(gap(entry.problems[0])))
    word = str(entry.claim.value)
    missing = [text.removeprefix("missing: ") for text in entry.claim.preconditions]
    return Card(
        name, word, entry.number, _lead(evidence, name, word), tuple(_reasons(evidence, entry)),
        tuple(line(text) for text in missing),
    )  # fmt: skip


def _lead(evidence: Evidence, name: str, word: str) -> Line:
    """The meaning of the word, and the measured change in the form that carries the verdict."""
    meaning = line(f"{MEANINGS.get(word, 'A verdict that this version does not know')}.")
    suites = getattr(evidence.result("behaviour"), "suites", [])
    suite = next((suite for suite in suites if suite.name == name), None)
    if suite is None or not suite.templates:
        return meaning
    at = f"behaviour/{name}/{suite.primary.template}/{suite.primary.split}"
    return (
        *meaning, Span(" Effect in the base "), evidence.slot(f"{at}/base"), Span(", in the tuned model "),
        evidence.slot(f"{at}/tuned"), Span(", change "), strong_slot(evidence, f"{at}/change"),
        Span(f" ({suite.unit}; {suite.primary.template} form, held-out entities, 95 % intervals)."),
    )  # fmt: skip


def strong_slot(evidence: Evidence, name: str) -> Span:
    """A slot in strong type."""
    found = evidence.slot(name)
    return found if found.style == "gap" else Span(found.text, "strong", found.key)


def _reasons(evidence: Evidence, entry: Entry) -> list[Line]:
    """The reasons one by one; they are pieces of the claim's sentence, so they carry its key."""
    result = evidence.result("verdict")
    name = entry.claim.id.removeprefix("verdict/")
    found = next((one for one in getattr(result, "behaviours", []) if one.name == name), None)
    if found is None or entry.reworded:
        return [line(evidence.sentence(entry))]
    return [line(Span(reason, key=entry.number)) for reason in found.reasons]


def _calibration(evidence: Evidence) -> list[Block]:
    entry = evidence.entry("verdict/calibration")
    if entry is None:
        return []
    return [Paragraph((strong("Error rates of this tool. "), evidence.slot(entry.claim.id), Span(".")))]


def _headline(evidence: Evidence) -> list[Block]:
    if not evidence.entries:
        stages = list(evidence.manifest.stages) or [evidence.manifest.kind]
        return [absent(evidence, stage, f"the stage {stage}") for stage in stages]
    if evidence.manifest.kind == "attack":
        shown = [entry for entry in evidence.entries if not entry.claim.id.startswith("attack/items/")]
        return [*outcome_blocks(evidence), claims_table(evidence, "What was found", shown)]
    if evidence.manifest.kind == "train":
        return sentences(evidence, evidence.entries)
    return [claims_table(evidence, "What was found", evidence.entries)]
