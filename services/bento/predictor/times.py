"""Times: how long answered requests spend in each stage, in histograms of Prometheus' own client.

If `PROMETHEUS_MULTIPROC_DIR` names a folder, each worker keeps its counts in a file there, and a reader of the folder
gets the sums over all workers, including ended ones. Without it nobody can read them.
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
        from prometheus_client import Histogram  # late, because the import looks for the folder

        histogram = Histogram(
            NAME, "Where the time of answered requests goes.", ["stage"], buckets=_BOUNDS, registry=None
        )
        self._stages = [histogram.labels(stage) for stage in STAGES]

    def take(self, *seconds: float) -> None:
        """Record the time in each stage, in the order of `STAGES`."""
        for stage, took in zip(self._stages, seconds, strict=True):
            stage.observe(max(0.0, took))
