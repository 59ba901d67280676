"""The page for people in a real browser: by keyboard, in light and dark, offline, and accessible to all.

axe-core is not part of this repository: `npm pack axe-core`, and name its axe.min.js in ULMKIT_AXE.
"""

import codecs
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import hesitation, tiny

from ulmkit import TextClassifier
from ulmkit.api import Confidence
from ulmkit.serve import ServeOptions, create_app
from ulmkit.serve.retraining import Retraining
from ulmkit.tasks import find_task

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = os.environ.get("ULMKIT_AXE")
KEY = "sixteen-or-more-characters"
TEXTS = [text for text, _ in tiny.reviews(30)]
SECONDS = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium; install it, for example with: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; it is in the extra test")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * SECONDS)
        yield browser
        browser.close()


@pytest.fixture
def start() -> Iterator[Callable[..., str]]:
    """Starts a server with options; returns its URL."""
    import uvicorn

    running: list[tuple[Any, threading.Thread]] = []

    def run(classifier: TextClassifier | None = None, **options: object) -> str:
        app = create_app(classifier or tiny.classifier(), "tiny", ServeOptions(**options))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        deadline = time.monotonic() + SECONDS
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"

    yield run
    for server, thread in running:
        server.should_exit = True
        thread.join(SECONDS)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page; whatever it asks of another address, and whatever goes wrong in it, fails the test."""
    contexts = []
    problems: list[str] = []

    def visit(url: str, **options: object) -> Any:
        context = browser.new_context(viewport={"width": 900, "height": 800}, **options)
        context.set_default_timeout(1000 * SECONDS)
        contexts.append(context)
        page = context.new_page()

        def watch(request: Any) -> None:
            if not request.url.startswith((url, "blob:", "data:")):
                problems.append(f"asks {request.url}")

        page.on("request", watch)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


def status(page: Any, text: str) -> None:
    """Wait until the state of checking has a text."""
    page.locator("#check-status", has_text=text).wait_for()


def send_file(page: Any, name: str, content: str | bytes) -> None:
    """Choose a file, and start to label it by keyboard."""
    page.get_by_role("tab", name="A file").click()
    data = content.encode() if isinstance(content, str) else content
    page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": data})
    page.locator("#label-file:focus").wait_for()
    page.keyboard.press("Enter")


def label_file(page: Any, content: str | None = None) -> None:
    """Label a file, reviews.csv."""
    rows = "\n".join(f'{number},"{text}"' for number, text in enumerate(TEXTS))
    send_file(page, "reviews.csv", content or f"id,text\n{rows}\n")
    page.locator("#file-done").wait_for()


def test_a_text_is_classified_and_its_words_are_marked_by_keyboard(
    start: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    page = open_page(start())
    page.locator("#text:focus").wait_for()
    page.keyboard.insert_text(f"😀 {TEXTS[0]}")
    page.keyboard.press("Control+Enter")
    page.locator("#strongest tbody tr").first.wait_for()
    label, probability = page.locator("#verdict").inner_text().split(", ")
    (expected,) = tiny.classifier().predict_proba([f"😀 {TEXTS[0]}"])
    assert (label, probability) == (tiny.classifier().labels[expected.argmax()], f"{100 * expected.max():.1f}%")
    assert page.locator("#marked").inner_text() == f"😀 {TEXTS[0]}"
    (explanation,) = tiny.classifier().explain([f"😀 {TEXTS[0]}"])
    strongest = explanation.strongest(1)[0]
    assert strongest.word in page.locator("#marked mark").all_inner_texts()
    assert page.locator("#strongest tbody tr").first.inner_text().split()[0] == strongest.word
    other = next(each for each in tiny.classifier().labels if each != label)
    page.get_by_label("Words for and against").select_option(other)
    page.locator("#legend", has_text=f"speak for {other}").wait_for()
    page.get_by_role("img", name=f"Probability of {other}: ").wait_for()
    page.get_by_label("Weighed by").select_option("integrated-gradients")
    (explanation,) = tiny.classifier().explain([f"😀 {TEXTS[0]}"], labels=[other], method="integrated-gradients")
    weight = f"{explanation.strongest(1)[0].weight:.2f}"
    page.locator("#strongest tbody tr", has_text=weight).first.wait_for()


def test_the_curve_of_the_last_text_is_not_shown_for_the_next(
    start: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    page = open_page(start())
    page.get_by_label("Text", exact=True).fill(TEXTS[0])
    page.keyboard.press("Control+Enter")
    page.locator("#running svg").wait_for()
    page.route("**/running", lambda _: None)  # no answer yet
    page.get_by_label("Text", exact=True).fill(TEXTS[1])
    with page.expect_request("**/running"):
        page.keyboard.press("Control+Enter")
    assert page.locator("#marked").inner_text() == TEXTS[1]
    assert page.locator("#running").is_hidden()
    page.unroute_all(behavior="ignoreErrors")


def test_a_text_that_is_markup_stays_text(start: Callable[..., str], open_page: Callable[..., Any]) -> None:
    page = open_page(start())
    text = '<img src=x onerror="document.title=1"> <script>document.title = 1</script> & fine'
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Classify").click()
    page.locator("#explanation").wait_for()
    assert page.locator("#marked").inner_text() == text
    assert page.title() == "tiny: ulmkit"


def test_a_file_comes_back_labelled(start: Callable[..., str], open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(start(max_texts=7))
    cells = ['two ""quotes""', "a line\nbreak; and, signs", *TEXTS]
    content = "id;review;stars\r\n" + "".join(f'{number};"{cell}";3\r\n' for number, cell in enumerate(cells))
    label_file(page, content=content)
    with page.expect_download() as download:
        page.get_by_text("Download the labelled table").click()
    assert download.value.suggested_filename == "reviews-labelled.csv"
    download.value.save_as(tmp_path / "labelled.csv")
    with open(tmp_path / "labelled.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter=";")
    assert header == ["id", "review", "stars", "predicted_label", "probability"]
    texts = [cell.replace('""', '"') for cell in cells]
    assert [row[1] for row in rows] == texts
    assert [row[3] for row in rows] == tiny.classifier().predict(texts)
    counts = [int(text) for text in page.locator("#counts tbody td:nth-child(2)").all_inner_texts()]
    assert sum(counts) == len(texts)


@pytest.mark.parametrize(
    ("name", "encoding", "separator", "written", "written_encoding"),
    [
        ("a.csv", "utf-8", ",", "a-labelled.csv", "utf-8"),
        ("a.csv", "utf-8-sig", ";", "a-labelled.csv", "utf-8-sig"),
        ("a.csv", "cp1252", ";", "a-labelled.csv", "utf-8-sig"),
        ("a.csv", "utf-16", "\t", "a-labelled.tsv", "utf-8-sig"),
        ("A.TSV", "utf-8", "\t", "A-labelled.tsv", "utf-8"),
    ],
)
def test_a_labelled_table_opens_in_the_program_that_wrote_the_file(
    name: str,
    encoding: str,
    separator: str,
    written: str,
    written_encoding: str,
    start: Callable[..., str],
    open_page: Callable[..., Any],
    tmp_path: Path,
) -> None:
    page = open_page(start())
    text = f"Ein müder Film{separator} {TEXTS[0]}"
    send_file(page, name, f'id{separator}text\n1{separator}"{text}"\n'.encode(encoding))
    page.locator("#file-done", has_text="1 text labelled").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Download the labelled table").click()
    assert download.value.suggested_filename == written
    download.value.save_as(tmp_path / written)
    content = (tmp_path / written).read_bytes()
    assert content.startswith(codecs.BOM_UTF8) == (written_encoding == "utf-8-sig")
    header, row = csv.reader(content.decode(written_encoding).splitlines(), delimiter=separator)
    assert (header[:2], row[:2]) == (["id", "text"], ["1", text])


def test_texts_of_several_labels_are_counted_by_each(
    start: Callable[..., str], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(start(TextClassifier(replace(tiny.classifier().parts, task=find_task("multi")))))
    answers = [
        {"label": ["neg", "pos"], "probabilities": {"neg": 0.6, "pos": 0.9}},
        {"label": [], "probabilities": {"neg": 0.1, "pos": 0.2}},
        {"label": ["pos"], "probabilities": {"neg": 0.2, "pos": 0.65}},
    ]
    page.route("**/predict", lambda route: route.fulfill(json={"predictions": answers}))
    label_file(page, "text\none\ntwo\nthree\n")
    rows = [text.split("\t") for text in page.locator("#counts tbody tr").all_inner_texts()]
    assert rows == [["neg", "1", "33.3%", "1"], ["pos", "2", "66.7%", "1"]]
    with page.expect_download() as download:
        page.get_by_text("Download the labelled table").click()
    download.value.save_as(tmp_path / "labelled.csv")
    with open(tmp_path / "labelled.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["text", "predicted_label", "probabilities"],
            ["one", '["neg","pos"]', "[0.6,0.9]"],
            ["two", "[]", "[]"],
            ["three", '["pos"]', "[0.65]"],
        ]


def test_a_file_of_another_kind_is_refused(start: Callable[..., str], open_page: Callable[..., Any]) -> None:
    page = open_page(start())
    page.get_by_role("tab", name="A file").click()
    page.set_input_files("#file", {"name": "reviews.xlsx", "mimeType": "application/zip", "buffer": b"PK\x03\x04"})
    page.get_by_role("alert").get_by_text("reviews.xlsx: expected a table (.csv, .tsv) or lines of text").wait_for()
    assert page.locator("#file-options").is_hidden()


def test_a_file_that_is_dropped_beside_the_frame_does_not_replace_the_page(
    start: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    page = open_page(start())
    page.get_by_role("tab", name="A file").click()
    is_prevented = """(type) => {
      const data = new DataTransfer();
      data.items.add(new File(["text"], "reviews.csv"));
      const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data });
      document.querySelector("footer").dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    assert page.evaluate(is_prevented, "dragover")
    assert page.evaluate(is_prevented, "drop")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("reviews.csv", "{long}", "reviews.csv, row 7: expected at most 50 characters, got 51"),
        ("reviews.csv", "{short}" * 1000 + "{long}", "reviews.csv, row 1,007: expected at most 50 characters, got 51"),
        ("reviews.txt", "{long}", "reviews.txt, line 7: expected at most 50 characters, got 51"),
        ("reviews.csv", "{huge}", "reviews.csv, row 7: expected at most 10,000 bytes, got 10"),
    ],
)
def test_a_refused_text_is_named_by_its_place_in_the_file(
    name: str, content: str, expected: str, start: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    page = open_page(start(max_texts=2, max_characters=50, max_bytes=10_000))
    rows = content.format(short="short\n", long="a" * 51, huge="a" * 10_000)
    send_file(page, name, f"text\n\none\n\ntwo\nthree\n{rows}\nfour\n")
    page.get_by_role("alert").get_by_text(expected).wait_for()
    assert page.locator("#label-file").is_enabled()


def test_a_file_that_is_chosen_while_another_one_is_labelled_takes_its_place(
    start: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    page = open_page(start(max_texts=1))
    send_file(page, "many.csv", "text\n" + "".join(f"{text}\n" for text in TEXTS) * 100)
    page.locator("#file-progress").wait_for()
    send_file(page, "few.csv", f"text\n{TEXTS[0]}\n{TEXTS[1]}\n")
    page.locator("#file-done", has_text="2 texts labelled").wait_for()
    assert page.locator("#download").get_attribute("download") == "few-labelled.csv"


def test_labels_are_checked_with_one_key_each(
    start: Callable[..., str], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(start(corrections=str(tmp_path / "labels.csv")))
    label_file(page)
    page.get_by_role("button", name="Check the labels").click()
    sure = tiny.classifier().predict_proba(TEXTS).max(axis=1)
    least, most = TEXTS[sure.argmin()], TEXTS[sure.argmax()]
    (guess,) = tiny.classifier().predict([least])
    other = 1 + (guess == tiny.classifier().labels[0])
    assert page.locator("#check-text").inner_text() == least
    page.keyboard.press(str(other))
    status(page, "Text 2 of 30. 1 checked, 1 corrected; saved to labels.csv.")
    assert page.locator("#check-text").inner_text() == most
    page.keyboard.press("w")
    page.locator("#check-text mark").first.wait_for()
    page.keyboard.press("Enter")
    status(page, "Text 3 of 30. 2 checked, 1 corrected")
    page.keyboard.press("s")
    status(page, "Text 4 of 30. 2 checked")
    page.keyboard.press("z")
    status(page, "Text 3 of 30. 2 checked")
    page.keyboard.press("z")
    status(page, "Text 2 of 30. 1 checked, 1 corrected")
    with open(tmp_path / "labels.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["text", "label"], [least, tiny.classifier().labels[other - 1]]]
    page.get_by_label("Show first").select_option("unsure")
    assert page.locator("#check-text").inner_text() == TEXTS[sure.argsort()[1]]


def test_checked_labels_that_are_not_saved_are_kept_and_asked_about(
    start: Callable[..., str], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(start())
    for name, text in (("one.csv", TEXTS[0]), ("two.csv", TEXTS[1])):
        send_file(page, name, f"text\n{text}\n")
        page.locator("#file-done").wait_for()
        page.get_by_role("button", name="Check the labels").click()
        page.keyboard.press("1")
        page.locator("#check-end").wait_for()
    status(page, "2 checked, ")
    status(page, "not saved yet")
    questions: list[str] = []

    def stay(dialog: Any) -> None:
        questions.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.evaluate("() => location.reload()")
    page.wait_for_timeout(500)
    assert questions == ["beforeunload"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the checked labels").click()
    status(page, "downloaded")
    download.value.save_as(tmp_path / "labels.csv")
    with open(tmp_path / "labels.csv", encoding="utf-8", newline="") as file:
        label = tiny.classifier().labels[0]
        assert list(csv.reader(file)) == [["text", "label"], [TEXTS[0], label], [TEXTS[1], label]]
    page.reload()
    assert questions == ["beforeunload"]


def test_what_the_classifier_is_not_sure_of_is_said_in_words(
    start: Callable[..., str], open_page: Callable[..., Any], hesitant: TextClassifier, tmp_path: Path
) -> None:
    texts = hesitation.TEXTS
    expected = hesitant.selective(0.05).predict(texts)
    unsure = texts[expected.index(None)]
    sure = next(text for text, label in zip(texts, expected, strict=True) if label is not None)
    page = open_page(start(hesitant, confidence=Confidence(max_error=0.05)))
    page.locator("#promise", has_text="It labels about 50% of texts").wait_for()
    page.get_by_label("Text", exact=True).fill(unsure)
    page.keyboard.press("Control+Enter")
    page.locator("#strongest tbody tr").first.wait_for()
    (closest,) = hesitant.predict([unsure])
    assert page.locator("#verdict").inner_text() == "Not sure"
    assert page.locator("#doubt").inner_text().startswith(f"The closest label is {closest}, ")
    page.get_by_label("Text", exact=True).fill(sure)
    page.keyboard.press("Control+Enter")
    page.locator("#verdict", has_text="%").wait_for()
    assert page.locator("#doubt").is_hidden()
    label_file(page)
    assert (
        page.locator("#file-done").inner_text() == "15 of 30 texts labelled; the classifier is not sure of the other 15"
    )
    assert page.locator("#counts tbody tr").last.inner_text().split("\t")[:2] == ["not sure, no label", "15"]
    with page.expect_download() as download:
        page.get_by_text("Download the labelled table").click()
    download.value.save_as(tmp_path / "labelled.csv")
    with open(tmp_path / "labelled.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted_label"] for row in rows] == [label or "" for label in expected]
    assert [row["abstained"] for row in rows] == ["" if label else "not sure" for label in expected]
    assert [tuple(json.loads(row["label_set"])) for row in rows] == hesitant.conformal(0.05).predict(texts)
    page.get_by_role("button", name="Check the labels").click()
    page.get_by_text("The classifier is not sure; closest is").wait_for()


def test_the_page_trains_again_and_uses_the_new_classifier(
    start: Callable[..., str], open_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = tmp_path / "may-end"

    def run(self: Retraining, command: list[str], log: Any) -> "subprocess.Popen[bytes]":
        tiny.classifier().save(command[command.index("--out") + 1])
        wait = (
            "import os, time\nprint('loss 0.5', flush=True)\n"
            f"while not os.path.exists({str(may_end)!r}):\n    time.sleep(0.05)"
        )
        return subprocess.Popen([sys.executable, "-c", wait], stdout=log)

    monkeypatch.setattr(Retraining, "_run", run)
    page = open_page(start(corrections=str(tmp_path / "labels.csv"), retrain="none"))
    label_file(page)
    page.get_by_role("button", name="Check the labels").click()
    for checked, key in enumerate("12", start=1):
        page.keyboard.press(key)
        status(page, f"{checked} checked")
    page.get_by_role("tab", name="Train again").click()
    page.get_by_text("2 checked labels are in labels.csv. You can close this page while it runs.").wait_for()
    page.get_by_role("button", name="Train again").click()
    page.get_by_role("progressbar", name="Training").wait_for()
    assert page.locator("#train-bar").get_attribute("value") is None  # no one knows how long linear models take
    page.locator("#train-message", has_text="loss 0.5").wait_for()
    may_end.touch()
    page.get_by_text("The new classifier is ready: labels-classifier-1").wait_for()
    page.get_by_role("button", name="Use the new classifier").click()
    page.get_by_text("The page now uses the new classifier.").wait_for()
    assert page.locator("#name").inner_text() == "labels-classifier-1"


def test_the_key_is_asked_for(start: Callable[..., str], open_page: Callable[..., Any]) -> None:
    page = open_page(start(api_key=KEY))
    page.locator("#key:focus").wait_for()
    assert page.get_by_role("alert").is_hidden()
    page.keyboard.insert_text("another-key-than-that")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("The server does not accept this key.").wait_for()
    page.locator("#key:focus").wait_for()
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="One text").wait_for()
    assert KEY not in page.url


def test_bars_stand_below_long_labels_on_a_narrow_screen(
    start: Callable[..., str], open_page: Callable[..., Any]
) -> None:
    page = open_page(start())
    page.set_viewport_size({"width": 380, "height": 700})
    page.get_by_label("Text", exact=True).fill(TEXTS[0])
    page.keyboard.press("Control+Enter")
    page.locator("#running svg").wait_for()
    name, track, share = (page.locator(f".bar .{part}").first.bounding_box() for part in ("name", "track", "share"))
    assert track["width"] > 300
    assert name["y"] == pytest.approx(share["y"], abs=2)
    assert track["y"] >= name["y"] + name["height"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 380


def test_problems_are_told(start: Callable[..., str], open_page: Callable[..., Any]) -> None:
    page = open_page(start(max_characters=20))
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("alert").get_by_text("Type or paste a text first.").wait_for()
    page.get_by_label("Text", exact=True).fill("a" * 21)
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("alert").get_by_text("text: expected at most 20 characters, got 21").wait_for()
    page.keyboard.press("Tab")  # from the button to the end of the page
    page.get_by_role("tab", name="One text").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("This server does not train.").wait_for()


@pytest.mark.skipif(AXE is None, reason="ULMKIT_AXE does not name axe-core's axe.min.js (npm pack axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(
    start: Callable[..., str],
    open_page: Callable[..., Any],
    hesitant: TextClassifier,
    tmp_path: Path,
    scheme: str,
) -> None:
    assert AXE is not None
    confidence = Confidence(max_error=0.05)
    url = start(hesitant, corrections=str(tmp_path / "labels.csv"), retrain="none", confidence=confidence)
    page = open_page(url, color_scheme=scheme, bypass_csp=True)

    def violations() -> list[str]:
        page.add_script_tag(content=Path(AXE).read_text(encoding="utf-8"))
        found = page.evaluate("() => axe.run(document)")
        assert len(found["passes"]) > 15
        return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found["violations"]]

    page.get_by_label("Text", exact=True).fill(TEXTS[0])
    page.keyboard.press("Control+Enter")
    page.locator("#strongest tbody tr").first.wait_for()
    assert violations() == []
    label_file(page)
    assert violations() == []
    page.get_by_role("button", name="Check the labels").click()
    page.keyboard.press("w")
    page.locator("#check-text mark").first.wait_for()
    assert violations() == []
    page.get_by_role("tab", name="Train again").click()
    page.locator("#train-state", has_text=re.compile("Check some")).wait_for()
    assert violations() == []
    page.goto(f"{url}docs")
    assert violations() == []
