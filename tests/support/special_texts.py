"""Texts that come near to the names of special tokens, which no text may pass for."""

from hypothesis import strategies as st

from ulmkit.text.tokens.rules import SPECIALS

_KELVIN, _FULLWIDTH = {ord("k"): "\u212a"}, {code: code + 0xFEE0 for code in range(ord("a"), ord("z") + 1)}

_NAMES = [
    spelling
    for name in SPECIALS
    for spelling in (name, name.upper(), name.title(), name.translate(_KELVIN), name.translate(_FULLWIDTH))
]
_SNIPPETS = (
    *("xx", "XX", "x", "xX", "bos", "BOS", "unk", "fld", "&#120;xbos", "&#x78;XEOS", "&amp;#120;xfld", "x&nbsp;xbos"),
    *("<unk>", "&lt;unk&gt;", "<br />", "@-@", "\\n", "\u212a", "\u200b", "\xad", "\x1f", "\u2028", "\x85", "\ud800"),
    *("\n", " ", "\x00", "中", "。", "，", "/", "..."),
)

LIKE_SPECIALS = st.lists(st.sampled_from(_NAMES) | st.sampled_from(_SNIPPETS) | st.text(max_size=3), max_size=8).map(
    "".join
)
"""Names of special tokens in several spellings, their parts, and what the clean-up rules replace, put together."""
