"""SentencePiece models that fastai trained: the tokens that fastai cuts with them."""

import io
import random
from pathlib import Path

import pytest
import sentencepiece
from support import fastai_files

from ulmkit import LanguageModel, import_fastai
from ulmkit.errors import ConfigError, FolderError
from ulmkit.text.tokens.sentencepiece_tokenizer import SPACE, SentencePieceTokenizer
from ulmkit.text.tokens.sentencepiece_training import train_sentencepiece

SPECIALS = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj"]

WORDS = "the film was fine and poor stories quickly filmed sci-fi xxbos xxmaj . , / 3 n"


def train(specials: list[str], pieces: int = 60) -> bytes:
    """A model with the options of fastai, which trains on text after its rules."""
    draw = random.Random(0)
    words = WORDS.split()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(draw.choices(words, k=12)) for _ in range(200)]),
        model_writer=model,
        vocab_size=pieces,
        unk_id=len(specials),
        pad_id=-1,
        bos_id=-1,
        eos_id=-1,
        user_defined_symbols=[SPACE + special for special in specials],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


MODEL = train(SPECIALS)


def fastai_tokens(text: str) -> list[str]:
    """Pieces of a text that the rules of fastai have been through, with the special tokens as ulmkit names them."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=MODEL)
    pieces = processor.encode(text, out_type=str)
    return [piece.removeprefix(SPACE) if piece.removeprefix(SPACE) in SPECIALS else piece for piece in pieces]


@pytest.mark.parametrize(
    ("text", "ruled"),
    [
        ("", "xxbos"),
        ("The film was fine.", "xxbos xxmaj the film was fine."),
        ("POOR films, quickly\nfilmed", "xxbos xxup poor films, quickly\nfilmed"),
        ("the\n\nfilm", "xxbos the\n\nfilm"),
        ("fine/poor", "xxbos fine / poor"),
        ("finnnnne", "xxbos fi xxrep 5 n e"),
        ("a sCi-Fi film", "xxbos a sci-fi film"),
        ("film film film .", "xxbos xxwrep 3 film ."),
    ],
)
def test_tokens_are_those_of_fastai(text: str, ruled: str) -> None:
    tokenizer = SentencePieceTokenizer(MODEL)
    assert tokenizer.tokenize(text) == fastai_tokens(ruled)


def test_the_vocabulary_is_open_and_the_tokenizer_is_saved(tmp_path: Path) -> None:
    tokenizer = SentencePieceTokenizer(MODEL)
    assert tokenizer.closed_vocabulary() is None
    tokenizer.save(tmp_path)
    loaded = SentencePieceTokenizer.from_settings(tmp_path, **tokenizer.settings)
    text = "The film\nwas fine."
    assert loaded.tokenize(text) == tokenizer.tokenize(text)
    assert loaded.detokenize(loaded.tokenize(text)) == "The film was fine."
    stream = tokenizer.start_stream()
    pieces = [stream.feed("The film\nw", False), stream.feed("as fine.", True)]
    assert [token for piece in pieces for token in piece] == tokenizer.tokenize(text)


def test_models_of_fastai_1_have_other_special_tokens() -> None:
    specials = [special for special in SPECIALS if special != "xxeos"]
    assert SentencePieceTokenizer(train(specials)).closed_vocabulary() is None


def test_an_imported_model_keeps_the_pieces(tmp_path: Path) -> None:
    tokens = [*SPECIALS, "▁xxbos", "▁xxmaj", "▁the", "▁film", "▁was", "▁fine", ".", "s", "▁"]
    files = fastai_files.write(tmp_path, fastai_files.lstm_weights(), tokens)
    (tmp_path / "spm.model").write_bytes(MODEL)
    model = import_fastai(*files, sentencepiece=tmp_path / "spm.model")
    model.save(tmp_path / "lm")
    loaded = LanguageModel.load(tmp_path / "lm")
    ids = loaded.parts.vocabulary.encode(loaded.parts.tokenizer.tokenize("The film was fine."))
    assert ids.tolist() == list(range(9, 16))
    with pytest.raises(ConfigError, match="language: has no effect with `sentencepiece`, got 'de'"):
        import_fastai(*files, sentencepiece=tmp_path / "spm.model", language="de")
    ours = train_sentencepiece([WORDS] * 20, pieces=60)
    ours.save(tmp_path)
    for content, message in {
        b"no model": "sentencepiece model: expected",
        train(["xxother"]): "sentencepiece model: expected",
        (tmp_path / "spm.model").read_bytes(): "expected a model that fastai trained, got one of ulmkit",
    }.items():
        (tmp_path / "spm.model").write_bytes(content)
        with pytest.raises(FolderError, match=rf"spm\.model: {message}"):
            import_fastai(*files, sentencepiece=tmp_path / "spm.model")
