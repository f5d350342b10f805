import os
import pwd
import socket
from pathlib import Path
from typing import Any

import pytest

from network_pipeline import rules, settings
from network_pipeline.errors import UsageError
from network_pipeline.options import (
    BROKER_OPTIONS,
    CAPTURE_OPTIONS,
    LOG_OPTION,
    PROCESSOR_OPTIONS,
    PUBLISHER_OPTIONS,
    Option,
)

OPTIONS = {
    option.name: option
    for option in (
        *BROKER_OPTIONS,
        *PUBLISHER_OPTIONS,
        *CAPTURE_OPTIONS,
        *PROCESSOR_OPTIONS,
        LOG_OPTION,
    )
}


def values(options: tuple[Option, ...], **variables: str) -> dict[str, Any]:
    return {option.name: option.value(None, variables) for option in options}


def test_a_flag_wins_over_its_variable_and_that_over_the_default() -> None:
    option = OPTIONS["save_after_num"]
    assert option.value("3", {"SAVE_AFTER_NUM": "2"}) == 3
    assert option.value(None, {"SAVE_AFTER_NUM": "2"}) == 2
    assert option.value(None, {"SAVE_AFTER_NUM": ""}) == 100
    assert option.value(None, {}) == 100


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("save_after_num", "abc", "must be a whole number of at least 1"),
        ("save_after_num", "0", "must be a whole number of at least 1"),
        ("save_after_num", "-1", "must be a whole number of at least 1"),
        ("save_after_num", "1.5", "must be a whole number of at least 1"),
        ("save_after_num", "1" * 19, "must be a whole number of at least 1"),
        ("stop_after_num", "-1", "must be a whole number of at least 0"),
        ("save_after_seconds", "0", "must be a number of at least 0.1"),
        ("save_after_seconds", "nan", "must be a number of at least 0.1"),
        ("queue", "two words", "must be 1 to 200 printable ASCII characters without spaces"),
        ("device", "eth0,,", "must name devices of 1 to 15 characters"),
        ("device", "a/b", "must name devices of 1 to 15 characters"),
        ("ssl_options", "[]", "must be a JSON object"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_its_rule(
    name: str, text: str, rule: str
) -> None:
    option = OPTIONS[name]
    with pytest.raises(UsageError, match=rule) as caught:
        option.value(None, {option.variable: text})
    assert str(caught.value).startswith(f"{option.variable}=")
    with pytest.raises(UsageError, match=rule) as caught:
        option.value(text, {})
    assert str(caught.value).startswith(f"{option.flag}=")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/15",
        "rediss://user:secret@redis.example",
        "redis+socket:///run/redis.sock?virtual_host=15",
        "amqp://guest:guest@localhost:5672//",
        "amqps://a.example;amqps://b.example",
    ],
)
def test_broker_urls_that_are_taken(url: str) -> None:
    assert rules.broker_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["", "localhost:6379", "http://localhost", "redis://", "redis://h:99999", "amqp://h;redis://h"],
)
def test_broker_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        rules.broker_url(url)


