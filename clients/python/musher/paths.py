"""Where the daemon's socket is when nobody says so. The places and their order are those of the program `musher`."""

from __future__ import annotations

import os
from typing import List, Mapping, Optional

_SYSTEM = "/run/musher/musher.sock"
_NAME = "musher.sock"


def find_socket(path: Optional[str] = None) -> str:
    """The socket to connect to: `path`, else `MUSHER_SOCKET`, else the first of the usual places that is there.

    If none is there, it is the first that cannot be looked at, so that connecting says why, else the first.
    """
    places = sockets(path, os.environ, os.geteuid())
    looked = [_exists(place) for place in places]
    for wanted in (True, None):
        if wanted in looked:
            return places[looked.index(wanted)]
    return places[0]


def sockets(path: Optional[str], env: Mapping[str, str], uid: int) -> List[str]:
    """All places where a daemon's socket may be, the best first."""
    named = path or env.get("MUSHER_SOCKET")
    if named:
        return [named]
    places = []
    runtime = _first_directory(env, "RUNTIME_DIRECTORY")
    if runtime:
        places.append(os.path.join(runtime, _NAME))
    if uid != 0:
        own = _directory(env, "XDG_RUNTIME_DIR")
        if own:
            places.append(os.path.join(own, "musher", _NAME))
        else:
            # cron and su do not set it, but a daemon of the same user may have been started where it is set.
            places.insert(0, f"/run/user/{uid}/musher/{_NAME}")
        data = _data_directory(env)
        if data:
            places.append(os.path.join(data, _NAME))
    if _SYSTEM not in places:
        places.append(_SYSTEM)
    return places


def _data_directory(env: Mapping[str, str]) -> Optional[str]:
    state = _first_directory(env, "STATE_DIRECTORY")
    if state:
        return state
    state, home = _directory(env, "XDG_STATE_HOME"), _directory(env, "HOME")
    if state:
        return os.path.join(state, "musher")
    return os.path.join(home, ".local/state/musher") if home else None


def _directory(env: Mapping[str, str], name: str) -> Optional[str]:
    # The XDG base directory specification asks to ignore relative ones.
    path = env.get(name)
    return path if path and os.path.isabs(path) else None


def _first_directory(env: Mapping[str, str], name: str) -> Optional[str]:
    # systemd separates several by colons.
    first = env.get(name, "").split(":")[0]
    return first if os.path.isabs(first) else None


def _exists(path: str) -> Optional[bool]:
    """None where the system does not say."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True
