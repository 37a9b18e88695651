"""API keys on disk: their form, their hashes, who finds what when the file changes, and the command."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from robot import Evenvoice

from gateway.access.keys import Keyring, KeysError, NoSuchKey, add_key, read_keys, revoke_key
from gateway.access.routes import Role


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def parts(key: str) -> tuple[str, str]:
    found = re.fullmatch(r"ev_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", key)
    assert found, key
    return found[1], found[2]


def test_a_key_carries_32_random_bytes_and_the_file_holds_their_hash_only(path: Path) -> None:
    keys = [add_key(path, role=Role.ROBOT, name="arm 3", per_minute=60) for _ in range(20)]
    secrets = [parts(key)[1] for key in keys]
    assert len({*secrets, *(parts(key)[0] for key in keys)}) == 40
    assert {len(base64.urlsafe_b64decode(secret + "=")) for secret in secrets} == {32}
    text = path.read_text()
    for key, row in zip(keys, json.loads(text)["keys"], strict=True):
        key_id, secret = parts(key)
        assert secret not in text
        assert row["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
        assert (row["id"], row["role"], row["name"], row["per_minute"]) == (key_id, "robot", "arm 3", 60)


def test_the_file_is_its_owners_alone_and_nothing_else_is_left_beside_it(path: Path) -> None:
    first = parts(add_key(path, role=Role.ROBOT, name="a"))[0]
    with path.open() as before:
        add_key(path, role=Role.METRICS, name="b")
        assert not os.path.samestat(os.fstat(before.fileno()), path.stat())  # replaced, never written over
    revoke_key(path, first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_writers_at_the_same_time_lose_no_key(path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(add_key(path, role=Role.ROBOT, name="a"))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.id for key in read_keys(path)} == {parts(key)[0] for key in made}
    assert len(made) == 12


def test_only_the_whole_key_opens(path: Path) -> None:
    key, other = (add_key(path, role=role, name="a") for role in (Role.ROBOT, Role.OPERATOR))
    ring = Keyring(path)
    found = ring.find(key)
    assert found is not None
    assert (found.id, found.role) == (parts(key)[0], Role.ROBOT)
    crossed = f"ev_{parts(other)[0]}_{parts(key)[1]}"  # the robot's secret under the operator's id
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    unknown = f"ev_{'0' * 12}_{parts(key)[1]}"
    for wrong in (
        crossed, changed, unknown, key[:-1], key + "A", key + "\n", key.upper(), "", "ev_", parts(key)[1],
        "ev_000000000000_" + "é" * 43, f"ev_{parts(key)[0]}_{found.sha256[:43]}",
    ):  # fmt: skip
        assert ring.find(wrong) is None, wrong


def test_an_unknown_id_is_compared_as_a_known_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = add_key(path, role=Role.ROBOT, name="a")
    ring = Keyring(path)
    compared: list[tuple[int, int]] = []
    real = __import__("hmac").compare_digest

    def watch(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return bool(real(a, b))

    monkeypatch.setattr("gateway.access.keys.hmac.compare_digest", watch)
    ring.find(key)
    ring.find(f"ev_{'0' * 12}_{parts(key)[1]}")
    assert compared == [(64, 64)] * 2


def test_a_change_is_seen_within_a_second_and_the_file_is_looked_at_once_a_second(path: Path) -> None:
    clock = Clock()
    first = add_key(path, role=Role.ROBOT, name="a")
    ring = Keyring(path, clock)
    assert ring.find(first)
    second = add_key(path, role=Role.ROBOT, name="b")
    revoke_key(path, parts(first)[0])
    clock.now += 0.99
    assert ring.find(first)
    assert ring.find(second) is None
    clock.now += 0.02
    assert ring.find(first) is None
    assert ring.find(second)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"keys": [{}]}'),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.chmod(0o622),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_file_that_cannot_be_used_lets_nobody_in_until_it_is_right_again(path: Path, spoil: Any) -> None:
    clock = Clock()
    key = add_key(path, role=Role.OPERATOR, name="a")
    kept = path.read_bytes()
    ring = Keyring(path, clock)
    assert ring.find(key)
    spoil(path)
    clock.now += 1.01
    assert ring.find(key) is None
    with pytest.raises(KeysError, match=re.escape(str(path))):
        read_keys(path)
    if path.is_dir():
        path.rmdir()
    path.write_bytes(kept)
    path.chmod(0o600)
    clock.now += 1.01
    assert ring.find(key)


def test_a_ring_without_a_file_lets_nobody_in(path: Path) -> None:
    assert Keyring(path).find(f"ev_{'0' * 12}_{'A' * 43}") is None


def test_a_file_with_an_id_twice_is_refused_and_its_error_quotes_no_content(path: Path) -> None:
    add_key(path, role=Role.ROBOT, name="a")
    row = json.loads(path.read_text())["keys"][0]
    path.write_text(json.dumps({"keys": [row, row]}))
    with pytest.raises(KeysError, match="two keys have one id"):
        read_keys(path)
    path.write_text(json.dumps({"keys": [row | {"sha256": "a secret put here by mistake"}]}))
    with pytest.raises(KeysError, match=r"no file of keys: keys\.0\.sha256: ") as caught:
        read_keys(path)
    assert "mistake" not in str(caught.value)


def test_revoking_what_is_not_there_says_so_and_keeps_the_rest(path: Path) -> None:
    key = add_key(path, role=Role.ROBOT, name="a")
    with pytest.raises(NoSuchKey, match="has no key 'nobody'"):
        revoke_key(path, "nobody")
    assert [k.id for k in read_keys(path)] == [parts(key)[0]]


def test_the_command_prints_a_key_once_lists_no_secret_and_revokes(
    evenvoice: Evenvoice, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = evenvoice("keys", "add", "--file", path, "--role", "robot", "--name", "arm 3", "--per-minute", "30")
    key_id, secret = parts(made.out.strip())
    assert made.err == ""
    monkeypatch.setenv("EVENVOICE_KEYS", str(path))
    shown = evenvoice("keys", "list")
    assert all(word in shown.words for word in (key_id, "robot", "arm 3", "30"))
    assert secret not in shown.out + shown.err
    assert hashlib.sha256(secret.encode()).hexdigest() not in shown.out
    assert evenvoice("keys", "revoke", key_id).code == 0
    assert read_keys(path) == ()
    again = evenvoice("keys", "revoke", key_id)
    assert (again.code, again.err) == (
        1,
        f"evenvoice: {path} has no key '{key_id}'; `evenvoice keys list` shows their ids\n",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "--role", "king", "--name", "a"), "'king' is not one of 'robot', 'operator', 'metrics'"),
        (("add", "--role", "robot", "--name", "a", "--per-minute", "0"), "--per-minute"),
        (("list",), "can't be read: No such file or directory"),
    ],
)
def test_the_command_refuses_what_means_nothing(
    evenvoice: Evenvoice, path: Path, arguments: tuple[str, ...], words: str
) -> None:
    run = evenvoice("keys", *arguments, "--file", path)
    assert run.code != 0
    assert words in run.err
    assert not path.exists()
