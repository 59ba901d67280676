import pytest

from ulmkit.text.tokens.restore import MAX_REPETITION, restore_text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("", ""),
        ("xxbos xxmaj the end . xxeos xxpad", "The end."),
        ("xxup nasa 's xxmaj mcdonald", "NASA's Mcdonald"),
        ("xxup do n't", "DON'T"),
        ("xxmaj do n't", "Don't"),
        ("xxmaj 'tis", "'Tis"),
        ("s xxrep 4 o good xxrep 3 !", "soooo good!!!"),
        ("in 2 xxrep 3 0", "in 2000"),
        ("a line xxrep 5 -", "a line -----"),
        ("xxwrep 3 xxup very nice", "VERY VERY VERY nice"),
        ("xxwrep 2 ha", "ha ha"),
        ('he said " no " , and " yes "', 'he said "no", and "yes"'),
        ("( well - known / used ) 5 % of $ 3", "(well-known/used) 5% of $3"),
        ("one . \n\n two \n three", "one.\n\ntwo\nthree"),
        ("xxbos xxfld 1 a b xxfld 2 c", "a b\nc"),
        ("a xxunk b", "a <unk> b"),
        ("我 们 去 了 。 ok", "我们去了。 ok"),
        # what a model may make up
        ("xxrep", ""),
        ("xxrep 3", "3"),
        ("xxrep a b", "a b"),
        ("xxrep 3 xxbos a", "3 a"),
        ("xxwrep 3 xxup", "3"),
        ("a xxmaj", "a"),
        ("xxmaj xxup a xxfld", "A"),
        ("xxrep 0 a", "0 a"),
    ],
)
def test_restore_text(tokens: str, text: str) -> None:
    assert restore_text([token for token in tokens.split(" ") if token]) == text


def test_generated_counts_are_bounded() -> None:
    assert restore_text(["xxrep", "9" * 30, "a"]) == "a" * MAX_REPETITION
    assert restore_text(["xxwrep", "123456", "no"]).split() == ["no"] * MAX_REPETITION
