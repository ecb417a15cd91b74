"""The doors of MLflow on a real server: stages, aliases and tags start rollouts, and are told how these ended."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sluicegate.flows.stages.settle import settle
from sluicegate.registry.catalog.mlflow_http import MlflowCatalog
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable, ServiceFailed
from sluicegate.registry.words.settings import MlflowServer
from sluicegate.services.host.installation import Site
from sluicegate.services.host.keys import Keys
from sluicegate.services.host.webhook import Webhook
from sluicegate.services.keeper.catalog_watch import look_at_catalog
from tests import giving as orders
from tests.contract.mlflow_server import mlflow_server
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WHO = Giver(actor="ada", cause="cli")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


class Shop:
    """A model with three versions in MLflow, of which the first is stable, and a plan with a trigger."""

    def __init__(self, server: MlflowServer, model: str, trigger: dict[str, object]) -> None:
        self.catalog, self.ledger, self.model = MlflowCatalog(server), MemoryLedger(), model
        api, auth = f"{server.url}/api/2.0/mlflow", (server.username, server.password)
        self.http = httpx.Client(base_url=api, auth=auth, timeout=30, trust_env=False)
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self.ask("POST", "/registered-models/create", name=model)
        run = self.ask("POST", "/runs/create", experiment_id="0")["run"]["info"]
        for _ in range(3):
            source = f"{run['artifact_uri']}/model"
            self.ask("POST", "/model-versions/create", name=model, source=source, run_id=run["run_id"])
        values = {"model": model, "steps": [{"weight": 10}], "trigger": trigger}
        self.plan = Plan.model_validate(values)
        applied = Applied(
            kind="plan", name=f"{model}/default", body=self.plan.document(), digest=self.plan.digest, actor="ada",
            at=self.at,
        )  # fmt: skip
        self.ledger.apply(applied)
        first = orders.deploy(self.ledger, plan=self.plan, version="1", request=WHO, now=self.at).rollout
        self.ready(first.id)
        orders.complete(self.ledger, first.id, self.at)

    def ask(self, method: str, path: str, **body: object) -> dict[str, Any]:
        answer = self.http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def move(self, version: str, stage: str, *, archive: bool = False) -> None:
        """What a person does in MLflow's UI, or by transition_model_version_stage."""
        self.ask(
            "POST", "/model-versions/transition-stage", name=self.model, version=version, stage=stage,
            archive_existing_versions=archive,
        )  # fmt: skip

    def stages(self) -> dict[str, str]:
        return {build.ref.version: build.stage for build in self.catalog.builds(self.model)}

    def tags(self, version: str) -> dict[str, str]:
        return self.catalog.build(BuildRef(model=self.model, version=version)).tags

    def look(self) -> tuple[str, ...]:
        self.at += timedelta(seconds=5)
        return look_at_catalog(self.ledger, self.catalog, self.at)

    def ready(self, name: str) -> None:
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")):
            orders.append(self.ledger, name, lambda _, fact=fact: fact, self.at)

    def running(self, name: str) -> str:
        self.ready(name)
        entered = StepEntered(step=0, weight=1000, actor="d", reason="ready")
        orders.append(self.ledger, name, lambda _: entered, self.at)
        return name

    def end(self, order: Callable[..., Rollout], name: str, why: str) -> Rollout:
        """A person's order, and what MLflow is told then."""
        self.at += timedelta(seconds=5)
        after = order(self.ledger, name, actor="ada", reason=why, now=self.at)
        settle(self.catalog, after, "champion")
        return after


@pytest.mark.parametrize("archive", [False, True], ids=["left", "archived-by-the-move"])
def test_moved_to_production_and_aborted_it_goes_back_and_says_why(server: MlflowServer, archive: bool) -> None:
    shop = Shop(server, f"aborted-{archive}", {"stage": "Production"})
    shop.move("1", "Production")
    shop.move("2", "Staging")
    assert shop.look() == (), "stable is in Production, and nothing else"
    shop.move("2", "Production", archive=archive)
    (name,) = shop.look()
    shop.running(name)
    shop.end(orders.abort, name, "log loss is worse")
    assert shop.stages() == {"1": "Production", "2": "Staging", "3": "None"}
    assert {key: shop.tags("2")[f"sluice.{key}"] for key in ("ending", "reason", "actor")} == {
        "ending": "aborted", "reason": "log loss is worse", "actor": "ada",
    }  # fmt: skip
    assert shop.look() == ()
    shop.move("2", "Production")
    assert len(shop.look()) == 1, "a person moved it once more"


