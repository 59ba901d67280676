"""Requests and answers as JSON objects; /openapi.json is made from them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

TextField = Annotated[
    StrictStr | list[StrictStr],
    Field(description="A text; for pairs the two texts, and for a label per word the words, in a list."),
]
Threshold = Annotated[float, Field(description="Minimum probability of a label, where a text can have several.")]
MaxError = Annotated[
    float | None,
    Field(
        gt=0.0,
        lt=1.0,
        allow_inf_nan=False,
        description="Give no label where unsure, so that at most this share of the labels given are wrong, such as "
        "0.05. It rests on held-out texts that the classifier keeps from its training. Null takes what the server was "
        "started with.",
    ),
]


class _Request(BaseModel):
    """Request whose unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")


class PredictRequest(_Request):
    """One text, or several."""

    text: TextField | None = None
    texts: Annotated[list[TextField] | None, Field(description="Texts, instead of `text`.")] = None
    threshold: Threshold = 0.5
    max_error: MaxError = None


class Prediction(BaseModel):
    """Answer for a text."""

    label: Annotated[
        str | float | list[str] | list[tuple[str, str]] | None,
        Field(
            description="The label; the number; all labels of the text; or (word, label) for each word. Null where the "
            "classifier abstains."
        ),
    ]
    probabilities: Annotated[
        dict[str, float] | list[dict[str, float]] | None,
        Field(description="Probability of each label, for each word where words have labels; null for numbers."),
    ] = None
    abstained: Annotated[bool, Field(description="Whether the classifier is not sure enough to give a label.")] = False
    label_set: Annotated[
        list[str] | None,
        Field(
            description="Labels of which one is right, but for a share of texts: `miscoverage` in /info, else the "
            "`max_error` of the request. Most probable first; null if neither is given."
        ),
    ] = None


class PredictAnswer(BaseModel):
    """Answers in the order of the texts."""

    predictions: list[Prediction]


class StreamRequest(_Request):
    """The next piece of a text, cut anywhere."""

    piece: Annotated[StrictStr, Field(description="The next characters of the text.")]
    stream: Annotated[StrictStr | None, Field(description="Identifier from the first answer; null begins a text.")] = (
        None
    )
    finish: Annotated[StrictBool, Field(description="Whether the text ends here.")] = False
    threshold: Threshold = 0.5
    max_error: MaxError = None


class StreamAnswer(Prediction):
    """Answer for the text so far."""

    stream: Annotated[str, Field(description="Identifier to send with the next piece.")]
    characters: Annotated[int, Field(description="Characters of the text so far.")]
    finished: bool


class ExplainRequest(_Request):
    """A text whose words are to be weighed."""

    text: TextField
    label: Annotated[StrictStr | None, Field(description="The label to explain; null explains the predicted one.")] = (
        None
    )
    method: Annotated[StrictStr, Field(description="`occlusion` or `integrated-gradients`.")] = "occlusion"


class WeighedWord(BaseModel):
    """A word, and its weight for the label."""

    word: str
    start: Annotated[int | None, Field(description="Position of its first character; null if it was not found.")]
    end: Annotated[int | None, Field(description="Position after its last character.")]
    weight: Annotated[
        float | None,
        Field(
            description="Log-odds of the label that the word accounts for: by occlusion, those with the word minus "
            "those without, or null if it was not left out alone."
        ),
    ]


class ExplainAnswer(Prediction):
    """A prediction, and the words that speak for or against a label."""

    explained_label: str
    log_odds: float
    words: list[WeighedWord]
    baseline: Annotated[
        float | None,
        Field(description="By integrated gradients: log-odds without words; the weights sum to the rest."),
    ] = None


class RunningRequest(_Request):
    """A text that is to be read word by word."""

    text: TextField
    points: Annotated[
        StrictInt, Field(ge=1, le=1000, description="Most answers, after words that are evenly spaced.")
    ] = 100


class RunningPoint(Prediction):
    """Answer after some words of a text."""

    read: Annotated[int, Field(description="Words read so far.")]
    end: Annotated[int | None, Field(description="Position after the last of them; null if it was not found.")]


class RunningAnswer(BaseModel):
    """Answers while a text is read; the last is for the whole text."""

    words: Annotated[int, Field(description="Words of the text.")]
    points: list[RunningPoint]


class AbstainingAnswer(BaseModel):
    """Rule by which the classifier gives no label."""

    max_error: Annotated[float, Field(description="Share of the labels given that are wrong, at most.")]
    certainty: Annotated[float, Field(description="Probability that this holds.")]
    threshold: Annotated[float, Field(description="A label is given if its probability is greater.")]
    coverage: Annotated[float, Field(description="Share of held-out texts that get a label.")]


class InfoAnswer(BaseModel):
    """The classifier and the limits of requests."""

    name: str
    task: str
    labels: list[str]
    members: list[str]
    streams: Annotated[bool, Field(description="Whether texts can be sent in pieces.")]
    explains: Annotated[bool, Field(description="Whether words can be weighed.")]
    accuracy: Annotated[
        float | None,
        Field(description="Accuracy on held-out labels, cross-validated if the training was; null for other tasks."),
    ]
    validation: Annotated[dict[str, float], Field(description="Metrics of the training's validation documents.")]
    abstains: Annotated[AbstainingAnswer | None, Field(description="Null if every text gets a label.")] = None
    miscoverage: Annotated[
        float | None, Field(description="Share of label sets that may lack the right label; null without sets.")
    ] = None
    limits: dict[str, int | float]
    ulmkit: Annotated[str, Field(description="Version of ulmkit.")]


class HealthAnswer(BaseModel):
    """State of a server whose classifier answers."""

    status: Annotated[str, Field(description="Always ok.")]
    waiting: Annotated[int, Field(description="Requests that wait for the model.")]


class LoadingAnswer(BaseModel):
    """State of a server that loads its classifier."""

    status: Annotated[str, Field(description="Always loading.")]
    error: str


class ErrorAnswer(BaseModel):
    """Why a request was refused."""

    error: str


class CorrectionRequest(_Request):
    """A label that a person has checked."""

    text: StrictStr
    label: Annotated[StrictStr | None, Field(description="The right label; null takes it back.")]


class CorrectionsAnswer(BaseModel):
    """State of the checked labels."""

    saves: Annotated[bool, Field(description="Whether the server keeps checked labels in a file.")]
    file: str | None
    checked: Annotated[int, Field(description="Texts whose label was checked.")]
    trains: Annotated[bool, Field(description="Whether the server can train again.")]


class TrainingAnswer(BaseModel):
    """State of a new training."""

    state: Annotated[str, Field(description="ready, running, done or failed.")]
    minutes: Annotated[
        float | None,
        Field(description="Minutes that a training takes; null for linear models, which take no time limit."),
    ]
    checked: Annotated[int, Field(description="Texts whose label was checked.")]
    seconds: Annotated[float, Field(description="Seconds since it began.")] = 0.0
    message: Annotated[str, Field(description="The last line of its log.")] = ""
    folder: Annotated[str | None, Field(description="Name of the new classifier's folder.")] = None
    accuracy: Annotated[float | None, Field(description="Its accuracy on held-out labels, as in /info.")] = None
    validation: Annotated[dict[str, float], Field(description="Metrics of its validation documents.")] = {}
