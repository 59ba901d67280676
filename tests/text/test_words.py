"""Words of documents, read from their token ids."""

import numpy as np
import pytest

from ulmkit.text import (
    ByteTokenizer,
    SpacyTokenizer,
    Text,
    Tokenizer,
    Vocabulary,
    WhitespaceTokenizer,
    train_sentencepiece,
)
from ulmkit.text.words import (
    UNITS,
    Unit,
    WordReader,
    WordSequence,
    WordStream,
    character_ngrams,
    has_spaces,
    join_words,
    should_join_tokens,
)

TEXT = "The café-bar wasn't OPEN; 5 naïve guests left, left, left!"
WORDS = ["the", "café", "-", "bar", "wasn't", "open", ";", "5", "naïve", "guests", *["left", ","] * 2, "left", "!"]


def _tokenizer(name: str) -> tuple[Tokenizer, Vocabulary]:
    if name == "sentencepiece":
        trained = train_sentencepiece([TEXT, "the guests were naive"] * 20, pieces=300, byte_fallback=True)
        return trained, trained.closed_vocabulary()
    tokenizer: Tokenizer = ByteTokenizer() if name == "bytes" else SpacyTokenizer("en")
    return tokenizer, tokenizer.closed_vocabulary() or Vocabulary(dict.fromkeys(["xxunk", *tokenizer.tokenize(TEXT)]))


def _read(tokenizer: Tokenizer, vocabulary: Vocabulary, text: str) -> list[str]:
    reader = WordReader(tokenizer, vocabulary, is_open=True)
    words = reader.read(vocabulary.encode(tokenizer.tokenize(text)))
    return [reader.words[number] for number in words]


def test_subwords_are_joined_to_the_words_of_the_text() -> None:
    assert _read(*_tokenizer("sentencepiece"), TEXT) == WORDS


def test_bytes_are_joined_to_the_words_of_the_text_in_its_case() -> None:
    assert [word.lower() for word in _read(*_tokenizer("bytes"), TEXT)] == WORDS


def test_a_word_tokenizer_keeps_its_words() -> None:
    words = _read(*_tokenizer("spacy"), "The guests left!")
    assert words == ["the", "guests", "left", "!"]


def test_characters_spelt_in_bytes_are_read_as_characters() -> None:
    tokenizer, vocabulary = _tokenizer("sentencepiece")
    assert any(token.startswith("<0x") for token in tokenizer.tokenize("ein Gruß"))
    assert _read(tokenizer, vocabulary, "ein Gruß") == ["ein", "gruß"]


def test_special_tokens_stand_for_no_word() -> None:
    tokenizer, vocabulary = _tokenizer("sentencepiece")
    assert _read(tokenizer, vocabulary, "") == []
    assert "xxmaj" in tokenizer.tokenize("The iPhone")
    assert _read(tokenizer, vocabulary, "The iPhone") == ["the", "iphone"]


def test_ends_of_lines_and_unknown_words_of_corpora_stand_for_no_word() -> None:
    tokenizer = WhitespaceTokenizer()
    vocabulary = Vocabulary(["the", "<unk>", "left", "<eos>", "<s>"])
    assert _read(tokenizer, vocabulary, "the <unk>\nleft <s>\n") == ["the", "left", "<", "s", ">"]


@pytest.mark.parametrize("name", ["sentencepiece", "bytes", "spacy"])
def test_a_closed_reader_gives_unknown_words_minus_one(name: str) -> None:
    tokenizer, vocabulary = _tokenizer(name)
    reader = WordReader(tokenizer, vocabulary, words=["left", "guests"])
    ids = reader.read(vocabulary.encode(tokenizer.tokenize("guests left the")))
    assert ids.tolist() == [1, 0, -1]
    assert reader.words == ("left", "guests")


def test_documents_are_read_one_by_one() -> None:
    tokenizer, vocabulary = _tokenizer("sentencepiece")
    documents = [vocabulary.encode(tokenizer.tokenize(text)) for text in (TEXT, "", "left bar")]
    reader = WordReader(tokenizer, vocabulary, is_open=True)
    sequence = reader.read_many(documents)
    assert len(sequence) == 3
    assert np.diff(sequence.offsets).tolist() == [len(WORDS), 0, 2]
    assert sequence.documents().tolist() == [0] * len(WORDS) + [2, 2]
    alone = [reader.read(document) for document in documents]
    np.testing.assert_array_equal(sequence.ids, np.concatenate(alone))
    chosen = sequence.select(np.array([2, 1]))
    np.testing.assert_array_equal(chosen.ids, alone[2])
    assert chosen.offsets.tolist() == [0, 2, 2]


@pytest.mark.parametrize("unit", ["words", "characters"])
@pytest.mark.parametrize("joins_tokens", [True, False])
@pytest.mark.parametrize("name", ["sentencepiece", "bytes", "spacy"])
def test_words_are_alike_wherever_a_document_is_cut(name: str, joins_tokens: bool, unit: Unit) -> None:
    tokenizer, vocabulary = _tokenizer(name)
    reader = WordReader(tokenizer, vocabulary, joins_tokens=joins_tokens, unit=unit, is_open=True)
    document = vocabulary.encode(tokenizer.tokenize(TEXT))
    whole = reader.read(document).tolist()
    for cut in range(len(document) + 1):
        stream = WordStream(reader)
        read = stream.feed(document[:cut]).tolist()
        assert read == whole[: len(read)]
        assert [*read, *stream.open_words()] == reader.read(document[:cut]).tolist()
        read += stream.feed(document[cut:]).tolist()
        assert [*read, *stream.open_words()] == whole


