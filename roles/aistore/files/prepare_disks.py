# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs in a daemon's pod before aisnode, which does not start unless it may open enough files and every mount path (of a target; a proxy has none)
is a mounted disk of this cluster and node.

A disk that is not mounted would show as a plain directory of the node's root file system, and aisnode would fill that.
Environment: DISKS (JSON list of {"path": on the node, "volume": its directory under VOLUMES, /disks}), OWNER (JSON {"namespace", "cluster", "node"}),
DATA_DIRECTORY, MARKER, OPEN_FILES_MIN.
"""

import json
import os
import resource
import sys

VOLUMES = os.environ.get("VOLUMES", "/disks")


def mounts():
    """Mount point -> (device, directory of the file system that is mounted there, type, source); the last mount on a point counts."""
    found = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            left, _dash, right = line.rstrip("\n").partition(" - ")
            fields, (kind, source, *_rest) = left.split(" "), right.split(" ")
            found[fields[4]] = (fields[2], fields[3], kind, source)
    return found


def problem_of(disk, owner, mounted, data_directory, marker):
    """Why aisnode must not use this disk, "" where it may. Leaves the marker and the data directory on a disk that is new."""
    path, volume = disk["path"], os.path.join(VOLUMES, disk["volume"])
    _device, root, kind, source = mounted.get(volume, ("", "?", "?", "?"))
    if root != "/":
        return f"{path} is not a mounted disk: it is the directory {root} of {source} ({kind}). Mount the disk (role ais_datafs)."
    if not os.access(volume, os.W_OK | os.X_OK):
        return f"{path} cannot be written by user {os.getuid()}. Let the disk's root directory belong to it (ais_datafs_owner: {os.getuid()})."
    name = os.path.join(volume, marker)
    try:
        with open(name, encoding="utf-8") as file:
            said = json.load(file)
    except FileNotFoundError:
        said = None
    except ValueError:
        return f"{path} holds a {marker} that is not JSON; look at it, and remove it if the disk is free."
    if said is None:
        strangers = [entry for entry in (".ais.vmd", ".ais.bmd", ".ais.smap") if os.path.exists(os.path.join(volume, entry))]
        if strangers:
            return f"{path} holds the files of an AIStore that was not deployed by this role ({', '.join(strangers)} in its root)."
        temporary = f"{name}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(owner, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name)
    elif said != owner:
        return (
            f"{path} belongs to AIStore cluster {said.get('cluster')} in namespace {said.get('namespace')}, node {said.get('node')}, "
            f"and not to {owner['cluster']} in {owner['namespace']}, node {owner['node']} (its {marker} says so)."
        )
    os.makedirs(os.path.join(volume, data_directory), mode=0o750, exist_ok=True)
    return ""


def judged(disk, *about):
    """As problem_of, with what the disk itself says no to: one that fails, or is full."""
    try:
        return problem_of(disk, *about)
    except OSError as error:
        return f"{disk['path']} is mounted and cannot be used: {error.strerror} ({error.filename})."


def main():
    disks, owner = json.loads(os.environ["DISKS"]), json.loads(os.environ["OWNER"])
    mounted = mounts()
    problems = [judged(disk, owner, mounted, os.environ["DATA_DIRECTORY"], os.environ["MARKER"]) for disk in disks]
    found = [mounted.get(os.path.join(VOLUMES, disk["volume"]), ("", "")) for disk in disks]
    devices = [mount[0] if mount[1] == "/" else "" for mount in found]
    for disk, device in zip(disks, devices):
        if device and devices.count(device) > 1:
            problems.append(f"{disk['path']} shares its file system with another mount path; AIStore wants one each.")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = int(os.environ["OPEN_FILES_MIN"])
    if hard != resource.RLIM_INFINITY and hard < least:
        problems.append(f"a container on this node may open {hard} files, aistore_open_files_min asks for {least}: raise LimitNOFILE of the runtime.")
    problems = [problem for problem in problems if problem]
    if problems:
        # One line: it is what the play shows.
        sys.exit(" ".join(problems))
    print(f"{len(disks)} disks are mounted and belong to {owner['cluster']}; {soft} of {hard} open files")


if __name__ == "__main__":
    main()
