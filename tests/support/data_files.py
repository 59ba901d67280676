"""Data files made on the spot, and what is read from them."""

import json

from ulmkit.tasks import find_label_kind
from ulmkit.text.read.documents import read_documents


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_parquet(path, columns, features=None):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(columns)
    if features:
        described = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": described})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path)
    return path


def read(data, task="single", **options):
    return list(read_documents(data, label_kind=find_label_kind(task), **options))
