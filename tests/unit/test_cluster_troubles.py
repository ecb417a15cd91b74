"""A cluster's API that hangs, is away, is busy, lies, or gives us other papers: noticed in time, and said plainly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.registry.words.errors import Forbidden, Refused, Unreachable
from sluicegate.services.cluster.access import Access, Papers, TextOrFile
from sluicegate.services.cluster.api import Api, Limits
from sluicegate.services.cluster.following import Seen, follow
from sluicegate.services.cluster.kinds import CONFIG_MAP, DEPLOYMENT
from sluicegate.services.cluster.rights import Role
from sluicegate.services.host.issuing import authority_file, own_pair
from tests.doubles.api_server import ADMIN, ApiServer

OURS = {"app.kubernetes.io/name": "sluicegate"}
TABLE = {"metadata": {"name": "table", "labels": OURS}, "data": {"a": "1"}}
SHORT = Limits(connect=0.5, whole=0.5, watch=1.0, grace=0.0)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def api(server: ApiServer, slept: list[float]) -> Api:
    return Api(server.access(), "models", sleep=slept.append)


def test_one_that_hangs_is_not_waited_for(server: ApiServer) -> None:
    api = Api(server.access(), "models", limits=SHORT)
    server.is_hanging = True
    with pytest.raises(Unreachable, match=r"GET /api/v1/namespaces/models/configmaps/table of http.*got no answer"):
        api.get(CONFIG_MAP, "table")


def test_one_that_is_away_is_said_to_be_and_found_again(server: ApiServer, api: Api) -> None:
    api.apply(CONFIG_MAP, TABLE)
    server.away()
    with pytest.raises(Unreachable, match="Fix: check that the cluster's API is up"):
        api.apply(CONFIG_MAP, TABLE)
    server.back()
    assert api.apply(CONFIG_MAP, TABLE)["data"] == {"a": "1"}


def test_a_connection_that_the_server_closed_meanwhile_costs_nothing(server: ApiServer, api: Api) -> None:
    api.apply(CONFIG_MAP, TABLE)
    server.end_connections()
    assert api.get(CONFIG_MAP, "table")["data"] == {"a": "1"}


def test_what_is_harmless_again_is_asked_again_where_the_answer_never_came(server: ApiServer, api: Api) -> None:
    server.trouble(drops=True)
    assert api.apply(CONFIG_MAP, TABLE)["data"] == {"a": "1"}
    server.trouble(drops=True)
    with pytest.raises(Unreachable):
        api.create(CONFIG_MAP, {"metadata": {"name": "another"}})


@pytest.mark.parametrize("status", [429, 503])
def test_one_that_is_busy_is_asked_again_when_it_says(
    server: ApiServer, api: Api, slept: list[float], status: int
) -> None:
    api.apply(CONFIG_MAP, TABLE)
    server.trouble(status=status, headers={"retry-after": "2"}, times=2)
    assert api.get(CONFIG_MAP, "table")["data"] == {"a": "1"}
    assert slept == [2.0, 2.0]


def test_one_that_stays_busy_is_not_asked_for_longer_than_the_limit(
    server: ApiServer, api: Api, slept: list[float]
) -> None:
    server.trouble(status=429, headers={"retry-after": "60"}, times=9)
    with pytest.raises(Unreachable, match="cannot answer now"):
        api.get(CONFIG_MAP, "table")
    assert slept == []


def test_an_error_of_the_server_is_no_answer(server: ApiServer, api: Api) -> None:
    server.trouble(status=500)
    with pytest.raises(Unreachable, match="the test wants it so"):
        api.get(CONFIG_MAP, "table")


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b'["a"]', b""])
def test_what_is_no_answer_of_kubernetes_is_not_taken_for_one(server: ApiServer, api: Api, body: bytes) -> None:
    server.trouble(status=200, body=body or b" ")
    with pytest.raises(Unreachable, match="which server has that address"):
        api.get(CONFIG_MAP, "table")


def test_an_answer_that_is_cut_off_is_no_answer(server: ApiServer, api: Api) -> None:
    api.apply(CONFIG_MAP, TABLE)
    server.trouble(cut=40)
    with pytest.raises(Unreachable, match="is not an answer of the Kubernetes API"):
        api.get(CONFIG_MAP, "table")


def test_a_list_that_expires_between_two_pages_begins_again(server: ApiServer) -> None:
    api = Api(server.access(), "models", limits=Limits(page=2))
    for number in range(3):
        api.apply(CONFIG_MAP, TABLE | {"metadata": {"name": f"table-{number}", "labels": OURS}})
    asked = len(server.asked)
    expire_after_first_page(server)
    assert len(api.select(CONFIG_MAP, OURS).items) == 3
    assert ["continue=" in line for line in server.asked[asked:]] == [False, True, False, True]


def expire_after_first_page(server: ApiServer) -> None:
    """The API forgets the version of the first page once that is given."""
    page, given = server.objects.select, []

    def select(*said: object) -> object:
        given.append(1)
        if len(given) == 2:
            server.objects.forget()
        return page(*said)  # type: ignore[arg-type]

    server.objects.select = select  # type: ignore[method-assign,assignment]


def test_a_token_that_was_replaced_is_read_again(server: ApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    server.tokens = {"first": None}
    api = Api(server.access(token), "models")
    api.apply(CONFIG_MAP, TABLE)
    token.write_text("second\n")
    server.tokens = {"second": None}
    assert api.get(CONFIG_MAP, "table")["data"] == {"a": "1"}


def test_a_token_that_is_replaced_while_it_is_refused_is_read_again(server: ApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")

    class ReplacedMeanwhile(Access):
        def papers(self) -> Papers:
            found = super().papers()
            token.write_text("second")
            return found

    server.tokens = {"second": None}
    Api(ReplacedMeanwhile(url=server.url, token=TextOrFile(path=token)), "models").apply(CONFIG_MAP, TABLE)


def test_a_token_that_stays_unknown_is_said_to_be(server: ApiServer) -> None:
    with pytest.raises(Forbidden, match="does not accept the credentials") as refused:
        Api(server.access("other"), "models").get(CONFIG_MAP, "table")
    assert "other" not in str(refused.value)


def test_what_the_role_does_not_allow_is_refused_with_the_fix(server: ApiServer) -> None:
    server.tokens["gateway"] = Role.GATEWAY
    with pytest.raises(Forbidden, match=r"cannot patch resource .*sluice cluster render"):
        Api(server.access("gateway"), "models").apply(DEPLOYMENT, {"metadata": {"name": "a"}})


def test_papers_that_cannot_be_read_are_named(server: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="token"):
        Api(server.access(tmp_path / "token"), "models").get(CONFIG_MAP, "table")


def test_an_authority_that_was_replaced_is_trusted_at_once(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    one, other = (own_pair(tmp_path / name, "127.0.0.1", now) for name in ("one", "other"))
    authority = tmp_path / "ca.crt"
    authority.write_bytes(authority_file(tmp_path / "one").read_bytes())
    with ApiServer(one) as server:
        api = Api(server.access(authority=authority), "models")
        api.apply(CONFIG_MAP, TABLE)
        server.certificate = other
        server.end_connections()
        with pytest.raises(Unreachable, match="certificate"):
            api.get(CONFIG_MAP, "table")
        authority.write_bytes(authority_file(tmp_path / "other").read_bytes())
        assert api.get(CONFIG_MAP, "table")["data"] == {"a": "1"}


def test_a_watch_that_says_nothing_is_noticed(server: ApiServer) -> None:
    api = Api(server.access(), "models", limits=SHORT)
    since = api.select(CONFIG_MAP, OURS).version
    server.watches_are_silent = True
    with pytest.raises(Unreachable, match="got no answer"):
        tuple(api.watch(CONFIG_MAP, OURS, since))


def test_other_questions_of_a_thread_do_not_end_its_watch(server: ApiServer) -> None:
    api = Api(server.access(), "models", limits=Limits(whole=0.5))
    since = api.select(CONFIG_MAP, OURS).version
    api.apply(CONFIG_MAP, TABLE)
    told = []
    for event in api.watch(CONFIG_MAP, OURS, since):
        told.append(event.what)
        if event.what == "ADDED":
            api.get(CONFIG_MAP, "table")
            threading.Timer(0.7, api.apply, (CONFIG_MAP, TABLE | {"data": {"a": "2"}})).start()
    assert told == ["ADDED", "MODIFIED", "BOOKMARK"]


def states(server: ApiServer, acts: list[Callable[[], object]], limits: Limits = SHORT) -> list[Seen]:
    """What a follower sees: after each state the next act is done, and after the last one it ends."""
    over, seen = threading.Event(), list[Seen]()
    for state in follow(Api(server.access(), "models", limits=limits), CONFIG_MAP, OURS, over.wait):
        seen.append(state)
        if len(seen) > len(acts):
            over.set()
        else:
            acts[len(seen) - 1]()
    return seen[: len(acts) + 1]


def put(server: ApiServer, value: str) -> Callable[[], object]:
    return lambda: Api(server.access(), "models").apply(CONFIG_MAP, TABLE | {"data": {"a": value}})


def test_who_follows_keeps_what_it_saw_while_the_api_is_away(server: ApiServer) -> None:
    put(server, "1")()

    def return_with_another() -> None:
        server.back()
        put(server, "2")()

    seen = states(server, [server.away, return_with_another])
    assert [state.objects["table"]["data"]["a"] for state in seen] == ["1", "1", "2"]
    assert [state.why is None for state in seen] == [True, False, True]


def test_who_follows_lists_again_where_its_version_is_forgotten(server: ApiServer) -> None:
    put(server, "1")()

    def forget() -> None:
        put(server, "2")()
        server.objects.forget()

    seen = states(server, [forget])
    assert [state.objects["table"]["data"]["a"] for state in seen] == ["1", "2"]


def test_who_follows_a_watch_that_fell_silent_sees_what_happened_meanwhile(server: ApiServer) -> None:
    put(server, "1")()

    def fall_silent() -> None:
        server.watches_are_silent = True
        put(server, "2")()

    def speak() -> None:
        server.watches_are_silent = False

    seen = states(server, [fall_silent, speak])
    assert [state.objects["table"]["data"]["a"] for state in seen] == ["1", "1", "2"]


def test_a_refusal_is_not_tried_again(server: ApiServer, api: Api) -> None:
    asked = len(server.asked)
    with pytest.raises(Refused):
        api.apply(CONFIG_MAP, {"metadata": {"name": "Not A Name"}})
    assert len(server.asked) == asked + 1


def test_no_secret_is_shown(server: ApiServer) -> None:
    access = Access(url=server.url, token=TextOrFile(text=ADMIN))
    assert ADMIN not in repr(access)
    assert ADMIN not in repr(access.papers())