def test_words_are_cut_into_runs_of_two_to_five_characters() -> None:
    assert character_ngrams("cats") == [
        *(" c", "ca", "at", "ts", "s "),
        *(" ca", "cat", "ats", "ts "),
        *(" cat", "cats", "ats "),
        *(" cats", "cats "),
    ]
    assert character_ngrams("!") == [" !", "! ", " ! "]
    assert len(character_ngrams("x" * 1_000_000)) < 300


@pytest.mark.parametrize("name", ["sentencepiece", "bytes", "spacy"])
def test_the_characters_of_a_document_are_those_of_its_words(name: str) -> None:
    tokenizer, vocabulary = _tokenizer(name)
    document = vocabulary.encode(tokenizer.tokenize(TEXT))
    words, characters = (WordReader(tokenizer, vocabulary, unit=unit, is_open=True) for unit in UNITS)
    expected = [ngram for number in words.read(document) for ngram in character_ngrams(words.words[number])]
    assert [characters.words[number] for number in characters.read(document)] == expected
    known = WordReader(tokenizer, vocabulary, unit="characters", words=["gu", " gues"])
    assert sorted(known.read(document)[known.read(document) >= 0]) == [0, 1]


def test_only_the_last_stretch_is_open() -> None:
    tokenizer, vocabulary = _tokenizer("sentencepiece")
    reader = WordReader(tokenizer, vocabulary, is_open=True)
    stream = WordStream(reader)
    read = stream.feed(vocabulary.encode(tokenizer.tokenize("guests left the café-bar")))
    assert [reader.words[number] for number in read] == ["guests", "left", "the"]
    assert [reader.words[number] for number in stream.open_words()] == ["café", "-", "bar"]


def test_words_are_renumbered() -> None:
    sequence = join_words([np.array([0, 2]), np.array([1, -1])])
    again = sequence.renumber(np.array([5, -1, 3]))
    assert again.ids.tolist() == [5, 3, -1, -1]
    assert isinstance(again, WordSequence)


def test_languages_without_spaces_are_read_token_by_token() -> None:
    texts = ["東京は日本の首都です東京は大きい都市です日本の首都は東京です" * 3] * 20
    tokenizer = train_sentencepiece(texts, pieces=80)
    vocabulary = tokenizer.closed_vocabulary()
    documents = [vocabulary.encode(tokenizer.tokenize(text)) for text in texts]
    assert not should_join_tokens(tokenizer, vocabulary, documents)
    reader = WordReader(tokenizer, vocabulary, joins_tokens=False, is_open=True)
    assert len(reader.read(documents[0])) > 5
    assert "".join(reader.words[number] for number in reader.read(documents[0])) == texts[0]


SPACELESS = "東京は日本の首都です。とても大きい都市ですから、毎年たくさんの人が訪れます"


@pytest.mark.parametrize("name", ["sentencepiece", "bytes", "spacy"])
def test_characters_are_the_words_of_such_languages_for_tokenizers_of_others(name: str) -> None:
    """Their tokens are bytes, or clauses that hardly occur twice."""
    tokenizer, vocabulary = _tokenizer(name)
    tokens = tokenizer.tokenize(SPACELESS)
    vocabulary = tokenizer.closed_vocabulary() or Vocabulary(dict.fromkeys(["xxunk", *tokens]))
    document = vocabulary.encode(tokens)
    assert should_join_tokens(tokenizer, vocabulary, [document])
    reader = WordReader(tokenizer, vocabulary, is_open=True)
    read = [reader.words[number] for number in reader.read(document)]
    normalised = tokenizer.detokenize(tokens).replace(" ", "")
    assert read == list(normalised)
    assert len(read) == len(SPACELESS)
    for cut in range(len(document) + 1):
        stream = WordStream(reader)
        parts = [*stream.feed(document[:cut]), *stream.feed(document[cut:]), *stream.open_words()]
        assert [reader.words[number] for number in parts] == read
    stream = WordStream(reader)
    stream.feed(document)
    assert len(stream.open_words()) == 1 or name == "spacy"  # no more than the last character is kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [(TEXT, True), (("서울은 한국의", "수도이다"), True), (SPACELESS, False), ("กรุงเทพมหานคร", False)],
)
def test_texts_with_spaces_are_recognized(text: Text, expected: bool) -> None:
    assert has_spaces([text]) is expected


def test_languages_with_spaces_are_recognized() -> None:
    tokenizer, vocabulary = _tokenizer("sentencepiece")
    assert should_join_tokens(tokenizer, vocabulary, [vocabulary.encode(tokenizer.tokenize(TEXT))])


def test_every_token_of_a_word_level_corpus_is_a_word() -> None:
    tokenizer = WhitespaceTokenizer()
    vocabulary = Vocabulary(["<unk>", "<eos>", "a", "b"])
    assert _read(tokenizer, vocabulary, "a b a")[:3] == ["a", "b", "a"]
