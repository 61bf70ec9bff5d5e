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

"""Files, mounts and volumes of services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import math
import re
from typing import Any

from heat_plugins.compose import models
from heat_plugins.compose import reader


def files(reading: reader.Reading, service: Mapping[str, Any], kind: str,
          where: str) -> Iterator[dict[str, Any]]:
    top = reading.child(reading.document, kind)
    for entry in reading.sequence(service.get(kind), f'{where}.{kind}'):
        if isinstance(entry, str):
            entry = {'source': entry}
        entry = reading.mapping(entry, f'{where}.{kind}')
        source = str(entry.get('source') or '')
        target = str(entry.get('target') or source)
        if not target.startswith('/'):
            target = ('/' if kind == 'configs' else '/run/secrets/'
                      ) + target
        content = _content(reading, kind, source, entry, top)
        mode = entry.get('mode')
        found = {'path': target, 'content': content, **{
            key: int(entry[key]) for key in ('uid', 'gid')
            if re.fullmatch('[0-9]{1,9}', str(entry.get(key) or ''))}}
        if mode is not None:
            found['mode'] = (f'{mode:04o}' if isinstance(mode, int)
                             else str(mode).removeprefix('0o')
                             .rjust(4, '0'))
        yield found


def _content(reading: reader.Reading, kind: str, source: str,
             entry: Mapping[str, Any], top: Mapping[str, Any]) -> Any:
    if 'content' in entry:
        return str(entry['content'])
    definition = reading.child(top, source, kind)
    if 'content' not in definition:
        reading.refuse(f'{kind}.{source}', 'has no content; files and '
                       'variables of a machine are read by '
                       'nova-docker-compose, not by Heat')
        return ''
    if kind == 'configs':
        return str(definition['content'])
    parameter = f'secret_{source}'
    reading.secrets[parameter] = str(definition['content'])
    return {'get_param': parameter}


def mounts(reading: reader.Reading, service: Mapping[str, Any], where: str
           ) -> Iterator[dict[str, Any]]:
    tmpfs = service.get('tmpfs')
    for entry in [tmpfs] if isinstance(tmpfs, str) else reading.sequence(
            tmpfs, f'{where}.tmpfs'):
        target, _, options = str(entry).partition(':')
        mount: dict[str, Any] = {'type': 'tmpfs', 'target': target}
        for option in filter(None, options.split(',')):
            key, _, value = option.partition('=')
            if key == 'size':
                mount['size_mb'] = reading.mebibytes(value,
                                                     f'{where}.tmpfs')
            elif key == 'mode':
                mount['mode'] = value.rjust(4, '0')
            elif key not in ('rw', 'noexec', 'nosuid', 'nodev'):
                reading.refuse(f'{where}.tmpfs.{key}', 'is not honoured')
        yield mount
    for entry in reading.sequence(service.get('volumes'), f'{where}.volumes'):
        if isinstance(entry, Mapping) and not entry.get('source'):
            target = str(entry.get('target') or '')
            _check_mount(reading, entry, f'{where}.volumes.{target}')
            if entry.get('type') == 'tmpfs':
                wanted = reading.child(entry, 'tmpfs', where)
                size, mode = wanted.get('size'), wanted.get('mode')
                yield {'type': 'tmpfs', 'target': target, **(
                    {'size_mb': reading.mebibytes(size, f'{where}.volumes')}
                    if size else {}), **(
                        {'mode': f'{mode:04o}'} if isinstance(mode, int)
                        and mode else {})}
            elif entry.get('type') == 'volume':
                yield {'type': 'ephemeral', 'target': target}


def _check_mount(reading: reader.Reading, entry: Mapping[str, Any], where: str
                 ) -> None:
    for key in ('read_only', 'consistency', 'image'):
        if entry.get(key) and not (key == 'read_only'
                                   and entry.get('source')):
            reading.refuse(f'{where}.{key}', 'is not honoured')
    for key, known in (('volume', ()), ('tmpfs', ('size', 'mode'))):
        for name, value in reading.child(entry, key, where).items():
            if value and name not in known:
                reading.refuse(f'{where}.{key}.{name}', 'is not honoured')


def volumes(reading: reader.Reading, service: Mapping[str, Any], where: str
            ) -> Iterator[models.Volume]:
    for entry in reading.sequence(service.get('volumes'), f'{where}.volumes'):
        at = f'{where}.volumes'
        if not isinstance(entry, Mapping):
            reading.refuse(at, models.NORMALISE)
            continue
        kind, source = entry.get('type'), str(entry.get('source') or '')
        at = f'{at}.{entry.get("target")}'
        if kind == 'bind':
            reading.refuse(at, f'{source} is a path of a host; use '
                           'configs for small files, the image for larger '
                           'ones, a volume for what is written')
        elif kind == 'tmpfs' and source:
            reading.refuse(at, 'is memory, and has no source')
        elif kind == 'volume' and source:
            _check_mount(reading, entry, at)
            yield models.Volume(source, str(entry.get('target') or ''),
                                bool(entry.get('read_only')))
        elif kind not in ('volume', 'tmpfs'):
            reading.refuse(at, f'the type {kind} is not honoured')


def volume(reading: reader.Reading, name: str, volume: Mapping[str, Any]
           ) -> int | str:
    where = f'volumes.{name}'
    volume = reading.mapping(volume, where)
    if volume.get('external'):
        return str(volume.get('name') or name)
    if volume.get('driver') not in (None, '', 'local', 'cinder'):
        reading.refuse(f'{where}.driver', 'volumes are Cinder\'s')
    options = reading.child(volume, 'driver_opts', where)
    for key in options:
        if key != 'size':
            reading.refuse(f'{where}.driver_opts.{key}',
                           'is not honoured; size alone is')
    return max(1, math.ceil(reading.mebibytes(options['size'], where)
                            / 1024)) if options.get('size') else 1
