"""A process forked after a model was loaded, as by a server that loads before it forks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import tiny

FORK = """
import os, sys
import numpy as np
import torch
from ulmkit import TextClassifier

torch.set_num_threads(2)
classifier = TextClassifier.load(sys.argv[1])
texts = sys.argv[2:]
for use in ("loaded", "used"):
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.write(writer, classifier.predict_proba(texts).astype("f8").tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    child = np.frombuffer(os.read(reader, 1000)).reshape(2, -1)
    print(use, np.abs(child - classifier.predict_proba(texts)).max() < 1e-6)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_child_answers_as_its_parent(tmp_path: Path) -> None:
    tiny.classifier().save(tmp_path / "classifier")
    texts = [text for text, _ in tiny.reviews(2)]
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path / "classifier"), *texts]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["loaded True", "used True"], done.stderr
