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

"""What Tempest has to know about our tests.

They use the options of heat-tempest-plugin: image_ref and instance_type are
those of a container, fixed_network_name is where it goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tempest.test_discover import plugins


class Plugin(plugins.TempestPlugin):
    """Tests of containers in stacks, through the APIs of a cloud."""

    def load_tests(self) -> tuple[str, str]:
        """Where the tests are, and what they are imported from."""
        here = Path(__file__).resolve().parent
        return str(here / 'tests'), str(here.parent)

    def register_opts(self, conf: Any) -> None:
        """None besides those of heat-tempest-plugin."""

    def get_opt_lists(self) -> list[Any]:
        """As above."""
        return []
