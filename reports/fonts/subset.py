"""`python -m reports.fonts.subset NOTO_FOLDER CJK_FILE`: cuts the fonts of this folder from the Noto sources.

NOTO_FOLDER holds the hinted TrueType files (Debian: fonts-noto-core, -extra and -mono), CJK_FILE is
NotoSansCJK-Regular.ttc (fonts-noto-cjk). The subsets carry names of their own, so that a font that is
installed on the machine can never stand in for one of them. coverage.txt lists what they can draw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
LATIN_GREEK_CYRILLIC = (
    range(0x20, 0x7F), range(0xA0, 0x250), range(0x250, 0x370), range(0x370, 0x400), range(0x400, 0x530),
    range(0x1E00, 0x2000), range(0x2010, 0x2028), range(0x2030, 0x205F), range(0x2070, 0x20C0),
    range(0x2100, 0x2190),
)  # fmt: skip
MATHS = (range(0x2190, 0x2300), range(0x25CA, 0x25CB), range(0x27E8, 0x27EA), range(0x2A7D, 0x2A7F))
SHAPES = (range(0x2500, 0x2600), range(0x2605, 0x2607), range(0x2610, 0x2614), range(0x2700, 0x27C0))
CJK_EXTRA = (range(0x3000, 0x3100), range(0x31F0, 0x3200), range(0xFF01, 0xFFE7))
CJK_CODECS = {"gb2312": (0xB0, 0xF8), "big5": (0xA4, 0xC7), "euc_jp": (0xB0, 0xF5), "euc_kr": (0xB0, 0xC9)}
"""Lead bytes of the everyday characters: GB 2312, Big5 level 1, JIS X 0208, hangul of KS X 1001."""
FACES = {
    "UnmaskSans-Regular.ttf": ("NotoSans-Regular.ttf", "Unmask Sans", "Regular", LATIN_GREEK_CYRILLIC),
    "UnmaskSans-SemiBold.ttf": ("NotoSans-SemiBold.ttf", "Unmask Sans", "SemiBold", LATIN_GREEK_CYRILLIC),
    "UnmaskSerif-SemiBold.ttf": ("NotoSerif-SemiBold.ttf", "Unmask Serif", "SemiBold", LATIN_GREEK_CYRILLIC),
    "UnmaskMono-Regular.ttf": (
        "NotoSansMono-Regular.ttf", "Unmask Mono", "Regular", (*LATIN_GREEK_CYRILLIC, range(0x2500, 0x25A0)),
    ),
    "UnmaskMaths-Regular.ttf": ("NotoSansMath-Regular.ttf", "Unmask Maths", "Regular", MATHS),
    "UnmaskShapes-Regular.ttf": ("NotoSansSymbols2-Regular.ttf", "Unmask Shapes", "Regular", SHAPES),
}  # fmt: skip
"""File: its source, family, style and characters."""
CJK_FACE = ("UnmaskCJK-Regular.otf", "Unmask CJK", "Noto Sans CJK SC")


def main(noto: Path, cjk: Path) -> None:
    """Writes every subset and coverage.txt."""
    from fontTools.ttLib import TTCollection, TTFont  # type: ignore[import-untyped]

    covered: set[int] = set()
    for name, (source, family, style, ranges) in FACES.items():
        covered |= _cut(TTFont(noto / source), HERE / name, family, style, _characters(ranges))
    name, family, face = CJK_FACE
    fonts = TTCollection(cjk).fonts
    chosen = next(font for font in fonts if font["name"].getDebugName(1) == face)
    wanted = _characters(CJK_EXTRA) | _everyday_cjk()
    covered |= _cut(chosen, HERE / name, family, "Regular", wanted)
    (HERE / "coverage.txt").write_text(_as_ranges(sorted(covered)), encoding="ascii")


def _characters(ranges: Iterable[range]) -> set[int]:
    return {code for one in ranges for code in one}


def _everyday_cjk() -> set[int]:
    found: set[int] = set()
    for codec, (first, beyond) in CJK_CODECS.items():
        for lead in range(first, beyond):
            text = b"".join(bytes((lead, trail)) for trail in range(0xA1, 0xFF)).decode(codec, "ignore")
            found |= {ord(character) for character in text}
        if codec == "big5":
            pairs = (bytes((lead, t)) for lead in range(first, beyond) for t in range(0x40, 0x7F))
            found |= {ord(c) for pair in pairs for c in pair.decode(codec, "ignore") if len(c) == 1}
    return {code for code in found if code >= 0x2E80}


def _cut(font: object, path: Path, family: str, style: str, wanted: set[int]) -> set[int]:
    from fontTools import subset  # type: ignore[import-untyped]

    options = subset.Options()
    options.layout_features = ["kern", "mark", "mkmk", "ccmp", "locl", "tnum", "lnum"]
    options.name_IDs, options.hinting, options.notdef_outline = [0, 1, 2, 3, 4, 5, 6, 13, 14], False, True
    options.drop_tables += ["DSIG", "vhea", "vmtx", "VORG", "BASE"]
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=wanted)
    cutter.subset(font)
    _rename(font, family, style)
    font.save(path)  # type: ignore[attr-defined]
    return set(font.getBestCmap())  # type: ignore[attr-defined]


def _rename(font: object, family: str, style: str) -> None:
    names = font["name"]  # type: ignore[index]
    said = {
        1: family if style == "Regular" else f"{family} {style}", 2: "Regular", 3: f"unmask:{family} {style}",
        4: f"{family} {style}", 6: f"{family}-{style}".replace(" ", ""), 16: family, 17: style,
    }  # fmt: skip
    for record in [r for r in names.names if r.nameID in (1, 2, 3, 4, 6, 16, 17, 21, 22)]:
        names.removeNames(record.nameID, record.platformID, record.platEncID, record.langID)
    for number, text in said.items():
        names.setName(text, number, 3, 1, 0x409)
    if "CFF " in font:  # type: ignore[operator]
        font["CFF "].cff.fontNames = [said[6]]  # type: ignore[index]


def _as_ranges(codes: list[int]) -> str:
    """`first-last` in hex, one range a line."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{first:04X}-{last:04X}\n" for first, last in ranges)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
