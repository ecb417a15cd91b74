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
    help="Progressive delivery for ML models: canary, shadow and A/B, gated by statistics that hold at every look.",
    version=lambda: version("sluicegate"),
    suppress_keyboard_interrupt=False,
    help_epilogue="Exit codes: 0 done, 1 failed, 2 bad usage or plan, 3 aborted or gate failed, 4 waits for a person, "
    "5 timed out, 6 control plane unreachable, 130 interrupted.",
)
rollout = App(name="rollout", help="Start, watch and steer rollouts.")
audience = App(name="audience", help="Named conditions on the metadata of requests.")
variation = App(name="variation", help="The slots of a model, and the audiences that they answer.")
proposal = App(name="proposal", help="Changes of protected variations that wait for a second named person.")
token = App(name="token", help="Give others access to the console, and take it back.")
notify = App(name="notify", help="Where notifications go, and whether they arrive.")
experiment = App(name="experiment", help="Compare variations that share an audience.")
captures = App(name="captures", help="Requests and answers that services wrote down.")
shadow = App(name="shadow", help="Two answers to each request, compared.")
service = App(name="service", help="Start when the machine boots.")
webhook = App(name="webhook", help="The webhook of an MLflow server of yours.")
gate = App(name="gate", help="Judge recorded or synthetic data without a running system.")
_COMMANDS = (
    (app, "up", "host:up", "Start everything on this machine and wait until it is ready."),
    (app, "down", "host:down", "Drain and stop everything that up started, and nothing else."),
    (app, "status", "host:status", "Show what runs, and where."),
    (app, "doctor", "host:doctor", "Check this machine and everything sluice needs."),
    (app, "sync", "sync:sync", "Make this installation what a branch of a Git repository says."),
    (app, "backup", "backups:backup", "Write everything that cannot be made again to a folder."),
    (app, "restore", "backups:restore", "Put a backup in place."),
    (app, "restored", "record:say_restored", "Say that the ledger was restored, so that gateways take its tables."),
    (app, "verify", "record:verify", "See that nothing in the ledger was changed, removed or reordered."),
    (app, "logs", "logs:logs", "Show what the parts wrote, by rollout or by part."),
    (app, "env", "host:env", "Print export lines for MLflow, Prefect and sluice."),
    (app, "validate", "documents:validate", "Check documents; every error at once."),
    (app, "certify", "gate:certify", "See that a plan's gates stop harm and let good candidates pass."),
    (app, "schema", "documents:schema", "Print the JSON Schema of a kind of document."),
    (app, "diff", "documents:diff", "Show what apply would change."),
    (app, "apply", "documents:apply", "Apply documents; what is unchanged stays unchanged."),
    (app, "deploy", "variations:deploy", "Put a build into a variation, and send audiences to it."),
    (app, "undeploy", "variations:undeploy", "Empty a variation: routes first, then drain, then stop."),
    (app, "rollback", "models:rollback", "Go back to an earlier build at once."),
    (app, "builds", "models:builds", "List a model's builds and what they are for."),
    (app, "predict", "models:predict", "Ask a model through the gateway."),
    (app, "outcome", "models:outcome", "Tell what was measured after a prediction."),
    (app, "explain", "reports:explain", "Why a rollout is where it is, and what would change it."),
    (app, "report", "reports:report", "A rollout's report: what, when, why, on what evidence."),
    (app, "overview", "models:overview", "Show which builds answer which audience."),
    (rollout, "start", "rollouts:start", "Roll a build out by its model's plan."),
    (rollout, "list", "rollouts:list_", "List rollouts, oldest first."),
    (rollout, "show", "rollouts:show", "Show one rollout: state, gates, what happens next."),
    (rollout, "history", "rollouts:history", "List every fact of a rollout."),
    (rollout, "forecast", "gate:forecast", "How long a plan's rollout takes, and what it catches."),
    (rollout, "pause", "rollouts:pause", "Hold a rollout where it is; guardrails go on."),
    (rollout, "resume", "rollouts:resume", "End a pause."),
    (rollout, "approve", "rollouts:approve", "Let a rollout leave its step once its gates have passed."),
    (rollout, "jump", "rollouts:jump", "Go to another step now; recorded as an override."),
    (rollout, "promote", "rollouts:promote", "Give the candidate all traffic now; recorded as an override."),
    (rollout, "abort", "rollouts:abort", "Take all traffic back to stable; works at any phase."),
    (rollout, "override-freeze", "rollouts:override_freeze", "Let a rollout go on through a freeze."),
    (rollout, "retry", "rollouts:retry", "Try a rollout once more that ended without success."),
    (experiment, "start", "experiments:start", "Compare the variations that a model's plan names."),
    (experiment, "show", "experiments:show", "Show each variation beside the control."),
    (experiment, "end", "experiments:end", "End an experiment as it stands."),
    (audience, "apply", "audiences:apply", "Apply audiences; idempotent by name."),
    (audience, "check", "audiences:check", "Prove which audiences overlap or can never be reached."),
    (audience, "order", "audiences:order", "Change the order in which a model's audiences are tried."),
    (audience, "list", "audiences:list_", "List audiences and who uses them."),
    (audience, "show", "audiences:show", "Show one audience."),
    (audience, "delete", "audiences:delete", "Delete an audience that nobody uses."),
    (audience, "test", "audiences:try_out", "Say what a request would get, and why."),
    (variation, "list", "variations:list_", "List variations and who is sent to them."),
    (variation, "connect", "variations:connect", "Send audiences to a variation."),
    (variation, "set", "variations:set_terms", "Say what holds for a variation, whoever is sent to it."),
    (variation, "disconnect", "variations:disconnect", "Send an audience to a variation no longer."),
    (proposal, "list", "proposals:list_", "List what waits for a second named person."),
    (proposal, "approve", "proposals:approve", "Carry out what somebody else asked for."),
    (proposal, "reject", "proposals:reject", "Let a proposal not be carried out."),
    (notify, "set", "notify:set_", "Keep the address of a notification."),
    (notify, "list", "notify:list_", "List notifications and whether they have an address."),
    (notify, "test", "notify:try_", "Send a trial message."),
    (captures, "export", "captures:export", "Write captured requests and answers to a file."),
    (shadow, "show", "shadow:show", "Show what a shadow's pairs of answers say."),
    (shadow, "replay", "shadow:replay", "Run a build over captured requests, and compare."),
    (token, "give", "tokens:give", "Make a token with a role; shown once."),
    (token, "list", "tokens:list_", "List who has a token."),
    (token, "revoke", "tokens:revoke", "Revoke a token at once."),
    (token, "prefect", "tokens:prefect", "Say what runs started in Prefect may do."),
    (service, "install", "service:install", "Write the systemd unit by which everything comes up at boot."),
    (webhook, "register", "webhooks:register", "Have your MLflow tell the console of changes at once."),
    (webhook, "test", "webhooks:deliver", "Have MLflow deliver an example."),
    (webhook, "remove", "webhooks:remove", "Remove this installation's webhooks from MLflow."),
    (gate, "replay", "gate:replay", "JSON lines in, one verdict per look out."),
)
for group in (
    rollout,
    experiment,
    audience,
    variation,
    proposal,
    captures,
    shadow,
    token,
    notify,
    gate,
    service,
    webhook,
):
    app.command(group)
for group, name, target, help_text in _COMMANDS:
    group.command(f"sluicegate.flows.cli.{target}", name=name, help=help_text)
app.command(
    "sluicegate.examples.flights.demo:demo",
    name="demo",
    help="Watch one model be promoted and a worse one be taken back.",
)
app.register_install_completion_command(help="Install completion for this shell, with the names that are there now.")


DryRun = Annotated[bool, Parameter(negative=(), help="Show what the command would record, and record nothing.")]


app.meta.suppress_keyboard_interrupt = False  # as of `app`: Ctrl-C is told by main, not left in silence


@app.meta.default
def launch(*words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], dry_run: DryRun = False) -> object:
    """Run a command, or try it; without one, show what runs and what needs you."""
    if not words:
        from sluicegate.flows.cli.home import home

        return home()
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


def _read_files() -> None:
    """Settings and secrets that stand in files, as if the environment had them."""
    if "SLUICE_SETTINGS" in os.environ or any(name.endswith("_FILE") for name in os.environ):
        from sluicegate.registry.words.setting_files import with_files

        os.environ.update(with_files(os.environ))


def main() -> None:
    """Run the command line; every expected error is one line with its fix, a traceback only with SLUICE_DEBUG."""
    try:
        _read_files()
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
