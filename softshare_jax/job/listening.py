"""Where process 0 of a job listens for the others: where they were told to find it, and nowhere else."""

import ipaddress
import socket


def bind_address(coordinator_address: str) -> str | None:
    """Returns the address, as ``HOST:PORT``, that the coordinator of a job listens on.

    Left to itself, jax listens on all interfaces, and whoever reaches one can join the job or end it.

    Args:
        coordinator_address: ``HOST:PORT``, as the other processes are given it.

    Returns:
        The address of this machine that HOST stands for. ``None`` where that is none that the others could
        reach, and only all interfaces will do: HOST is translated on the way, as by NAT, or this machine
        takes its own name for a loopback address, as Debian does.
    """
    host, _, port = coordinator_address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return None
    # Of a name with addresses of both kinds, clients try both.
    for family, kind, protocol, _, address in sorted(found, key=lambda one: one[0] != socket.AF_INET):
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if ip.is_loopback and not _is_loopback(host):
            continue
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind((address[0], 0))
            except OSError:
                continue  # of another machine
        return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
