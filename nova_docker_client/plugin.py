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

"""Tells python-openstackclient of our commands.

They use its own client of Glance; there is no API of ours.
"""

from __future__ import annotations

import argparse
from typing import Any

API_NAME = 'docker_image'
API_VERSION_OPTION = 'os_docker_image_api_version'
API_VERSIONS = {'1': None}
DEFAULT_API_VERSION = '1'


def make_client(instance: Any) -> None:
    """There is none: the commands use that of Glance."""


def build_option_parser(parser: argparse.ArgumentParser
                        ) -> argparse.ArgumentParser:
    """The version of an API that is none, as the client wants it."""
    parser.add_argument(
        '--os-docker-image-api-version', metavar='<version>',
        default=DEFAULT_API_VERSION, help=argparse.SUPPRESS)
    return parser
