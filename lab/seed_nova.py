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

"""Rows of nova's API database that no API creates: cells, host mappings.

Run in the lab's environment: ``seed_nova.py TRANSPORT_URL DATABASE HOST...``
"""

import os
import sys

os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'

from nova import monkey_patch  # noqa: E402

monkey_patch.patch(backend='threading')

from nova import config  # noqa: E402
from nova import context  # noqa: E402
from nova import objects  # noqa: E402


def main() -> None:
    files = sys.argv[1].split(',')
    arguments = [f'--config-file={name}' for name in files]
    config.parse_args(['seed_nova', *arguments])
    objects.register_all()
    admin = context.get_admin_context()
    cells = {cell.name: cell for cell in
             objects.CellMappingList.get_all(admin)}
    # Mapped beforehand, a host gets servers from its first second on,
    # instead of after the scheduler's next discovery.
    for host in sys.argv[2:]:
        objects.HostMapping(context=admin, host=host,
                            cell_mapping=cells['cell1']).create()


if __name__ == '__main__':
    main()
