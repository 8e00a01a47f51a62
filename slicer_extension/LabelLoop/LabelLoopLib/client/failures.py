"""Turns what goes wrong below HTTP into errors of ours, with sentences."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import Optional, TypeVar, Union
from urllib.parse import urlsplit

import requests

from .address import ServerAddress
from .errors import CertificateProblem, ClientError, NotLabelLoop, ServerUnreachable
from .plain import plain

Kind = TypeVar("Kind", bound=BaseException)

# OpenSSL's X509_V_ERR_*, include/openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)
_LOST_IN_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")


def explain(error: Exception, address: ServerAddress, *, seconds: float) -> ClientError:
    """Return the error of ours for one that ``requests`` has raised.

    Args:
        seconds: How long was waited for the server to answer, or to take more of an upload.
    """
    if address.certificate is not None and not address.certificate.exists():
        return CertificateProblem(f"The certificate file {address.certificate} is not there any more: name it again.")
    isTls = isinstance(error, requests.exceptions.SSLError) or _first(error, ssl.SSLError) is not None
    if isTls and _first(error, _LOST_IN_TLS) is None and not _isTimeout(error):
        return _certificate(error, address)
    if isinstance(error, requests.exceptions.ProxyError):
        return ServerUnreachable(
            f"The proxy of this computer does not lead to {address.url}: if the server is in your own network, add its "
            "name to the environment variable NO_PROXY, and start Slicer again."
        )
    if isinstance(error, ValueError):  # an address, a proxy or a header that cannot be one
        return ClientError(f"No request can be made to {address.url}: {plain(error, 200)}. Check the address.")
    return _unreachable(error, address, seconds)


def _unreachable(error: Exception, address: ServerAddress, seconds: float) -> ClientError:
    url = address.url
    if _first(error, socket.gaierror) is not None:
        return ServerUnreachable(
            f"There is no machine named '{plain(address.host, 80)}' in this network: check the spelling of the "
            "address, and whether a VPN is needed."
        )
    if _first(error, ConnectionRefusedError) is not None:
        port = "" if urlsplit(url).port else " (none was given; LabelLoop's own is 8000)"
        return ServerUnreachable(
            f"Nobody answers at {url}: the server is not running, or its port is another one{port}. Start the server, "
            "or check the address."
        )
    if isinstance(error, requests.ConnectTimeout):
        return ServerUnreachable(
            f"{url} does not answer: check that the machine is on, and that no firewall or missing VPN is in between."
        )
    if _isTimeout(error):
        return ServerUnreachable(
            f"{url} has been silent for {seconds:g} s: the server may be busy, or the network is down. Try again."
        )
    stranger = _first(error, http.client.BadStatusLine)
    if stranger is not None and not isinstance(stranger, http.client.RemoteDisconnected):
        return NotLabelLoop(f"What answers at {url} does not speak HTTP: check the port.")
    hint = "" if url.startswith("https:") else " If the server uses TLS, its address begins with https://."
    return ServerUnreachable(f"The connection to {url} was lost: check the network, and try again.{hint}")


def _certificate(error: Exception, address: ServerAddress) -> ClientError:
    checked = _first(error, ssl.SSLCertVerificationError)
    isOtherName = any(type(one).__name__ == "CertificateError" for one in _chain(error))  # urllib3 1's own class
    if checked is None and not isOtherName:
        reason = str(getattr(_first(error, ssl.SSLError), "reason", None) or "")
        if reason in _NO_TLS:
            return CertificateProblem(
                f"{address.url} does not speak TLS: if its operator says that it has no certificate, its address "
                "begins with http://."
            )
        return CertificateProblem(
            f"No encrypted connection to {address.url} could be made ({plain(reason or error, 120)}): tell the "
            "operator of the server."
        )
    code = getattr(checked, "verify_code", 0)
    if isOtherName or code in _OTHER_NAME:
        text = (
            f"The certificate of {address.url} belongs to another name: use the name that is in the certificate, or "
            "tell the operator of the server."
        )
    elif code == _EXPIRED:
        text = f"The certificate of {address.url} has expired: tell the operator of the server."
    elif code == _NOT_YET_VALID:
        text = f"The certificate of {address.url} is not valid yet: check the date and time of this computer."
    elif address.certificate is not None:
        text = (
            f"{address.url} does not have the certificate in {address.certificate.name}, nor one that is signed by it: "
            "ask the operator of the server for its present certificate."
        )
    else:
        text = (
            f"The certificate of {address.url} is signed by nobody that this computer trusts: if it is your own "
            "server, get its certificate (a .pem file) from its operator and name the file in the settings."
        )
    return CertificateProblem(text)


def _isTimeout(error: BaseException) -> bool:
    # While a body is read or sent, requests hides the timeout of urllib3 in a ConnectionError.
    kinds = (requests.Timeout, socket.timeout)
    return any(isinstance(one, kinds) or type(one).__name__ == "ReadTimeoutError" for one in _chain(error))


def _first(error: BaseException, kind: Union[type[Kind], tuple[type[Kind], ...]]) -> Optional[Kind]:
    return next((one for one in _chain(error) if isinstance(one, kind)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, the nearest first: each layer below ``requests`` wraps in its own way.

    An error of ours in the chain is an earlier one, which the caller was handling: what it was made of is left out.
    """
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen or isinstance(one, ClientError):
            continue
        seen.add(id(one))
        yield one
        inside = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [inner for inner in inside if isinstance(inner, BaseException)]
