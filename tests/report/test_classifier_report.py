"""The report on a classifier: figures, verdict and page."""

import random
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from support import tiny

from ulmkit import DataOptions, TextClassifier
from ulmkit.errors import ConfigError
from ulmkit.evaluation import compare_paired
from ulmkit.evaluation.labels.classification import evaluate_single
from ulmkit.evaluation.metrics import expected_calibration_error, reliability
from ulmkit.pipeline import prepare
from ulmkit.report import report_on, write_report
from ulmkit.report.linear_models import TFIDF, VECTORS, CurvePoint, label_counts
from ulmkit.report.page import report_page
from ulmkit.report.running_curve import running_curve_svg
from ulmkit.report.verdict import decide
from ulmkit.text import Document

OPTIONS = DataOptions(split_column="split", tokenizer="whitespace", workers=1)
TRAP = '<script>alert("x")</script> & <b>film</b>'


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    draw = random.Random(0)
    rows = []
    for place, (text, label) in enumerate(tiny.reviews(240)):
        wrong = {"pos": "neg", "neg": "pos"}[label]
        is_noisy = draw.random() < 0.2
        text = f"{TRAP} {text}" if is_noisy else text
        rows.append((text, wrong if is_noisy else label, ("train", "train", "valid", "test")[place % 4]))
    return tiny.write_csv(tmp_path_factory.mktemp("report") / "data.csv", rows, ("text", "label", "split"))


@pytest.fixture(scope="module")
def classifier(data):
    return TextClassifier.train(data, None, method="linear", data_options=OPTIONS, run=tiny.RUN)


@pytest.fixture(scope="module")
def report(classifier, data):
    return report_on(classifier, data, name="a <model>", draws=2, documents=3, data_options=OPTIONS)


@pytest.fixture(scope="module")
def page(report):
    return report_page(report)


def test_figures_are_those_of_evaluate_on_the_validation_part(classifier, data, report):
    scored = classifier.evaluate(data, split="valid", data_options=OPTIONS)
    assert report.classifier.report == scored
    assert report.scored_on.startswith("split valid of data.csv, 60 documents")
    assert report.labels == 120
    assert "The test documents were not looked at; --split test scores them." in report.notes
    other = report_on(classifier, data, split="test", draws=1, documents=1, data_options=OPTIONS)
    assert other.scored_on.startswith("split test")
    assert "fewer of the labels: one draw;" in report_page(other)
    assert "fewer of the labels: mean of 2 draws, with a band" in report_page(report)


def test_linear_models_are_scored_on_the_same_documents(report):
    names = [model.name for model in report.linear]
    assert names == [TFIDF, VECTORS]
    for model in report.linear:
        assert model.report.documents == 60
        assert model.comparison.before == pytest.approx(model.report.accuracy)
        assert model.comparison.after == pytest.approx(report.classifier.report.accuracy)
        assert model.size_bytes > 1000
        assert model.documents_per_second > 0
        *fewer, last = report.curves[model.name]
        assert [point.labels for point in fewer] == label_counts(120, 2)[:-1]
        assert all(point.draws == 2 for point in fewer)
        assert last == CurvePoint(120, model.report.accuracy, 0.0, 1)


def test_telling_documents_are_in_order_and_explained(report):
    assert len(report.uncertain) == len(report.wrong) == 3
    sure = [document.probability for document in report.wrong]
    unsure = [document.probability for document in report.uncertain]
    assert sure == sorted(sure, reverse=True)
    assert unsure == sorted(unsure)
    assert max(unsure) < min(sure)
    for document in report.wrong:
        assert document.explanation.label != document.label
        assert document.label_probability == pytest.approx(1 - document.probability, abs=1e-5)
        assert document.explanation.strongest(1)


def test_json_has_figures_and_no_text(report):
    values = report.to_dict()
    assert values["classifier"]["accuracy"] == report.classifier.report.accuracy
    assert values["curves"][TFIDF][0]["labels"] == 10
    assert values["verdict"]["use"] in (TFIDF, VECTORS, "a <model>")
    assert "film" not in str(values)


class Page(HTMLParser):
    """Checks that elements are closed, and collects what a page has."""

    VOID = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.elements = []
        self.words = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


