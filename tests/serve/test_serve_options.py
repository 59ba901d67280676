"""Options of the server: ranges, and addresses that need a key."""

import pytest

from ulmkit.errors import ConfigError
from ulmkit.serve import ServeOptions

KEY = "sixteen-or-more-characters"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65536}, "port: expected a whole number of at most 65,535, got 65536"),
        ({"batch_milliseconds": -1}, "batch_milliseconds: expected a number of at least 0, got -1"),
        ({"max_texts": 0}, "max_texts: expected a whole number of at least 1, got 0"),
        ({"workers": 0}, "workers: expected a whole number of at least 1, got 0"),
        ({"timeout_seconds": 0}, "timeout_seconds: expected a number above 0, got 0"),
        ({"api_key": "short"}, "API key: expected at least 16 ASCII characters, got 5 characters"),
        ({"tls_key": "key.pem"}, "tls_certificate: expected it with tls_key"),
    ],
)
def test_values_outside_their_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServeOptions(**options)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_a_public_address_needs_a_key(host: str) -> None:
    with pytest.raises(ConfigError, match=f"host: expected an API key for '{host}'.*allow_public=True"):
        ServeOptions(host=host)
    assert not ServeOptions(host=host, api_key=KEY).is_local
    assert not ServeOptions(host=host, allow_public=True).is_local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    assert ServeOptions(host=host).is_local


def test_the_key_is_not_printed() -> None:
    assert KEY not in repr(ServeOptions(api_key=KEY))
