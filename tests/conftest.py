"""What holds for every test: no stop-watch, because these machines are shared, and the same examples in every run.

Tests that take minutes are marked `soak` and run only when asked for: pytest -m soak.
"""

from __future__ import annotations

import pytest
import pytest_timeout
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

settings.register_profile(
    "shared-machine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared-machine")

# Hypothesis draws from the constants of whatever modules are loaded, and that differs with the worker's order of tests.
providers.is_local_module_file = lambda _: False


SECONDS_OF_SLOW_TESTS = 400
"""For those that name no other limit: on a machine under load real servers take many times what they need."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes minutes; run with -m soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS_OF_SLOW_TESTS))
    if "soak" in config.getoption("markexpr", ""):
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: -m soak"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A second run has a time limit of its own: pytest-timeout starts one clock for both, which may have rung."""
    if getattr(item, "execution_count", 1) > 1:
        hooks = item.config.pluginmanager.hook
        hooks.pytest_timeout_cancel_timer(item=item)
        hooks.pytest_timeout_set_timer(item=item, settings=pytest_timeout._get_item_settings(item))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test that was run once more had failed: a fault that comes and goes is looked into like any other."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.write_sep("_", f"first run of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
