//! The disks that the processes write to, and what becomes of them when the power fails.
//!
//! Where loop mounts are allowed, a disk is a file system image. What a process wrote and did not sync is in the kernel's
//! cache *above* the image, so a copy of the image, taken while the process stands still, has what reached the disk and
//! nothing else; the copy is mounted as after a power cut, with the file system's own recovery. (What a disk may do to
//! writes it has accepted, tear and reorder them, is not in this picture; the journal's own tests generate those states.)
//! Elsewhere a disk is a plain folder, which can be filled and pulled from nobody.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// One disk, mounted.
pub(crate) struct Disk {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// An empty disk of so many MiB at `<scratch>/<name>`; a plain folder unless `images` can be mounted.
    pub(crate) fn make(scratch: &Path, name: &str, mib: u64, images: bool) -> anyhow::Result<Self> {
        let at = scratch.join(name);
        fs::create_dir_all(&at)?;
        if !images {
            return Ok(Self { at, image: None });
        }
        let image = scratch.join(format!("{name}.img"));
        fs::File::create(&image)?.set_len(mib << 20)?;
        // No blocks that root alone may use: we are root, and what is free shall be free for everybody.
        run("mkfs.ext4", ["-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"], &[&image])?;
        let disk = Self { at, image: Some(image) };
        disk.mount()?;
        Ok(disk)
    }

    /// Where its files are.
    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    /// Takes down what is on the disk now; whoever writes to it must stand still.
    pub(crate) fn take_down(&self) -> anyhow::Result<()> {
        let image = self.image.as_ref().context("only an image can be taken down")?;
        run("cp", ["--sparse=always"], &[image, &image.with_extension("cut")])
    }

    /// Puts what was taken down in the disk's place; whoever wrote to it must be dead.
    pub(crate) fn come_back(&self) -> anyhow::Result<()> {
        let image = self.image.as_ref().context("only an image can come back")?;
        self.unmount()?;
        fs::rename(image.with_extension("cut"), image)?;
        self.mount()
    }

    /// Everything that is on it, each file by the digest of its content.
    pub(crate) fn content(&self) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut content = BTreeMap::new();
        let mut folders = vec![self.at.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &fs::read(&path)?);
                    content.insert(path, digest.as_ref().to_vec());
                }
            }
        }
        Ok(content)
    }

    /// Takes up room until only so many bytes are left.
    pub(crate) fn leave(&self, bytes: u64) -> anyhow::Result<()> {
        let told = Command::new("stat").args(["--file-system", "--format=%a %S"]).arg(&self.at).output()?;
        let told = String::from_utf8(told.stdout)?;
        let (blocks, size) = told.trim().split_once(' ').context("blocks and their size")?;
        let taken = (blocks.parse::<u64>()? * size.parse::<u64>()?).saturating_sub(bytes);
        run("fallocate", ["-l", &taken.to_string()], &[self.at.join("ballast")])
    }

    /// Fills it to the last block.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        // Larger blocks first; the call fails when there is no room for the next one, which is how far it shall go.
        for size in ["16M", "1M", "64K", "4K"] {
            for number in 0.. {
                let piece = self.at.join(format!("ballast.{size}.{number}"));
                let filled = Command::new("fallocate").args(["-l", size]).arg(&piece).stderr(Stdio::null()).status()?;
                if !filled.success() {
                    let _ = fs::remove_file(piece);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(crate) fn make_room(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.at)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ballast")) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn mount(&self) -> anyhow::Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        // Nothing is written behind our back: what is on the disk is what somebody made durable.
        run("mount", ["-o", "loop,commit=3600"], &[image, &self.at])
    }

    fn unmount(&self) -> anyhow::Result<()> {
        if self.image.is_some() { run("umount", [], &[&self.at]) } else { Ok(()) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // In a mount namespace of our own, so whatever fails here is gone when we are.
        let _ = self.unmount();
        let _ = self.image.as_ref().map(fs::remove_file);
    }
}

/// Whether images can be mounted here; if not, why not.
pub(crate) fn images_possible(scratch: &Path) -> Result<(), String> {
    let probe = Disk::make(scratch, "probe", 8, true);
    probe.map(drop).map_err(|error| format!("{error:#}"))
}

pub(crate) fn run<const N: usize>(program: &str, words: [&str; N], more: &[impl AsRef<OsStr>]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    let ended = command.args(words).args(more).stdin(Stdio::null()).output().with_context(|| program.to_owned())?;
    ensure!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr).trim());
    Ok(())
}
