"""Texts shortened around the words that moved a prediction."""

from ulmkit.explain import Explanation, WordWeight
from ulmkit.report.snippets import marked_words, shorten


def explained(text, weights):
    words, place = [], 0
    for word in text.split():
        place = text.index(word, place)
        words.append(WordWeight(word, (place, place + len(word)), weights.get(word, 0.0)))
        place += len(word)
    return Explanation("pos", 1.0, tuple(words))


def test_a_short_text_is_shown_whole():
    text = "a fine film, sadly dull"
    snippets = shorten(text, explained(text, {"fine": 2.0, "dull": -1.0}))
    assert "".join(snippet.text for snippet in snippets) == text
    assert [(snippet.text, snippet.weight) for snippet in snippets if snippet.weight] == [("fine", 1.0), ("dull", -0.5)]
    assert not any(snippet.is_gap for snippet in snippets)


def test_a_long_text_is_cut_around_the_strongest_words():
    text = " ".join(f"word{number}" for number in range(1000))
    snippets = shorten(text, explained(text, {"word100": 1.0, "word500": -3.0, "word900": 2.0}))
    shown = "".join("…" if snippet.is_gap else snippet.text for snippet in snippets)
    assert len(shown) < 700
    assert shown.count("…") == 4
    assert [snippet.text for snippet in snippets if snippet.weight] == ["word100", "word500", "word900"]
    assert all(part.strip().split()[0] in text.split() for part in shown.split("…") if part)


def test_a_long_text_without_marked_words_shows_its_beginning():
    text = "word " * 1000
    *shown, gap = shorten(text, Explanation("pos", 0.0, ()))
    assert gap.is_gap
    assert len("".join(snippet.text for snippet in shown)) < 700


def test_weak_words_are_not_marked():
    text = "a fine film"
    assert [word.word for word in marked_words(explained(text, {"fine": 2.0, "film": 0.1}))] == ["fine"]
    assert marked_words(explained(text, {})) == []


def test_the_fields_of_a_text_are_lines():
    (snippet,) = shorten(("a title", "the body"), Explanation("pos", 0.0, ()))
    assert snippet.text == "a title\nthe body"
