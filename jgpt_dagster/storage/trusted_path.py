"""Who else can change what lies at a path: the test that ssh makes of its key files, for a directory."""

import os
import stat
from pathlib import Path


def find_other_writer(path: Path) -> str | None:
    """Return in words who can change what lies at `path` besides this user and root, or None if nobody can.

    Every folder above counts too, also those above the target of a symbolic link: who can rename one of them can
    replace all below it. A sticky folder such as /tmp may lie above, because what is in it stays with its owner. A path
    that does not exist yet is as safe as the folder that it will be made in.
    """
    while not os.path.lexists(path):
        path = path.parent
    own = path.resolve()
    for place in dict.fromkeys([path.absolute(), *path.absolute().parents, own, *own.parents]):
        found = place.lstat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to user {found.st_uid}"
        sticky_above = bool(found.st_mode & stat.S_ISVTX) and place != own
        if stat.S_ISLNK(found.st_mode) or sticky_above:
            continue
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            who = "everybody" if found.st_mode & stat.S_IWOTH else "its group"
            return f"{place} can be written to by {who} (mode {stat.S_IMODE(found.st_mode):04o})"
    return None
