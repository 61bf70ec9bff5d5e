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

"""Writes the files that are made from the code; a test compares them."""

from __future__ import annotations

import io
from pathlib import Path
import sys

from oslo_config import cfg
from oslo_config import generator

from lab import metadefs

SOURCE = Path(__file__).resolve().parent.parent
SAMPLE = SOURCE / 'etc/nova/docker.conf.sample'
HEAT_SAMPLE = SOURCE / 'etc/heat/nova-docker.conf.sample'


def sample(namespace: str = 'nova_docker_driver') -> str:
    """The sample of our sections of nova.conf, or of heat.conf."""
    output = io.StringIO()
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(['--namespace', namespace, '--wrap-width', '79'],
         default_config_files=[])
    generator.generate(conf, output)
    return output.getvalue()


def main() -> int:
    SAMPLE.write_text(sample())
    HEAT_SAMPLE.write_text(sample('heat_plugins'))
    metadefs.write()
    return 0


if __name__ == '__main__':
    sys.exit(main())
