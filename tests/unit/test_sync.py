"""Documents in Git: a branch of a real repository is followed, whatever breaks off between two effects."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.flows.sync import repository, syncing
from sluicegate.flows.sync.remembered import Tree, followed, standing
from sluicegate.flows.sync.syncing import Follower, SyncResult, synchronise
from sluicegate.registry.documents.documents import document_from_values
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.orders import progress
from sluicegate.registry.orders.give import apply_document, withdraw_document
from sluicegate.registry.rollout.facts import Baked, Confirmed, Judged, Promoted, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import InvalidDocument, Unreachable, UsageError
from sluicegate.registry.words.roles import Role
from tests import giving
from tests.contract.ledgers import PACKED
from tests.unit.commands import sluice
from tests.unit.console_office import MemoryDesk
from tests.unit.test_environments import write

PLAN = "kind: plan\nmodel: m\nsteps: [{weight: 10}, {weight: 50}]\n"
AUDIENCE = "kind: audience\nname: new-york\nwhen: {x-state: NY}\n"
DEPLOYMENT = "kind: deployment  # what production serves\nmodel: m\nbuild: 1   # by ada\n"


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=ada", "-c", "user.email=ada@localhost", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ("git", *author, "-C", str(folder), *words), check=True, capture_output=True, text=True
    ).stdout  # fmt: skip


@dataclass(frozen=True)
class Git:
    """A bare repository, and a clone in which somebody works."""

    bare: Path
    work: Path

    @classmethod
    def with_plan(cls, folder: Path) -> Git:
        """A repository whose branch main holds a plan and an audience."""
        bare, work = folder / "bare.git", folder / "work"
        bare.mkdir()
        git(bare, "init", "--quiet", "--bare")
        git(folder, "clone", "--quiet", str(bare), str(work))
        repo = cls(bare, work)
        repo.commit(plan=PLAN, audience=AUDIENCE)
        return repo

    def commit(self, **files: str | None) -> None:
        for name, text in files.items():
            path = self.work / "documents" / f"{name}.yaml"
            path.unlink() if text is None else write(path, text)
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--message", "change")
        git(self.work, "push", "--quiet", "origin", "HEAD:refs/heads/main")

    def branches(self) -> list[str]:
        return git(self.bare, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()

    @property
    def tree(self) -> Tree:
        return Tree(url=str(self.bare), branch="main", path="documents")


@pytest.fixture
def repo(tmp_path: Path) -> Git:
    return Git.with_plan(tmp_path)


@pytest.fixture
def desk() -> MemoryDesk:
    return MemoryDesk()


def sync(desk: MemoryDesk, repo: Git, *, revert: bool = False, role: Role = Role.ADMIN) -> SyncResult:
    return synchronise(Follower(desk=desk, actor="git", role=role, revert=revert), repo.tree)


def here(desk: MemoryDesk) -> set[str]:
    kinds = ("plan", "audience", "freeze", "deployment")
    return {f"{each.kind} {each.name}" for kind in kinds for each in desk.ledger.all_applied(kind)}


def change_here(desk: MemoryDesk, values: dict[str, object]) -> None:
    read = document_from_values(values, "by hand")
    document = Applied(
        kind=read.kind, name=read.name, body=read.body, digest=read.digest, actor="eve", at=datetime.now(UTC)
    )
    apply_document(desk.ledger, document, Role.ADMIN)


def test_what_a_commit_adds_changes_and_takes_away_is_done_here(desk: MemoryDesk, repo: Git) -> None:
    assert sync(desk, repo).is_in_sync
    assert here(desk) == {"plan m/default", "audience new-york"}
    assert sync(desk, repo).done == ()
    repo.commit(plan=PLAN.replace("10", "20"), audience=None)
    assert sync(desk, repo).done == (
        "plan m/default: applied: Git changed it", "audience new-york: withdrawn: it is not in Git any more",
    )  # fmt: skip
    assert here(desk) == {"plan m/default"}


def test_what_git_never_had_is_left_alone(desk: MemoryDesk, repo: Git) -> None:
    change_here(desk, {"kind": "audience", "name": "mine", "when": {"x-a": "1"}})
    sync(desk, repo)
    repo.commit(audience=None)
    sync(desk, repo)
    assert here(desk) == {"plan m/default", "audience mine"}


@pytest.mark.parametrize("revert", [False, True])
def test_drift_is_told_or_reverted(desk: MemoryDesk, repo: Git, *, revert: bool) -> None:
    sync(desk, repo)
    change_here(desk, {"kind": "audience", "name": "new-york", "when": {"x-state": "NJ"}})
    withdraw_document(desk.ledger, "plan", "m/default", "eve", Role.ADMIN, datetime.now(UTC))
    for _ in range(2):
        outcome = sync(desk, repo, revert=revert)
        assert outcome.is_in_sync is revert
        if not revert:
            assert outcome.drift == (
                "audience new-york: it was changed here", "plan m/default: it was withdrawn here",
            )  # fmt: skip
    assert ("plan m/default" in here(desk)) is revert
    [audience] = desk.ledger.all_applied("audience")
    assert ("NY" in str(audience.body)) is revert
    assert followed(desk.ledger)[0].wrong == outcome.drift


def test_from_a_tree_with_an_error_nothing_is_applied(desk: MemoryDesk, repo: Git) -> None:
    sync(desk, repo)
    repo.commit(plan=PLAN.replace("weight", "wait"), other=AUDIENCE.replace("new-york", "other"))
    with pytest.raises(InvalidDocument) as raised:
        sync(desk, repo)
    assert {each.where for each in raised.value.problems} == {"documents/plan.yaml"}
    assert here(desk) == {"plan m/default", "audience new-york"}
    assert "documents/plan.yaml" in followed(desk.ledger)[0].wrong[0]


def test_what_is_refused_is_tried_again_and_holds_nothing_else_up(desk: MemoryDesk, repo: Git) -> None:
    freeze = "kind: freeze\nname: a\nzone: UTC\nwindows: [{from: 2020-01-01T00:00, until: 2099-01-01T00:00}]\n"
    repo.commit(freeze=freeze, deployment=DEPLOYMENT)
    outcome = sync(desk, repo)
    assert (len(outcome.refused), len(here(desk))) == (1, 3)
    assert outcome.refused[0].startswith("deployment m/default: ")
    assert sync(desk, repo).refused == outcome.refused
    repo.commit(freeze=freeze.replace("2099", "2021"))
    assert sync(desk, repo).is_in_sync
    assert "deployment m/default" in here(desk)


# --- deployments ------------------------------------------------------------------------------------------------------


def served(desk: MemoryDesk) -> str | None:
    return progress.stable(desk.ledger, "m", "default")


def launch(desk: MemoryDesk, rollout: Rollout) -> Rollout:
    now = datetime.now(UTC)
    facts = (PACKED, Ready(version=rollout.requested.version))
    for fact in facts:
        progress.append(desk.ledger, rollout.id, lambda _, fact=fact: fact, now)
    return progress.complete(desk.ledger, rollout.id, now)


def last(desk: MemoryDesk) -> Rollout:
    return desk.ledger.rollouts(Selection(model="m"))[-1]


def promote(desk: MemoryDesk) -> None:
    rollout, now = launch(desk, last(desk)), datetime.now(UTC)
    for fact in (
        StepEntered(step=0, weight=1_000, actor="driver", reason="first"),
        Promoted(actor="ada", reason="ada says so", override=True, verdicts={}),
        Baked(reason="over"),
    ):
        progress.append(desk.ledger, rollout.id, lambda _, fact=fact: fact, now)


@pytest.fixture
def serving(desk: MemoryDesk, repo: Git) -> MemoryDesk:
    """A model that serves v1, as Git says."""
    repo.commit(deployment=DEPLOYMENT)
    assert sync(desk, repo).is_in_sync
    launch(desk, last(desk))
    assert served(desk) == "1"
    return desk


def test_a_deployment_is_rolled_out_once_and_what_was_taken_back_is_told_git(serving: MemoryDesk, repo: Git) -> None:
    repo.commit(deployment=DEPLOYMENT.replace("build: 1", "build: 2"))
    first = sync(serving, repo)
    assert first.done[0].startswith("deployment m/default: applied, m-v2-")
    assert sync(serving, repo).is_in_sync, "under way"
    launch(serving, last(serving))
    giving.abort(serving.ledger, last(serving).id, actor="gate", reason="errors are higher", now=datetime.now(UTC))
    outcome = sync(serving, repo)
    name = last(serving).id
    assert outcome.drift == (f"deployment m/default: serves v1, not v2: {name}: errors are higher",)
    assert outcome.branches == (f"sluice/{name}",)
    again = sync(serving, repo, revert=True)
    assert (again.branches, again.done, last(serving).id) == ((), (), name), "not tried again, not pushed again"
    assert repo.branches() == ["main", f"sluice/{name}"]
    text = git(repo.bare, "show", f"sluice/{name}:documents/deployment.yaml")
    assert text == DEPLOYMENT.replace("build: 1", 'build: "1"'), "its comments stay"
    assert "errors are higher" in git(repo.bare, "log", "-1", "--format=%B", f"sluice/{name}")
    git(repo.work, "fetch", "--quiet")
    git(repo.work, "merge", "--quiet", "--no-edit", f"origin/sluice/{name}")
    git(repo.work, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    assert sync(serving, repo).is_in_sync


def test_the_page_shows_what_a_run_says(serving: MemoryDesk, repo: Git) -> None:
    repo.commit(deployment=DEPLOYMENT.replace("build: 1", "build: 2"))
    sync(serving, repo)
    launch(serving, last(serving))
    giving.abort(serving.ledger, last(serving).id, actor="gate", reason="errors are higher", now=datetime.now(UTC))
    repo.commit(plan=PLAN.replace("10", "20"))
    page = (Path(__file__).parents[2] / "docs/how-to/keep-documents-in-git.md").read_text()
    shown = re.sub("(?<=commit )[0-9a-f]{12}|(?<=-v2-)[0-9a-f]{6}", "#", page.replace("delays", "m"))
    assert re.sub("(?<=commit )[0-9a-f]{12}|(?<=-v2-)[0-9a-f]{6}", "#", str(sync(serving, repo))) in shown


def test_going_back_in_git_goes_back_here_and_forward_again_is_a_new_rollout(serving: MemoryDesk, repo: Git) -> None:
    repo.commit(deployment=DEPLOYMENT.replace("build: 1", "build: 2"))
    sync(serving, repo)
    promote(serving)
    assert (served(serving), sync(serving, repo).is_in_sync) == ("2", True)
    repo.commit(deployment=DEPLOYMENT)
    sync(serving, repo)
    assert last(serving).requested.strategy == "rollback"
    progress.append(serving.ledger, last(serving).id, lambda _: Ready(version="1"), datetime.now(UTC))
    progress.complete(serving.ledger, last(serving).id, datetime.now(UTC))
    assert served(serving) == "1"
    repo.commit(deployment=DEPLOYMENT.replace("build: 1", "build: 2"))
    before = last(serving).id
    assert sync(serving, repo).is_in_sync
    assert (last(serving).id != before, last(serving).requested.version) == (True, "2")


@pytest.mark.parametrize("effect", ["_apply", "_withdraw", "write_back", "remember"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_broken_off_between_two_effects_the_next_run_does_the_rest_and_nothing_twice(
    serving: MemoryDesk, repo: Git, monkeypatch: pytest.MonkeyPatch, effect: str, *, after: bool
) -> None:
    repo.commit(deployment=DEPLOYMENT.replace("build: 1", "build: 2"))
    sync(serving, repo)
    launch(serving, last(serving))
    giving.abort(serving.ledger, last(serving).id, actor="gate", reason="worse", now=datetime.now(UTC))
    name = last(serving).id
    repo.commit(plan=PLAN.replace("10", "20"), audience=None, other=AUDIENCE.replace("new-york", "other"))
    with monkeypatch.context() as broken:
        broken.setattr(syncing, effect, _breaking(getattr(syncing, effect), after=after))
        with pytest.raises(KeyboardInterrupt):
            sync(serving, repo)
    sync(serving, repo)
    assert here(serving) == {"plan m/default", "audience other", "deployment m/default"}
    assert repo.branches() == ["main", f"sluice/{name}"]
    assert last(serving).id == name
    assert [each.name for each in serving.ledger.history("plan", "m/default")] == ["m/default"] * 2
    assert sync(serving, repo).done == ()


def _breaking(act: Callable[..., object], *, after: bool) -> Callable[..., object]:
    def broken(*words: object) -> object:
        if after:
            act(*words)
        raise KeyboardInterrupt

    return broken


def test_two_branches_of_one_environment_each_change_their_own_file(serving: MemoryDesk, repo: Git) -> None:
    prod = "kind: deployment\nmodel: m\nbuild: '2'\n"
    path = repo.work / "documents/environments/prod/deployment.yaml"
    write(path, prod)
    repo.commit()
    tree = replace(repo.tree, environment="prod")
    follower = Follower(desk=serving, actor="git", role=Role.ADMIN)
    synchronise(follower, tree)
    giving.abort(serving.ledger, last(serving).id, actor="ada", reason="no", now=datetime.now(UTC))
    [branch] = synchronise(follower, tree).branches
    text = git(repo.bare, "show", f"{branch}:documents/environments/prod/deployment.yaml")
    assert text == prod.replace("'2'", '"1"')
    assert git(repo.bare, "show", f"{branch}:documents/deployment.yaml") == DEPLOYMENT


LATE = """\
  late: {source: outcome, outcome: late, score: outcome, cap: 1}
