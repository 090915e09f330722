//! A disk of its own for a node: an ext4 file system in a file, mounted where the node's folder shall be, so that it can
//! really be full, stand still, die, and lose its power.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// What these tests call; all of it needs root.
const TOOLS: [&str; 6] = ["mkfs.ext4", "mount", "umount", "losetup", "fsfreeze", "python3"];

/// What is missing for disks of one's own; none when they can be had.
#[must_use]
pub fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<&'static str>> = OnceLock::new();
    *MISSING.get_or_init(|| {
        if !nix::unistd::geteuid().is_root() {
            return Some("not root, so no disk can be mounted");
        }
        let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        if !TOOLS.iter().all(|tool| has(tool)) {
            return Some("one of mkfs.ext4, mount, umount, losetup, fsfreeze, python3 is missing");
        }
        let folder = TempDir::new().expect("a temporary folder");
        let place = folder.path().join("place");
        let image = folder.path().join("disk.img");
        let made = make(&image, 16).and_then(|()| mount(&image, &place));
        made.err().map(|_| "no loop devices")
    })
}

/// Says on the test's output that it was not run, for whoever counts; true when disks can be had.
#[must_use]
pub fn can_run() -> bool {
    match missing() {
        None => true,
        Some(what) => {
            println!("not run: {what}");
            false
        }
    }
}

/// One mounted image. Dropped: thawed and unmounted, whoever uses it.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    place: PathBuf,
}

impl LoopDisk {
    /// A fresh disk of so many MiB, in the file `image`, mounted at `place`.
    ///
    /// # Panics
    /// When it cannot be had: ask [`can_run`] first.
    #[must_use]
    pub fn new(image: &Path, place: &Path, mib: u64) -> Self {
        make(image, mib).expect("a file system in a file");
        Self::of(image, place)
    }

    /// A disk that exists already.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn of(image: &Path, place: &Path) -> Self {
        mount(image, place).expect("a mount")
    }

    /// The file it is in.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Takes all the room there is, down to the last block.
    ///
    /// # Panics
    /// When the disk fails in another way.
    pub fn fill(&self) {
        use std::io::Write as _;
        let mut filler = File::create(self.filler()).expect("a filler file");
        for piece in [vec![1_u8; 1 << 20], vec![1; 4 << 10], vec![1; 512]] {
            while filler.write_all(&piece).is_ok() {}
        }
        // What was written late may not have fitted.
        let _ = filler.sync_all();
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.place.join("filler")
    }

    /// Every write and sync hangs from now on.
    ///
    /// # Panics
    /// When it cannot be frozen.
    pub fn freeze(&self) {
        run("fsfreeze", &["-f", text(&self.place)]).expect("it freezes");
    }

    /// They go on.
    ///
    /// # Panics
    /// When it was not frozen.
    pub fn thaw(&self) {
        run("fsfreeze", &["-u", text(&self.place)]).expect("it thaws");
    }

    /// Every write and sync fails from now on, as on a disk that died; a new mount finds what had reached it.
    ///
    /// # Panics
    /// When the kernel does not do it.
    pub fn die(&self) {
        // `EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`: the journal is not written out either.
        let program = "import fcntl, os, struct, sys\n\
                       fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", program, text(&self.place)]).expect("ext4 dies when told so");
    }

    /// Takes the mount away although files on it are open, and mounts what its image holds: whoever has files open there
    /// keeps the old one.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn remount(&mut self) {
        let copy = self.copy();
        unmount(&self.place).expect("it can be taken away");
        run("mount", &["-o", "loop", text(&copy), text(&self.place)]).expect("a mount");
        self.image = copy;
    }

    /// A copy of what has reached the image by now: what its owner would find after a power cut.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn copy(&self) -> PathBuf {
        let copy = self.image.with_extension("copy.img");
        run("cp", &["--sparse=always", text(&self.image), text(&copy)]).expect("a copy");
        copy
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Most were never frozen.
        let _ = run("fsfreeze", &["-u", text(&self.place)]);
        let _ = unmount(&self.place);
    }
}

fn make(image: &Path, mib: u64) -> Result<(), String> {
    let file = File::create(image).map_err(|error| error.to_string())?;
    file.set_len(mib << 20).map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q", "-F", "-m", "0", text(image)])
}

fn mount(image: &Path, place: &Path) -> Result<LoopDisk, String> {
    fs::create_dir_all(place).map_err(|error| error.to_string())?;
    run("mount", &["-o", "loop", text(image), text(place)])?;
    Ok(LoopDisk { image: image.to_path_buf(), place: place.to_path_buf() })
}

fn unmount(place: &Path) -> Result<(), String> {
    run("umount", &["-l", text(place)])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let told = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    if told.status.success() {
        return Ok(());
    }
    Err(format!("{program} {words:?}: {}", String::from_utf8_lossy(&told.stderr)))
}
