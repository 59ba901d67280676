"""README of an exported classifier."""

from ulmkit.hub import ClassifierParts
from ulmkit.model.heads import MultiLabelHead, NumberHead
from ulmkit.portable.state import StateLayout

_RUN = {
    "model.onnx": """\
import numpy as np
import onnxruntime
from text_reader import TextReader

reader = TextReader()
session = onnxruntime.InferenceSession("model.onnx")
ids, lengths = reader.batch(["a text", "another one"])
feeds = {"ids": ids, "lengths": lengths, "state": reader.start(len(ids))}
prediction, state = session.run(["prediction", "new_state"], feeds)
""",
    "model.pt2": """\
import torch
from text_reader import TextReader

reader = TextReader()
program = torch.export.load("model.pt2").module()
ids, lengths = map(torch.from_numpy, reader.batch(["a text", "another one"]))
prediction, *_, state = program(ids, lengths, torch.from_numpy(reader.start(len(ids))))
""",
}
_RUNTIME = {"model.onnx": "onnxruntime", "model.pt2": "torch"}
_TOKENIZER_PACKAGE = {"sentencepiece": ", sentencepiece", "spacy": ", spaCy"}


def export_readme(name: str, parts: ClassifierParts, file: str) -> str:
    """Write the README: how to run the model, what goes in and comes out.

    Args:
        name: Name of the folder.
        parts: The classifier.
        file: Name of the model's file.
    """
    needed = f"NumPy, {_RUNTIME[file]}{_TOKENIZER_PACKAGE.get(parts.tokenizer.name, '')}"
    head = parts.model.head
    prediction = "(B, C) probabilities in the order of `reader.labels`"
    if isinstance(head, MultiLabelHead):
        prediction = "(B, C), a probability for each of `reader.labels`"
    if isinstance(head, NumberHead):
        prediction = "(B,) numbers"
    logits = "" if isinstance(head, NumberHead) else "| output | `logits` | (B, C), before calibration |\n"
    return f"""\
# {name}

A classifier of text ({parts.task.summary}), exported by ulmkit. It runs without ulmkit and needs {needed}. In this
folder:

```python
{_RUN[file]}```

| | name | |
| --- | --- | --- |
| input | `ids` | (B, T) int64 token ids, any id after the end of a text |
| input | `lengths` | (B,) int64, how many of them count |
| input | `state` | (B, {StateLayout.of(parts.model.config).total}) float32; zeros before the first token of a text |
| output | `prediction` | {prediction} |
{logits}| output | `new_state` | the `state` for the next piece of each text |

The ids of a text may be sent in pieces of any length, with the state that came back for the piece before: after the
last one, the prediction is that for the whole text. Text itself should not be cut before it is turned into ids, since
some tokens depend on what follows.
"""
