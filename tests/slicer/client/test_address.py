"""Addresses as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest
from LabelLoopLib.client import ClientError, ServerAddress


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("gpu:8000", "http://gpu:8000"),
        ("  http://gpu:8000/ \n", "http://gpu:8000"),
        ("HTTPS://Loop.Hospital.ORG", "https://loop.hospital.org"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("https://[fe80::1]", "https://[fe80::1]"),
        ("kläranlage.de:1", "http://kläranlage.de:1"),
    ],
)
def test_addresses_are_completed(typed: str, url: str) -> None:
    assert ServerAddress.parse(typed).url == url


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "There is no address"),
        ("   ", "There is no address"),
        ("http://", "is not the address of a server"),
        ("gpu server:8000", "is not the address of a server"),
        ("gpu:", "is not the address of a server"),
        ("gpu:port", "check the port"),
        ("gpu:0", "is not the address of a server"),
        ("gpu:65536", "check the port"),
        ("::1", "check the port"),
        ("http://[gpu]:8000", "is not the address of a server"),
        ("a..b", "is not the address of a server"),
        ("http//gpu:8000", "something after the name"),
        ("http://gpu/loop", "something after the name"),
        ("http://gpu?x=1", "something after the name"),
        ("http://gpu#x", "something after the name"),
        ("ftp://gpu", "does not begin with http:// or https://"),
        ("file:///etc/passwd", "does not begin with http:// or https://"),
        ("gpu;rm -rf", "is not the address of a server"),
        ("gpu;x", "is not the address of a server"),
        ("gpu\\share", "is not the address of a server"),
        ("<b>gpu</b>", "something after the name"),
    ],
)
def test_nonsense_is_told_in_a_sentence(typed: str, why: str) -> None:
    with pytest.raises(ClientError, match=why) as refusal:
        ServerAddress.parse(typed)
    assert "http://gpu-server:8000" in str(refusal.value), "an example helps"


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ClientError, match="the token has a field of its own") as refusal:
        ServerAddress.parse("http://me:hunter2@gpu:8000")
    assert "hunter2" not in str(refusal.value)


def test_control_characters_do_not_reach_the_sentence() -> None:
    with pytest.raises(ClientError) as refusal:
        ServerAddress.parse("gpu\x1b[31m \u202e:8000")
    assert not any(ord(one) < 32 or one == "\u202e" for one in str(refusal.value))


def test_the_token_is_never_shown() -> None:
    address = ServerAddress.parse("gpu:8000", token=" s3cret-token \n")
    assert address.token == "s3cret-token"
    assert "s3cret" not in repr(address) and "s3cret" not in f"{address}"


@pytest.mark.parametrize("token", ["two words", "new\nline", "tokën", "smart“quote", "\x00"])
def test_a_token_that_cannot_be_sent_is_told(token: str) -> None:
    for make in (ServerAddress.parse, ServerAddress):
        with pytest.raises(ClientError, match="copy it again") as refusal:
            make("http://gpu:8000", token)
        assert token not in str(refusal.value)


def test_certificate_is_a_file_or_none() -> None:
    assert ServerAddress.parse("https://gpu", "", "").certificate is None
    assert ServerAddress.parse("https://gpu", "", None).certificate is None
    assert ServerAddress.parse("https://gpu", "", "/etc/gpu.pem").certificate == Path("/etc/gpu.pem")
    assert ServerAddress.parse("https://gpu", "", "~/gpu.pem").certificate == Path.home() / "gpu.pem"


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:8000", True),
        ("http://sub.localhost", True),
        ("http://127.0.0.5:8000", True),
        ("http://[::1]:8000", True),
        ("http://gpu:8000", False),
        ("http://10.0.0.1", False),
        ("http://localhost.evil.org", False),
    ],
)
def test_loopback_is_known(url: str, loopback: bool) -> None:
    assert ServerAddress.parse(url).isLoopback is loopback
