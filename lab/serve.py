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

"""Serves one WSGI application on loopback: ``serve.py PORT module:name``.

Arguments after ``--`` are the application's own (heat reads them).
"""

import importlib
import sys

from werkzeug import serving


def main() -> None:
    arguments = sys.argv[1:]
    own = arguments.index('--') if '--' in arguments else len(arguments)
    port, target = arguments[:own]
    sys.argv = [target, *arguments[own + 1:]]
    module, name = target.split(':')
    application = getattr(importlib.import_module(module), name)
    serving.run_simple('127.0.0.1', int(port), application, threaded=True)


if __name__ == '__main__':
    main()
