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

"""The tenant's container specification: ``user_data`` to a TenantSpec.

A user_data whose first line is ``#docker-config`` is a YAML mapping with the
keys of a Compose service. ``container_spec.schema.json`` beside this module
says which keys and forms there are; this module says what they mean. Other
user_data is ordinary user data and asks nothing of the container.

Pure: text in, values or InvalidSpec out.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterator, Mapping
import functools
import json
from pathlib import Path
import re
from typing import Any

import jsonschema

from nova_docker_driver import composekeys
from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import plainyaml
from nova_docker_driver import specvalues

HEADER = specvalues.HEADER

#: Of the names of image properties that are ours.
IMAGE_PREFIX = 'docker_'
#: What says where an image comes from; images.py reads them.
SOURCES = frozenset(('docker_image_ref', 'docker_registry_secret',
                     'docker_base_image', 'docker_image_format'))
#: What belongs to a server, not to an image.
NOT_OF_IMAGES = frozenset((
    'image', 'configs', 'secrets', 'volumes', 'x-nova', 'labels',
    'extra_hosts', 'pull_policy'))
#: Nova keeps so many characters of an image's property, without a word.
CUT = 255


def parse(user_data: str | None,
          image_properties: Mapping[str, str] | None = None
          ) -> models.TenantSpec:
    """The specification in a server's user_data, over its image's defaults.

    :param user_data: base64, as Nova has it
    :param image_properties: of the Glance image, as Nova keeps them
    :raises InvalidSpec: naming the key and the reason
    """
    try:
        return _parse(user_data, image_properties)
    except errors.InvalidSpec:
        raise
    except Exception as error:
        # A hole in the checks above is a tenant's doing all the same: no
        # other host would understand it, and its words may be secret.
        raise errors.InvalidSpec(
            f'{HEADER}: cannot be understood ({type(error).__name__})'
        ) from None


def _parse(user_data: str | None,
           image_properties: Mapping[str, str] | None) -> models.TenantSpec:
    own = _document(user_data)
    defaults = _image_document(image_properties or {})
    if 'entrypoint' in own:
        # As for the image itself: a new entry point drops its command.
        defaults.pop('command', None)
    return specvalues.tenant_spec({**defaults, **own})


def is_given(user_data: str | None) -> bool:
    """Whether a server's user_data, as Nova has it, is a specification.

    One that a rebuild refused is, although it cannot be understood.
    """
    try:
        return bool(_decoded(user_data))
    except errors.InvalidSpec:
        return True


def _document(user_data: str | None) -> dict[str, Any]:
    text = _decoded(user_data)
    first, _, rest = text.partition('\n')
    if first.rstrip() != HEADER:
        if first.strip().lower().startswith(HEADER):
            raise errors.InvalidSpec(
                f'{HEADER}: the first line has to be this and no more')
        return {}
    document = _mapping(rest)
    _refuse_unsupported(document)
    _validate(document)
    return document


def _image_document(properties: Mapping[str, str]) -> dict[str, Any]:
    """What an image's author says under the names ``docker_<key>``."""
    found: dict[str, Any] = {}
    if properties.get('os_command_line'):
        found['command'] = _whole('os_command_line',
                                  properties['os_command_line'])
    for name, value in properties.items():
        if not name.startswith(IMAGE_PREFIX) or name in SOURCES:
            continue
        key = name.removeprefix(IMAGE_PREFIX)
        if key in NOT_OF_IMAGES or key not in schema()['properties']:
            raise errors.InvalidSpec(
                f'image property {name}: an image cannot set this')
        found[key] = _property(name, key, _whole(name, value))
    try:
        _validate(found)
        specvalues.tenant_spec(found)
    except errors.InvalidSpec as error:
        raise errors.InvalidSpec(
            str(error).replace(HEADER, 'image property docker_*', 1)
        ) from None
    return found


def _whole(name: str, value: str) -> str:
    if len(value) >= CUT:
        raise errors.InvalidSpec(
            f'image property {name}: is longer than {CUT - 1} characters; '
            'Nova would cut it')
    return value


