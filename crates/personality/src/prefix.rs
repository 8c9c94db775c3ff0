//! Stage 4: Wine fills a registry and a C: drive.
//!
//! `wineboot` runs once in the finished personality tree, which proves on the way that the tree has
//! all it needs. It runs in mount, process and host name namespaces of its own: whatever it leaves
//! running or mounted goes with them.

use std::path::Path;

use crate::run::UNSHARE;
use crate::{PersonalityError, io_error, unexpected};

/// Host name during the run; the registry is searched for it afterwards.
pub(crate) const BUILD_HOST: &str = "oriel-build";

/// Account during the run; it names the profile directory.
pub(crate) const ACCOUNT: &str = "ContainerAdministrator";

/// Arguments: tree, directory of Windows files, `share/wine` of the Debian tree, prefix. The time
/// limits end a Wine that starts itself over and over; the run takes some 10 s.
const SCRIPT: &str = r#"set -e
root=$1; wine=$root/usr/lib/x86_64-linux-gnu/wine
mount --make-rprivate /
hostname "$5"
mount --bind "$2/x86_64-windows" "$wine/x86_64-windows"
mount --bind "$2/i386-windows" "$wine/i386-windows"
mount --bind "$3" "$root/usr/share/wine"
mount --bind "$4" "$root/prefix"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/user/0"; chmod 700 "$root/run/user/0"
printf '127.0.0.1 localhost %s\n' "$5" > "$root/tmp/hosts"
mount --bind "$root/tmp/hosts" "$root/etc/hosts"
cd /
inside() {
  limit=$1; shift
  timeout -k 5 "$limit" env -i WINEPREFIX=/prefix HOME=/prefix USER="$account" PATH=/usr/lib/wine \
    LANG=C.UTF-8 TZ=UTC WINEDEBUG=-all WINEARCH=win64 \
    WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe=" "$chroot" "$root" "$@"
}
account=$6
chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)
inside 300 /usr/lib/wine/wine64 wineboot.exe --init
inside 60 /usr/lib/wine/wineserver64 -k || true
inside 60 /usr/lib/wine/wineserver64 -w
"#;

/// Fills `prefix`, an empty directory.
pub(crate) fn fill(
    root: &Path,
    windows: &Path,
    share: &Path,
    prefix: &Path,
) -> Result<(), PersonalityError> {
    fs_err::create_dir_all(prefix).map_err(io_error("make the Wine prefix"))?;
    let mut arguments: Vec<String> =
        ["--mount", "--pid", "--fork", "--uts", "--kill-child", "sh", "-c", SCRIPT, "sh"]
            .map(str::to_owned)
            .into();
    arguments.extend([root, windows, share, prefix].map(|path| path.display().to_string()));
    arguments.extend([BUILD_HOST, ACCOUNT].map(str::to_owned));
    UNSHARE.run("fill a registry with Wine", &arguments, &mut |_| {})?;
    for name in ["system.reg", "user.reg", "userdef.reg"] {
        if !prefix.join(name).exists() {
            return Err(unexpected("fill a registry with Wine", &format!("it wrote no {name}")));
        }
    }
    Ok(())
}
