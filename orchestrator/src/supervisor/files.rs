//! The files of a supervised service. They belong to the group of the directory, whoever starts it; nobody else can write
//! them, and nobody else can read the passwords.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown},
    path::{Path, PathBuf},
};

use super::{
    SupervisorError,
    conf::{TEMPLATE_NAME, Template},
};

/// Paths of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    pub fn of(directory: &Path) -> Self {
        Files { directory: directory.to_owned() }
    }

    pub fn conf(&self) -> PathBuf {
        self.directory.join("supervisord.conf")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("supervisord.log")
    }

    /// Folder of our own files.
    fn folder(&self) -> PathBuf {
        self.directory.join(".amore")
    }

    /// What the service wrote to its standard output and standard error.
    pub fn service_output(&self) -> PathBuf {
        self.folder().join("listen.out")
    }

    /// Locks the directory against others that start its service at the same time; `None` if somebody else has the lock.
    pub fn try_lock(&self) -> Result<Option<fs::File>, SupervisorError> {
        self.make_folder()?;
        let path = self.folder().join("daemonize.lock");
        let file = self.for_group(&path, fs::OpenOptions::new().write(true).create(true).truncate(false))?.0;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(of_file("lock", &path, source)),
        }
    }

    fn make_folder(&self) -> Result<(), SupervisorError> {
        let folder = self.folder();
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(source) => Err(of_file("create", &folder, source)),
            Ok(()) => {
                // For the members of the directory's group, whatever the umask; so are the files that supervisord creates there.
                let found = fs::metadata(&self.directory)
                    .map_err(|source| of_file("look at", &self.directory, source))?;
                let shared = chown(&folder, None, Some(found.gid())).is_ok();
                let mode = if shared { found.mode() & 0o0775 | 0o2700 } else { 0o700 };
                let permissions = fs::Permissions::from_mode(mode);
                fs::set_permissions(&folder, permissions).map_err(|source| of_file("share", &folder, source))
            }
        }
    }

    /// Mode of the directory, and whether new files in it belong to its group.
    pub fn directory_mode(&self) -> Result<(u32, bool), SupervisorError> {
        let found =
            fs::metadata(&self.directory).map_err(|source| of_file("look at", &self.directory, source))?;
        let is_ours = found.gid() == nix::unistd::getegid().as_raw();
        Ok((found.mode(), is_ours || found.mode() & 0o2000 != 0))
    }

    /// Replaces the configuration; returns whether the group can use it.
    pub fn write_conf(&self, text: &str) -> Result<bool, SupervisorError> {
        let path = self.conf();
        let beside = self.folder().join(format!("supervisord.conf.{}.new", std::process::id()));
        let mut options = fs::OpenOptions::new();
        // What a crash left, perhaps with wider permissions.
        let _ = fs::remove_file(&beside);
        let (mut file, shared) = self.for_group(&beside, options.write(true).create_new(true))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|source| of_file("write", &path, source))?;
        Ok(shared)
    }

    /// Makes sure that supervisord can continue its log, and that the group can read it.
    pub fn prepare_log(&self) -> Result<(), SupervisorError> {
        let path = self.log();
        let opened = self.for_group(&path, fs::OpenOptions::new().append(true).create(true));
        match opened {
            Ok((file, _)) => {
                // DAMNIT made it writable for everyone.
                let found = file.metadata().map_err(|source| of_file("look at", &path, source))?;
                if found.mode() & 0o002 != 0 && found.uid() == nix::unistd::geteuid().as_raw() {
                    let permissions = fs::Permissions::from_mode(found.mode() & 0o7770);
                    file.set_permissions(permissions).map_err(|source| of_file("protect", &path, source))?;
                }
                Ok(())
            }
            // Somebody else's, and not for the group: it stays readable under another name.
            Err(SupervisorError::File { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                let old = self.directory.join("supervisord.log.old");
                fs::rename(&path, &old).map_err(|source| of_file("move away", &path, source))?;
                self.for_group(&path, fs::OpenOptions::new().append(true).create(true)).map(drop)
            }
            Err(other) => Err(other),
        }
    }

    /// The process in the pid file, if it is a supervisord of this directory on this host.
    pub fn living_supervisord(&self) -> Option<u32> {
        let text = fs::read_to_string(self.folder().join("supervisord.pid")).ok()?;
        let pid: u32 = text.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let conf = self.conf();
        let mut words = command.split(|byte| *byte == 0);
        words.any(|word| word == conf.as_os_str().as_encoded_bytes()).then_some(pid)
    }

    /// The last lines that the service wrote before it ended.
    pub fn last_output(&self, lines: usize) -> String {
        let text = fs::read(self.service_output()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The template: `.amore/templates/supervisord.conf.tera` here, the one in the folder named by `AMORE_TEMPLATES`, or the
    /// built-in one.
    pub fn template(&self) -> Result<Template, SupervisorError> {
        let site = env::var_os("AMORE_TEMPLATES").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        for folder in std::iter::once(self.folder().join("templates")).chain(site) {
            let path = folder.join(TEMPLATE_NAME);
            match fs::read_to_string(&path) {
                Ok(text) => return Ok(Template { name: path.display().to_string(), text }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(of_file("read", &path, source)),
            }
        }
        Ok(Template::built_in())
    }

    /// Opens a file; a new one is for its owner and the group of the directory alone. Also returns whether the group can
    /// use it: only members can give a file to a group.
    fn for_group(
        &self,
        path: &Path,
        options: &mut fs::OpenOptions,
    ) -> Result<(fs::File, bool), SupervisorError> {
        let is_new = !path.exists();
        let failed = |source| of_file("write", path, source);
        let file = options.mode(0o600).open(path).map_err(failed)?;
        if !is_new {
            return Ok((file, true));
        }
        let group = fs::metadata(&self.directory)
            .map_err(|source| of_file("look at", &self.directory, source))?
            .gid();
        let own = file.metadata().map_err(failed)?.gid();
        if own != group && fchown(&file, None, Some(group)).is_err() {
            return Ok((file, false));
        }
        file.set_permissions(fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok((file, true))
    }
}

fn of_file(doing: &'static str, path: &Path, source: io::Error) -> SupervisorError {
    SupervisorError::File { doing, path: path.to_owned(), source }
}
