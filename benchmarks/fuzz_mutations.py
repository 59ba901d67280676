"""Mutations of files for `fuzz.py`: of bytes, JSON, safetensors, arrays, tables and whole folders.

Every mutation is drawn from a `random.Random`, changes a folder, and returns one line that says what it changed.
"""

import bz2
import contextlib
import gzip
import json
import lzma
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ulmkit.files import fingerprint, sha256_file
from ulmkit.text import Vocabulary
from ulmkit.text.read.text_files import COMPRESSIONS, open_data, uncompressed_name

Draw = random.Random

_DEEP = "placeholder of a deeply nested list"
_DIGITS = "placeholder of a number of 5,000 digits"
_BYTES = (b"\0", b"\xff", b"\xc3", b"\r", b"\n", b'"', b"\t", b",", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"9" * 5000)
_TEXTS = ("", " ", "\ud800", "\0", "x" * 5000, "../../etc/passwd", "/dev/zero", "nan", "1e999", "e\u0301")
_NUMBERS = (0, 1, -1, 2, 3, 7, 1.5, 1e308, 10**6, 10**9, 2**31, 2**63, 10**30, float("nan"), float("inf"))
_CHARACTERS = ("\0", "\r", "\u00a0", "\u200b", "\ufeff", '"', '""', "\t", ",", "\n\n", "{" * 9, "\U0001f600", "\u0301")


def mutate_folder(draw: Draw, folder: Path) -> str:
    """Change one file of a folder, or which files it has, and make its checksums right again."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    if not files or draw.random() < 0.05:
        return _mutate_tree(draw, folder)
    path = draw.choice(files)
    if draw.random() < 0.5:
        path = draw.choice([path for path in files if path.suffix == ".json"] or files)
    change = _replace_file(draw, path) if draw.random() < 0.04 else mutate_file(draw, path)
    sign(draw, folder, path)
    return f"{path.relative_to(folder)}: {change}"


def mutate_file(draw: Draw, path: Path) -> str:
    """Change a file in a way that suits its kind, or else its bytes."""
    mutations: dict[str, Callable[[Draw, Path], str]] = {
        ".json": mutate_json,
        ".safetensors": _mutate_tensors,
        ".npy": _mutate_array,
        ".parquet": _mutate_parquet,
        ".csv": _mutate_text,
        ".tsv": _mutate_text,
        ".txt": _mutate_text,
        ".conll": _mutate_text,
        ".conllu": _mutate_text,
        **dict.fromkeys(COMPRESSIONS, _mutate_compressed),
        ".jsonl": _mutate_json_lines,
        ".xml": _mutate_text,
    }
    mutate = mutations.get(path.suffix, _mutate_bytes)
    if draw.random() < 0.15:
        mutate = _mutate_bytes
    content = path.read_bytes()
    try:
        return mutate(draw, path)
    except Exception:  # an earlier mutation left nothing that this one can parse
        path.write_bytes(content)
        return _mutate_bytes(draw, path)


def _mutate_bytes(draw: Draw, path: Path) -> str:
    data = bytearray(path.read_bytes())
    place = draw.randrange(len(data) + 1)
    kind = draw.choice(("flip", "cut", "insert", "delete", "repeat", "empty"))
    if kind == "flip" and data:
        place = min(place, len(data) - 1)
        data[place] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "delete":
        del data[place : place + draw.choice((1, 4, 100))]
    elif kind == "repeat":
        data[place:place] = data[place : place + 100] * draw.choice((1, 50))
    elif kind == "empty":
        data.clear()
    else:
        piece = draw.choice(_BYTES)
        data[place:place] = piece
        kind = f"insert {piece[:8]!r}"
    path.write_bytes(data)
    return f"bytes: {kind} at {place}"


def mutate_json(draw: Draw, path: Path) -> str:
    """Replace, remove or add one value of a JSON file."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree, change = _mutate_value(draw, tree)
    write_json_text(path, tree)
    return change