def _property(name: str, key: str, text: str) -> Any:
    """A property is a text; what is no text itself is written as YAML."""
    kinds = schema()['properties'][key].get('type', 'string')
    if 'string' in kinds and not text.startswith(('[', '{')):
        return text
    try:
        return plainyaml.load(text)
    except errors.InvalidSpec as error:
        raise errors.InvalidSpec(f'image property {name}: {error}') from None


def _decoded(user_data: str | None) -> str:
    """The text of a specification; empty for ordinary user data."""
    if not user_data:
        return ''
    try:
        # As Nova's API reads it, which lets line breaks pass.
        raw = base64.b64decode(user_data)
    except ValueError:
        raise errors.InvalidSpec('user_data: not base64') from None
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if not raw.lstrip()[:len(HEADER)].lower() == HEADER.encode():
        return ''
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise errors.InvalidSpec(
            f'{HEADER}: not UTF-8 at byte {error.start}') from None


def _mapping(text: str) -> dict[str, Any]:
    try:
        document = plainyaml.load(text, first_line=2)
    except errors.InvalidSpec as error:
        raise errors.InvalidSpec(f'{HEADER}: {error}') from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise errors.InvalidSpec(f'{HEADER}: not a mapping of keys to values')
    return document


def _refuse_unsupported(document: Mapping[Any, Any]) -> None:
    for key in document:
        if key in composekeys.OPERATORS:
            raise errors.InvalidSpec(
                f'{HEADER}: {key}: {composekeys.refusal(key)}')
        if key in composekeys.ELSEWHERE:
            raise errors.InvalidSpec(
                f'{HEADER}: {key}: not here: {composekeys.ELSEWHERE[key]}')
        if key not in schema()['properties']:
            raise errors.InvalidSpec(
                f'{HEADER}: {str(key)[:64]!r}: unknown key')


@functools.cache
def schema() -> dict[str, Any]:
    """The published schema of the specification."""
    file = Path(__file__).with_name('container_spec.schema.json')
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _pattern(validator: Any, pattern: str, instance: Any, schema_of_it: Any
             ) -> Iterator[jsonschema.ValidationError]:
    """As JSON schema means it: to Python, $ is before a last line break."""
    if isinstance(instance, str) and not re.search(
            re.sub(r'\$$', r'\\Z', pattern), instance):
        yield jsonschema.ValidationError('has a wrong form')


#: A whole float is no integer here: what is made of it would be another text.
_VALIDATOR = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {'pattern': _pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        'integer', lambda _, value: isinstance(value, int)
        and not isinstance(value, bool)))


def _validate(document: Mapping[str, Any]) -> None:
    error = jsonschema.exceptions.best_match(
        _VALIDATOR(schema()).iter_errors(document))
    if error is not None:
        raise errors.InvalidSpec(
            f'{HEADER}: {_where(error)}: {_reason(error)}')


def _where(error: jsonschema.ValidationError) -> str:
    return '.'.join(str(part)[:64] for part in error.absolute_path) or 'keys'


def _reason(error: jsonschema.ValidationError) -> str:
    """Why a value is refused, without the value: it may be secret."""
    wanted: Any = error.validator_value
    schema_of_it: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case 'pattern':
            return str(schema_of_it.get('x-reason', 'has a wrong form'))
        case 'type':
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return f'is not of type {" or ".join(kinds)}'
        case 'enum':
            return f'is none of {", ".join(map(str, wanted))}'
        case 'maxLength':
            return f'is longer than {wanted} characters'
        case 'minLength' | 'minItems':
            return 'is empty'
        case 'maxItems' | 'maxProperties':
            return f'has more than {wanted} entries'
        case 'minimum':
            return f'is less than {wanted}'
        case 'maximum':
            return f'is more than {wanted}'
        case 'required':
            missing = [name for name in wanted if name not in instance]
            return f'lacks {" and ".join(missing)}'
        case 'additionalProperties':
            known = schema_of_it.get('properties', {})
            unknown = [str(name)[:64] for name in instance
                       if name not in known]
            return f'{", ".join(unknown)}: unknown'
        case _:
            return 'has a wrong form'