confirm: {metric: late, margin: 5%, max_time: 9d}
"""


@pytest.mark.parametrize("confirm", ["", LATE], ids=["at once", "once it is confirmed"])
def test_what_was_promoted_here_is_proposed_for_the_next_environment_with_its_evidence(
    serving: MemoryDesk, repo: Git, confirm: str
) -> None:
    for name in ("stage", "prod"):
        write(repo.work / f"documents/environments/{name}/deployment.yaml", "kind: deployment\nmodel: m\nbuild: 1\n")
    gated = "gates: [{metric: e, margin: 20%}]\nmetrics:\n  e: {source: status}\n"
    repo.commit(plan=PLAN + gated + confirm)
    tree = replace(repo.tree, environment="stage")
    follower = Follower(desk=serving, actor="git", role=Role.ADMIN, hand_to="prod")
    assert synchronise(follower, tree).branches == ()
    write(repo.work / "documents/environments/stage/deployment.yaml", "kind: deployment\nmodel: m\nbuild: 2\n")
    repo.commit()
    assert synchronise(follower, tree).branches == ()
    rollout = launch(serving, last(serving))
    at = StepEntered(step=0, weight=1_000, actor="driver", reason="next")
    passed = Judged(metric="e", answer="pass", k=3, step=1, reason="errors are equal")
    for fact in (
        at,
        replace(at, step=1, weight=5_000),
        passed,
        Promoted(actor="gate", reason="all gates passed", override=False, verdicts={"e": "pass"}),
        *((Confirmed(reason="labels agree"),) if confirm else ()),
        Baked(reason="over"),
    ):
        if isinstance(fact, Confirmed):
            assert synchronise(follower, tree).branches == ()
        progress.append(serving.ledger, rollout.id, lambda _, fact=fact: fact, datetime.now(UTC))
    branch = f"sluice/prod-{rollout.id}"
    assert synchronise(follower, tree).branches == (branch,)
    assert synchronise(follower, tree).branches == ()
    assert 'build: "2"' in git(repo.bare, "show", f"{branch}:documents/environments/prod/deployment.yaml")
    assert "e: pass: errors are equal" in git(repo.bare, "log", "-1", "--format=%B", branch)


# --- what a repository may do -----------------------------------------------------------------------------------------


def test_a_link_in_the_repository_leads_nowhere(desk: MemoryDesk, repo: Git, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(AUDIENCE.replace("new-york", "secret"))
    (repo.work / "documents/link.yaml").symlink_to(tmp_path / "secret.yaml")
    repo.commit()
    with pytest.raises(InvalidDocument):
        sync(desk, repo)
    assert here(desk) == set()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"branch": "nowhere"}, Unreachable, "nowhere"),
        ({"branch": "--upload-pack=x"}, UsageError, "not the name of a branch"),
        ({"path": "../.."}, UsageError, "has no folder"),
        ({"path": "none"}, UsageError, "has no folder"),
        ({"url": "https://ada:s3cret@127.0.0.1:1/x.git"}, Unreachable, "https://127.0.0.1:1/x.git"),
        ({"url": "ext::sh -c touch% /tmp/x"}, Unreachable, "ext"),
    ],
)
def test_what_cannot_be_followed_is_said(
    desk: MemoryDesk, repo: Git, change: dict[str, str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as raised:
        synchronise(Follower(desk=desk, actor="git", role=Role.ADMIN), replace(repo.tree, **change))
    assert says in str(raised.value)
    assert "s3cret" not in str(raised.value) + str(followed(desk.ledger))


def test_a_git_that_hangs_is_given_up(desk: MemoryDesk, repo: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "SECONDS", 0.001)
    with pytest.raises(Unreachable, match="did not finish"):
        sync(desk, repo)


def test_an_operator_cannot_take_callers_by_git(serving: MemoryDesk, repo: Git) -> None:
    repo.commit(deployment=DEPLOYMENT.replace("build: 1", "build: 2"))
    viewer = sync(serving, repo, role=Role.VIEWER)
    assert "needs the role operator" in viewer.refused[0]
    assert sync(serving, repo, role=Role.OPERATOR).is_in_sync


# --- at the command line ----------------------------------------------------------------------------------------------


def test_the_command_says_what_it_did_and_doctor_how_it_stands(repo: Git, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    ledger = SqlLedger(f"sqlite:///{state / 'ledger.db'}")
    words = ("sync", str(repo.bare), "--path", "documents")
    code, out, _ = sluice(state, *words, "--follow")
    assert (code, "plan m/default: applied: it is new" in out) == (0, True)
    assert [each.tree for each in standing(ledger)] == [repo.tree]
    withdraw_document(ledger, "plan", "m/default", "eve", Role.ADMIN, datetime.now(UTC))
    sluice(state, *words, "--no-follow")
    assert standing(ledger) == ()
    code, out, _ = sluice(state, *words)
    assert (code, "differs: plan m/default: it was withdrawn here" in out) == (2, True)
    assert "plan m/default: it was withdrawn here" in sluice(state, "doctor").out
    code, _, said = sluice(state, "sync", "https://ada:s3cret@localhost/x.git", "--follow")
    assert (code != 0, "credential helper" in said, "s3cret" in said) == (True, True, False)
    ledger.close()


def test_an_error_exits_with_1_because_2_means_that_something_differs(repo: Git, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    SqlLedger(f"sqlite:///{tmp_path / 'state/ledger.db'}").close()
    repo.commit(plan=PLAN.replace("weight: 10", "weight: 1O"))
    assert sluice(tmp_path / "state", "sync", str(repo.bare), "--path", "documents").code == 1
    assert sluice(tmp_path / "state", "sync", str(tmp_path / "nothing")).code == 1


def test_what_was_never_read_is_shown_only_if_it_is_followed(repo: Git, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    SqlLedger(f"sqlite:///{state / 'ledger.db'}").close()
    words = ("sync", str(repo.bare), "--branch", "nowhere")
    assert "Remote branch nowhere not found" in sluice(state, *words).err
    assert "nowhere" not in sluice(state, "doctor").out
    sluice(state, *words, "--follow")
    shown = sluice(state, "doctor").out
    assert "nowhere:." in shown
    assert "check the URL, the branch and git's credentials" in shown
    assert "warning:" not in shown
    sluice(state, *words, "--no-follow")
    assert "nowhere" not in sluice(state, "doctor").out


def test_where_nothing_was_ever_started_it_says_so_and_makes_no_ledger(repo: Git, tmp_path: Path) -> None:
    code, _, said = sluice(tmp_path / "mistyped", "sync", str(repo.bare), "--path", "documents")
    assert (code, "there is no ledger in" in said) == (1, True)
    assert not (tmp_path / "mistyped").exists()
