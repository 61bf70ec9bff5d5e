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

"""What has to happen before any module of Nova is imported."""

import os

# Both are needed: Nova's own tests would choose eventlet otherwise.
os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', 'true')

from nova import monkey_patch  # noqa: E402

monkey_patch.patch(backend='threading')

from nova import objects  # noqa: E402
from nova import privsep  # noqa: E402

from os_vif import objects as os_vif_objects  # noqa: E402

from nova_docker_driver import netns  # noqa: E402
from nova_docker_driver import vif_entry  # noqa: E402

objects.register_all()
os_vif_objects.register_all()
vif_entry.install()
# Tests run as root: no helper process is needed.
netns.context.set_client_mode(False)
privsep.sys_admin_pctxt.set_client_mode(False)
