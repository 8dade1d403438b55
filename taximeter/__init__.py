"""Where an installed Taximeter lives: this package has `proxy` and `pricing` in it, so that they overwrite nobody's files.

PyPI's proxy.py installs a top-level `proxy` too. Importing this puts our folder before all others on the path: what is
imported as `proxy` and `pricing` from then on is ours. In a clone both lie beside this folder, and it is that one.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_ROOT = str(_HERE if (_HERE / "proxy").is_dir() else _HERE.parent)
if sys.path[:1] != [_ROOT]:
    sys.path.insert(0, _ROOT)
