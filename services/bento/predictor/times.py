"""Times: where the time of answered requests goes, in histograms that Prometheus' own client keeps.

Where `PROMETHEUS_MULTIPROC_DIR` names a folder, each worker keeps its counts in a file there, and whoever reads the
folder gets the sums over all workers, the ended ones too. Elsewhere nobody sees them.
"""

from __future__ import annotations

NAME = "predictor_stage_seconds"
STAGES = {
    "reader": "from the body to the model's input",
    "model": "the call that answered it, which a batch shares",
    "writer": "from the prediction to the answer",
    "server": "the rest, such as waiting for a busy model",
}
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Times:
    """Takes the times of each answered request. One for each process."""

    def __init__(self) -> None:
        from prometheus_client import Histogram  # late: it looks for the folder when it is imported

        histogram = Histogram(
            NAME, "Where the time of answered requests goes.", ["stage"], buckets=_BOUNDS, registry=None
        )
        self._stages = [histogram.labels(stage) for stage in STAGES]

    def take(self, *seconds: float) -> None:
        """The time in each stage, in their order."""
        for stage, took in zip(self._stages, seconds, strict=True):
            stage.observe(max(0.0, took))
