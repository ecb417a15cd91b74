"""The `sluice` command: one file a command group, no logic. Commands are imported when they are called."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

from cyclopts import App, Parameter

from sluicegate.flows.cli.extras import missing_extra
from sluicegate.flows.cli.joining import gateway as run_gateway
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
audience = App(name="audience", help="Name groups of callers by the metadata of their requests.")
variation = App(name="variation", help="Manage the slots of a model and the audiences that they answer.")
proposal = App(name="proposal", help="Decide on changes of protected variations, which need a second person.")
token = App(name="token", help="Give people and programs access to the console, or revoke it.")
notify = App(name="notify", help="Set where notifications go, and test whether they arrive.")
experiment = App(name="experiment", help="Run an A/B experiment between variations.")
captures = App(name="captures", help="Export captured requests and answers.")
shadow = App(name="shadow", help="Compare a candidate's answers with stable's on copies of requests.")
service = App(name="service", help="Start the installation when the machine boots.")
cluster = App(name="cluster", help="Install on Kubernetes, and run there.")
webhook = App(name="webhook", help="Register a webhook at your own MLflow.")
gateway = App(name="gateway", help="Run a gateway here for an installation on another host, or remove one.")
gate = App(name="gate", help="Judge recorded or synthetic data without a running installation.")
_COMMANDS = (
    (app, "up", "host:up", "Start everything on this machine and wait until it is ready."),
    (app, "down", "host:down", "Let open requests finish, then stop everything that up started."),
    (app, "status", "host:status", "Show which programs run, and their URLs."),
    (app, "doctor", "host:doctor", "Check this machine and everything that sluice needs."),
    (app, "sync", "sync:sync", "Apply the documents on a branch of a Git repository."),
    (app, "backup", "backups:backup", "Write everything that cannot be recreated to a folder."),
    (app, "restore", "backups:restore", "Restore a backup into an empty state folder."),
    (
        app,
        "restored",
        "record:say_restored",
        "Tell gateways that the ledger was restored, so that they accept its routes.",
    ),
    (app, "verify", "record:verify", "Check that nobody changed, removed or reordered entries of the ledger."),
    (app, "logs", "logs:logs", "Show the logs of a rollout, a model or a program."),
    (app, "env", "host:env", "Print export lines for MLflow, Prefect and sluice."),
    (app, "validate", "documents:validate", "Check documents without applying them; shows every error at once."),
    (app, "certify", "gate:certify", "Simulate a plan's gates with good and with harmful candidates."),
    (app, "schema", "documents:schema", "Print the JSON Schema of a kind of document."),
    (app, "diff", "documents:diff", "Show what apply would change."),
    (app, "apply", "documents:apply", "Apply plans, audiences and other documents."),
    (app, "deploy", "variations:deploy", "Put a build into a variation, and send audiences to it."),
    (app, "scale", "variations:scale", "Run a variation's build with another number of replicas."),
    (app, "undeploy", "variations:undeploy", "Remove the build from a variation and stop its service."),
    (app, "rollback", "models:rollback", "Go back to an earlier build at once."),
    (app, "builds", "models:builds", "List a model's builds and which of them are stable or candidate."),
    (app, "predict", "models:predict", "Ask a model for a prediction, through the gateway."),
    (app, "outcome", "models:outcome", "Send the true outcome (label) of a prediction."),
    (app, "explain", "reports:explain", "Explain why a rollout is where it is, and what would change that."),
    (app, "report", "reports:report", "Print or save a rollout's report: steps, timeline, evidence."),
    (app, "overview", "models:overview", "Show which builds answer which audience."),
    (rollout, "start", "rollouts:start", "Start a rollout of a build, by its model's plan."),
    (rollout, "list", "rollouts:list_", "List rollouts, oldest first."),
    (rollout, "show", "rollouts:show", "Show one rollout: state, gates, what happens next."),
    (rollout, "history", "rollouts:history", "Tell what happened in a rollout, who did it and why."),
    (rollout, "forecast", "gate:forecast", "Estimate how long a plan's rollout takes and what harm it detects."),
    (rollout, "pause", "rollouts:pause", "Hold a rollout at its weight; guardrails can still abort it."),
    (rollout, "resume", "rollouts:resume", "Let a paused rollout continue."),
    (rollout, "approve", "rollouts:approve", "Approve the present step; it ends once its gates have passed."),
    (rollout, "jump", "rollouts:jump", "Go to another step now; recorded as an override."),
    (rollout, "promote", "rollouts:promote", "Give the candidate all traffic now; recorded as an override."),
    (rollout, "abort", "rollouts:abort", "Send all requests to stable again; works in every phase."),
    (rollout, "override-freeze", "rollouts:override_freeze", "Let one rollout continue during a freeze."),
    (rollout, "retry", "rollouts:retry", "Start a rollout again that was aborted, failed or superseded."),
    (experiment, "start", "experiments:start", "Start the experiment that a model's plan describes."),
    (experiment, "show", "experiments:show", "Show each variation compared with the control."),
    (experiment, "end", "experiments:end", "End an experiment now; nothing is promoted."),
    (audience, "apply", "audiences:apply", "Apply audiences; one of the same name is replaced."),
    (audience, "check", "audiences:check", "Find audiences that overlap or that no request can match."),
    (audience, "order", "audiences:order", "Change the order in which the gateway tries a model's audiences."),
    (audience, "list", "audiences:list_", "List audiences and who uses them."),
    (audience, "show", "audiences:show", "Show one audience."),
    (audience, "delete", "audiences:delete", "Delete an audience that nobody uses."),
    (audience, "test", "audiences:try_out", "Show which build a request would get, and why; sends nothing."),
    (variation, "list", "variations:list_", "List variations and who is sent to them."),
    (variation, "connect", "variations:connect", "Send audiences to a variation."),
    (variation, "set", "variations:set_terms", "Set properties of a variation: access by name, stand-in, protection."),
    (variation, "disconnect", "variations:disconnect", "Stop sending an audience to a variation."),
    (proposal, "list", "proposals:list_", "List the changes that wait for a second person."),
    (proposal, "approve", "proposals:approve", "Approve and carry out a change that somebody else asked for."),
    (proposal, "reject", "proposals:reject", "Reject a change, so that it is not carried out."),
    (notify, "set", "notify:set_", "Set the address of a notification."),
    (notify, "list", "notify:list_", "List notifications and whether they have an address."),
    (notify, "test", "notify:try_", "Send a test message."),
    (captures, "export", "captures:export", "Write captured requests and answers to a file."),
    (shadow, "show", "shadow:show", "Show how a shadow's answers differ from stable's."),
    (shadow, "replay", "shadow:replay", "Run a build on captured requests and compare its answers."),
    (token, "give", "tokens:give", "Create a token with a role; it is shown once."),
    (token, "list", "tokens:list_", "List tokens: names, roles and when they expire."),
    (token, "revoke", "tokens:revoke", "Revoke a token at once."),
    (token, "prefect", "tokens:prefect", "Set the role of runs that are started in Prefect."),
    (service, "install", "service:install", "Write a systemd unit that runs sluice up at boot."),
    (cluster, "render", "cluster:render", "Print the manifests of an installation on Kubernetes."),
    (cluster, "chart", "cluster:chart", "Write the Helm chart of an installation."),
    (cluster, "keys", "cluster:keys", "Generate the secrets of a new installation, as a Secret."),
    (cluster, "image", "cluster:image", "Write the image of every role as an OCI layout, without a builder."),
    (cluster, "conform", "cluster:conform", "Try an installation with a tiny model: out, back, promoted, removed."),
    (cluster, "run", "cluster:run", "Run one role of an installation in its pod."),
    (webhook, "register", "webhooks:register", "Register the webhook, so that changes in MLflow take effect at once."),
    (webhook, "test", "webhooks:deliver", "Let MLflow send a test delivery."),
    (webhook, "remove", "webhooks:remove", "Remove this installation's webhooks from MLflow."),
    (gateway, "remove", "gateways:remove", "Remove a gateway of another host that is lost for good."),
    (gate, "replay", "gate:replay", "Read JSON lines and print one verdict for each look."),
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
    gateway,
    gate,
    service,
    cluster,
    webhook,
):
    app.command(group)
for group, name, target, help_text in _COMMANDS:
    group.command(f"sluicegate.flows.cli.{target}", name=name, help=help_text)
gateway.default(run_gateway)
app.command(
    "sluicegate.examples.flights.demo:demo",
    name="demo",
    help="See a good model promoted and a worse one rejected, on real data.",
)
app.register_install_completion_command(
    help="Install completion for this shell, with the present names of models and rollouts."
)


DryRun = Annotated[bool, Parameter(negative=(), help="Show what the command would record, and record nothing.")]


app.meta.suppress_keyboard_interrupt = False  # like that of `app`: main reports Ctrl-C


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
    """Load settings and secrets from the files that the environment names, into the environment."""
    if "SLUICE_SETTINGS" in os.environ or any(name.endswith("_FILE") for name in os.environ):
        from sluicegate.registry.words.setting_files import with_files

        os.environ.update(with_files(os.environ))


def main() -> None:
    """Run the command line. Prints an expected error in one line, with its fix; SLUICE_DEBUG adds the traceback."""
    try:
        _read_files()
        code = app.meta(print_error=True, exit_on_error=False, result_action="return_value")
    except SluiceError as error:
        if os.environ.get("SLUICE_DEBUG"):
            raise
        _print_error(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("sluice: interrupted; a rollout or a start under way continues.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(INTERRUPTED) from None
    except ImportError as error:
        extra = missing_extra(error)
        if extra is None or os.environ.get("SLUICE_DEBUG"):
            raise
        _print_error(extra)
        raise SystemExit(extra.exit_code) from None
    except Exception as error:
        if type(error).__module__.startswith("cyclopts"):
            raise SystemExit(USAGE) from None
        raise
    raise SystemExit(code if isinstance(code, int) else 0)


def _print_error(error: SluiceError) -> None:
    if isinstance(error, InvalidDocument):
        print(str(error), file=sys.stderr)
        return
    print(f"sluice: {error.message}", file=sys.stderr)
    if error.fix:
        print(f"  fix: {error.fix}", file=sys.stderr)
