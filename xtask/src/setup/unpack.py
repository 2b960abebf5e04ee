"""Unpacks members of a wheel: unpack.py WHEEL FOLDER STRIP PATTERN...

Members that match one of the patterns go to FOLDER under their names less STRIP.
Prints the number of bytes to come, then the number written after each chunk.
"""

import fnmatch
import os
import sys
import zipfile

wheel, folder, strip, *patterns = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and any(fnmatch.fnmatchcase(member.filename, pattern) for pattern in patterns)
    ]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(member.filename, pattern) for member in members):
            sys.exit(f"{wheel} holds nothing that matches {pattern}")
    print(sum(member.file_size for member in members), flush=True)
    written = 0
    for member in members:
        if not member.filename.startswith(strip) or ".." in member.filename.split("/"):
            sys.exit(f"{wheel} holds {member.filename}, which does not belong there")
        path = os.path.join(folder, member.filename[len(strip) :])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Reading to the end checks the member's CRC.
        with archive.open(member) as source, open(path, "wb") as target:
            while chunk := source.read(1 << 22):
                target.write(chunk)
                written += len(chunk)
                print(written, flush=True)
        mode = member.external_attr >> 16 & 0o777
        if mode:
            os.chmod(path, mode)
