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

"""The options of heat.conf for containers that Heat starts itself."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import re

from oslo_config import cfg

GROUP = cfg.OptGroup(
    'docker_container', title='Old templates with Docker containers',
    help='Options of heat-engine for ``DockerInc::Docker::Container``. '
         'Whoever can use that resource can do on the named Engines whatever '
         'these options allow.')

OPTIONS = [
    cfg.BoolOpt(
        'enabled', default=False,
        help="""
Offer the resource type ``DockerInc::Docker::Container``.

Only administrators may use it, unless the policy
``resource_types:DockerInc::Docker::Container`` says otherwise.
"""),
    cfg.ListOpt(
        'endpoints', default=[],
        help="""
The names of Engines that templates may name as ``docker_endpoint``.

For each there is a section ``[docker_endpoint_NAME]`` with ``url``, which
begins with ``unix://``, ``https://`` or ``ssh://``. https needs ``ca_file``,
``cert_file`` and ``key_file``.
"""),
    cfg.StrOpt(
        'default_endpoint', default='',
        help="""
The name of the Engine for templates that name none.

Possible values:

* empty: a template has to name one
* a name among ``endpoints``
"""),
    cfg.IntOpt('timeout', default=30, min=1, help="""
Seconds that an Engine may take to answer.
"""),
    cfg.IntOpt('pull_timeout', default=600, min=1, help="""
Seconds for which an Engine that pulls an image may say nothing.
"""),
    cfg.BoolOpt('allow_privileged', default=False, help="""
Templates may ask for privileged containers: root on the Engine's host.
"""),
    cfg.BoolOpt('allow_bind_mounts', default=False, help="""
Templates may mount directories of the Engine's host: root there.
"""),
    cfg.BoolOpt('allow_devices', default=False, help="""
Templates may give devices of the Engine's host to containers.
"""),
    cfg.ListOpt('allowed_caps', default=[], help="""
Linux capabilities that templates may add.
"""),
]

_ENDPOINT_OPTIONS = [
    cfg.StrOpt('url', default='', help='Where the Engine is.'),
    cfg.StrOpt('ca_file', default='', help='Who signed its certificate.'),
    cfg.StrOpt('cert_file', default='', help='The certificate for it.'),
    cfg.StrOpt('key_file', default='', help='The key of that.'),
]

_ALIAS = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_URL = re.compile(r'(unix:///[^\s?#]+|(https|ssh)://[^\s@/?#]*@?[^\s@/?#]+)')


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where an Engine is."""

    url: str
    ca_file: str = ''
    cert_file: str = ''
    key_file: str = ''


def register(conf: cfg.ConfigOpts) -> None:
    """The options can be read from conf afterwards."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, GROUP)


def endpoint(conf: cfg.ConfigOpts, alias: str) -> Endpoint:
    """The Engine of a name; reads the configuration and nothing else.

    :raises ValueError: if there is none, or it is not described as it must be
    """
    if not _ALIAS.fullmatch(alias) or (
            alias not in conf.docker_container.endpoints):
        raise ValueError('is none of the names in [docker_container] '
                         'endpoints')
    group = f'docker_endpoint_{alias}'
    conf.register_opts(_ENDPOINT_OPTIONS, group)
    found = Endpoint(**{option.name: conf[group][option.name]
                        for option in _ENDPOINT_OPTIONS})
    if not _URL.fullmatch(found.url):
        raise ValueError(f'[{group}] url is not unix://, https:// or ssh://')
    if found.url.startswith('https') and not all(
            (found.ca_file, found.cert_file, found.key_file)):
        raise ValueError(f'[{group}] needs ca_file, cert_file and key_file')
    return found


def list_opts() -> list[tuple[cfg.OptGroup, Sequence[cfg.Opt]]]:
    """What the sample configuration is made of."""
    return [(GROUP, OPTIONS)]
