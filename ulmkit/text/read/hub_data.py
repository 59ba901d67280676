"""Data sets on the Hugging Face hub, read through `datasets`."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ulmkit.errors import DataError
from ulmkit.text.characters import normalise
from ulmkit.text.read.columns import ReadOptions, RowReader
from ulmkit.text.read.document import Document, normalise_split
from ulmkit.text.read.layout import Layout
from ulmkit.text.read.readers import table_documents, table_reader

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?")
_BATCH_ROWS = 1000


@dataclass(frozen=True)
class HubSplit:
    """One split of a data set on the hub."""

    name: str
    split: str
    table: Any

    def read(self, options: ReadOptions) -> Iterator[Document]:
        """Read its documents, in order."""
        reader = self._reader(options)
        columns = [name for name in self.table.column_names if normalise(name) in reader.needed]
        batches = self.table.select_columns(columns).with_format("arrow").iter(batch_size=_BATCH_ROWS)
        return table_documents(batches, reader, self.split)

    def layout(self, options: ReadOptions) -> Layout:
        """Find out how its content is understood."""
        return self._reader(options).layout("hub data set")

    def _reader(self, options: ReadOptions) -> RowReader:
        where = f"{self.name}, {self.split}"
        return table_reader(where, self.table.features.arrow_schema, self.table.features.to_dict(), options)


def is_hub_name(name: str) -> bool:
    """Tell whether a name could be a data set on the hub: name, owner/name or owner/name:configuration."""
    return _HUB_NAME.fullmatch(name) is not None


def is_reachable() -> bool:
    """Check that the hub's name is known to this network, or that a proxy or a local copy is to be used.

    Without this check a mistyped path on a machine without a network takes half a minute of retries to say so.
    """
    import socket
    import urllib.parse
    import urllib.request  # loads much of http and email, so not before it is needed

    if os.environ.get("HF_HUB_OFFLINE") or urllib.request.getproxies():
        return True
    host = urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def open_hub(name: str) -> list[HubSplit]:
    """Open the splits of a data set on the hub, fetched to the local cache if they are not there.

    Raises:
        DataError: If there is no such data set, or the hub cannot be reached.
    """
    if not is_reachable():
        raise DataError(
            f"{name}: no such file or folder, and the hub cannot be reached to look for a data set of that name; check "
            "the path or the network, or set HF_HUB_OFFLINE=1 to use a copy fetched before"
        )
    import datasets

    address, _, configuration = name.partition(":")
    try:
        dataset = datasets.load_dataset(address, configuration or None)
    except Exception as error:  # whatever the network, the hub or a data set's own files come to
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{name}: no such file or folder, and the hub gives no data set of that name ({reason}); "
            "check the path, or the name and the network"
        ) from error
    return [HubSplit(name, normalise_split(str(split)), table) for split, table in dataset.items()]
