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

"""Constraints on properties of containers."""

from __future__ import annotations

import re
from typing import Any

from heat.engine import constraints

_DURATION = re.compile(
    r'(?=.)(\d+h)?(\d+m(?!s))?(\d+(\.\d+)?s)?(\d+ms)?(\d+us)?')
_VARIABLE = re.compile(r'[^=\x00-\x1f\x7f]{1,256}')


class DurationConstraint(constraints.BaseCustomConstraint):
    """A duration as Compose writes it: ``1m30s``, ``500ms``."""

    message = 'not a duration such as 1m30s or 500ms'

    def validate(self, value: Any, context: Any, template: Any = None
                 ) -> bool:
        return bool(_DURATION.fullmatch(str(value)))


class EnvironmentNameConstraint(constraints.BaseCustomConstraint):
    """The name of an environment variable."""

    message = 'not the name of an environment variable'

    def validate(self, value: Any, context: Any, template: Any = None
                 ) -> bool:
        return bool(_VARIABLE.fullmatch(str(value)))