def test_an_error_about_a_url_does_not_quote_it() -> None:
    with pytest.raises(UsageError) as caught:
        OPTIONS["broker"].value("amqp://me:hunter2@h;redis://h", {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("redis://localhost:6379/15", "redis://localhost:6379/15"),
        ("redis://me:hunter2@h:1/2?password=hunter2", "redis://me:***@h:1/2"),
        ("redis://:hunter2@h", "redis://:***@h"),
        ("amqp://a:hunter2@h//;amqp://a:hunter2@i//", "amqp://a:***@h//;amqp://a:***@i//"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, safe: str) -> None:
    assert settings.BrokerSettings(url=url).safe_url == safe


@pytest.mark.parametrize(
    ("url", "endpoints"),
    [
        ("redis://localhost/15", (("localhost", 6379),)),
        ("amqps://a:1;amqps://b", (("a", 1), ("b", 5671))),
        ("rediss://[::1]:7000", (("::1", 7000),)),
        ("redis+socket:///run/redis.sock", ()),
    ],
)
def test_endpoints(url: str, endpoints: tuple[tuple[str, int], ...]) -> None:
    assert settings.BrokerSettings(url=url).endpoints == endpoints


def test_capture_settings_from_the_environment() -> None:
    built = settings.capture_settings(
        values(CAPTURE_OPTIONS, CAP_DEVICE="eth0, wg0", NETWORK_FILTER="port 53")
    )
    assert built == settings.CaptureSettings(("eth0", "wg0"), "port 53", socket.gethostname(), 0)


def test_processor_settings_from_the_environment() -> None:
    built = settings.processor_settings(
        values(PROCESSOR_OPTIONS, OUTPUT_CSV="/srv/x.csv", STOP_AFTER_NUM="9")
    )
    assert (built.output, built.stop_after_num) == (Path("/srv/x.csv"), 9)
    assert (built.name, built.dir) == ("netdata", Path("/tmp"))


@pytest.mark.parametrize(
    ("variables", "enabled"),
    [
        ({}, False),
        ({"SPLUNK_ADDRESS": "splunk:8088"}, False),
        ({"SPLUNK_USER": "trex"}, False),
        ({"SPLUNK_TOKEN": "t"}, True),
        ({"SPLUNK_USER": "trex", "SPLUNK_PASSWORD": "p"}, True),
    ],
)
def test_splunk_needs_a_token_or_a_login(variables: dict[str, str], enabled: bool) -> None:
    assert (settings.splunk_settings(variables) is not None) == enabled


def test_splunk_certificates_are_verified_unless_told_otherwise() -> None:
    for text, verified in (("", True), ("1", True), ("0", False)):
        built = settings.splunk_settings({"SPLUNK_TOKEN": "t", "SPLUNK_VERIFY": text})
        assert built is not None
        assert built.verify is verified


def test_who_called_sudo() -> None:
    assert settings.invoking_user({}) is None
    assert settings.invoking_user({"SUDO_UID": "1000", "SUDO_GID": "100"}) == (1000, 100)
    assert settings.invoking_user({"SUDO_UID": "root", "SUDO_GID": "0"}) is None


def test_a_spool_lies_with_the_user_that_a_capture_becomes() -> None:
    uid, home = os.getuid(), Path(pwd.getpwuid(os.getuid()).pw_dir)
    beyond = {"XDG_STATE_HOME": "/s", "HOME": "/elsewhere"}
    assert settings.spool_dir({"XDG_STATE_HOME": "/s"}, None) == Path("/s/network-pipeline/spool")
    assert settings.spool_dir(beyond, (uid, uid)) == Path("/s/network-pipeline/spool")
    own = home / ".local/state/network-pipeline/spool"
    assert settings.spool_dir({"HOME": "/elsewhere"}, (uid, uid)) == own
    for nobody in ((65534, 65534), (987654, 987654)):
        assert settings.spool_dir(beyond, nobody) == Path("/var/lib/network-pipeline/spool")


def test_what_to_keep_is_one_of_two_words() -> None:
    assert rules.one_of("oldest", "newest")("newest") == "newest"
    with pytest.raises(ValueError, match="must be one of oldest, newest"):
        rules.one_of("oldest", "newest")("all")


def test_publisher_settings() -> None:
    made = settings.publisher_settings(values(PUBLISHER_OPTIONS))
    assert made == settings.PublisherSettings(None, 2**30, "oldest", 10**6, 2**30)
    assert not made.has_spool
    made = settings.publisher_settings(values(PUBLISHER_OPTIONS, SPOOL_DIR="/var/spool"))
    assert made.has_spool


def test_state_dir() -> None:
    assert settings.state_dir({"XDG_STATE_HOME": "/s"}) == Path("/s/network-pipeline")
    assert settings.state_dir({}) == Path.home() / ".local/state/network-pipeline"


def test_without_a_home_it_is_said_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UsageError, match="set HOME, or XDG_STATE_HOME"):
        settings.state_dir({})
