"""Sessions of ``requests`` that send the token to this server alone, verify its certificate, and wait with patience."""

from __future__ import annotations

import ssl
from typing import Any, Optional

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from .address import ServerAddress
from .errors import CertificateProblem

BLOCK_BYTES = 64 * 1024

# ssl.VERIFY_X509_PARTIAL_CHAIN, which Python has a name for only since 3.10: a certificate that is trusted itself need
# not lead to a root, so that the file of a server's own certificate is enough.
_PARTIAL_CHAIN = 0x80000


class BearerToken(AuthBase):
    """Sends the token, or nothing; being there at all, it keeps ``requests`` from what ``~/.netrc`` says."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def tlsContext(address: ServerAddress) -> Optional[ssl.SSLContext]:
    """What certificates are checked against; None for an address without TLS.

    Raises:
        CertificateProblem: The certificate file is missing, or holds no certificate.
    """
    if not address.url.startswith("https:"):
        return None
    if address.certificate is None:
        return _fit(ssl.create_default_context())
    try:
        context = ssl.create_default_context(cafile=str(address.certificate))
    except FileNotFoundError as error:
        raise CertificateProblem(
            f"The certificate file {address.certificate} is not there: name another file, or none."
        ) from error
    except OSError as error:  # an ssl.SSLError is one too
        raise CertificateProblem(
            f"{address.certificate.name} cannot be read as a certificate: it must be a PEM file, a text that begins "
            "with '-----BEGIN CERTIFICATE-----'."
        ) from error
    context.verify_flags |= _PARTIAL_CHAIN
    return _fit(context)


def _fit(context: ssl.SSLContext) -> ssl.SSLContext:
    """urllib3 1 compares the names in the certificate itself, and cannot leave that to Python for an IP address."""
    if requests.packages.urllib3.__version__.startswith("1."):
        context.check_hostname = False
    return context


def openSession(address: ServerAddress, context: Optional[ssl.SSLContext], sendSeconds: float) -> requests.Session:
    """A session for one call.

    Args:
        context: From :func:`tlsContext`.
        sendSeconds: How long the server may take before it takes more of an upload.
    """
    session = requests.Session()
    session.auth = BearerToken(address.token)
    session.trust_env = not address.isLoopback  # proxies come from the environment, and none leads to this machine
    session.headers["User-Agent"] = "LabelLoop for 3D Slicer"
    session.headers["Accept-Encoding"] = "identity"  # so that the length that was announced is the length of the file
    adapter = _PatientAdapter(context, sendSeconds)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _PatientAdapter(HTTPAdapter):
    """Gives a connection more time to send than to connect: ``urllib3`` uses the same timeout for both."""

    def __init__(self, context: Optional[ssl.SSLContext], sendSeconds: float) -> None:
        self._options: dict[str, Any] = {} if context is None else {"ssl_context": context}
        self._sendSeconds = sendSeconds
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, **self._options)
        _makePatient(self.poolmanager, self._sendSeconds)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **{**self._options, **options})
        _makePatient(manager, self._sendSeconds)
        return manager


def _makePatient(manager: Any, seconds: float) -> None:
    pools = {}
    for scheme, pool in manager.pool_classes_by_scheme.items():
        patient = _patient(pool.ConnectionCls, seconds)
        pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": patient})
    manager.pool_classes_by_scheme = pools


def _patient(connection: Any, seconds: float) -> Any:
    class Patient(connection):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.blocksize = BLOCK_BYTES

        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(seconds)

    return Patient
