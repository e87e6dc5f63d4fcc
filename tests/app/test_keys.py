"""The file of API keys and `emoclip keys`: what is kept, what is shown, who sees an edit, and where keys are a must."""

import hashlib
import stat
import threading
from pathlib import Path

import pytest

from app.auth import check_access
from app.cli import main
from app.keys import KEY_PREFIX, KeysFile, StoredKey
from app.settings import ApiSettings
from app.webhook_sender import read_webhook_secrets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api_keys"


@pytest.fixture
def file(path: Path) -> KeysFile:
    return KeysFile(path)


# the file


def test_create_returns_256_random_bits_and_keeps_their_hash_alone(file: KeysFile, path: Path) -> None:
    key = file.create("alice")

    assert key.startswith(KEY_PREFIX)
    assert len(key.removeprefix(KEY_PREFIX)) == 43  # 32 bytes in base64
    assert path.read_text() == f"alice {hashlib.sha256(key.encode()).hexdigest()}\n"
    assert file.create("alice") != key


def test_file_is_for_its_owner_alone_and_keeps_a_mode_that_was_chosen(file: KeysFile, path: Path) -> None:
    file.create("alice")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    path.chmod(0o640)
    file.create("bob")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_edits_leave_comments_and_other_keys_alone(file: KeysFile, path: Path) -> None:
    path.write_text(f"# team\nbob the second {'ab' * 32}\n\n")
    file.create("alice")
    file.revoke("alice")

    assert path.read_text() == f"# team\nbob the second {'ab' * 32}\n\n"
    assert file.list_keys() == [StoredKey("bob the second", "ab" * 32)]


def test_revoke_takes_one_key_by_its_id_and_all_by_their_name(file: KeysFile) -> None:
    for name in ("alice", "alice", "alice", "bob"):
        file.create(name)
    first, *others, bob = file.list_keys()

    assert file.revoke(first.id) == [first]
    assert file.revoke("alice") == others
    assert file.revoke("alice") == []
    assert file.list_keys() == [bob]


@pytest.mark.parametrize("name", ["", "  ", "#alice", "ali\nce", "a" * 65])
def test_name_that_cannot_stand_in_the_file_is_refused(file: KeysFile, path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        file.create(name)
    assert not path.exists()


def test_edits_at_the_same_time_lose_no_key(path: Path) -> None:
    threads = [threading.Thread(target=KeysFile(path).create, args=(f"user {n}",)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {key.name for key in KeysFile(path).list_keys()} == {f"user {n}" for n in range(30)}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# the command


def test_command_makes_lists_and_revokes(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOCLIP_API_KEYS_FILE", str(path))

    assert main(["keys", "create", "alice"]) == 0
    key, notes = capsys.readouterr()
    stored = StoredKey("alice", hashlib.sha256(key.strip().encode()).hexdigest())
    assert "shown this once" in notes

    assert main(["keys", "list"]) == 0
    assert capsys.readouterr().out == f"{stored.id}  alice\n"

    assert main(["keys", "revoke", stored.id]) == 0
    output, notes = capsys.readouterr()
    assert output == f"revoked {stored.id}  alice\n"
    assert "nobody can use the service" in notes


def test_command_makes_secrets_that_sign_webhooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "webhook_secret"
    monkeypatch.setenv("EMOCLIP_WEBHOOK_SECRET_FILE", str(file))

    assert main(["keys", "webhook-secret"]) == 0
    first = capsys.readouterr().out.strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text(first)  # as an editor may leave it
    assert main(["keys", "webhook-secret"]) == 0
    second = capsys.readouterr().out.strip()

    assert file.read_text() == f"{first}\n{second}\n"
    assert [len(secret) for secret in read_webhook_secrets(file)] == [32, 32]
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["list"], "say which file it is: set EMOCLIP_API_KEYS_FILE"),
        (["webhook-secret"], "say which file it is: set EMOCLIP_WEBHOOK_SECRET_FILE"),
        (["webhook-secret", "--file", "keys"], "keys, line 1: expected whsec_"),
        (["list", "--file", "none/keys"], "none/keys"),
        (["create", "alice", "--file", "none/keys"], "none"),
        (["revoke", "carol", "--file", "keys"], "no key with the name or id 'carol'"),
        (["list", "--file", "broken"], "broken, line 1: expected a name"),
    ],
)
def test_command_says_in_one_line_what_is_wrong(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("EMOCLIP_API_KEYS_FILE", "EMOCLIP_WEBHOOK_SECRET_FILE"):
        monkeypatch.delenv(variable, raising=False)
    KeysFile(tmp_path / "keys").create("alice")
    (tmp_path / "broken").write_text("alice\n")

    assert main(["keys", *arguments]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1


# where keys are a must


@pytest.mark.parametrize("command", ["serve", "api"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "no such host"])
def test_service_without_keys_does_not_start_where_others_can_reach_it(
    command: str, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--host", host]) == 2
    errors = capsys.readouterr().err
    assert "emoclip keys create" in errors
    assert "EMOCLIP_API_KEYS_FILE" in errors


@pytest.mark.parametrize("command", ["serve", "api"])
def test_service_does_not_start_with_a_file_that_holds_no_key(
    command: str, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text("# nothing\n")
    monkeypatch.setenv("EMOCLIP_API_KEYS_FILE", str(path))

    assert main([command]) == 2
    assert "holds no key" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_access(ApiSettings(), host=host)


def test_keys_open_every_address(file: KeysFile, path: Path) -> None:
    file.create("alice")
    check_access(ApiSettings(api_keys_file=path), host="0.0.0.0")


def test_what_counts_is_the_address_that_clients_reach() -> None:
    check_access(ApiSettings(published_host="127.0.0.1"), host="0.0.0.0")
    with pytest.raises(ValueError, match="keys create"):
        check_access(ApiSettings(published_host="0.0.0.0"), host="127.0.0.1")


def test_setting_that_is_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCLIP_API_KEYS_FILE", "")
    assert ApiSettings().api_keys_file is None