def test_moved_to_production_and_promoted_the_earlier_version_is_archived(server: MlflowServer) -> None:
    shop = Shop(server, "promoted", {"stage": "Production"})
    shop.move("1", "Production")
    shop.look()
    shop.move("2", "Production")
    (name,) = shop.look()
    assert shop.ledger.rollout(name).requested.cause == "stage:Production"
    promoted = shop.end(orders.promote, shop.running(name), "good")
    assert shop.stages() == {"1": "Archived", "2": "Production", "3": "None"}
    assert shop.look() == ()
    shop.end(orders.abort, promoted.id, "it bakes badly")
    assert shop.stages() == {"1": "Production", "2": "None", "3": "None"}
    assert shop.look() == ()


def test_a_version_deleted_in_mid_rollout_ends_it_and_a_server_that_is_away_does_not(server: MlflowServer) -> None:
    shop = Shop(server, "deleted", {"alias": "candidate"})
    shop.ask("POST", "/registered-models/alias", name="deleted", alias="candidate", version="2")
    (name,) = shop.look()
    shop.running(name)
    here, shop.catalog = shop.catalog, MlflowCatalog(MlflowServer(url=nobody()))
    with pytest.raises(CatalogUnavailable):
        shop.look()
    assert not shop.ledger.rollout(name).is_ended
    shop.catalog = here
    shop.ask("DELETE", "/model-versions/delete", name="deleted", version="2")
    shop.look()
    gone = shop.ledger.rollout(name)
    assert (gone.ending, gone.weight, gone.reason) == (Ending.ABORTED, 0, "deleted v2 was deleted from MLflow")
    assert "is not in MLflow any more" in settle(shop.catalog, gone, "champion")[0]


def test_a_tag_taken_away_in_mid_rollout_ends_it_and_given_again_starts_it(server: MlflowServer) -> None:
    shop = Shop(server, "tagged", {"tag": {"deploy": "yes"}})
    shop.ask("POST", "/model-versions/set-tag", name="tagged", version="2", key="deploy", value="yes")
    (name,) = shop.look()
    shop.ask("DELETE", "/model-versions/delete-tag", name="tagged", version="2", key="deploy")
    shop.look()
    assert not shop.ledger.rollout(name).is_ended, "it might be given again at once"
    shop.look()
    assert shop.ledger.rollout(name).reason == "the trigger tag:deploy=yes does not point at tagged v2 any more"
    shop.ask("POST", "/model-versions/set-tag", name="tagged", version="2", key="deploy", value="yes")
    assert len(shop.look()) == 1


def test_the_webhook_is_registered_once_and_again_when_its_secret_or_address_changes(server: MlflowServer) -> None:
    site = Site(state="/somewhere", ports={"console": 1, "prefect": 2}, mlflow=server.url)
    clients = {"MLFLOW_TRACKING_USERNAME": server.username, "MLFLOW_TRACKING_PASSWORD": server.password}
    keys = Keys(**{each.name: f"secret of {each.name}" for each in fields(Keys)})
    api = httpx.Client(base_url=server.url, auth=(server.username, server.password), trust_env=False, timeout=30)

    def registered() -> list[tuple[str, str]]:
        hooks = api.get("/api/2.0/mlflow/webhooks").json().get("webhooks", [])
        return [(hook["webhook_id"], hook["url"]) for hook in hooks]

    hook = Webhook(site, keys, clients, console="https://1.1.1.1/sluice/")
    hook.begin()
    (first,) = registered()
    assert first[1] == "https://1.1.1.1/sluice/webhooks/mlflow"
    hook.begin()
    assert registered() == [first]
    Webhook(site, replace(keys, webhook_secret="another"), clients, console="https://1.1.1.1/sluice").begin()
    (second,) = registered()
    assert second[0] != first[0]
    assert hook.remove() == 1
    assert registered() == []
    with pytest.raises(ServiceFailed, match="MLFLOW_WEBHOOK_ALLOWED_SCHEMES"):
        Webhook(site, keys, clients).begin()


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"