def _mutate_value(draw: Draw, tree: Any) -> tuple[Any, str]:
    places = list(_places(tree))
    if not places or draw.random() < 0.01:
        value = _json_value(draw, tree)
        return value, f"the whole = {_short(value)}"
    short = [place for place in places if len(place) == 1 or not isinstance(place[-1], int)] or places
    place = draw.choice(short if draw.random() < 0.8 else places)
    parent = tree
    for key in place[:-1]:
        parent = parent[key]
    key, name = place[-1], ".".join(map(str, place))
    kind = draw.random()
    if kind < 0.1:
        del parent[key]
        return tree, f"without {name}"
    if kind < 0.15 and isinstance(parent, dict):
        added = draw.choice(_TEXTS)
        parent[added] = _json_value(draw, parent[key])
        return tree, f"{name} beside {_short(added)} = {_short(parent[added])}"
    if kind < 0.2 and isinstance(parent, list):
        parent.extend([parent[key]] * draw.choice((1, 100)))
        return tree, f"{name} repeated"
    if kind < 0.3:
        other = tree
        for step in draw.choice(places):
            other = other[step]
        parent[key] = json.loads(json.dumps(other))
    else:
        parent[key] = _json_value(draw, parent[key])
    return tree, f"{name} = {_short(parent[key])}"


def _places(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value below the top, as keys and indices."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield (*place, key)
        yield from _places(child, (*place, key))


def _json_value(draw: Draw, former: Any) -> Any:
    """A value that does not belong here, often a number in place of a number."""
    if isinstance(former, int | float) and draw.random() < 0.6:
        return draw.choice((*_NUMBERS, former * 1000, -former, str(former)))
    values = (None, True, [], {}, [[]], [None], {"a": {}}, draw.choice(_TEXTS), draw.choice(_NUMBERS), _DEEP, _DIGITS)
    return draw.choice(values)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:50]}... ({len(text):,} characters)"


def write_json_text(path: Path, tree: Any) -> None:
    """Write JSON that may hold NaN, lone surrogates, deep nesting and endless numbers."""
    text = json.dumps(tree)
    text = text.replace(json.dumps(_DEEP), "[" * 100_000 + "]" * 100_000).replace(json.dumps(_DIGITS), "9" * 5000)
    path.write_text(text, encoding="utf-8")


def _mutate_json_lines(draw: Draw, path: Path) -> str:
    lines = path.read_text(encoding="utf-8").split("\n")
    number = draw.randrange(len(lines) - 1)
    tree, change = _mutate_value(draw, json.loads(lines[number]))
    write_json_text(path, tree)
    lines[number] = path.read_text(encoding="utf-8")
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"line {number + 1}: {change}"


def _mutate_text(draw: Draw, path: Path) -> str:
    """Insert characters that separate, quote, combine or are invisible; or repeat, drop or swap lines."""
    text = path.read_text(encoding="utf-8")
    place = draw.randrange(len(text) + 1)
    kind = draw.choice(("insert", "insert", "long", "lines", "drop", "returns"))
    lines = text.split("\n")
    number = draw.randrange(len(lines))
    if kind == "insert":
        piece = draw.choice(_CHARACTERS) * draw.choice((1, 1, 3))
        text, kind = text[:place] + piece + text[place:], f"insert {piece!r}"
    elif kind == "long":
        text = text[:place] + draw.choice("a9(<") * 200_000 + text[place:]
    elif kind == "returns":
        text = text.replace("\n", "\r")
    else:
        lines[number : number + 1] = lines[number : number + 1] * (100 if kind == "lines" else 0)
        text = "\n".join(lines)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return f"text: {kind} at {place} (line {number + 1})"


def _mutate_compressed(draw: Draw, path: Path) -> str:
    """Change the text that a compressed file holds."""
    with open_data(path) as file:
        content = file.read()
    plain = path.with_name(uncompressed_name(path))
    plain.write_bytes(content)
    change = _mutate_text(draw, plain)
    write_data(path, plain.read_bytes())
    plain.unlink()
    return change


def write_data(path: Path, content: bytes) -> None:
    """Write a file, compressed as its name says."""
    if path.suffix == ".zst":
        import pyarrow

        with pyarrow.output_stream(str(path), compression="zstd") as file:
            file.write(content)
        return
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    elif path.suffix in (".bz2", ".xz"):
        content = (bz2 if path.suffix == ".bz2" else lzma).compress(content)
    path.write_bytes(content)


