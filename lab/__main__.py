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

"""``tools/lab``: up, down, status, env, logs, restart,
console."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time

from lab import cloud
from lab import console
from lab import layout as lab_layout


def main() -> int:
    options = _parser().parse_args()
    layout = lab_layout.Layout.from_environment(
        getattr(options, 'computes', 1))
    try:
        return int(options.verb(cloud.Cloud(layout), options) or 0)
    except cloud.LabError as error:
        print(f'lab: {error}', file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='tools/lab', description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar='verb')

    up = verbs.add_parser('up', help='start what does not run yet')
    up.add_argument('--fresh', action='store_true',
                    help='throw away all servers, images and stacks first')
    up.add_argument('--computes', type=int, default=1, choices=(1, 2, 3),
                    help='compute hosts, each with a network of its own')
    up.add_argument('--metadata', action='store_true',
                    help='also what answers at 169.254.169.254')
    up.add_argument('--vms', action='store_true',
                    help='also a host for virtual machines, which are '
                         'doubles')
    up.add_argument('--secrets', action='store_true',
                    help='also Barbican, which keeps secrets')
    up.add_argument('--load-balancers', action='store_true',
                    help='also Octavia, with OVN as its provider')
    up.set_defaults(verb=_up)

    down = verbs.add_parser('down', help='end the processes of the lab')
    down.add_argument('--purge', action='store_true',
                      help='remove all its files too, the environment as well')
    down.set_defaults(verb=_down)

    status = verbs.add_parser('status', help='which services answer')
    status.set_defaults(verb=_status)

    env = verbs.add_parser('env', help='print export lines for a client')
    env.add_argument('user', nargs='?', default='admin',
                     choices=('admin', 'demo'))
    env.set_defaults(verb=_env)

    logs = verbs.add_parser('logs', help='the last lines of the logs')
    logs.add_argument('service', nargs='?', help='default: list the files')
    logs.add_argument('-n', '--lines', type=int, default=50)
    logs.set_defaults(verb=_logs)

    restart = verbs.add_parser('restart', help='restart single services')
    restart.add_argument('service', nargs='+')
    restart.set_defaults(verb=_restart)

    shown = verbs.add_parser('console',
                             help='a server\'s console in a browser')
    shown.add_argument('server')
    shown.add_argument('--user', default='demo', choices=('admin', 'demo'))
    shown.set_defaults(verb=_console)
    return parser


def _up(lab: cloud.Cloud, options: argparse.Namespace) -> None:
    began = time.monotonic()
    lab.up(fresh=options.fresh, metadata=options.metadata,
           virtual_machines=options.vms, key_manager=options.secrets,
           load_balancers=options.load_balancers)
    print(f'The lab is up ({time.monotonic() - began:.1f} s). A client: '
          'eval "$(tools/lab env demo)"', file=sys.stderr)


def _down(lab: cloud.Cloud, options: argparse.Namespace) -> None:
    if options.purge:
        lab.purge()
        return
    stopped = lab.down()
    print('stopped: ' + (' '.join(stopped) or 'nothing ran'))


def _status(lab: cloud.Cloud, options: argparse.Namespace) -> int:
    status = lab.status()
    for name, answers in status.items():
        print(f'{"up" if answers else "down":4}  {name}')
    return 0 if all(status.values()) else 1


def _env(lab: cloud.Cloud, options: argparse.Namespace) -> None:
    values = lab.layout.credentials(options.user)
    for name, value in values.items():
        print(f'export {name}={value}')


def _logs(lab: cloud.Cloud, options: argparse.Namespace) -> None:
    directory = lab.layout.logs
    if options.service is None:
        for path in sorted(directory.glob('*.log')):
            print(path)
        return
    subprocess.run(['tail', '-n', str(options.lines),
                    str(directory / f'{options.service}.log')], check=False)


def _console(lab: cloud.Cloud, options: argparse.Namespace) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        console.serve(lab.layout, options.server, options.user,
                      lambda line: print(line, flush=True))


def _restart(lab: cloud.Cloud, options: argparse.Namespace) -> None:
    lab.restart(options.service)


if __name__ == '__main__':
    sys.exit(main())
