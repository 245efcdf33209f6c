"""The address that process 0 of a job listens on: only the one that the other processes use."""

import ipaddress
import socket


def bind_address(coordinator_address: str) -> str | None:
    """Returns the address, as ``HOST:PORT``, that the coordinator of a job listens on.

    By default jax listens on all interfaces, and anyone who reaches one can join or end the job.

    Args:
        coordinator_address: ``HOST:PORT``, as given to the other processes.

    Returns:
        The address of this machine that HOST resolves to. ``None`` if the other processes cannot reach that
        address, so that jax must listen on all interfaces: HOST is behind NAT, or this machine resolves its
        own name to a loopback address, as on Debian.
    """
    host, _, port = coordinator_address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return None
    # IPv4 first. Clients try all addresses of a name.
    for family, kind, protocol, _, address in sorted(found, key=lambda one: one[0] != socket.AF_INET):
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if ip.is_loopback and not _is_loopback(host):
            continue
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind((address[0], 0))
            except OSError:
                continue  # the address of another machine
        return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
