"""Where a process listens."""

import psutil


def listening(process: psutil.Process) -> list[tuple[str, str]]:
    """Addresses, and by whom, of the process and all that it has started."""
    found = []
    for one in [process, *process.children(recursive=True)]:
        for connection in one.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                title = " ".join(one.cmdline()) or one.name()
                found.append((connection.laddr.ip.removeprefix("::ffff:"), title))
    return found
