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

"""The YAML of container specifications: a text to plain values. Pure.

As Compose reads it, less what makes a small text a large, a surprising or a
dangerous value: no tags, no anchors, no aliases, no keys but texts, and no
numbers of YAML 1.1 (``33:33`` is a user and a group, not 2013). No reason of
a refusal repeats the text: it may be secret.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from nova_docker_driver import errors

_NULL = re.compile(r'^(?:~|null|Null|NULL|)$')
_BOOLEAN = re.compile(r'^(?:true|True|TRUE|false|False|FALSE)$')
# What is longer than any number of use stays a text.
_INTEGER = re.compile(r'^[-+]?(?:0|[1-9][0-9]{0,17}|0o?[0-7]{1,16}'
                      r'|0x[0-9a-fA-F]{1,15})$')
_FLOAT = re.compile(r'^[-+]?(?:[0-9]{1,17}\.[0-9]{0,17}'
                    r'|\.[0-9]{1,17})(?:[eE][-+]?[0-9]{1,2})?$'
                    r'|^[-+]?[0-9]{1,17}[eE][-+]?[0-9]{1,2}$')


def load(text: str, first_line: int = 1) -> Any:
    """The value that a text stands for.

    :param first_line: the number of the text's first line, for refusals
    :raises InvalidSpec: with the line and the reason
    """
    loader = _Loader(text, first_line)
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f'line {mark.line + first_line}' if mark else 'at its end'
        raise errors.InvalidSpec(
            f'not YAML: {line}{_harmless(error.problem)}') from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise errors.InvalidSpec(
            f'not YAML: {type(error).__name__}') from None
    finally:
        loader.dispose()


def _harmless(problem: str | None) -> str:
    """What is wrong, unless the words quote the text."""
    return f': {problem}' if problem and "'" not in problem else ''


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's

    def __init__(self, text: str, first_line: int) -> None:
        super().__init__(text)
        self._first_line = first_line

    def _refused(self, mark: Any, reason: str) -> errors.InvalidSpec:
        return errors.InvalidSpec(
            f'line {mark.line + self._first_line}: {reason}')

    def compose_node(self, parent: yaml.Node | None, index: int
                     ) -> yaml.Node | None:
        event = self.peek_event()
        if (self.check_event(yaml.AliasEvent)
                or getattr(event, 'anchor', None) is not None):
            raise self._refused(event.start_mark, 'anchors and aliases of '
                                'YAML are not supported; quote a text that '
                                'begins with & or *')
        if getattr(event, 'tag', None) is not None:
            raise self._refused(event.start_mark, 'tags of YAML are not '
                                'supported; quote a text that begins with !')
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        # JSON writes a character beyond the first plane as two escapes,
        # which YAML takes for two characters.
        text = super().construct_scalar(node)
        try:
            return text.encode('utf-16', 'surrogatepass').decode('utf-16')
        except UnicodeDecodeError:
            raise self._refused(node.start_mark,
                                'half of a character') from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False
                          ) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise self._refused(key_node.start_mark, 'a key is not a '
                                    'text; quote it')
            if key in seen:
                raise self._refused(key_node.start_mark, 'a key is given '
                                    'twice')
            seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
        ('null', _NULL, ['~', 'n', 'N', '']),
        ('bool', _BOOLEAN, list('tTfF')),
        ('int', _INTEGER, list('-+0123456789')),
        ('float', _FLOAT, list('-+0123456789.'))):
    _Loader.add_implicit_resolver(f'tag:yaml.org,2002:{_tag}', _pattern,
                                  _first)
