"""The preflight: which requirements really conflict."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.services.bento.requirements import Requirements, conflicts

INSTALLED = {"pandas": "3.1.1", "scikit-learn": "1.9.1", "mlflow": "3.17.2", "numpy": "2.4.6", "skops": "0.16.0"}


def model(
    folder: Path, *lines: str, python: str = "3.11.7", flavors: str = "sklearn: {}", pickled: bool = False
) -> Path:
    (folder / "MLmodel").write_text(f"flavors:\n  python_function:\n    python_version: {python}\n  {flavors}\n")
    (folder / "requirements.txt").write_text("\n".join(lines))
    if pickled:
        (folder / "model.pkl").write_bytes(b"")
    return folder


def found(folder: Path) -> list[str]:
    return [str(conflict) for conflict in conflicts(Requirements.read(folder), INSTALLED.get, "3.11.9")]


@pytest.mark.parametrize(
    "line",
    [
        "pandas==3.1.1", "pandas==3.0.2", "pandas>=3,<4", "pandas", "Pandas==3.1.1", "scikit_learn==1.9.0",
        "numpy<3,>=2",
        "mlflow==3.14.0", "skops==0.16.3", "pandas==3.*", 'winsome==1 ; sys_platform == "win32"',
        "pandas==3.1.1 # as trained", "# a comment", "--no-binary :all:", "-r other.txt", "",
    ],
)  # fmt: skip
def test_no_conflict(tmp_path: Path, line: str) -> None:
    assert found(model(tmp_path, line)) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("pandas==2.2.3", "pandas: the model needs ==2.2.3, installed is 3.1.1"),
        ("pandas<3", "pandas: the model needs <3, installed is 3.1.1"),
        ("scikit-learn==1.8.2", "scikit-learn: the model needs ==1.8.2, installed is 1.9.1"),
        ("skops==0.15.0", "skops: the model needs ==0.15.0, installed is 0.16.0"),
        ("xgboost==3.0.0", "xgboost: the model needs ==3.0.0, installed is none"),
        ("lightgbm", "lightgbm: the model needs any version, installed is none"),
        ("pandas===2.2.3", "pandas: the model needs ===2.2.3, installed is 3.1.1"),
    ],
)
def test_a_conflict_is_told(tmp_path: Path, line: str, told: str) -> None:
    assert found(model(tmp_path, line)) == [told]


def test_all_conflicts_are_told(tmp_path: Path) -> None:
    assert len(found(model(tmp_path, "pandas==2.2.3", "numpy==2.0.0", "xgboost==3.0.0"))) == 2


def test_the_minor_version_counts_only_for_the_package_that_saved_the_model(tmp_path: Path) -> None:
    assert found(model(tmp_path, "scikit-learn==1.8.2", flavors="other: {}")) == []


def test_python_counts_where_code_is_pickled(tmp_path: Path) -> None:
    assert found(model(tmp_path, python="3.12.1", pickled=True)) == [
        "python: the model needs 3.12.1, installed is 3.11.9"
    ]
    (tmp_path / "model.pkl").unlink()
    assert found(tmp_path) == []


def test_conda_stands_in_for_a_missing_list(tmp_path: Path) -> None:
    model(tmp_path)
    (tmp_path / "requirements.txt").unlink()
    (tmp_path / "conda.yaml").write_text("dependencies:\n- python=3.11\n- pip\n- pip:\n  - pandas==2.2.3\n")
    assert found(tmp_path) == ["pandas: the model needs ==2.2.3, installed is 3.1.1"]
