"""Data sets on the hub, which a stand-in answers for."""

import sys

import pytest
from support.data_files import read

from ulmkit.errors import DataError
from ulmkit.text.read import hub_data
from ulmkit.text.read.document import Document


class Hub:
    """Stands for the `datasets` package."""

    def __init__(self, answer):
        self.answer = answer

    def load_dataset(self, name, configuration):
        self.asked = (name, configuration)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_hub_data_set(monkeypatch):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    hub = Hub({"validation": table})
    monkeypatch.setattr(hub_data, "is_reachable", lambda: True)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert read("owner/name:small") == [Document("a", "yes", split="valid"), Document("b", "no", split="valid")]
    assert hub.asked == ("owner/name", "small")
    read("owner/name:20231101.en")  # a full stop, as Wikipedia's configurations have
    assert hub.asked == ("owner/name", "20231101.en")


def test_hub_that_refuses(monkeypatch):
    monkeypatch.setattr(hub_data, "is_reachable", lambda: True)
    monkeypatch.setitem(sys.modules, "datasets", Hub(ConnectionError("no route\nmore")))
    with pytest.raises(DataError, match=r"owner/name: no such file or folder, and the hub gives .*\(no route\)"):
        read("owner/name")


def test_hub_out_of_reach(monkeypatch):
    def unknown_host(*_):
        raise OSError("unknown host")

    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("socket.getaddrinfo", unknown_host)
    with pytest.raises(DataError, match=r"imbd: no such file or folder, and the hub cannot be reached"):
        read("imbd")
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [])
    assert hub_data.is_reachable()
    monkeypatch.setattr("socket.getaddrinfo", unknown_host)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub_data.is_reachable()


@pytest.mark.parametrize(
    ("name", "expected"), [("imdb", True), ("a/b", True), ("./a/b", False), ("a/b/c", False), ("a b", False)]
)
def test_hub_names(name, expected):
    assert hub_data.is_hub_name(name) is expected
