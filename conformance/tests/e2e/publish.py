"""Publishes an image on base layers that the registry does not have, as images of Microsoft's are there.

publish.py HOST REPOSITORY TAG SAVED [BASE_STEP...]

The layers above the base of the image in the `docker save` archive SAVED are uploaded; in the place of the base come
made-up layers, one for each BASE_STEP of the history, which are no layers at all. With an archive `-` there is the base
alone. The tag leads to a manifest list with entries for several Windows builds. Prints the base's blob digests: the
registry takes no manifest without its blobs, so the caller removes their bytes afterwards.
"""
import gzip, hashlib, io, json, sys, tarfile, urllib.request

host, repository, tag, saved, *steps = sys.argv[1:]
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def send(method, url, data=b"", kind="application/octet-stream"):
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    return urllib.request.urlopen(request)


def upload(data):
    place = send("POST", f"http://{host}/v2/{repository}/blobs/uploads/").headers["Location"]
    mark = "&" if "?" in place else "?"
    send("PUT", f"{place}{mark}digest={digest(data)}", data)
    return {"digest": digest(data), "size": len(data)}


def put(reference, document, kind):
    data = json.dumps(document).encode()
    send("PUT", f"http://{host}/v2/{repository}/manifests/{reference}", data, kind)
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}


config = {"config": {"User": "ContainerUser", "Cmd": ["c:\\windows\\system32\\cmd.exe"]}, "history": [{}]}
own = []
if saved != "-":
    archive = tarfile.open(saved)
    image = json.load(archive.extractfile("manifest.json"))[0]
    config = json.load(archive.extractfile(image["Config"]))
    own = [archive.extractfile(name).read() for name in image["Layers"][1:]]
base = [{"created_by": step, "created": "2022-05-07T00:00:00Z"} for step in steps]
version = "10.0.20348.5622"
config |= {
    "os": "windows",
    "os.version": version,
    "architecture": "amd64",
    "history": base + config["history"][1:],
    "rootfs": {
        "type": "layers",
        "diff_ids": [digest(step.encode()) for step in steps] + [digest(layer) for layer in own],
    },
}
layers = [upload(b"blob " + step.encode()) | {"size": 124637397} for step in steps]
layers += [upload(gzip.compress(layer, 1, mtime=0)) for layer in own]


def image(document):
    config = upload(json.dumps(document).encode()) | {"mediaType": "application/vnd.docker.container.image.v1+json"}
    described = [layer | {"mediaType": LAYER} for layer in layers]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described}
    return put(digest(json.dumps(manifest).encode()), manifest, MANIFEST)


entry = image(config)
wrong = image({"os": "none"})
platform = {"architecture": "amd64", "os": "windows"}
put(tag, {
    "schemaVersion": 2,
    "mediaType": LIST,
    "manifests": [
        wrong | {"platform": {"architecture": "amd64", "os": "linux"}},
        wrong | {"platform": platform | {"os.version": "10.0.17763.1"}},
        entry | {"platform": platform | {"os.version": version}},
        wrong | {"platform": platform | {"os.version": "10.0.26100.1"}},
    ],
}, LIST)
print("\n".join(layer["digest"] for layer in layers[: len(steps)]))
