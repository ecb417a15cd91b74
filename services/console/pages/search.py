"""Search over models, rollouts, experiments, audiences, pages, terms and orders; each hit links to a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request

from sluicegate.registry.ledger.experiments import last_experiments
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.audience_store import audiences
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.glossary import anchor, meanings
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.pages.effects import offers
from sluicegate.services.console.pages.ordering import admitted
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.tokens import Caller

MOST = 6
"""Hits of one kind."""
_PAGES = {
    "Overview": ("/", "what needs you, what is in progress, which builds serve"),
    "Rollouts": ("/rollouts", "all of them; compare two"),
    "Experiments": ("/experiments", "A/B tests"),
    "Audiences": ("/audiences", "who gets which variation, and in what order they are matched"),
    "Try a request": ("/audiences#who", "which build a request would get"),
    "Activity": ("/activity", "what happened, and who did it"),
    "Health": ("/health", "what sluice doctor finds"),
    "Glossary": ("/glossary", "what our terms mean"),
}
_ACCESS = {"Access": ("/access", "tokens, and who asked for what")}


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A search result that can be opened."""

    kind: str
    name: str
    about: str
    url: str

    @property
    def text(self) -> str:
        """The searched text. Meanings of glossary terms are left out: together they contain nearly every word."""
        return (self.name if self.kind == "Words" else f"{self.name} {self.about}").casefold()


def page(desk: Desk) -> Endpoint:
    """The page of search results; the command palette shows the same."""

    def context(request: Request) -> Context:
        text = request.query_params.get("q", "").strip()[:200]
        return {"text": text, "kinds": matching(text, _everything(desk, request.state.caller, text))}

    return template(desk, "search.html", context)


LATELY = 300
"""The newest rollouts and experiments that are searched, in addition to all rollouts in progress."""


def matching(text: str, everything: Iterable[Hit]) -> dict[str, list[Hit]]:
    """The hits that contain every word of the text, by kind; names that begin with the text come first. An empty text
    matches everything but glossary terms."""
    words = text.casefold().split()
    kinds: dict[str, list[Hit]] = {}
    for hit in everything:
        if all(word in hit.text for word in words) and (words or hit.kind != "Words"):
            kinds.setdefault(hit.kind, []).append(hit)
    begins = text.casefold()
    return {
        kind: sorted(hits, key=lambda hit: not hit.name.casefold().startswith(begins))[:MOST]
        for kind, hits in kinds.items()
    }


def _everything(desk: Desk, caller: Caller, text: str) -> Iterator[Hit]:
    in_progress = desk.ledger.rollouts(Selection(is_ended=False))
    lately = (*desk.ledger.rollouts(Selection(newest=LATELY)), *in_progress)
    rollouts = list({rollout.id: rollout for rollout in reversed(lately)}.values())
    for model in _names(desk.ledger.models(), text.casefold()):
        yield Hit(kind="Models", name=model, about="", url=f"/models/{quote(model, safe='')}")
    for rollout in rollouts:
        state = (rollout.ending or rollout.phase).value
        about = f"{rollout.requested.strategy}, {state} · {rollout.id}"
        yield Hit(kind="Rollouts", name=_title(rollout), about=about, url=f"/rollouts/{quote(rollout.id)}")
    yield from _acts(in_progress, caller)
    for group in last_experiments(desk.ledger, most=LATELY):
        first = group[0].requested
        name = first.experiment or ""
        yield Hit(kind="Experiments", name=first.model, about=name, url=f"/experiments/{quote(name)}")
    for audience in audiences(desk.ledger):
        yield Hit(kind="Audiences", name=audience.name, about=audience.description or "", url="/audiences")
    for name, (url, about) in (_PAGES | (_ACCESS if caller.role >= Role.ADMIN else {})).items():
        yield Hit(kind="Pages", name=name, about=about, url=url)
    for word, meaning in meanings().items():
        yield Hit(kind="Words", name=word, about=meaning, url=f"/glossary#{anchor(word)}")


def _names(models: Sequence[str], text: str) -> list[str]:
    """The first hits among the names of models, of which there may be thousands."""
    names = [name for name in models if all(map(name.casefold().__contains__, text.split()))]
    begin = [name for name in names if name.casefold().startswith(text)]
    return list(dict.fromkeys((*begin, *names)))[:MOST]


def _acts(rollouts: Iterable[Rollout], caller: Caller) -> Iterator[Hit]:
    """The orders that this caller may give on these rollouts. Each links to its form, which states the effect."""
    for rollout in rollouts:
        for offer in offers(rollout, admitted(rollout, caller), needs_person=False):
            name, url = (
                f"{offer.order.capitalize()} {_title(rollout)}…",
                f"/rollouts/{quote(rollout.id)}#{offer.order}-effect",
            )
            yield Hit(kind="What you can do", name=name, about=f"{offer.hint}; asks before anything happens", url=url)


def _title(rollout: Rollout) -> str:
    stable = f"v{rollout.stable} → " if rollout.stable else ""
    return f"{rollout.requested.model} {stable}v{rollout.requested.version}"
