//! Programs that the tests need. A test that lacks one is never skipped: it is installed, or the
//! test fails and says how to.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The path of a program, installed from Debian's `package` if there is none.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    ensure(name, package, || in_path(name))
}

/// The library that moves a program's clock.
pub(crate) fn libfaketime() -> PathBuf {
    ensure("libfaketime", "faketime", || {
        let triplets = std::fs::read_dir("/usr/lib").ok()?.flatten();
        triplets.map(|of| of.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
    })
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn ensure(what: &str, package: &str, find: impl Fn() -> Option<PathBuf>) -> PathBuf {
    find()
        .or_else(|| {
            // Processes that need the same wait here for the first one.
            let lock = File::create(std::env::temp_dir().join("bindu-cb-tests-install.lock"));
            let lock = lock.expect("a file in the directory for temporary files");
            lock.lock().expect("a lock on a file of our own");
            find().or_else(|| {
                install(package);
                find()
            })
        })
        .unwrap_or_else(|| {
            panic!(
                "{what} is missing, and these tests need it: apt-get install {package}, \
                 or what your system has in place of that"
            )
        })
}

fn install(package: &str) {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        return;
    }
    let apt_get = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    // That it fails is seen by the program's absence.
    let _ = apt_get(&["update", "-q"])
        && apt_get(&["install", "-q", "-y", "--no-install-recommends", package]);
}
