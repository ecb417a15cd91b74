"""Glossary: each word of ours with its one meaning, for the documents and for the console's tooltips. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GLOSSARY: Final[Mapping[str, Mapping[str, str]]] = {
    "What is served": {
        "build": "One registered model version in MLflow, with its digest. A build never changes.",
        "bento": "A build packaged by BentoML. To *pack* is to make it. A *bento store* is where machines share them.",
        "service": "A running bento of one build, which answers its requests.",
        "stable": "The build that a variation's requests go to, and that a candidate is compared with.",
        "candidate": "The build that is being tried.",
        "variation":
            "A named slot of a model. It holds one stable build and, during a rollout, one candidate. Called "
            "`default` unless you name it.",
    },
    "Who gets which build": {
        "audience": "A named condition on a request's headers, such as `state` is New York.",
        "connection":
            "An audience of a model and the variations that share its requests by relative weights, or get copies "
            "of them. Connections have an order.",
        "fallback":
            "The variation for requests that no audience matches. In commands and logs, this audience is called "
            "`default`.",
        "unit":
            "What is assigned to a build as a whole, such as a user: the value of the header that the plan names. "
            "It is hashed, so the same unit keeps its build.",
        "assignment": "Which build a unit or a request was given, and why.",
        "weight":
            "The candidate's share of requests, in per cent. The *desired* weight is what the rollout asks for, "
            "the *observed* one the share that Envoy really sent.",
        "mirror":
            "To copy a request to a candidate whose answer no caller gets. *Shadow* is the strategy that does so.",
        "route table": "The list of which share of whose requests goes to which build, as the gateway is told it.",
        "stable-only":
            "What a gateway does while no keeper watches it: only stable builds answer, and no candidate gets requests "
            "or copies.",
        "gateway":
            "The Envoy proxy that receives every request, sends it to a build by the traffic split, and logs it. You "
            "can run several.",
        "undeploy": "To empty a variation: first its routes are removed, then its service drains and stops.",
    },
    "How a rollout goes": {
        "plan":
            "The YAML document that a rollout follows: metrics, gates, steps. A rollout keeps the plan that it "
            "started with.",
        "rollout": "One attempt to make a candidate stable.",
        "strategy": "How a plan uses traffic: `canary` (step by step), `shadow` (copies only) or `ab` (an experiment).",
        "step": "One stage of a plan: a weight, and what must hold before the next one.",
        "trigger":
            "The change in MLflow that starts a rollout: an alias, a tag or a stage. Sluicegate "
            "looks for such changes every few seconds, and MLflow's webhooks report some at once.",
        "order":
            "What a person or a trigger asks for: start, deploy, pause, resume, approve, jump, promote, abort, retry, "
            "roll back. To *approve* is to let a step end once its gates have passed; to *jump* is to go to another "
            "step at once, whatever its gates say.",
        "decision":
            "What the *policy*, the rules by which Sluicegate acts without a person, chose: advance, hold, pause, "
            "promote or abort.",
        "check": "A question that a plan puts to another system before a step ends. Every answer but yes counts as no.",
        "freeze":
            "A document with times in which no rollout starts or advances. (A *frozen* threshold is something "
            "else: one that was fixed from stable's history.)",
        "confirmation":
            "What labels that come long after a promotion must show. Until then a holdout stays with the former "
            "stable.",
        "bake":
            "The time in which the former stable keeps running once the candidate has every request, so that an abort "
            "is instant.",
        "phase": "Where a rollout stands: queued, launching, running, paused, confirming, baking or ended.",
        "ending":
            "How a rollout ended: promoted, established (the first build of a variation serves), aborted, "
            "concluded (a shadow or an experiment has its result), failed (the candidate could not be started), or "
            "superseded (a newer candidate took its place).",
        "rollback": "A new rollout that returns to an earlier build at once.",
    },
    "How builds are compared": {
        "exposure":
            "A request that was assigned to a build while both builds had traffic. Only exposures are compared.",
        "outcome": "What was measured after a prediction: the label.",
        "metric":
            "What is compared. Its *source* says where values come from: status, latency, outcome, prediction, "
            "contract or disagreement.",
        "stratum":
            "Requests of the same five minutes and the same weight. Builds are compared only within such groups, so "
            "that a change of weight or of the day's traffic is not taken for a difference between builds.",
        "information":
            "How much the data can tell so far, as a share of what the plan expects. It grows with the number of "
            "compared requests, and most with those of the build that has fewer. It decides when the next look is "
            "taken.",
        "look": "One recorded comparison of a metric. Looking often does not raise the chance of a false alarm.",
        "alpha": "The chance that a rule ever stops a candidate that is as good as stable, however often it looks.",
        "margin":
            "How much worse than stable a candidate may be. A gate passes once anything worse is ruled out.",
        "sample ratio":
            "Whether requests arrive in the shares that the weights ask for. If not, some requests are lost, and no "
            "gate can pass.",
        "slice":
            "A part of the requests: those whose header has one value, such as those from one state, or those of one "
            "audience. Slices are compared beside the whole.",
        "gate": "A rule over a metric that must pass before a step ends.",
        "guardrail": "A rule over a metric that can only stop a rollout.",
        "external gate":
            "A limit for a number that another system measures, such as a Prometheus query. It is held against "
            "*samples*, recorded readings of its source. It is not a statistical test and uses no alpha.",
        "verdict":
            "The result of a gate, with its reason: PASS, FAIL, UNDECIDED or NO DATA; OK for a guardrail that has "
            "found no harm.",
        "certificate":
            "What `sluice certify` found when it tried a plan's gates on simulated requests, recorded with the plan's "
            "digest.",
        "replay":
            "To judge or run again what is on record: looks (`gate replay`), or captured requests (`shadow replay`).",
        "blind":
            "Too many requests were served and not counted, so no gate may pass. The *sight* says how many were "
            "counted.",
    },
    "Experiments": {
        "experiment":
            "Variations that share an audience for a while and are compared. MLflow's experiments are always "
            "called *MLflow experiments*.",
        "control": "The variation that the others are compared with. Its plan describes the experiment.",
        "comparison": "One variation beside the control: a rollout with the strategy `ab`.",
        "holdout":
            "The share that stays as it was: in an experiment units that stay with the control and are not counted; "
            "in a confirmation the requests that stay with the former stable, to compare with.",
    },
    "What keeps it going": {
        "ledger": "The record of everything that happened to every rollout. Entries are added, never changed.",
        "fact":
            "An entry of the ledger, which says what happened: Requested, Packed, StepEntered, Judged, Promoted, "
            "Aborted.",
        "epoch":
            "How many times a rollout's weight has changed. Each request carries this number, so that it and its label "
            "are counted with the weight at which it was sent.",
        "driver": "The Prefect flow run that judges a rollout's gates and moves it to its next step.",
        "keeper":
            "The process that starts services and sets the traffic split as the ledger says. It can stop a rollout "
            "that does harm, and never advances one.",
        "console": "These pages, with the HTTP API that also receives outcomes and webhooks.",
        "finding":
            "One result of `sluice doctor`, also on the page *Health*: PASS, WARN or FAIL, with what to do.",
    },
}  # fmt: skip
"""Words by subject. Meanings are Markdown that uses only `code` and *emphasis*."""


def anchor(word: str) -> str:
    """The word's anchor on the glossary page."""
    return word.replace(" ", "-")


def meanings() -> dict[str, str]:
    """Each word's meaning, as plain text."""
    return {word: text.replace("*", "").replace("`", "") for group in GLOSSARY.values() for word, text in group.items()}
