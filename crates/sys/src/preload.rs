//! What the loader reads into Wine's processes.

/// A shared object that makes mount points look like plain directories to Wine: the source is
/// `preload/mounts.rs`.
pub const MOUNTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mounts.so"));

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::process::Command;

    use super::*;

    /// Prints devices and inodes of `/proc` and of its parent, by a path and by a descriptor.
    const PROGRAM: &str = "import os\n\
        d = os.open('/proc', os.O_RDONLY)\n\
        for s in os.stat('/proc'), os.stat('/proc/..'), os.stat('..', dir_fd=d), os.stat('/'):\n\
        \x20   print(s.st_dev, s.st_ino)\n";

    fn asked(preload: Option<&std::path::Path>) -> Vec<String> {
        let mut python = Command::new("python3");
        python.args(["-c", PROGRAM]).envs(preload.map(|path| ("LD_PRELOAD", path)));
        let output = python.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_parent_of_a_mount_point_is_on_its_device() {
        let place = tempfile::tempdir().unwrap();
        let object = place.path().join("mounts.so");
        fs_err::write(&object, MOUNTS).unwrap();
        fs_err::set_permissions(&object, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (proc, root) = (fs_err::metadata("/proc").unwrap(), fs_err::metadata("/").unwrap());
        let plain = format!("{} {}", root.dev(), root.ino());
        let adopted = format!("{} {}", proc.dev(), root.ino());
        assert_eq!(asked(None)[1..3], [plain.clone(), plain.clone()]);
        let seen = asked(Some(&object));
        assert_eq!(seen[0], format!("{} {}", proc.dev(), proc.ino()));
        assert_eq!(seen[1..3], [adopted.clone(), adopted]);
        assert_eq!(seen[3], plain, "other questions are the C library's");
    }
}
