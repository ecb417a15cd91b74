"""The `sluice` command: one file a command group, no logic. Commands are imported when they are called."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

from cyclopts import App, Parameter

from sluicegate.flows.cli.extras import missing_extra
from sluicegate.registry.words.errors import InvalidDocument, SluiceError

INTERRUPTED = 130
USAGE = 2

app = App(
    name="sluice",
    help="Progressive delivery for ML models: canary, shadow and A/B, gated by statistics that may be looked at.",
    version=lambda: version("sluicegate"),
    suppress_keyboard_interrupt=False,
    help_epilogue="Exit codes: 0 done, 1 failed, 2 bad usage or plan, 3 aborted or gate failed, 4 waits for a person, "
    "5 timed out, 6 control plane unreachable, 130 interrupted.",
)
rollout = App(name="rollout", help="Start, watch and steer rollouts.")
audience = App(name="audience", help="Who requests come from: conditions on their metadata.")
variation = App(name="variation", help="The slots of a model, and who is sent to them.")
schema = App(name="schema", help="JSON Schema of the documents, for editors.")
token = App(name="token", help="Give others access to the console, and take it back.")
notify = App(name="notify", help="Where notifications go, and whether they arrive.")
experiment = App(name="experiment", help="Compare variations that share an audience.")
shadow = App(name="shadow", help="Two answers to each request, compared.")
webhook = App(name="webhook", help="The webhook of an MLflow server of yours.")
gate = App(name="gate", help="Judge recorded or synthetic data without a running system.")
_COMMANDS: tuple[tuple[App, str, str, str], ...] = (
    (app, "up", "sluicegate.flows.cli.host:up", "Start everything on this machine and wait until it is ready."),
    (app, "down", "sluicegate.flows.cli.host:down", "Drain and stop everything that up started, and nothing else."),
    (app, "status", "sluicegate.flows.cli.host:status", "Show what runs, and where."),
    (app, "doctor", "sluicegate.flows.cli.host:doctor", "Check this machine and everything sluice needs."),
    (app, "logs", "sluicegate.flows.cli.logs:logs", "Show what the parts wrote, by rollout or by part."),
    (app, "env", "sluicegate.flows.cli.host:env", "Print export lines for MLflow, Prefect and sluice."),
    (
        app,
        "demo",
        "sluicegate.examples.flights.demo:demo",
        "Watch one model be promoted and a worse one be taken back.",
    ),
    (app, "validate", "sluicegate.flows.cli.documents:validate", "Check documents; every error at once."),
    (
        app,
        "certify",
        "sluicegate.flows.cli.gate:certify",
        "See that a plan's gates stop harm and let good candidates pass.",
    ),
    (app, "diff", "sluicegate.flows.cli.documents:diff", "Show what apply would change."),
    (app, "apply", "sluicegate.flows.cli.documents:apply", "Apply documents; what is unchanged stays unchanged."),
    (
        app,
        "deploy",
        "sluicegate.flows.cli.variations:deploy",
        "Put a build into a variation, and send audiences to it.",
    ),
    (
        app,
        "undeploy",
        "sluicegate.flows.cli.variations:undeploy",
        "Empty a variation: routes first, then drain, then stop.",
    ),
    (app, "rollback", "sluicegate.flows.cli.models:rollback", "Go back to an earlier build at once."),
    (app, "builds", "sluicegate.flows.cli.models:builds", "List a model's builds and what they are for."),
    (app, "predict", "sluicegate.flows.cli.models:predict", "Ask a model through the gateway."),
    (app, "outcome", "sluicegate.flows.cli.models:outcome", "Tell what was measured after a prediction."),
    (app, "explain", "sluicegate.flows.cli.reports:explain", "Why a rollout is where it is, and what would change it."),
    (app, "report", "sluicegate.flows.cli.reports:report", "A rollout's report: what, when, why, on what evidence."),
    (app, "overview", "sluicegate.flows.cli.models:overview", "Show what serves whom."),
    (rollout, "start", "sluicegate.flows.cli.rollouts:start", "Roll a build out by its model's plan."),
    (rollout, "list", "sluicegate.flows.cli.rollouts:list_", "List rollouts, oldest first."),
    (rollout, "show", "sluicegate.flows.cli.rollouts:show", "Show one rollout: state, gates, what happens next."),
    (rollout, "history", "sluicegate.flows.cli.rollouts:history", "List every fact of a rollout."),
    (
        rollout,
        "forecast",
        "sluicegate.flows.cli.gate:forecast",
        "How long a plan's rollout takes, and what it catches.",
    ),
    (rollout, "pause", "sluicegate.flows.cli.rollouts:pause", "Hold a rollout where it is; guardrails go on."),
    (rollout, "resume", "sluicegate.flows.cli.rollouts:resume", "End a pause."),
    (
        rollout,
        "approve",
        "sluicegate.flows.cli.rollouts:approve",
        "Let a rollout leave its step once its gates have passed.",
    ),
    (
        rollout,
        "promote",
        "sluicegate.flows.cli.rollouts:promote",
        "Give the candidate all traffic now; recorded as an override.",
    ),
    (rollout, "abort", "sluicegate.flows.cli.rollouts:abort", "Take all traffic back to stable; works at any phase."),
    (
        rollout,
        "override-freeze",
        "sluicegate.flows.cli.rollouts:override_freeze",
        "Let a rollout go on through a freeze.",
    ),
    (rollout, "retry", "sluicegate.flows.cli.rollouts:retry", "Try a rollout once more that ended without success."),
    (
        experiment,
        "start",
        "sluicegate.flows.cli.experiments:start",
        "Compare the variations that a model's plan names.",
    ),
    (experiment, "show", "sluicegate.flows.cli.experiments:show", "Show each variation beside the control."),
    (experiment, "end", "sluicegate.flows.cli.experiments:end", "End an experiment as it stands."),
    (audience, "apply", "sluicegate.flows.cli.audiences:apply", "Apply audiences; idempotent by name."),
    (
        audience,
        "check",
        "sluicegate.flows.cli.audiences:check",
        "Prove which audiences overlap or can never be reached.",
    ),
    (audience, "order", "sluicegate.flows.cli.audiences:order", "Ask a model's audiences in another order."),
    (audience, "list", "sluicegate.flows.cli.audiences:list_", "List audiences and who uses them."),
    (audience, "show", "sluicegate.flows.cli.audiences:show", "Show one audience."),
    (audience, "delete", "sluicegate.flows.cli.audiences:delete", "Delete an audience that nobody uses."),
    (audience, "test", "sluicegate.flows.cli.audiences:try_out", "Say what a request would get, and why."),
    (variation, "list", "sluicegate.flows.cli.variations:list_", "List variations and who is sent to them."),
    (variation, "connect", "sluicegate.flows.cli.variations:connect", "Send audiences to a variation."),
    (
        variation,
        "disconnect",
        "sluicegate.flows.cli.variations:disconnect",
        "Send an audience to a variation no longer.",
    ),
    (notify, "set", "sluicegate.flows.cli.notify:set_", "Keep the address of a notification."),
    (notify, "list", "sluicegate.flows.cli.notify:list_", "List notifications and whether they have an address."),
    (notify, "test", "sluicegate.flows.cli.notify:try_", "Send a trial message."),
    (shadow, "show", "sluicegate.flows.cli.shadow:show", "Show what a shadow's pairs of answers say."),
    (shadow, "replay", "sluicegate.flows.cli.shadow:replay", "Run a build over captured requests, and compare."),
    (schema, "plan", "sluicegate.flows.cli.documents:plan_schema", "Print the JSON Schema of a plan."),
    (token, "give", "sluicegate.flows.cli.tokens:give", "Make a token with a role; shown once."),
    (token, "list", "sluicegate.flows.cli.tokens:list_", "List who has a token."),
    (token, "revoke", "sluicegate.flows.cli.tokens:revoke", "Take a token back at once."),
    (
        webhook,
        "register",
        "sluicegate.flows.cli.webhooks:register",
        "Have your MLflow tell the console of changes at once.",
    ),
    (webhook, "test", "sluicegate.flows.cli.webhooks:deliver", "Have MLflow deliver an example."),
    (webhook, "remove", "sluicegate.flows.cli.webhooks:remove", "Remove this installation's webhooks from MLflow."),
    (gate, "replay", "sluicegate.flows.cli.gate:replay", "JSON lines in, one verdict per look out."),
)
for group in (rollout, experiment, audience, variation, shadow, schema, token, notify, gate, webhook):
    app.command(group)
for group, name, target, help_text in _COMMANDS:
    group.command(target, name=name, help=help_text)
app.register_install_completion_command(help="Install completion for this shell, with the names that are there now.")


DryRun = Annotated[bool, Parameter(negative=(), help="Tell what the command would append, and append nothing.")]


app.meta.suppress_keyboard_interrupt = False  # as of `app`: Ctrl-C is told by main, not left in silence


@app.meta.default
def launch(*words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], dry_run: DryRun = False) -> object:
    """Run a command, or try it."""
    if not dry_run:
        return app(words, print_error=True, exit_on_error=False, result_action="return_value")
    from sluicegate.flows.cli.reach import DRY_RUN, Tried
    from sluicegate.flows.cli.trying import describe_trial, refuse_untried

    refuse_untried(words)
    DRY_RUN.set(True)
    try:
        return app(words, print_error=True, exit_on_error=False, result_action="return_value")
    except Tried as tried:
        print(describe_trial(tried.answer))
        return 0


def main() -> None:
    """Run the command line; every expected error is one line with its fix, a traceback only with SLUICE_DEBUG."""
    try:
        code = app.meta(print_error=True, exit_on_error=False, result_action="return_value")
    except SluiceError as error:
        if os.environ.get("SLUICE_DEBUG"):
            raise
        _tell(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("sluice: interrupted; a rollout or a start under way goes on.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(INTERRUPTED) from None
    except ImportError as error:
        extra = missing_extra(error)
        if extra is None or os.environ.get("SLUICE_DEBUG"):
            raise
        _tell(extra)
        raise SystemExit(extra.exit_code) from None
    except Exception as error:
        if type(error).__module__.startswith("cyclopts"):
            raise SystemExit(USAGE) from None
        raise
    raise SystemExit(code if isinstance(code, int) else 0)


def _tell(error: SluiceError) -> None:
    if isinstance(error, InvalidDocument):
        print(str(error), file=sys.stderr)
        return
    print(f"sluice: {error.message}", file=sys.stderr)
    if error.fix:
        print(f"  fix: {error.fix}", file=sys.stderr)
