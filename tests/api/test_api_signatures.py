"""Public signatures of the Python API: typed, and without catch-all parameters."""

import inspect
import typing
from collections.abc import Iterator

import pytest

from ulmkit.api import LanguageModel, TextClassifier, TextStream, export_int8, import_fastai

CATCH_ALL = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def _public_functions() -> Iterator[typing.Any]:
    for function in (export_int8, import_fastai):
        yield pytest.param(function, id=function.__name__)
    for cls in (TextStream, LanguageModel, TextClassifier):
        for name in vars(cls):
            if not name.startswith("_") and callable(getattr(cls, name)):
                yield pytest.param(getattr(cls, name), id=f"{cls.__name__}.{name}")


def _contains_any(annotation: object) -> bool:
    if annotation is typing.Any:
        return True
    if typing.get_origin(annotation) is not None:
        return any(_contains_any(part) for part in typing.get_args(annotation))
    return isinstance(annotation, list) and any(_contains_any(part) for part in annotation)


@pytest.mark.parametrize("function", list(_public_functions()))
def test_no_public_signature_has_any_or_catch_all_parameters(function: typing.Any) -> None:
    names = {"LanguageModel": LanguageModel}  # which linear classifiers do not import
    for name, annotation in typing.get_type_hints(function, localns=names).items():
        assert not _contains_any(annotation), f"{name}: {annotation}"
    assert not [p for p in inspect.signature(function).parameters.values() if p.kind in CATCH_ALL]


def test_the_check_finds_any_in_nested_annotations() -> None:
    assert _contains_any(dict[str, list[typing.Any]] | None)
    assert not _contains_any(dict[str, list[object]] | None)
