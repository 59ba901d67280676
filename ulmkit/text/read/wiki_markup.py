"""Wiki markup to plain text, for dumps of MediaWiki in any language."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ulmkit.errors import MissingPackageError

_LEFT_OUT_TAGS = re.compile(
    "ref|references|gallery|table|math|chem|ce|timeline|score|syntaxhighlight|source|imagemap|templatestyles|style|"
    "script|hiero|graph|mapframe|maplink|indicator|section|inputbox|categorytree"
)
_MEDIA = re.compile(r"\.(jpe?g|png|svg|gif|tiff?|webp|og[gvax]|webm|mp[34]|wav|flac|pdf|djvu)$", re.IGNORECASE)
_INTERLANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z-]+)?:")
_QUIET = re.compile(r"__[^\W\d_]+__|'{2,5}")  # magic words, and quotes for bold and italic
_VERBATIM = re.compile(r"<(nowiki|pre|source|syntaxhighlight)\b", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_REFERENCE = re.compile(r"<ref\b[^<>]*/>|<ref\b[^<>/]*>.*?</ref\s*>", re.DOTALL | re.IGNORECASE)
_INNERMOST_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_EMPTY_BRACKETS = re.compile(r"\s?[(（][\s,;:.、，；]*[)）]")
_BLANKS = re.compile(r"[^\S\n]+")
_LIST_MARKS = re.compile(r"^[*#:;]+\s*")
_TABLE_REMAINS = re.compile(r"\{\||\|\}|[|!]")

_DISAMBIGUATION = re.compile(
    "disambig|disambiguation|dab|hndis|geodis|begriffsklärung|homonymie|desambiguación|disambigua|dp|"
    "doorverwijspagina|ujednoznacznienie|desambiguação|неоднозначность|неоднозначність|förgrening|gren|aimai|"
    "曖昧さ回避|消歧义|消歧義|desambiguació|peker|flertydig|täsmennyssivu|rozcestník|egyért|dezambiguizare|"
    "anlam ayrımı|동음이의|توضيح|פירושונים|ابهام‌زدایی|disambiguasi|trang định hướng|αποσαφήνιση|argipen|пояснение|"
    "вишезначна одредница|razdvojba|rozlišovacia stránka|täpsustus|homónimos|dixebra|apartigilo|nuorodinis|"
    "nozīmju atdalīšana|razločitev|discretiva"
)
"""Names of disambiguation templates, which dumps do not mark as such: those of the larger Wikipedias."""
_TITLE_SUFFIX = re.compile(r"\(([^()]+)\)$")
_TEMPLATE_NAME = re.compile(r"\{\{\s*([^|{}\n]+?)\s*(?=[|}\n])")


@dataclass(frozen=True)
class MarkupReader:
    """Turns wiki markup into plain text. Picklable, for worker processes.

    Attributes:
        left_out_links: Namespaces, in lower case, whose links are not text: files and categories.
    """

    left_out_links: frozenset[str]

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Convert several texts; see `plain_text`."""
        return [self.plain_text(text) for text in texts]

    def plain_text(self, markup: str) -> str:
        """Convert a page to plain text.

        Templates, tables, references, files, categories, formulas and comments are left out, the texts of links kept.
        Each paragraph, list item and heading is a line; a heading without text below it is left out.

        Raises:
            MissingPackageError: If mwparserfromhell is not installed.
        """
        written: list[str] = []
        self._write(_parse(_without_templates(markup)).nodes, written)
        lines: list[tuple[int, str]] = []
        for line in _EMPTY_BRACKETS.sub("", "".join(written)).split("\n"):
            level = len(line) - len(line.lstrip("\0"))
            text = _BLANKS.sub(" ", line.strip("\0")).strip()
            text = _LIST_MARKS.sub("", text)
            if text and not _TABLE_REMAINS.match(text):
                lines.append((level, text))
        return "\n".join(_without_empty_sections(lines))

    def _write(self, nodes: Iterable[Any], written: list[str]) -> None:
        """Append the text of parsed nodes; a heading is a line that begins with as many NULs as its level."""
        for node in nodes:
            kind = type(node).__name__
            if kind == "Text":
                written.append(_QUIET.sub("", node.value))
            elif kind == "Wikilink":
                self._write_link(node, written)
            elif kind == "HTMLEntity":
                written.append(node.normalize())
            elif kind == "Heading":
                written.append("\n" + "\0" * node.level)
                self._write(node.title.nodes, written)
                written.append("\n")
            elif kind == "ExternalLink" and node.title is not None:
                self._write(node.title.nodes, written)
            elif kind == "Tag":
                name = str(node.tag).strip().lower()
                if name == "br":
                    written.append("\n")
                elif _LEFT_OUT_TAGS.fullmatch(name) is None and node.contents is not None:
                    self._write(node.contents.nodes, written)

    def _write_link(self, link: Any, written: list[str]) -> None:
        target = str(link.title).strip()
        namespace = target.partition(":")[0].strip().lower().replace("_", " ") if ":" in target else ""
        if namespace in self.left_out_links or _MEDIA.search(target):
            return
        if link.text is not None:
            self._write(link.text.nodes, written)
        elif not _INTERLANGUAGE.match(target):
            written.append(target.lstrip(":"))


def _without_templates(markup: str) -> str:
    """Take comments, references and templates out beforehand: they are half of the markup, and slow to parse.

    Innermost templates go first, again and again; what does not balance is left to the parser. Markup that is to be
    shown as it stands is left to the parser altogether.
    """
    if _VERBATIM.search(markup):
        return markup
    markup = _REFERENCE.sub("", _COMMENT.sub("", markup))
    replaced = 1
    while replaced:
        markup, replaced = _INNERMOST_TEMPLATE.subn("", markup)
    return markup


def is_disambiguation(title: str, markup: str) -> bool:
    """Tell by its templates or its title whether a page only lists the meanings of its title."""
    suffix = _TITLE_SUFFIX.search(title)
    if suffix is not None and _DISAMBIGUATION.fullmatch(suffix[1].strip().lower()):
        return True
    if "__DISAMBIG__" in markup:
        return True
    return any(
        _DISAMBIGUATION.fullmatch(match[1].lower().replace("_", " ")) for match in _TEMPLATE_NAME.finditer(markup)
    )


def _parse(markup: str) -> Any:
    try:
        import mwparserfromhell
    except ImportError as error:
        raise MissingPackageError(
            "mwparserfromhell: is not installed; to read Wikipedia, run: pip install ulmkit[wiki]"
        ) from error
    return mwparserfromhell.parse(markup, skip_style_tags=True)


def check_installed() -> None:
    """Check, before a dump is read, that the parser is there.

    Raises:
        MissingPackageError: If mwparserfromhell is not installed.
    """
    _parse("")


def _without_empty_sections(lines: Sequence[tuple[int, str]]) -> list[str]:
    """Leave out each heading that no text follows before the next heading of its level or above."""
    kept: list[str] = []
    filled_below = 0  # a heading of a smaller level than this has text below it
    for level, text in reversed(lines):
        if not level:
            filled_below = 7
        elif level < filled_below:
            filled_below = level
        else:
            continue
        kept.append(text)
    return kept[::-1]
