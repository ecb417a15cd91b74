"""sync: apply the documents of a Git branch."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit, errors_exit_with_1, plain, remark
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.settings import Settings

NOT_IN_SYNC = 2


def sync(
    url: Annotated[str, Parameter(help="The repository: a URL that git understands, or a folder.")],
    *,
    branch: Annotated[str, Parameter(help="The branch whose newest commit counts.")] = "main",
    path: Annotated[str, Parameter(help="The folder of documents in the repository.")] = ".",
    environment: Annotated[
        str | None, Parameter(help="The environment to apply; by default the one that SLUICE_ENVIRONMENT names.")
    ] = None,
    revert: Annotated[
        bool,
        Parameter(
            negative="",
            help="Where a document was changed here, restore Git's version. Without this option such changes are "
            "only reported.",
        ),
    ] = False,
    write_back: Annotated[bool, Parameter(help="After a rollback, push a branch that names the build in use.")] = True,
    propose_to: Annotated[
        str | None, Parameter(help="When a build was promoted here, push a branch that deploys it in this environment.")
    ] = None,
    follow: Annotated[
        bool | None,
        Parameter(
            help="Follow the branch from now on, every five minutes; or stop following it, and showing it in doctor."
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Make this installation match a branch: apply its documents, report or revert drift, write back rollbacks.

    Uses the ledger of this machine. Exit code 0: in sync, 2: something differs from Git, 1: error.
    """
    from sluicegate.flows.cli.reach import actor
    from sluicegate.flows.sync.remembered import Standing, Tree, unfollow
    from sluicegate.flows.sync.remembered import follow as go_on
    from sluicegate.flows.sync.syncing import Follower, synchronise
    from sluicegate.flows.wiring.desk import desk_without_doors
    from sluicegate.registry.words.roles import Role
    from sluicegate.services.host.addresses import has_ledger

    settings = Settings.read()
    if not has_ledger(settings):
        fix = "set SLUICE_STATE or SLUICE_LEDGER, or run the Prefect deployment sync/sync"
        raise NotFound(f"there is no ledger in {settings.state}.", fix=fix)
    desk = desk_without_doors()
    tree = Tree(url=url, branch=branch, path=path, environment=environment or settings.environment)
    if follow is False:
        remark(f"{tree}: {'no longer followed' if unfollow(desk.ledger, tree) else 'it was not followed'}")
        return 0
    if follow:
        go_on(desk.ledger, Standing(tree=tree, revert=revert, write_back=write_back, hand_to=propose_to))
    follower = Follower(
        desk=desk, actor=actor(), role=Role.ADMIN, revert=revert, write_back=write_back, hand_to=propose_to
    )
    with errors_exit_with_1():
        outcome = synchronise(follower, tree)
    emit(plain(outcome), output, table=str(outcome))
    return 0 if outcome.is_in_sync else NOT_IN_SYNC
