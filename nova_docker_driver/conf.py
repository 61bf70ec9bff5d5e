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

from oslo_config import cfg
from oslo_config import types

from nova_docker_driver import models

#: The Kubernetes baseline set, less MKNOD, AUDIT_WRITE and NET_RAW: what a
#: service process needs to change its user and own its files, and no more.
DEFAULT_CAPS = ('CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL',
                'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID',
                'SYS_CHROOT')

GROUP = cfg.OptGroup(
    'docker', title='Docker driver',
    help='Options of nova-compute when ``compute_driver`` is '
         '``docker.DockerDriver``.')

OPTIONS = [
    cfg.StrOpt(
        'endpoint', default='unix:///var/run/docker.sock',
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
    cfg.IntOpt(
        'pids_limit', default=512, min=1,
        help="""
Processes and threads that a server may have at once.

Related options:

* the flavor extra spec ``docker:pids_limit`` overrides it
"""),
    cfg.ListOpt(
        'allowed_caps', default=list(DEFAULT_CAPS),
        item_type=types.String(regex=r'^[A-Z_]+$'),
        help="""
The Linux capabilities that a container has at most.

All others are dropped. Each capability beyond the default is a risk for this
host; the driver logs which ones are.
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
    cfg.IntOpt(
        'image_load_timeout', default=600, min=1,
        help='Seconds that the Engine may be silent while it loads an image.'),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Registers the section; may be called again."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """The options for oslo-config-generator."""
    return [(GROUP, OPTIONS)]


def policy(conf: cfg.ConfigOpts, host: str) -> models.Policy:
    """The operator's bounds, read now."""
    return models.Policy(
        host=host,
        pids_limit=conf.docker.pids_limit,
        allowed_caps=tuple(conf.docker.allowed_caps),
        log_max_size=conf.docker.log_max_size * models.MIB,
        log_max_files=conf.docker.log_max_files)
