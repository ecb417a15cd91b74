"""Where a cluster is asked and as whom, and how our objects are called there."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.services.cluster.access import find_access, read_kubeconfig
from sluicegate.services.cluster.names import (
    MODEL,
    Component,
    build_name,
    build_of,
    exact_words,
    label_value,
    labels,
    selector,
)
from sluicegate.services.cluster.rights import RIGHTS, Role, Verb, rules

CONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: one, user: me}}]
clusters: [{name: one, cluster: {server: "https://10.0.0.1:6443/", certificate-authority: ca.crt}}]
users: [{name: me, user: USER}]
"""


def kubeconfig(folder: Path, user: str = "{token: abc}", text: str = CONFIG) -> Path:
    (folder / "config").write_text(text.replace("USER", user))
    (folder / "ca.crt").write_text("authority")
    return folder / "config"


def test_a_pod_asks_as_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine\n")
    (tmp_path / "ca.crt").write_text("authority")
    access = find_access({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert access.url == "https://[fd00::1]:443"
    assert (access.papers().token, access.papers().authority) == ("mine", "authority")


def test_elsewhere_kubeconfig_says_it(tmp_path: Path) -> None:
    access = find_access({"KUBECONFIG": str(kubeconfig(tmp_path))}, tmp_path / "none")
    assert access.url == "https://10.0.0.1:6443"
    assert (access.papers().token, access.papers().authority) == ("abc", "authority")


def test_a_client_certificate_may_stand_in_the_file_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("key")
    inside = base64.b64encode(b"certificate").decode()
    access = read_kubeconfig(kubeconfig(tmp_path, f"{{client-certificate-data: {inside}, client-key: key.pem}}"))
    assert access.papers().certificate == ("certificate", "key")


def test_who_has_neither_is_told_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="set KUBECONFIG to the file by which kubectl"):
        find_access({}, tmp_path / "none")


@pytest.mark.parametrize(
    ("user", "text", "why"),
    [
        ("{exec: {command: aws}}", CONFIG, "logs in by another program"),
        ("{}", CONFIG.replace("user: me", "user: other"), "there is no 'other' in its users"),
        ("{}", "{a: [", "cannot be used"),
        ("{}", "current-context: here", "the entry 'contexts' is missing"),
        ("{client-certificate-data: '%', client-key-data: '%'}", CONFIG, "cannot be used"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path, user: str, text: str, why: str) -> None:
    with pytest.raises(InvalidSetting, match=why):
        read_kubeconfig(kubeconfig(tmp_path, user, text))


def test_a_kubeconfig_that_is_not_there_says_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="No such file"):
        read_kubeconfig(tmp_path / "none")


def test_a_plain_build_has_a_plain_name() -> None:
    assert build_name(BuildRef(model="delays", version="12")) == "sluice-delays-v12"


BUILDS = st.builds(
    BuildRef,
    model=st.text(min_size=1, max_size=90),
    version=st.integers(1, 10**12).map(str) | st.text("abc-1", min_size=1, max_size=40),
)


@settings(max_examples=50)
@given(BUILDS, BUILDS)
def test_names_are_safe_and_no_two_builds_have_the_same(one: BuildRef, other: BuildRef) -> None:
    name = build_name(one)
    assert len(name) <= 50
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name[0].isalpha()
    assert name[-1] != "-"
    assert (name == build_name(other)) == (one == other)


def test_a_version_that_looks_like_a_part_of_another_model_has_another_name() -> None:
    one, other = BuildRef(model="a-v1", version="2"), BuildRef(model="a", version="1-v2")
    assert build_name(one) != build_name(other)


@given(st.text(min_size=1, max_size=90))
def test_the_value_of_a_label_is_safe(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert value[0].isalnum()
    assert value[-1].isalnum()
    assert value.isascii()


def test_annotations_hold_the_exact_words() -> None:
    build = BuildRef(model="späte Flüge/%", version="1")
    assert build_of({"metadata": {"annotations": exact_words(build)}}) == build
    assert labels(Component.SERVICE, build)[MODEL] != build.model
    assert build_of({"metadata": {"name": "other"}}) is None


def test_a_query_names_every_label() -> None:
    assert selector({"b": "2", "a": "1"}) == "a=1,b=2"


@pytest.mark.parametrize("role", Role)
def test_no_role_may_read_secrets_or_act_beyond_its_kinds(role: Role) -> None:
    for rule in rules(role):
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"secrets", "roles", "rolebindings", "serviceaccounts"} & set(rule["resources"])
    assert len(rules(role)) == len(RIGHTS[role])
    assert all(Verb.GET in verbs or verbs for verbs in RIGHTS[role].values())
