"""The pictures of `pianalysis evaluate`, read back from their artists."""

import numpy as np
import pytest

import pianalysis as pia
from pianalysis.evaluation.passkeys import Passkeys
from pianalysis.evaluation.perplexity import Perplexity
from pianalysis.evaluation.summaries import SummaryScores
from pianalysis.evaluation.tasks import TaskAccuracy
from pianalysis.pictures import evaluation, frame

ABOUT = {
    "checkpoint": "tiny",
    "digest": "0" * 64,
    "spec": pia.RopeSpec(16, 10_000.0, 512),
    "extensions": {},
}
SCHEMES = ("as loaded", "as loaded", "yarn x2", "yarn x2")


def labels(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_perplexity_by_window():
    record = Perplexity(
        **ABOUT,
        tokens_sha256="",
        documents=1,
        bos="no document",
        stride=64,
        pooling="tokens",
        scheme=SCHEMES,
        window=np.array([256, 1024] * 2),
        longest=np.array([256, 1024] * 2),
        total=np.ones(4),
        count=np.ones(4, dtype=int),
        perplexity=np.array([9.0, 30.0, 9.5, 8.0]),
    )
    figure = evaluation.perplexity_picture(record)
    loaded, yarn, window = figure.axes[0].lines
    assert loaded.get_xydata().tolist() == [[256, 9.0], [1024, 30.0]]
    assert yarn.get_ydata().tolist() == [9.5, 8.0]
    assert window.get_xdata() == [512, 512]
    assert labels(figure) == ["as loaded", "yarn x2", "pretrained window"]
    assert figure.axes[0].get_xlabel() == "sliding window (tokens)"
    assert frame.png(figure) == frame.png(evaluation.perplexity_picture(record))


def test_passkeys_by_length():
    record = Passkeys(
        **ABOUT,
        gap=False,
        limit=1024,
        seed=0,
        trials=4,
        jitter=1,
        fillers=5,
        bos=False,
        k_max={"as loaded": 512, "yarn x2": 1024},
        k_max_interval={"as loaded": (512, 512), "yarn x2": (512, 1024)},
        k_max_written={"as loaded": 512, "yarn x2": 512},
        k_max_written_interval={"as loaded": (512, 512), "yarn x2": (512, 1024)},
        scheme=SCHEMES,
        k=np.array([512, 1024] * 2),
        nearest=np.array([480, 980] * 2),
        farthest=np.array([500, 990] * 2),
        length=np.array([500, 1000] * 2),
        recalled=np.array([4, 0, 3, 2]),
        written=np.array([3, 0, 3, 0]),
        nats=np.ones(4),
        standard_error=np.ones(4),
    )
    figure = evaluation.whole_passkey_picture(record)
    loaded, yarn, *written, _ = figure.axes[0].lines
    assert loaded.get_xydata().tolist() == [[512, 1.0], [1024, 0.0]]
    assert yarn.get_ydata().tolist() == [0.75, 0.5]
    assert [line.get_ydata().tolist() for line in written] == [[0.75, 0.0], [0.75, 0.0]]
    assert [line.get_color() for line in written] == [loaded.get_color(), yarn.get_color()]
    assert labels(figure)[:2] == ["as loaded, k_max 512", "yarn x2, k_max 1024"]
    assert figure.axes[0].get_ylabel() == "share of 4 passkeys recalled"


def test_accuracy_with_its_error():
    record = TaskAccuracy(
        **ABOUT,
        harness="0",
        data={},
        bos=False,
        scheme=SCHEMES,
        task=("piqa",) * 4,
        metric=("acc", "acc_norm") * 2,
        value=np.array([0.5, 0.6, 0.4, 0.7]),
        standard_error=np.array([0.05, 0.06, 0.04, 0.07]),
        count=np.full(4, 100),
        cut=np.zeros(4, dtype=int),
    )
    figure = evaluation.task_picture(record)
    (ax,) = figure.axes
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([50, 60, 40, 70])
    spans = [line.get_segments() for line in ax.collections]
    lengths = [top[1] - bottom[1] for segments in spans for bottom, top in segments]
    assert lengths == pytest.approx([10, 12, 8, 14])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["piqa\nacc", "piqa\nacc_norm"]
    assert labels(figure) == ["as loaded", "yarn x2"]


def test_rouge():
    record = SummaryScores(
        **ABOUT,
        reports_sha256="",
        document_tokens=15_000,
        summary_tokens=1_000,
        decoding="greedy",
        rouge_score="0",
        stemmer=True,
        scheme=("as loaded",),
        rouge_1=np.array([40.0]),
        rouge_2=np.array([20.0]),
        rouge_l=np.array([30.0]),
        count=np.array([7]),
        cut=np.array([1]),
        written=np.array([300.0]),
        unfinished=np.array([0]),
    )
    figure = evaluation.summary_picture(record)
    (ax,) = figure.axes
    assert [bar.get_height() for bar in ax.patches] == [40.0, 20.0, 30.0]
    assert ax.get_ylim()[0] == 0.0
    assert ax.get_title(loc="left") == "tiny: summaries of 7 reports"
    assert figure.legends == []
