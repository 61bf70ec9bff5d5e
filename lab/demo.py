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

"""The demonstration: a Heat stack of containers, and its page.

Exit status 0 only if the page came through the floating IP and holds what
the web container fetched from the database container.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import time
from typing import Any
import urllib.request

from openstack import connection
from openstack import exceptions

from lab import cloud as lab_cloud
from lab import container_images
from lab import layout as lab_layout
from lab import seed
from lab import services

STACK = 'web-db'
GREETING = 'Hello from the database'
_PATIENCE = 180


def main() -> int:
    parser = argparse.ArgumentParser(prog='tools/demo', description=__doc__)
    parser.add_argument('--clean', action='store_true',
                        help='remove the stack and leave the cloud running')
    options = parser.parse_args()
    layout = lab_layout.Layout.from_environment()
    try:
        return _clean(layout) if options.clean else _run(layout)
    except lab_cloud.LabError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1


def _run(layout: lab_layout.Layout) -> int:
    began = time.monotonic()
    _say('1. The cloud: keystone, placement, glance, neutron, nova, heat')
    lab_cloud.Cloud(layout).up()
    client = seed.connect(layout, 'demo')
    _say('2. Two images, made from this host\'s busybox')
    for name, content in (('web', container_images.web()),
                          ('db', container_images.db()),
                          ('busybox', container_images.busybox())):
        upload_image(client, name, content)
    _say(f'3. The stack {STACK}, from etc/heat/templates/web_db.yaml')
    delete_stack(client, STACK)
    template = layout.source / 'etc/heat/templates/web_db.yaml'
    outputs = create_stack(client, STACK, template.read_text(),
                           {'greeting': GREETING})
    _say(f'4. The page at {outputs["url"]}')
    page = fetch(outputs['url'], GREETING)
    print(page)
    _views(layout)
    if GREETING not in page:
        print('demo: the page lacks what the database says', file=sys.stderr)
        return 1
    _say(f'Done in {time.monotonic() - began:.0f} s. Three things to try:')
    print(_TRY.replace('{url}', outputs['url']))
    return 0


_TRY = """
  eval "$(tools/lab env demo)"; PATH={bin}:$PATH

  curl {url}                           # again: the row counts up
  openstack console log show $(openstack server list -f value -c ID | head -1)
  openstack stack update {stack} --existing --parameter greeting=Good-bye

  tools/demo --clean removes the stack, tools/lab down ends the cloud.
""".replace('{stack}', STACK).replace(
    '{bin}', f'{lab_layout.Layout.from_environment().bin}')


def _say(line: str) -> None:
    print(f'\n{line}', flush=True)


def upload_image(client: connection.Connection, name: str, content: bytes
                 ) -> str:
    """The project has this image under the name; answers its id."""
    digest = hashlib.sha512(content).hexdigest()
    kept = None
    for image in list(client.image.images(name=name,
                                          owner=client.current_project_id)):
        if image.hash_value == digest and not kept:
            kept = str(image.id)
        else:
            client.image.delete_image(image)
    if kept:
        return kept
    image = client.image.create_image(
        name=name, container_format='docker', disk_format='raw',
        hypervisor_type='docker', data=io.BytesIO(content),
        validate_checksum=False, allow_duplicates=True)
    print(f'   {name}: {len(content) // 1024} KiB', flush=True)
    return str(image.id)


def delete_stack(client: connection.Connection, name: str) -> None:
    """There is no such stack afterwards."""
    for stack_id in [stack.id for stack
                     in client.orchestration.stacks(name=name)]:
        client.orchestration.delete_stack(stack_id)
        _wait(client, stack_id, 'DELETE')


def create_stack(client: connection.Connection, name: str, template: str,
                 parameters: dict[str, str]) -> dict[str, str]:
    """The stack is complete afterwards; answers its outputs.

    :raises LabError: with Heat's reason, if it fails
    """
    created = client.orchestration.create_stack(
        name=name, template=template, parameters=parameters)
    _wait(client, created.id, 'CREATE')
    stack = client.orchestration.get_stack(created.id)
    return {entry['output_key']: entry['output_value']
            for entry in stack.outputs or ()}


def _wait(client: connection.Connection, stack_id: str, action: str
          ) -> None:
    """Shows the progress of an action and returns when it is complete."""
    shown: set[tuple[str, str]] = set()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        stack = next((entry for entry in client.orchestration.stacks()
                      if entry.id == stack_id), None)
        if stack is None or stack.status == f'{action}_COMPLETE':
            return
        if stack.status == f'{action}_FAILED':
            raise lab_cloud.LabError(
                f'{stack.name}: {stack.status_reason}')
        for resource in _resources(client, stack_id):
            state = (resource.name, resource.status)
            if state not in shown and resource.status != 'INIT_COMPLETE':
                shown.add(state)
                print(f'   {resource.name:12} {resource.status}', flush=True)
        time.sleep(0.5)
    raise lab_cloud.LabError(
        f'the stack is not {action}_COMPLETE after {_PATIENCE} s')


def _resources(client: connection.Connection, stack_id: str) -> list[Any]:
    try:
        return list(client.orchestration.resources(stack_id))
    except exceptions.NotFoundException:
        # Deleted since it was listed; the next look will tell.
        return []


def fetch(url: str, text: str, patience: float = 30) -> str:
    """The page, as soon as it holds the text; else what came last."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                page = str(answer.read().decode())
        except OSError as error:
            page = f'({error})'
        if text in page or time.monotonic() > deadline:
            return page
        time.sleep(0.5)


def _views(layout: lab_layout.Layout) -> None:
    lines = subprocess.run(
        [sys.executable, '-m', 'lab', 'env', 'demo'], check=True,
        capture_output=True, text=True, cwd=layout.source).stdout
    client = dict(line.removeprefix('export ').split('=', 1)
                  for line in lines.splitlines())
    for command in (('stack', 'list'), ('server', 'list')):
        print(f'$ openstack {" ".join(command)}', flush=True)
        subprocess.run([layout.bin / 'openstack', *command], check=True,
                       env={**os.environ,
                            **services.python_environment(layout), **client})


def _clean(layout: lab_layout.Layout) -> int:
    delete_stack(seed.connect(layout, 'demo'), STACK)
    print('The stack is gone.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
