# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The options of nova.conf's section ``[docker]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import resource

from oslo_config import cfg
from oslo_config import types

from nova_docker_driver import errors
from nova_docker_driver import hostmodels
from nova_docker_driver import imageconf
from nova_docker_driver import models
from nova_docker_driver import spec

#: What a process may need, and not so much that a host suffers from it.
DEFAULT_ULIMITS = {
    'core': '-1', 'cpu': '-1', 'data': '-1', 'fsize': '-1', 'locks': '-1',
    'memlock': '67108864', 'msgqueue': '819200', 'nofile': '65536',
    'nproc': '-1', 'rss': '-1', 'sigpending': '65536', 'stack': '67108864'}

#: Values of ``disk_enforcement``.
WATCH, NONE = 'watch', 'none'

GROUP = cfg.OptGroup(
    'docker', title='Docker driver',
    help='Options of nova-compute when ``compute_driver`` is '
         '``docker.DockerDriver``.')

OPTIONS = [
    cfg.StrOpt(
        'endpoint', default='unix:///var/run/docker.sock',
        regex=r'^unix:///.+$',
        help="""
The Docker Engine of this compute host.

The driver and the Engine must be on one machine: they share network
namespaces and files. Whoever can write to the socket is root on this host.

Possible values:

* ``unix://`` followed by the absolute path of the Engine's socket
"""),
    cfg.IntOpt(
        'request_timeout', default=60, min=1,
        help="""
Seconds that the Engine may take to answer a request.

Waiting for a process to stop, loading an image and following events are not
bounded by this option.
"""),
    cfg.IntOpt(
        'start_timeout', default=60, min=0,
        help="""
Seconds for which nova-compute waits for the Engine when it starts.

Both may start at the same time, after the host did. If there is no Engine by
then, nova-compute ends.
"""),
    cfg.IntOpt(
        'health_interval', default=5, min=1,
        help="""
Seconds between two looks whether the Engine lives.

While it does not, the compute service is disabled, with a reason that begins
with ``AUTO:``, and what is asked of the driver fails at once. A service that
an operator disabled is left alone.
"""),
    cfg.IntOpt(
        'max_wait_timeout', default=300, min=1,
        help="""
The seconds for which a server may ask to be waited for until it is healthy.

It holds one of the host's builds meanwhile. A server that asks for more with
``wait_timeout`` is refused.

Related options:

* ``[DEFAULT] max_concurrent_builds``
"""),
    cfg.IntOpt(
        'health_min_interval', default=5, min=1,
        help="""
The least seconds between two health checks of a server.

A check costs the host a few hundredths of a second of CPU time, which the
server's own limits do not bound. What is asked for more often is done that
often.
"""),
    cfg.IntOpt(
        'max_concurrent_starts', default=0, min=0,
        help="""
Containers that the driver starts at the same time.

More than about two a core makes each start slower and none of them earlier.

Possible values:

* 0: two for each CPU of the host
* any other number: that many
"""),
    cfg.StrOpt(
        'sandbox_image', default='',
        help="""
The image of the container that holds a server's network namespace.

Possible values:

* empty: an image that the driver makes itself, whose one program of a few
  hundred bytes only waits (x86_64 and aarch64)
* the ``sha256:`` digest of an image that the Engine has; its default command
  must wait forever
"""),
    cfg.StrOpt(
        'files_path', default='$state_path/docker',
        help="""
The directory of the files that the driver gives to containers.

The Engine binds them, so it must see them under the same path.
"""),
    cfg.ListOpt(
        'dns_search', default=[], item_type=types.HostDomain(),
        help="""
The domains in which servers look for short names.

A server's specification may name others (``dns_search``). Nova is not told
the domain of a network, so this is where a cloud says it once.

Possible values:

* empty: a short name resolves only if the resolver knows it as it is
* Neutron's ``dns_domain``
"""),
    cfg.StrOpt(
        'console_shell', default='/bin/sh',
        help="""
The program that an interactive console runs in a server's container.

It runs as the container's own user, with no more rights than the container
has. A server whose specification asks for a terminal (``tty``) shows that one
instead.

Possible values:

* the absolute path of a program of the images, without arguments
* empty: only servers with a terminal of their own have a console

Related options:

* ``[serial_console] enabled``
"""),
    cfg.PortOpt(
        'console_port', default=0,
        help="""
The port at which nova-serialproxy finds the consoles of this host.

Possible values:

* 0: any that is free, a new one with each start of nova-compute
* any other number: that one

Related options:

* ``[serial_console] proxyclient_address``: the address to listen on
"""),
    cfg.IntOpt(
        'pids_limit', default=512, min=1,
        help="""
Processes and threads that a server may have at once.

Related options:

* the flavor extra spec ``docker:pids_limit`` overrides it
"""),
    cfg.ListOpt(
        'allowed_caps', default=list(spec.BASELINE_CAPS),
        item_type=types.String(regex=r'^[A-Z_]+$'),
        help="""
The Linux capabilities that a container can have at most.

Those of the default are given to every container, unless they are taken out
of this list. Any other one has to be granted by a flavor and then asked for
in the container's specification; each is a risk for this host, and the driver
logs which ones are.

Related options:

* the flavor extra spec ``docker:cap_add``
"""),
    cfg.BoolOpt(
        'allow_privileged', default=False,
        help="""
Whether a flavor can make containers privileged.

A privileged container is root on this host.

Related options:

* the flavor extra spec ``docker:privileged``
"""),
    cfg.ListOpt(
        'allowed_runtimes', default=[],
        help="""
The Engine's runtimes that a flavor can choose, such as ``runsc``.

Related options:

* the flavor extra spec ``docker:runtime``
"""),
    cfg.DictOpt(
        'devices', default={},
        help="""
The devices of this host that flavors can give to containers, by alias.

A device is given to any number of containers.

Possible values:

* pairs such as ``fuse:/dev/fuse,kvm:/dev/kvm``

Related options:

* the flavor extra spec ``docker:devices``
"""),
    cfg.DictOpt(
        'seccomp_profiles', default={},
        help="""
The seccomp profiles that flavors can choose, by name.

Possible values:

* pairs of a name and the path of a profile, such as
  ``audit:/etc/docker/seccomp/audit.json``

Related options:

* the flavor extra spec ``docker:seccomp_profile``
"""),
    cfg.ListOpt(
        'apparmor_profiles', default=[],
        help="""
The loaded AppArmor profiles that flavors can choose.

Related options:

* the flavor extra spec ``docker:apparmor_profile``
"""),
    cfg.StrOpt(
        'disk_enforcement', default=WATCH, choices=[
            (WATCH, 'a server that has more on its disk than its flavor '
                    'allows is stopped, and its fault says why'),
            (NONE, 'a server can fill the disk of this host')],
        help="""
How root disks are bounded where the Engine cannot do it.

An Engine whose storage driver is ``btrfs``, ``zfs``, or ``overlay2`` on XFS
with project quotas bounds them itself, and this option has no effect. Such a
host has the trait ``CUSTOM_DOCKER_DISK_QUOTA``, which a flavor can require.

Related options:

* ``disk_poll_interval``
"""),
    cfg.IntOpt(
        'disk_poll_interval', default=30, min=1,
        help="""
Seconds between two looks at the sizes of all containers.

Each look makes the Engine walk through all that containers have written.

Related options:

* ``disk_enforcement``
"""),
    cfg.IntOpt(
        'shm_max_size', default=1024, min=1,
        help="""
The MiB of shared memory (``/dev/shm``) that a container can ask for.

It counts as memory of the server, which bounds it too.
"""),
    cfg.DictOpt(
        'max_ulimits', default=DEFAULT_ULIMITS,
        help="""
The highest hard limits that a container can ask for; -1 is any.

A limit that is not named here cannot be set by a tenant. Every container has
``nofile`` as given here unless it asks for less.

Related options:

* the flavor extra spec ``docker:ulimits``
"""),
    cfg.IntOpt(
        'log_max_size', default=10, min=1,
        help='The size in MiB at which a container\'s log file is rotated.'),
    cfg.IntOpt(
        'log_max_files', default=3, min=1,
        help='The number of log files that are kept of a container.'),
    cfg.IntOpt(
        'console_log_size', default=100, min=1,
        help='The KiB that a console log shows at most, from its end.'),
    *imageconf.OPTIONS,
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Registers the section; may be called again."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options for oslo-config-generator."""
    return [(GROUP, OPTIONS),
            (imageconf.EXAMPLE_GROUP, imageconf.CREDENTIAL_OPTIONS)]


def policy(conf: cfg.ConfigOpts, host: str,
           facts: hostmodels.EngineFacts | None = None,
           gpus: tuple[str, ...] = (),
           shared_cpus: frozenset[int] = frozenset(),
           pci_files: Mapping[str, tuple[str, ...]] | None = None
           ) -> models.Policy:
    """The operator's bounds, read now.

    :param facts: of the host's Engine, for what only it can bound
    :param gpus: of the host, by identity
    :param shared_cpus: of the host; empty for all
    :param pci_files: of the host's devices, by address
    :raises Unsupported: if a profile cannot be read
    """
    options = conf.docker
    return models.Policy(
        host=host,
        pids_limit=options.pids_limit,
        allowed_caps=tuple(options.allowed_caps),
        log_max_size=options.log_max_size * models.MIB,
        log_max_files=options.log_max_files,
        allow_privileged=options.allow_privileged,
        allowed_runtimes=tuple(options.allowed_runtimes),
        devices=dict(options.devices),
        seccomp_profiles={name: _profile(name, path) for name, path
                          in options.seccomp_profiles.items()},
        apparmor_profiles=tuple(options.apparmor_profiles),
        shm_max_size=options.shm_max_size * models.MIB,
        max_ulimits=_ulimits(options.max_ulimits),
        gpus=gpus,
        disk_quota=facts is not None and facts.disk_quota,
        disk_device=facts.disk_device if facts is not None else '',
        pci_files=pci_files or {},
        disks_watched=options.disk_enforcement == WATCH,
        shared_cpus=shared_cpus,
        stop_timeout=conf.shutdown_timeout,
        max_wait_timeout=options.max_wait_timeout,
        health_min_interval=options.health_min_interval * models.SECOND)


def _ulimits(caps: Mapping[str, str]) -> dict[str, int]:
    found = {name: int(limit) for name, limit in caps.items()}
    # An Engine cannot give more open files than a service of its host has.
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 'nofile' in found and 0 < own < found['nofile']:
        found['nofile'] = own
    return found


def _profile(name: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise errors.Unsupported(
            f'[docker] seccomp_profiles: {name}: {error}') from error
