"""Makes the deltas of an image's topmost layer look like those of Windows.

foreign SAVED OUT NAME   the image in SAVED, as NAME, with deltas that no Oriel signed
"""

import gzip
import hashlib
import io
import json
import struct
import sys
import tarfile


def unsigned(hive):
    """A delta hive without a name in its base block, where Oriel signs."""
    hive = bytearray(hive)
    hive[48:112] = bytes(64)
    total = 0
    for (number,) in struct.iter_unpack("<I", hive[:508]):
        total ^= number
    hive[508:512] = struct.pack("<I", total)
    return bytes(hive)


def foreign(layer):
    """A layer, and how many deltas it has."""
    out, count = io.BytesIO(), 0
    with tarfile.open(fileobj=io.BytesIO(layer)) as old, tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT
    ) as new:
        for info in old:
            data = old.extractfile(info).read() if info.isreg() else b""
            if info.name.startswith("Hives/") and info.name.endswith("_Delta"):
                data, count = unsigned(data), count + 1
            new.addfile(info, io.BytesIO(data))
    return out.getvalue(), count


def add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def main(saved, out, name):
    with tarfile.open(saved) as old:
        read = lambda path: old.extractfile(path).read()
        manifest = json.loads(read("manifest.json"))[0]
        config = json.loads(read(manifest["Config"]))
        layers = [read(path) for path in manifest["Layers"]]
    plain = [gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in layers]
    plain[-1], count = foreign(plain[-1])
    config["rootfs"]["diff_ids"][-1] = "sha256:" + hashlib.sha256(plain[-1]).hexdigest()
    with tarfile.open(out, "w") as new:
        names = [f"{index}.tar" for index in range(len(plain))]
        for path, data in zip(names, plain):
            add(new, path, data)
        add(new, "config.json", json.dumps(config).encode())
        described = [{"Config": "config.json", "RepoTags": [name], "Layers": names}]
        add(new, "manifest.json", json.dumps(described).encode())
    print(count)


main(*sys.argv[2:])
