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

"""``nova-docker-check``: what this host cannot enforce, and how to get it."""

from __future__ import annotations

import argparse
import os
import socket
import sys

# Before any other module of Nova, which would choose eventlet.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', 'true')

from nova import monkey_patch  # noqa: E402

monkey_patch.patch(backend='threading')

from nova import conf as nova_conf  # noqa: E402
from nova import config as nova_config  # noqa: E402

from nova_docker_driver import conf  # noqa: E402
from nova_docker_driver import engine  # noqa: E402
from nova_docker_driver import errors  # noqa: E402
from nova_docker_driver import hardening  # noqa: E402
from nova_docker_driver import hostinfo  # noqa: E402

CONF = nova_conf.CONF


def main() -> int:
    """Prints the findings; the exit status is 0 only if there are none.

    2 means that the host cannot run containers at all.
    """
    parser = argparse.ArgumentParser(
        prog='nova-docker-check', description=__doc__)
    parser.add_argument(
        '--config-file', action='append', default=[],
        help='a nova.conf; may be given several times')
    arguments = parser.parse_args()
    conf.register_opts(CONF)
    nova_config.parse_args(
        ['nova-docker-check', *(part for path in arguments.config_file
                                for part in ('--config-file', path))],
        configure_db=False, init_rpc=False)
    options = CONF.docker
    try:
        facts = hostinfo.HostInfo(engine.Engine(
            options.endpoint, options.request_timeout,
            options.image_load_timeout)).engine_facts()
        policy = conf.policy(CONF, CONF.host or socket.gethostname(), facts)
    except errors.DockerDriverError as error:
        print(f'ERROR  {error}')
        return 2
    print(f'Docker Engine {facts.version}, storage driver '
          f'{facts.storage_driver}, runtimes {", ".join(facts.runtimes)}')
    found = hardening.findings(policy, facts)
    for finding in found:
        print(f'WEAK   {finding.subject}\n       {finding.remedy}')
    if not found:
        print('Nothing to improve.')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
