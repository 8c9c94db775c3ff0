"""An independent writer and reader of Windows layers, on Python's tarfile.

make SAVED OUT   puts a layer with everything on top of the image in SAVED, as `faithful:1`
show SAVED       prints the members of the topmost layer as JSON
"""

import base64
import hashlib
import io
import json
import sys
import tarfile

# Owner and group SYSTEM, everybody may do everything (O:SYG:SYD:(A;;FA;;;WD)).
DESCRIPTOR = base64.b64encode(
    bytes.fromhex("01000480140000002000000000000000") + bytes.fromhex("2c000000")
    + bytes.fromhex("010100000000000512000000") * 2
    + bytes.fromhex("02001c000100000000001400ff011f00010100000000000100000000")
).decode()
CREATED = "1500000000.1234567"
MODIFIED = 1600000000


def member(name, kind=tarfile.REGTYPE, data=b"", link="", attributes=None, **records):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mtime = kind, link, len(data), MODIFIED
    if attributes is not None:
        info.pax_headers = {
            "MSWINDOWS.fileattr": str(attributes),
            "MSWINDOWS.rawsd": DESCRIPTOR,
            "LIBARCHIVE.creationtime": CREATED,
            **{key.replace("_", "."): value for key, value in records.items()},
        }
    return info, data


def layer():
    directory, symlink, hard = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    value = base64.b64encode(b"\x01\x00value").decode()
    ea = {"MSWINDOWS_xattr_ORIEL": value}
    return [
        member("Files", directory),
        member("Files/w", directory, attributes=0x2010),
        member("Files/w/.dot", data=b"dot", attributes=0x20),
        member("Files/w/hard.exe", hard, link="Files/Windows/System32/hostname.exe"),
        member("Files/w/hs.txt", data=b"hidden", attributes=0x26, **ea),
        member("Files/w/hs.txt:zone", data=b"internet"),
        member("Files/w/junction", symlink, link="C:\\Users", attributes=0x410,
               MSWINDOWS_mountpoint="1"),
        member("Files/w/link.txt", symlink, link="C:\\w\\plain.txt", attributes=0x400),
        member("Files/w/plain.txt", data=b"plain", attributes=0x2020, **ea),
        member("Files/w/plain.txt:one", data=b"1"),
        member("Files/w/plain.txt:two", data=b"2"),
        member("Files/w/ro.txt", data=b"read only", attributes=0x21, **ea),
        member("Files/w/sparse", data=b"\0" * 300000 + b"x", attributes=0x220),
    ]


def add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def make(saved, out):
    source = tarfile.open(saved)
    read = lambda name: source.extractfile(name).read()
    [image] = json.loads(read("manifest.json"))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in layer():
            archive.addfile(info, io.BytesIO(data))
    made = made.getvalue()
    config = json.loads(read(image["Config"]))
    config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(made).hexdigest())
    config.pop("history", None)
    manifest = [{
        "Config": "config.json",
        "RepoTags": ["faithful:1"],
        "Layers": image["Layers"] + ["top.tar"],
    }]
    with tarfile.open(out, "w") as archive:
        add(archive, "config.json", json.dumps(config).encode())
        for name in image["Layers"]:
            archive.addfile(source.getmember(name), source.extractfile(name))
        add(archive, "top.tar", made)
        add(archive, "manifest.json", json.dumps(manifest).encode())


def show(saved):
    source = tarfile.open(saved)
    [image] = json.loads(source.extractfile("manifest.json").read())
    top = tarfile.open(fileobj=source.extractfile(image["Layers"][-1]))
    members = {}
    for info in top:
        data = top.extractfile(info).read() if info.isreg() and info.size < 1000 else b""
        members[info.name] = {
            "type": info.type.decode(),
            "link": info.linkname,
            "size": info.size,
            "mtime": info.mtime,
            "data": data.decode("latin-1"),
            "records": dict(info.pax_headers),
        }
    print(json.dumps({"members": members, "descriptor": DESCRIPTOR}))


{"make": make, "show": show}[sys.argv[1]](*sys.argv[2:])
