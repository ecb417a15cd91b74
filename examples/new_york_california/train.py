"""Trains three fraud models (for everybody, for New York, for California) and registers them as versions 1, 2 and 3."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

FRAUD_BEGINS_AT = {"everybody": 900, "New York": 2_000, "California": 400}
"""Above this amount most payments are fraud."""


def payments(begins_at: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Amounts, and whether each payment was fraud."""
    draw = np.random.default_rng(seed)
    amount = draw.gamma(2.0, 400.0, 4_000).round(2)
    odds = (amount - begins_at) / 150
    return pd.DataFrame({"amount": amount}), (draw.random(amount.size) < 1 / (1 + np.exp(-odds))).astype(int)


def main() -> None:
    """Train and register the three models."""
    mlflow.set_experiment("fraud")
    for seed, (state, begins_at) in enumerate(FRAUD_BEGINS_AT.items()):
        frame, is_fraud = payments(begins_at, seed)
        model = LogisticRegression(max_iter=1000).fit(frame, is_fraud)
        with mlflow.start_run(run_name=state):
            logged = mlflow.sklearn.log_model(
                model,
                name="model",
                pyfunc_predict_fn="predict_proba",
                signature=infer_signature(frame, model.predict_proba(frame)),
                pip_requirements=["scikit-learn", "pandas"],
                registered_model_name="fraud",
            )
        print(f"version {logged.registered_model_version}: {state}")


if __name__ == "__main__":
    main()
