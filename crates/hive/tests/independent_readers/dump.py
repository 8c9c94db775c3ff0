"""Prints what one reader finds in a hive, a line for each key and value, in the form of `main.rs` here.

    dump.py READER HIVE

Ends with 3 when the reader is not installed.
"""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

KINDS = {"NONE": 0, "SZ": 1, "EXPAND_SZ": 2, "BINARY": 3, "DWORD": 4, "MULTI_SZ": 7, "QWORD": 11}


def shown(kind, data):
    """The data of a value: text, texts, a number or bytes."""
    if kind in (1, 2):
        return data.decode("utf-16-le").rstrip("\0")
    if kind == 7:
        return data.decode("utf-16-le").rstrip("\0").replace("\0", "|")
    if kind in (4, 11):
        return str(int.from_bytes(data, "little"))
    return data.hex()


def output_of(*words):
    try:
        process = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        sys.exit(3)
    errors = process.stderr.decode()
    if process.returncode != 0 or "ERROR" in errors:
        sys.exit(f"{words[0]} failed: {errors}")
    return process.stdout


def python_registry(hive):
    from Registry import Registry

    def walk(key, path):
        yield (path,)
        for value in key.values():
            name = "" if value.name() == "(default)" else value.name()
            yield path, name, value.value_type(), shown(value.value_type(), value.raw_data())
        for subkey in key.subkeys():
            yield from walk(subkey, f"{path}\\{subkey.name()}")

    return walk(Registry.Registry(hive).root(), "")


def regipy(hive):
    from regipy.registry import RegistryHive

    def data(kind, value):
        if isinstance(value, list):
            return "|".join(text for text in value if text)
        if isinstance(value, bytes):
            return value.hex()
        return "" if value is None else str(value).rstrip("\0")

    def walk(key, path):
        yield (path,)
        for value in key.iter_values(trim_values=False) or ():
            kind = KINDS[value.value_type.removeprefix("REG_")]
            name = "" if value.name == "(default)" else value.name
            yield path, name, kind, data(kind, value.value)
        for subkey in key.iter_subkeys() or ():
            yield from walk(subkey, f"{path}\\{subkey.name}")

    return walk(RegistryHive(hive).root, "")


def hivexml(hive):
    kinds = {"string": 1, "expand": 2, "binary": 3, "int32": 4, "string-list": 7, "int64": 11}

    def decoded(element, text):
        return base64.b64decode(text) if element.get("encoding") == "base64" else (text or "").encode()

    def walk(node, path):
        yield (path,)
        for value in node.findall("value"):
            kind = kinds[value.get("type")]
            name = "" if value.get("default") else value.get("key")
            if kind == 7:
                texts = [decoded(text, text.text).decode() for text in value.findall("string")]
                data = "|".join(text for text in texts if text)
            elif kind == 3:
                data = base64.b64decode(value.get("value") or value.text or "").hex()
            else:
                data = decoded(value, value.get("value")).decode()
            yield path, name, kind, data
        for subkey in node.findall("node"):
            yield from walk(subkey, f"{path}\\{subkey.get('name')}")

    return walk(xml.fromstring(output_of("hivexml", hive)).find("node"), "")


def quoted(text):
    """What reglookup quotes: UTF-16 or Latin-1 as it stands in the hive."""
    data = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode())
    wide = len(data) % 2 == 0 and (0 in data or all(unit >= " " for unit in data.decode("utf-16-le", "replace")))
    wide = wide and not data.isascii()
    return data.decode("utf-16-le" if wide else "latin-1").rstrip("\0")


def reglookup(hive):
    for line in output_of("reglookup", hive).decode().splitlines()[1:]:
        path, kind, data, _ = line.split(",")
        names = [quoted(name) for name in path.split("/")]
        if kind == "KEY":
            yield ("\\".join(names).rstrip("\\"),)
            continue
        if data == "(null)":
            data = ""
        elif kind == "BINARY":
            data = re.sub("%(..)|(.)", lambda match: match[1] or f"{ord(match[2]):02x}", data).lower()
        elif kind in ("DWORD", "QWORD"):
            data = int(data, 16)
        else:
            data = quoted(data)
        yield "\\".join(names[:-1]), names[-1], KINDS[kind], data


def regfexport(hive):
    text = output_of("regfexport", hive).decode()
    for key in text.split("Key path: ")[1:]:
        head, *values = re.split(r"^Value: \d+ ", key, flags=re.MULTILINE)
        path = head.splitlines()[0].removeprefix("ROOT")
        yield (path,)
        for value in values:
            name = value.splitlines()[0]
            kind = KINDS[re.search(r"\(REG_(\w+?)(_LITTLE_ENDIAN)?\)", value)[1]]
            data = re.search(r"^Data:[ \n](.*?)\n*$(?!\n\S)", value, flags=re.MULTILINE | re.DOTALL)
            data = data[1] if data else ""
            if kind in (3, 7):
                lines = re.findall(r"^[0-9a-f]{8}: (.{49})", value, flags=re.MULTILINE)
                data = shown(kind, bytes.fromhex("".join(lines)))
            yield path, "" if name == "(default)" else name, kind, data.strip()


READERS = {"python-registry": python_registry, "regipy": regipy, "hivexml": hivexml, "reglookup": reglookup,
           "regfexport": regfexport}

if __name__ == "__main__":
    for path, *value in READERS[sys.argv[1]](sys.argv[2]):
        line = "\t".join(str(field) for field in (path, *(value or ["KEY"])))
        print(re.sub("[\x80-\xff�]", "?", line))