def _mutate_tensors(draw: Draw, path: Path) -> str:
    """Change the header or the values of a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    names = [name for name in header if name != "__metadata__"]
    name = draw.choice(names)
    entry = header[name]
    kind = draw.choice(("value", "value", "value", "header", "rename", "shape", "dtype", "alias", "length"))
    if kind == "value":
        begin, end = entry["data_offsets"]
        width = 4 if entry["dtype"] == "F32" else 1
        value = draw.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\0\0\0\x80"))[-width:]
        place = begin + width * draw.randrange(max(1, (end - begin) // width))
        body[place : place + width] = value
        change = f"{name} has {value.hex()} at {place - begin}"
    elif kind == "header":
        header, change = _mutate_value(draw, header)
    elif kind == "rename":
        header["renamed"] = header.pop(name)
        change = f"{name} renamed"
    elif kind == "shape":
        entry["shape"] = draw.choice(([], [0], [1, *entry["shape"]], entry["shape"][::-1], [10**12], [2**63]))
        change = f"{name} has shape {entry['shape']}"
    elif kind == "dtype":
        entry["dtype"] = draw.choice(("F64", "F16", "I32", "U8", "I8", "BOOL", "BF16", "F8_E4M3", "C64", "X"))
        change = f"{name} has dtype {entry['dtype']}"
    elif kind == "alias":
        header["__metadata__"] = {f"alias:{draw.choice((name, 'x'))}": draw.choice(("y", name, ""))}
        change = f"metadata {header['__metadata__']}"
    else:
        length = draw.choice((0, 1, 2**62, 2**32, length + 8))
        change = f"header of {length:,} bytes"
    text = json.dumps(header).replace(json.dumps(_DEEP), "[" * 9999 + "]" * 9999)
    encoded = text.replace(json.dumps(_DIGITS), "9" * 5000).encode()
    size = length if kind == "length" else len(encoded)
    path.write_bytes(struct.pack("<Q", size) + encoded + body)
    return change


def _mutate_array(draw: Draw, path: Path) -> str:
    """Change values, type or shape of a NumPy file."""
    array = np.load(path)
    kind = draw.choice(("value", "value", "type", "shape", "object", "header"))
    if kind == "value" and array.size:
        value = draw.choice((0, -1, 1, 127, -128, 10**9, -(2**62)))
        array.reshape(-1)[draw.randrange(array.size)] = np.array(value).astype(array.dtype)
        kind = f"value {value}"
    elif kind == "type":
        with np.errstate(invalid="ignore"):  # what does not fit the other type becomes any value
            array = array.astype(draw.choice(("f4", "f8", "i1", "u8", "S3", "U3", "c8", "M8[s]", "?")))
        kind = f"type {array.dtype}"
    elif kind == "shape":
        array = draw.choice((array[:-1], array[:0], array[None], np.concatenate((array, array)), array[:, None]))
        kind = f"shape {array.shape}"
    elif kind == "object":
        array = array.astype(object)
    np.save(path, array, allow_pickle=True)
    if kind == "header":
        data = path.read_bytes()
        former = draw.choice((b"'descr'", b"False", b"'<", b"("))
        piece = draw.choice((b"True", b"'|O", b"((", b"9" * 400, b"()"))
        path.write_bytes(data.replace(former, piece, 1))
        kind = f"header {former!r} -> {piece[:8]!r}"
    return f"array: {kind}"


def _mutate_parquet(draw: Draw, path: Path) -> str:
    """Write a table whose columns or metadata are not those of a data set, or damage the bytes."""
    import datetime

    import pyarrow
    import pyarrow.parquet

    if draw.random() < 0.4:
        return _mutate_bytes(draw, path)
    table = pyarrow.parquet.read_table(path)
    rows = table.num_rows
    values: dict[str, Any] = {
        "bytes": pyarrow.array([b"\xff\xfe"] * rows),
        "false text": pyarrow.array([b"\xff\xfe"] * rows).view(pyarrow.string()),
        "times": pyarrow.array([2**62] * rows, pyarrow.timestamp("s")),
        "dates": pyarrow.array([-(2**31)] * rows, pyarrow.date32()),
        "durations": pyarrow.array([2**62] * rows, pyarrow.duration("s")),
        "nested": pyarrow.array([[{"a": [1]}]] * rows),
        "maps": pyarrow.array([[("a", 1)]] * rows, pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        "decimals": pyarrow.array([None] * rows, pyarrow.decimal128(38, 2)),
        "large": pyarrow.array([2**64 - 1] * rows, pyarrow.uint64()),
        "nan": pyarrow.array([float("nan")] * rows),
        "null": pyarrow.array([None] * rows),
        "dictionary": pyarrow.array(["a"] * rows).dictionary_encode(),
        "zones": pyarrow.array([datetime.datetime(2020, 1, 1)] * rows, pyarrow.timestamp("us", "Mars/Olympus")),
        "times of day": pyarrow.array([datetime.time(1)] * rows),
    }
    kind = draw.choice((*values, "twice", "metadata", "no rows", "names"))
    name = draw.choice(table.column_names)
    if kind in values:
        table = table.set_column(table.column_names.index(name), name, values[kind])
    elif kind == "twice":
        table = table.append_column(name, table[name])
    elif kind == "no rows":
        table = table.slice(0, 0)
    elif kind == "names":
        name = draw.choice(("", "\0", "é", "x" * 5000))
        table = table.rename_columns([name, *table.column_names[1:]])
    else:
        tree = {"info": {"features": {name: {"names": ["a", "b"], "_type": "ClassLabel"}}}}
        tree, kind = _mutate_value(draw, tree)
        metadata = path.with_suffix(".metadata")
        write_json_text(metadata, tree)
        text = metadata.read_bytes()
        metadata.unlink()
        piece = draw.choice((text, text, text[:-2], b"\xff\xfe", b"[]", b"null", b"1"))
        table = table.replace_schema_metadata({b"huggingface": piece})
        kind = f"metadata {kind} {piece[:20]!r}"
    pyarrow.parquet.write_table(table, path)
    return f"parquet: {kind} ({_short(name)})"


def _replace_file(draw: Draw, path: Path) -> str:
    """Put something in place of a file that is no regular file."""
    path.unlink()
    kind = draw.choice(("pipe", "folder", "device", "loop", "nothing"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to(draw.choice(("/dev/zero", "/dev/null", "/dev/stdin")))
    elif kind == "loop":
        path.symlink_to(path.name)
    return f"is a {kind}"


def _mutate_tree(draw: Draw, folder: Path) -> str:
    """Add files that are on no list, or rename a folder."""
    kind = draw.choice(("stray pipe", "stray names", "stray json", "no folder"))
    if kind == "stray pipe":
        path = folder / draw.choice(("vocabulary.json.old", "training_log.jsonl", "spm.model.pipe"))
        if not os.path.lexists(path):  # from an earlier mutation
            os.mkfifo(path)
    elif kind == "stray names":
        os.close(os.open(os.fsencode(folder) + b"/\xff\xfe" + b"x" * 200, os.O_CREAT))
    elif kind == "stray json":
        path = folder / "extra.json"
        if not os.path.lexists(path):
            path.write_text("[" * 100_000)
    else:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
        if folders:
            shutil.rmtree(draw.choice(folders))
    return kind


def sign(draw: Draw, folder: Path, changed: Path) -> None:
    """Make the checksums of a model's, a corpus's or a checkpoint's folder right again after a change."""
    files = [changed]  # a record that was signed is itself on the list of the folder around it
    for parent in changed.parents:
        for name in ("config.json", "corpus.json", "state.json"):
            record = parent / name
            if record.is_file():
                for file in files:
                    _sign_record(draw, parent, record, file)
                files.append(record)
        if parent == folder:
            return


def _sign_record(draw: Draw, folder: Path, record: Path, changed: Path) -> None:
    try:
        tree = json.loads(record.read_text(encoding="utf-8"))
        if changed != record and changed.is_file() and not changed.is_symlink():
            name = changed.relative_to(folder).as_posix()
            if name in tree.get("files", {}):
                tree["files"][name] = {"bytes": changed.stat().st_size, "sha256": sha256_file(changed)}
            if name in tree.get("sha256", {}):
                tree["sha256"][name] = sha256_file(changed)
            if name == "vocabulary.json" and draw.random() < 0.8:
                with contextlib.suppress(ValueError, KeyError, TypeError):  # no vocabulary any more
                    vocabulary = Vocabulary(json.loads(changed.read_text(encoding="utf-8"))["tokens"])
                    tree["vocabulary"]["fingerprint"] = vocabulary.fingerprint
        if "fingerprint" in tree and record.name != "corpus.json":
            del tree["fingerprint"]
            tree["fingerprint"] = fingerprint(tree)
        write_json_text(record, tree)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # not a record that has checksums any more
