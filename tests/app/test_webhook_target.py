"""Where webhooks may go: one reading of a URL, public addresses only, the address that was checked and no other."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from app.webhook_target import TargetError, TargetRules, clean_webhook_url, is_public, parse_webhook_url


class Names:
    """A resolver whose answers change: the one after the other, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    async def __call__(self, host: str, port: int) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def find(rules: TargetRules, url: str) -> list[str]:
    parsed = parse_webhook_url(url)
    return asyncio.run(rules.find_addresses(parsed.host, parsed.port))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/Done?a=1&b", "https://example.com/Done?a=1&b"),
        ("https://example.com:8443/x", "https://example.com:8443/x"),
        ("https://müller.example/ä", "https://xn--mller-kva.example/%C3%A4"),
        ("https://[2606:4700::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("http://example.com/", "http://example.com/"),
    ],
)
def test_url_has_one_form(text: str, cleaned: str) -> None:
    assert clean_webhook_url(text) == cleaned
    assert clean_webhook_url(cleaned) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user@example.com/",
        "https://example.com/" + "é" * 400,  # longer than allowed once it is percent-encoded
        "https://user:password@example.com/",
        "https://:password@example.com/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com/#part",
        "https://exa mple.com/",
        "https://example.com/\r\nX-Header: 1",
        "https://example.com\\@127.0.0.1/",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
        "https://256.256.256.256/",
        "https://example.com/" + "a" * 2000,
    ],
)
def test_url_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="^expected a URL"):
        parse_webhook_url(text)


def test_only_the_origin_is_shown() -> None:
    assert parse_webhook_url("https://example.com:8443/secret/path?token=1").origin == "https://example.com:8443"


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://①②⑦.⓪.⓪.①/",
        "https://%31%32%37.0.0.1/",
        "https://127.0.0.1./",
        "https://localhost/",
        "https://localhost./",
        "https://0/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://168.63.129.16/",
        "https://100.64.0.1/",
        "https://100.100.100.200/",
        "https://192.0.0.192/",
        "https://192.0.2.1/",
        "https://192.88.99.1/",
        "https://198.18.0.1/",
        "https://203.0.113.1/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::127.0.0.1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[64:ff9b:1::8.8.8.8]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1::]/",
        "https://[2001:db8::1]/",
        "https://[3fff::1]/",
        "https://[5f00::1]/",
        "https://[100::1]/",
        "https://[fc00::1]/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
    ],
)
def test_address_that_is_not_public_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises(TargetError, match="no public address"):
        find(TargetRules(), url)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700::1111"])
def test_public_address_is_accepted(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("addresses", [["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["fe80::1%1"], []])
def test_one_address_that_is_not_public_refuses_the_name(addresses: list[str]) -> None:
    with pytest.raises(TargetError):
        find(TargetRules(resolve=Names(addresses)), "https://example.com/")


def test_name_that_cannot_be_resolved_is_refused_in_the_same_words() -> None:
    async def fail(host: str, port: int) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(TargetError, match="no public address"):
        find(TargetRules(resolve=fail), "https://example.com/")


def test_name_is_resolved_once() -> None:
    names = Names(["8.8.8.8", "8.8.8.8", "1.1.1.1"])

    assert find(TargetRules(resolve=names), "https://example.com/") == ["8.8.8.8", "1.1.1.1"]
    assert names.asked == ["example.com"]


def test_networks_can_be_allowed() -> None:
    rules = TargetRules(
        allowed_networks=[ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32")],
        resolve=Names(["10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5", "8.8.8.8"]),
    )
    assert len(find(rules, "https://example.com/")) == 4
    with pytest.raises(TargetError):
        find(TargetRules(allowed_networks=[ipaddress.ip_network("10.1.0.0/16")]), "https://10.2.0.1/")


def test_plain_http_needs_leave() -> None:
    url = parse_webhook_url("http://example.com/")

    TargetRules(allow_http=True).check_scheme(url)
    with pytest.raises(TargetError, match="https"):
        TargetRules().check_scheme(url)
