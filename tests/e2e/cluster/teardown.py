"""Taking a cluster from this machine, whatever state it is in."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

from cluster import cgroups, network
from cluster.errors import NoCluster, Refused
from cluster.lock import locked
from cluster.machine import running
from cluster.settings import Settings


def down(settings: Settings) -> bool:
    """Stop a cluster and remove all that it made on this machine.

    It needs no programs, no answer of the cluster and no files: what a broken one left goes as well.

    Args:
        settings: of the cluster; those that it was started with are used, if they can be read.

    Returns:
        whether there was one.

    Raises:
        Refused: there is one, and this user may not stop it.
    """
    with contextlib.suppress(NoCluster):
        settings = Settings.saved(settings.state)
    with locked(settings.state):
        machines = running(settings.state)
        found = bool(machines) or settings.state.exists()
        if os.geteuid() != 0:
            if found:
                raise Refused("only root can stop the cluster, as only root could start it")
            return False
        # All at once, so that no node sees another go and begins to mend what is not wanted any more.
        for machine in machines:
            machine.send(signal.SIGKILL)
        for machine in machines:
            machine.end(signal.SIGKILL)
        network.disconnect_machine(settings)
        for region in settings.regions:
            cgroups.remove(settings.cgroup(region))
        shutil.rmtree(settings.state, ignore_errors=True)
    return found