def test_the_page_is_complete_and_needs_nothing_else(page, tmp_path, report):
    parsed = Page(page)
    assert parsed.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in parsed.elements}
    assert "http" not in page
    assert "url(" not in page.replace("url(#", "")
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = [value for _, attributes in parsed.elements for key, value in attributes.items() if "href" in key]
    assert references
    assert {reference.removeprefix("#") for reference in references} <= set(ids)
    write_report(report, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_the_page_can_be_heard(page):
    parsed = Page(page)
    assert parsed.count("h1") == 1
    assert parsed.count("table") == parsed.count("caption") > 3
    assert all("scope" in attributes for tag, attributes in parsed.elements if tag == "th")
    assert parsed.count("svg") == 2 + 6  # with a curve for each document
    assert page.count('<svg role="img"') == page.count("<title>") - 1 == 8
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')


def test_text_is_escaped(page):
    assert "<script" not in page
    assert "a &lt;model&gt;" in page
    shown = "".join(Page(page).words)
    assert TRAP.split()[0] in shown
    assert "<b>film</b>" in shown


def test_curves_show_the_probabilities_of_each_document(page, report, classifier):
    document = report.wrong[0]
    (running,) = classifier.running_probabilities([document.text])
    np.testing.assert_array_equal(document.running.outputs, running.outputs)
    svg = running_curve_svg(document.running, document.explanation.label, document.label)
    assert svg in page
    assert svg.count("<polyline") == 2
    assert svg.count("stroke-dasharray") == 1
    assert svg.count(",") >= 2 * len(running.words)
    assert f"{100 * document.probability:.0f}% at the end" in svg
    same = running_curve_svg(document.running, "pos", "pos")
    assert same.count("<polyline") == 1


def test_words_are_weighed_by_the_method_that_is_asked_for(classifier, data, report):
    assert "is left out" in report_page(report)
    other = report_on(classifier, data, draws=1, documents=1, method="integrated-gradients", data_options=OPTIONS)
    assert other.wrong[0].explanation.steps > 0
    assert "(integrated gradients)" in report_page(other)
    with pytest.raises(ConfigError, match="method: got 'guess'"):
        report_on(classifier, data, method="guess")


def test_words_are_marked(page):
    assert page.count("<mark") > 6
    assert 'class="for"' in page
    assert "prefers-color-scheme: dark" in page


def test_line_breaks_of_the_web_are_line_breaks(report):
    explanation = replace(report.wrong[0].explanation, words=())
    document = replace(report.wrong[0], text="one<br /><br />two <b>three</b>", explanation=explanation)
    page = report_page(replace(report, wrong=(document,)))
    assert "one\ntwo &lt;b&gt;three&lt;/b&gt;" in page


def test_many_classes_show_the_most_confused_pairs(report):
    names = [f"class {number}" for number in range(13)]
    answers = np.arange(130) % 13
    probabilities = np.eye(13)[np.where(answers == 4, 5, answers)]
    scores = evaluate_single(probabilities, answers, names)
    page = report_page(replace(report, classifier=replace(report.classifier, report=scores)))
    assert '<th scope="row">class 4 → class 5</th><td>10</td><td>100.0%</td>' in page
    assert "true \\ predicted" not in page


def test_without_training_documents_there_is_no_verdict(classifier):
    report = report_on(classifier, tiny.reviews(30, 900), documents=1, data_options=DataOptions(workers=1))
    assert report.linear == ()
    assert report.verdict.use is None
    assert "No verdict" in report_page(report)
    assert "How many labels" not in report_page(report)


def test_other_data_is_named_and_not_printed(classifier):
    splits = ("train", "train", "valid")
    documents = [Document(text, label, split=splits[place % 3]) for place, (text, label) in enumerate(tiny.reviews(60))]
    report = report_on(classifier, documents, draws=1, documents=1)
    assert report.fitted_to == "40 labels of the training part of documents given in Python"
    assert report.notes == ()


def test_a_prepared_corpus_is_reported_on(classifier, data, report):
    parts = classifier.parts
    corpus = prepare(
        data,
        OPTIONS,
        task="single",
        tokenizer=parts.tokenizer,
        vocabulary=parts.vocabulary,
        label_names=parts.label_names,
    )
    again = report_on(classifier, corpus, name="a <model>", draws=1, documents=2)
    assert again.classifier.report == report.classifier.report
    assert [each.row for each in again.wrong] == [each.row for each in report.wrong[:2]]
    assert all(each.explanation.label != each.label for each in again.wrong)


def test_a_network_is_reported_on(data):
    network = TextClassifier.train(
        data,
        tiny.language_model(),
        method="finetune",
        steps=2,
        recipe=tiny.CLASSIFY,
        data_options=OPTIONS,
        run=tiny.RUN,
    )
    report = report_on(network, data, draws=1, documents=1, data_options=OPTIONS)
    assert report.made_of == "a fine-tuned network, forward"
    assert report.ladder is None
    assert any("validated on the scored documents" in note for note in report.notes)


@pytest.mark.parametrize("option", ["draws", "documents"])
def test_counts_are_checked(classifier, option):
    with pytest.raises(ConfigError, match=f"{option}: "):
        report_on(classifier, tiny.reviews(8), **{option: 0})


def paired(linear, classifier, documents=1000):
    before, after = np.zeros(documents), np.zeros(documents)
    before[: int(linear * documents)] = 1
    after[: int(classifier * documents)] = 1
    return compare_paired(before, after, "accuracy")


def test_the_verdict_is_for_a_classifier_that_is_clearly_better_than_every_linear_model():
    verdict = decide("c", [("TF-IDF", paired(0.7, 0.9)), ("vectors", paired(0.8, 0.9))])
    assert verdict.use == "c"
    assert verdict.sentence.startswith(
        "Use c: it is more accurate than the linear model (vectors), by 10.0 points (95%"
    )


def test_the_verdict_is_for_the_linear_model_otherwise():
    verdict = decide("c", [("TF-IDF", paired(0.7, 0.9)), ("vectors", paired(0.899, 0.9))])
    assert verdict.use == "vectors"
    assert "it is simpler, and c is not clearly more accurate (+0.1 points, 95% interval" in verdict.sentence
    verdict = decide("c", [("TF-IDF", paired(0.95, 0.9)), ("vectors", paired(0.92, 0.9))])
    assert verdict.use == "TF-IDF"
    assert "Use the linear model (TF-IDF): it is more accurate than c, by 5.0 points" in verdict.sentence
    assert "interval +3.6 to +6.4" in verdict.sentence


def test_a_linear_classifier_is_no_less_simple_than_its_rivals():
    verdict = decide("c", [("TF-IDF", paired(0.7, 0.9)), ("vectors", paired(0.901, 0.9))], is_linear=True)
    assert verdict.use == "c"
    assert verdict.sentence.startswith(
        "Use c: it is a linear model itself, and no other one is clearly more accurate (−0.1 points beside vectors, 95%"
    )
    assert verdict.sentence.endswith("1,000 documents).")
    few = decide("c", [("TF-IDF", paired(0.6, 0.6, documents=5))], is_linear=True)
    assert "(+0.0 points beside TF-IDF, 95% interval" in few.sentence
    assert few.sentence.endswith("5 documents, too few to tell).")
    better = [("TF-IDF", paired(0.95, 0.9))]
    assert decide("c", better, is_linear=True) == decide("c", better)


def test_label_counts_rise_to_all_labels():
    assert label_counts(25_000, 2) == [10, 71, 500, 3536, 25_000]
    assert label_counts(100, 2) == [10, 18, 32, 56, 100]
    assert label_counts(12, 2) == [12]
    assert label_counts(770, 77) == [231, 422, 770]


def test_reliability_by_hand():
    confidence, correct = np.array([0.55, 0.65, 0.62, 1.0]), np.array([True, False, True, True])
    bins = reliability(confidence, correct, bins=5)
    assert [(each.documents, each.accuracy) for each in bins] == [(1, 1.0), (2, 0.5), (1, 1.0)]
    assert [each.confidence for each in bins] == pytest.approx([0.55, 0.635, 1.0])
    error = sum(each.documents * abs(each.accuracy - each.confidence) for each in bins) / 4
    assert expected_calibration_error(confidence, correct, bins=5) == pytest.approx(error)
